"""Stage 1: a language model becomes a bi-encoder, from sentence pairs with a similarity.

    python -m training.recipes.sts --data ../shared/data --base-model FOLDER --output runs/sts
    python -m training.recipes.sts --data my_pairs.csv   # columns sentence1, sentence2, label (0 to 5; --label-max)

Steps: 1. read the pairs and hold some out; 2. mean pooling over the language model; 3. test it as it is; 4. train with
the cosine-similarity loss; 5. test the best checkpoint and write model, card, history and plot. On several GPUs:
``accelerate launch -m training.recipes.sts ...``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from datasets import Dataset
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss

from training.inputs import Scored, read_scored
from training.recipes.cards import About
from training.recipes.evaluate import Correlations, Pairs
from training.recipes.fitting import FitSettings, Outcome, Run, finish, fit, load_model, run_recipe
from training.settings import require_positive


@dataclass(frozen=True, kw_only=True)
class Settings(FitSettings):
    """Settings of stage 1; the defaults are the tutorial's.

    Attributes:
        label_max: The label of two sentences that mean the same.
        protocol: ours drops training rows that are test rows, too; tutorial keeps them.
    """

    output: Path = Path("runs/sts")
    epochs: int = 4
    label_max: float = 5.0
    protocol: Literal["ours", "tutorial"] = "ours"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "label_max")


def train(settings: Settings) -> Outcome:
    """Train a bi-encoder on sentence pairs.

    Raises:
        SettingsError: If the output folder holds another run.
        DataError: If the data is missing or of the wrong shape.
    """
    # 1. Sentence pairs
    as_given = settings.protocol == "tutorial"
    data = read_scored(settings.data, settings.label_max, settings.seed, settings.sample, as_given=as_given)
    rows = Dataset.from_dict(
        {
            "sentence1": [row.first for row in data.train],
            "sentence2": [row.second for row in data.train],
            "label": [row.label for row in data.train],
        }
    )
    held_out = None
    if settings.held_out:
        parts = rows.train_test_split(test_size=settings.held_out, seed=settings.seed)
        rows, held = parts["train"], parts["test"]
        held_out = Correlations({"": Pairs(list(held["sentence1"]), list(held["sentence2"]), list(held["label"]))})
    run = Run(settings)
    if done := run.finished():
        return done

    # 2. Language model and mean pooling
    model = load_model("SentenceTransformer", settings.base_model, settings.max_length)

    # 3. Before training
    test = Correlations({"": _pairs(data.test)})
    before = run.test_before(test, model, held_out)

    # 4. Training
    fitted = fit(model, rows, CosineSimilarityLoss(model), run, held_out, "spearman")

    # 5. After training
    about = About(
        title="A Korean sentence bi-encoder",
        task="sentence-similarity",
        recipe="training.recipes.sts",
        test=f"{len(data.test)} sentence pairs",
        data=data,
        loss="cosine-similarity loss, mean pooling",
        held_out=len(data.train) - len(rows),
    )
    return finish(run, model, test, before, fitted, about)


def _pairs(rows: Sequence[Scored]) -> Pairs:
    return Pairs([row.first for row in rows], [row.second for row in rows], [row.label for row in rows])


def main(argv: Sequence[str] | None = None) -> None:
    """Read the settings and train."""
    run_recipe(Settings, train, argv)


if __name__ == "__main__":
    main()
