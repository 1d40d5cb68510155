"""A late-interaction reranker learns token vectors: the best match of every word of a question decides.

    python -m training.recipes.late_interaction --data ../shared/data --base-model FOLDER --output runs/late_interaction
    python -m training.recipes.late_interaction --teacher runs/cross_encoder/model --negatives bm25 --negative-count 3

Steps: 1. read the questions and hold some passages' questions out; 2. put a projection on a language model; 3. test
it as it is; 4. find wrong passages, cut long ones to their best window and ask a teacher, if wanted; 5. train;
6. fit the curve that makes probabilities of scores, test the best checkpoint and write model, card, history and plot.
On several GPUs: ``accelerate launch -m training.recipes.late_interaction ...``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from datasets import Dataset
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules.dense import Dense
from torch import nn

from training.inputs import hold_out, read_questions
from training.recipes.cards import About
from training.recipes.evaluate import Correlations, describe_question_tests, pair_scores, question_tests
from training.recipes.fitting import FitSettings, Outcome, Run, finish, fit, load_model, run_recipe
from training.recipes.losses import late_interaction_loss, teacher_logits
from training.recipes.negatives import Corpus, NegativeSettings, require_in_batch, wrong_passages
from training.recipes.windows import WindowReader
from training.settings import SettingsError, require_positive


@dataclass(frozen=True, kw_only=True)
class Settings(FitSettings, NegativeSettings):
    """Settings of the recipe.

    Attributes:
        dimension: Of a token's vector; a passage costs so many bytes a token in an index, a little more.
        titles: Put the title before each passage, as KlueRetriever reads them.
        windows: Read a long passage's window that shares most with the question, and holds the answer of a right one,
            instead of the passage's beginning.
        mini_batch_size: Passages computed at a time.
        teacher: Cross-encoder whose scores of right and wrong passages are learned instead of the labels: packaged, a
            folder or a hub id. It needs --negatives.
        distillation: How they are learned: differences of scores (margin-mse) or their distribution (kl).
    """

    base_model: str = "klue/roberta-small"
    output: Path = Path("runs/late_interaction")
    held_out: float = 0.05
    evaluations: int = 2
    dimension: int = 64
    titles: bool = False
    windows: bool = True
    mini_batch_size: int = 32
    teacher: str | None = None
    distillation: Literal["margin-mse", "kl"] = "kl"

    def __post_init__(self) -> None:
        FitSettings.__post_init__(self)
        NegativeSettings.__post_init__(self)
        require_positive(self, "mini_batch_size", "dimension")
        require_in_batch(self.batch_size, self.teacher, self.negatives)


def train(settings: Settings) -> Outcome:
    """Train a late-interaction model on questions and passages.

    Raises:
        SettingsError: If the output folder holds another run.
        DataError: If the data is missing or of the wrong shape.
    """
    # 1. Questions and passages
    data = read_questions(settings.data, settings.titles, settings.seed, settings.sample)
    learned, held = hold_out(data.train, settings.held_out, settings.seed)
    corpus = Corpus([*data.train, *data.test])
    run = Run(settings)
    if done := run.finished():
        return done

    # 2. Language model with a projection
    model: MultiVectorEncoder = load_model("MultiVectorEncoder", settings.base_model, settings.max_length)
    _project(model, settings.dimension)
    reader = WindowReader(model.tokenizer, model.max_seq_length or 512) if settings.windows else None

    # 3. Before training
    read = reader.best if reader else None
    test = question_tests(data.test, corpus, settings.seed, read)
    held_out = question_tests(held, corpus, settings.seed, read) if held else None
    before = run.test_before(test, model, held_out)

    # 4. Wrong passages, only of the training rows; a teacher's opinion
    shelf = Corpus(learned)
    wrong = run.remember("wrong_passages", lambda: wrong_passages(learned, shelf, settings, settings.seed, fill=False))
    count = min(len(others) for others in wrong)
    questions = [row.question for row in learned]
    passages = [[row.passage, *others[:count]] for row, others in zip(learned, wrong, strict=True)]
    labels: list[list[float]] = []
    if settings.teacher is not None:
        teacher, whole = settings.teacher, passages
        labels = run.remember("teacher", lambda: teacher_logits(teacher, questions, whole))
    if reader:
        passages = reader.best_of_all(learned, passages)
    columns: dict[str, list[Any]] = {
        "question": questions,
        "passage": [texts[0] for texts in passages],
        **{f"wrong_{number}": [texts[number] for texts in passages] for number in range(1, count + 1)},
        **({"label": labels} if labels else {}),
    }

    # 5. Training
    distillation = settings.distillation if settings.teacher is not None else None
    loss, name = late_interaction_loss(model, settings.mini_batch_size, distillation)
    fitted = fit(model, Dataset.from_dict(columns), loss, run, held_out, "hard_spearman", no_duplicates=True)

    # 6. After training
    notes = [f"Each question with {count} wrong passages ({settings.negatives}) beside those of its batch."]
    if held_out is not None:
        notes.append(calibrate(model, held_out))
    about = About(
        title="A Korean late-interaction reranker",
        task="feature-extraction",
        recipe="training.recipes.late_interaction",
        test=describe_question_tests(len(data.test)),
        data=data,
        loss=name,
        notes=notes,
    )
    return finish(run, model, test, before, fitted, about)


def _project(model: MultiVectorEncoder, dimension: int) -> None:
    """Give the model a new projection if its vectors have another dimension."""
    if model.get_embedding_dimension() == dimension:
        return
    places = [place for place, module in enumerate(model) if isinstance(module, Dense)]
    if not places:
        raise SettingsError(f"--dimension {dimension}: the base model has no projection that could be replaced")
    width: Any = model[places[-1]].in_features
    new = Dense(width, dimension, bias=False, activation_function=nn.Identity(), module_input_name="token_embeddings")
    model[places[-1]] = new.to(model.device)


def calibrate(model: MultiVectorEncoder, held_out: Correlations) -> str:
    """Fit a logistic curve to the scores of held-out pairs with hard wrong passages and keep it in the model's config.

    `KlueReranker` reads it there; without one a mean cosine x becomes (1 + x) / 2.
    """
    from sklearn.linear_model import LogisticRegression

    pairs = held_out.sets["hard_"]
    scores = pair_scores(model, list(zip(pairs.first, pairs.second, strict=True)))
    curve = LogisticRegression(C=1e4).fit(scores.reshape(-1, 1), np.asarray(pairs.labels) > 0.5)
    slope, intercept = float(curve.coef_[0, 0]), float(curve.intercept_[0])
    if slope <= 0:
        return "The scores say nothing about held-out pairs; no curve was fitted to them."
    body: Any = model[0]
    body.auto_model.config.late_interaction = {"slope": slope, "intercept": intercept}
    return (
        f"Score: 1 / (1 + exp(-({slope:.2f} x {intercept:+.2f}))) of the mean best cosine x, fitted to held-out pairs."
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the settings and train."""
    run_recipe(Settings, train, argv)


if __name__ == "__main__":
    main()
