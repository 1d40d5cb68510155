"""Stage 2: the bi-encoder learns questions and the passages that answer them.

    python -m training.recipes.mrc --data ../shared/data --base-model runs/sts/model --output runs/mrc
    python -m training.recipes.mrc --data my_questions.csv --base-model FOLDER  # columns question, passage[, negative]

Steps: 1. read the questions and hold some passages' questions out; 2. load stage 1's model; 3. test it as it is;
4. find wrong passages, and ask a teacher about them, if wanted; 5. train: each question against the passages of its
batch; 6. test the best checkpoint and write model, card, history and plot. On several GPUs:
``accelerate launch -m training.recipes.mrc ...``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset
from sentence_transformers import SentenceTransformer

from training.inputs import hold_out, read_questions
from training.recipes.cards import About
from training.recipes.evaluate import describe_question_tests, question_tests
from training.recipes.fitting import FitSettings, Outcome, Run, finish, fit, load_model, run_recipe
from training.recipes.losses import bi_encoder_loss, teacher_logits
from training.recipes.negatives import Corpus, NegativeSettings, require_in_batch, wrong_passages
from training.settings import require_positive


@dataclass(frozen=True, kw_only=True)
class Settings(FitSettings, NegativeSettings):
    """Settings of stage 2; the defaults are the tutorial's.

    Attributes:
        protocol: ours drops training rows that are test rows, too, and questions that stand there twice, and draws
            wrong passages among distinct ones; tutorial keeps all rows, draws among rows and leaves the hard test out.
        titles: Put the title before each passage, as KlueRetriever reads them.
        loss: Multiple-negatives ranking, or the same cached (GradCache): a large --batch-size in the memory of
            --mini-batch-size.
        mini_batch_size: Texts computed at a time by the cached loss.
        teacher: Cross-encoder whose scores of right and wrong passages are learned as well: packaged, a folder or a
            hub id. It replaces --loss and needs --negatives.
        distillation: How they are learned: differences of scores (margin-mse) or their distribution (kl).
    """

    output: Path = Path("runs/mrc")
    base_model: str = "runs/sts/model"
    held_out: float = 0.05
    evaluations: int = 2
    protocol: Literal["ours", "tutorial"] = "ours"
    titles: bool = False
    loss: Literal["multiple-negatives", "cached"] = "multiple-negatives"
    mini_batch_size: int = 16
    teacher: str | None = None
    distillation: Literal["margin-mse", "kl"] = "kl"

    def __post_init__(self) -> None:
        FitSettings.__post_init__(self)
        NegativeSettings.__post_init__(self)
        require_positive(self, "mini_batch_size")
        require_in_batch(self.batch_size, self.teacher, self.negatives)


def train(settings: Settings) -> Outcome:
    """Train a bi-encoder on questions and passages.

    Raises:
        SettingsError: If the output folder holds another run.
        DataError: If the data is missing or of the wrong shape.
    """
    # 1. Questions and passages
    as_given = settings.protocol == "tutorial"
    data = read_questions(settings.data, settings.titles, settings.seed, settings.sample, as_given=as_given)
    learned, held = hold_out(data.train, settings.held_out, settings.seed)
    corpus = Corpus([*data.train, *data.test])
    run = Run(settings)
    if done := run.finished():
        return done

    # 2. Stage 1's model
    model: SentenceTransformer = load_model("SentenceTransformer", settings.base_model, settings.max_length)

    # 3. Before training
    test = question_tests(data.test, corpus, settings.seed, protocol=settings.protocol)
    held_out = question_tests(held, corpus, settings.seed, protocol=settings.protocol) if held else None
    before = run.test_before(test, model, held_out)

    # 4. Wrong passages, and a teacher's opinion; only training passages may be learned from
    shelf = Corpus(learned)
    wrong = run.remember("wrong_passages", lambda: wrong_passages(learned, shelf, settings, settings.seed, fill=False))
    count = min(len(others) for others in wrong)
    columns: dict[str, Any] = {
        "question": [row.question for row in learned],
        "passage": [row.passage for row in learned],
        **{f"wrong_{number}": [others[number] for others in wrong] for number in range(count)},
    }
    if settings.teacher is not None:
        teacher = settings.teacher
        passages = [[row.passage, *others[:count]] for row, others in zip(learned, wrong, strict=True)]
        columns["label"] = run.remember("teacher", lambda: teacher_logits(teacher, columns["question"], passages))

    # 5. Training
    distillation = settings.distillation if settings.teacher is not None else None
    metric = "spearman" if as_given else "hard_spearman"
    loss, name = bi_encoder_loss(model, settings.loss, settings.mini_batch_size, distillation)
    fitted = fit(model, Dataset.from_dict(columns), loss, run, held_out, metric, no_duplicates=True)

    # 6. After training
    about = About(
        title="A Korean bi-encoder for questions and passages",
        task="sentence-similarity",
        recipe="training.recipes.mrc",
        test=describe_question_tests(len(data.test), settings.protocol),
        data=data,
        loss=name,
        held_out=len(held),
        notes=[f"Each question with {count} wrong passages ({settings.negatives}) beside those of its batch."],
    )
    return finish(run, model, test, before, fitted, about)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the settings and train."""
    run_recipe(Settings, train, argv)


if __name__ == "__main__":
    main()
