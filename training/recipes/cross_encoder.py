"""Stage 3: a cross-encoder learns to tell passages that answer a question from passages that do not.

    python -m training.recipes.cross_encoder --data ../shared/data --base-model FOLDER --output runs/cross_encoder
    python -m training.recipes.cross_encoder --data my_questions.csv     # columns question, passage[, negative]

Steps: 1. read the questions and hold some passages' questions out; 2. put one output on a language model; 3. test it
as it is; 4. find wrong passages, cut long ones to their best window and ask a teacher, if wanted; 5. train; 6. test
the best checkpoint and write model, card, history and plot. On several GPUs:
``accelerate launch -m training.recipes.cross_encoder ...``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset
from sentence_transformers import CrossEncoder

from training.inputs import Question, hold_out, read_questions
from training.recipes.cards import About
from training.recipes.evaluate import describe_question_tests, question_tests
from training.recipes.fitting import FitSettings, Outcome, Run, finish, fit, load_model, run_recipe
from training.recipes.losses import cross_encoder_loss, teacher_logits
from training.recipes.negatives import Corpus, NegativeSettings, draw_rows, wrong_passages
from training.recipes.windows import WindowReader


@dataclass(frozen=True, kw_only=True)
class Settings(FitSettings, NegativeSettings):
    """Settings of stage 3; the defaults are the tutorial's.

    Attributes:
        negatives: Hard wrong passages of each question: none (random ones of other titles), or those that BM25, the
            bi-encoder of --miner, or both find best.
        protocol: ours drops training rows that are test rows, too, and questions that stand there twice, and draws
            wrong passages among distinct ones; tutorial keeps all rows, draws among rows and leaves the hard test out.
        titles: Put the title before each passage, as KlueReranker reads them.
        loss: Every pair by itself (binary-cross-entropy), or all passages of a question against each other (listwise;
            set --negative-count).
        windows: Read a long passage's window that shares most with the question, and holds the answer of a right one,
            instead of the passage's beginning.
        teacher: Larger cross-encoder whose scores are learned instead of the labels: packaged, a folder or a hub id.
    """

    base_model: str = "klue/roberta-small"
    output: Path = Path("runs/cross_encoder")
    held_out: float = 0.05
    evaluations: int = 2
    protocol: Literal["ours", "tutorial"] = "ours"
    titles: bool = False
    loss: Literal["binary-cross-entropy", "listwise"] = "binary-cross-entropy"
    windows: bool = False
    teacher: str | None = None

    def __post_init__(self) -> None:
        FitSettings.__post_init__(self)
        NegativeSettings.__post_init__(self)


def train(settings: Settings) -> Outcome:
    """Train a cross-encoder on questions and passages.

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

    # 2. Language model with one output
    model: CrossEncoder = load_model("CrossEncoder", settings.base_model, settings.max_length)
    reader = WindowReader(model.tokenizer, model.max_seq_length or 512) if settings.windows else None

    # 3. Before training
    read = reader.best if reader else None
    test = question_tests(data.test, corpus, settings.seed, read, settings.protocol)
    held_out = question_tests(held, corpus, settings.seed, read, settings.protocol) if held else None
    before = run.test_before(test, model, held_out)

    # 4. Wrong passages, only of the training rows; a teacher's opinion
    shelf = Corpus(learned)
    wrong = run.remember("wrong_passages", lambda: _wrong_passages(learned, shelf, settings))
    questions = [row.question for row in learned]
    passages = [[row.passage, *others] for row, others in zip(learned, wrong, strict=True)]
    labels = [[1.0, *[0.0] * len(others)] for others in wrong]
    if settings.teacher is not None:
        teacher = settings.teacher
        labels = run.remember("teacher", lambda: teacher_logits(teacher, questions, passages))
    if reader:
        passages = reader.best_of_all(learned, passages)

    # 5. Training
    metric = "spearman" if as_given else "hard_spearman"
    loss, name = cross_encoder_loss(model, settings.loss, settings.teacher is not None, settings.batch_size)
    rows: dict[str, list[Any]] = {"question": questions, "passages": passages, "labels": labels}
    if settings.loss != "listwise":
        rows = _one_by_one(questions, passages, labels)
    fitted = fit(model, Dataset.from_dict(rows), loss, run, held_out, metric)

    # 6. After training
    about = About(
        title="A Korean reranker",
        task="text-ranking",
        recipe="training.recipes.cross_encoder",
        test=describe_question_tests(len(data.test), settings.protocol),
        data=data,
        loss=name,
        held_out=len(held),
        notes=[f"Wrong passages of a question: {settings.negative_count} ({settings.negatives})."],
    )
    return finish(run, model, test, before, fitted, about)


def _wrong_passages(learned: Sequence[Question], shelf: Corpus, settings: Settings) -> list[list[str]]:
    """Return the wrong passages of each question; the tutorial's are drawn among rows."""
    if settings.protocol == "tutorial" and settings.negatives == "none":
        return draw_rows(learned, settings.seed)
    return wrong_passages(learned, shelf, settings, settings.seed)


def _one_by_one(
    questions: Sequence[str], passages: Sequence[Sequence[str]], labels: Sequence[Sequence[float]]
) -> dict[str, list[Any]]:
    """Return a row for every pair."""
    return {
        "question": [question for question, texts in zip(questions, passages, strict=True) for _ in texts],
        "passage": [text for texts in passages for text in texts],
        "label": [label for own in labels for label in own],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Read the settings and train."""
    run_recipe(Settings, train, argv)


if __name__ == "__main__":
    main()
