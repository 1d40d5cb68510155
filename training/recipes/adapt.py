"""Adapt the packaged bi-encoder to your own questions and passages, in minutes on a CPU.

    python -m training.recipes.adapt --data my_questions.csv --output my-bi-encoder

The file has the columns question and passage, and perhaps negative and title. ``KlueEmbeddings(model="my-bi-encoder")``
then loads the model, without torch. Steps: 1. read the pairs; 2. measure the model as it is; 3. find wrong passages;
4. train, on one core, the rows of the table that the texts use; 5. go as far from the model as the pairs held out for
that purpose say; 6. write it; 7. measure it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from langchain_klue_rerank import KlueEmbeddings
from langchain_klue_rerank.engine.models.names import PACKAGED, identity
from langchain_klue_rerank.errors import KlueRerankError
from training import settings as settings_room
from training.files import replace_folder
from training.inputs import Data, DataError, hold_out, read_questions
from training.packaged.bag_model import Table
from training.packaged.static_vectors import Base, Pairs, Schedule, made_by, reciprocal_rank
from training.packaged.static_vectors import train as train_table
from training.recipes.adaptation_scores import QuestionSet, Scores, measure, table
from training.recipes.negatives import Corpus, NegativeSettings, mine
from training.settings import SettingsError, require_positive, to_dict

logger = logging.getLogger("training.recipes.adapt")

_MADE_BY = "training/recipes/adapt.py"
#: How far from the base the model may go, of the way that training went.
_SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
#: Settings that may differ between a run and its continuation.
_FREE = ("output", "resume", "max_minutes")


@dataclass(frozen=True, kw_only=True)
class Settings(NegativeSettings):
    """Settings of an adaptation.

    Attributes:
        data: A csv or jsonl file with the columns question and passage (and negative and title, if it has them), a
            tenth of whose passages then test; or a folder with train and validation files of that kind.
        output: Folder for the model.
        base_model: Model to start from: packaged, or a folder in the packaged format.
        epochs: Passes over the pairs.
        min_steps: Fewer pairs are passed over more often, until they make so many steps.
        batch_size: Pairs of a step; the passages of the others are wrong for each.
        learning_rate: Of the directions of the table's rows, the highest; it rises for ten steps and falls linearly.
        weight_rate: Of the logarithms of their lengths.
        scale: What cosines are multiplied with in the loss.
        word_dropout: Share of words left out of every text while training.
        held_out: Share of the training passages whose questions choose how far to go from the base model, instead of
            training; 0 goes all the way.
        seed: Of every random choice.
        sample: At most so many pairs of each part, for trying it out.
        max_minutes: End training early so that the whole run takes about so long.
        resume: Go on with the training that --max-minutes, or an interruption, ended.
    """

    data: str
    output: Path
    base_model: str = "packaged"
    negatives: Literal["none", "bm25", "bi-encoder", "both"] = "bm25"
    negative_count: int = 10
    epochs: int = 10
    min_steps: int = 100
    batch_size: int = 512
    learning_rate: float = 0.001
    weight_rate: float = 0.02
    scale: float = 20.0
    word_dropout: float = 0.1
    held_out: float = 0.1
    seed: int = 42
    sample: int | None = None
    max_minutes: float | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values.

        Raises:
            SettingsError: For the first one found.
        """
        super().__post_init__()
        require_positive(self, "epochs", "min_steps", "batch_size", "learning_rate", "weight_rate", "scale")
        require_positive(self, "sample", "max_minutes")
        for name in ("held_out", "word_dropout"):
            if not 0 <= getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise SettingsError(f"--{flag} {getattr(self, name)}: give a share from 0 to below 1")


@dataclass(frozen=True)
class Outcome:
    """What an adaptation came to.

    Attributes:
        model: Folder of the model, which `KlueEmbeddings` loads.
        before: Scores of the test questions with the base model.
        after: The same with the adapted one.
        share: How far from the base the model went, of the way that training went, 0..1.
        seconds: Time of this run.
        complete: False if the time budget ended training early.
    """

    model: Path
    before: Scores
    after: Scores
    share: float
    seconds: float
    complete: bool


def train(settings: Settings) -> Outcome:
    """Adapt a model.

    Raises:
        SettingsError: If the output folder holds something else, or another run is to be resumed.
        DataError: If the data is missing or of the wrong shape.
        ModelLoadError: If the base model is not in the packaged format.
    """
    started = time.monotonic()
    _check_output(settings)
    base = Base.open(settings.base_model)

    # 1. The pairs: some test, some choose how far to go, the others train
    data = read_questions(settings.data, titles=True, seed=settings.seed, sample=settings.sample)
    learned, held = hold_out(data.train, settings.held_out, settings.seed)
    checkpoint = _checkpoint(settings, data)

    # 2. The model as it is; all passages are searched
    test = QuestionSet.of(data.test, more=data.train)
    began = time.monotonic()
    before = measure(test, KlueEmbeddings(model=settings.base_model))
    reserve = 1.5 * (time.monotonic() - began) + 10  # for steps 5 to 7

    # 3. Wrong passages
    mined = mine(learned, Corpus(learned), settings)
    wrong = [list(dict.fromkeys([*row.negatives, *found])) for row, found in zip(learned, mined, strict=True)]
    pairs = Pairs(learned, wrong, base)

    # 4. Training, of the rows in use
    used = pairs.used_rows()
    start = base.vectors[used]
    learning = Table(start)
    if settings.resume and checkpoint.exists():
        learning.restore(checkpoint)
    deadline = None if settings.max_minutes is None else started + 60 * settings.max_minutes - reserve
    complete = _run(learning, used, pairs, settings, checkpoint, deadline)

    # 5. How far from the base
    share = 1.0
    if held:
        judge = Pairs([*held, *learned], [[]] * len(data.train), base)
        found = {s: reciprocal_rank(judge, len(held), _moved(base, used, learning.vectors, s)) for s in _SHARES}
        share = max(found, key=lambda s: round(found[s], 4))
        logger.info("mean reciprocal rank of held-out questions by share of the way: %s; taken: %s", found, share)

    # 6. Writing, beside its place, so that nothing half-written is ever there
    fresh = settings.output.with_name(settings.output.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        base.write(fresh, _moved(base, used, learning.vectors, share), _about(settings, data, len(learned), share))
        # 7. The model as it is now
        after = measure(test, KlueEmbeddings(model=str(fresh)))
        outcome = Outcome(settings.output, before, after, share, time.monotonic() - started, complete)
        (fresh / "README.md").write_text(_card(settings, data, outcome, test), encoding="utf-8")
        replace_folder(fresh, settings.output)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if complete:
        checkpoint.unlink(missing_ok=True)
    return outcome


def _run(
    learning: Table, used: NDArray[np.int64], pairs: Pairs, settings: Settings, checkpoint: Path, deadline: float | None
) -> bool:
    """Step 4; returns whether training came to its end."""
    schedule = Schedule(
        settings.epochs,
        settings.min_steps,
        settings.batch_size,
        settings.learning_rate,
        settings.weight_rate,
        settings.scale,
        settings.word_dropout,
        settings.seed,
    )
    saved = time.monotonic()
    with tqdm(total=schedule.steps(len(pairs)), initial=learning.step, desc="adapting", mininterval=1) as progress:

        def stop(step: int) -> bool:
            nonlocal saved
            progress.update(step - progress.n)
            if time.monotonic() - saved > 60:
                learning.store(checkpoint)
                saved = time.monotonic()
            return deadline is not None and time.monotonic() > deadline

        complete = train_table(learning, used, pairs, schedule, stop)
    if not complete:
        learning.store(checkpoint)
        logger.warning("The time budget ended training after %d steps; --resume goes on", learning.step)
    return complete


def _moved(base: Base, used: NDArray[np.int64], trained: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Return the base's vectors, the used ones moved by a share of the way to the trained ones."""
    vectors = base.vectors.copy()
    vectors[used] += np.float32(share) * (trained - vectors[used])
    return vectors


def _check_output(settings: Settings) -> None:
    """Refuse to replace anything but the model of the run that is to be resumed."""
    folder = settings.output
    if folder.is_file():
        raise SettingsError(f"--output {folder} is a file; name a new folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if made_by(folder) != _MADE_BY:
        raise SettingsError(f"--output {folder} holds something else; name a new folder")
    if not settings.resume:
        raise SettingsError(f"--output {folder} holds an adapted model; name a new folder, or remove it")


def _checkpoint(settings: Settings, data: Data) -> Path:
    """Return the checkpoint's path, which is another one for other settings or data."""
    chosen = {name: value for name, value in to_dict(settings).items() if name not in (*_FREE, "data")}
    rows = [dataclasses.astuple(row) for row in data.train]
    content = json.dumps([chosen, identity(settings.base_model), rows], sort_keys=True)
    name = f"{settings.output.name}.checkpoint-"
    path = settings.output.with_name(f"{name}{hashlib.sha256(content.encode()).hexdigest()[:12]}.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    others = [other for other in path.parent.glob(f"{name}*.npz") if other != path]
    if settings.resume and others and not path.exists():
        raise SettingsError(f"--resume: {others[0]} is of other settings or data; give the same, or another --output")
    return path


def _about(settings: Settings, data: Data, learned: int, share: float) -> dict[str, object]:
    """Return what the model's config says about its making; nothing that differs between equal runs."""
    left_out = (*_FREE, "data", "base_model")  # folders of this machine
    chosen = {name: value for name, value in to_dict(settings).items() if name not in left_out}
    return {
        "made_by": _MADE_BY,
        "base": identity(settings.base_model),
        "data": {"name": data.name, "pairs": learned},
        "settings": chosen,
        "share": share,
    }


def _card(settings: Settings, data: Data, outcome: Outcome, test: QuestionSet) -> str:
    """Return the model's README."""
    packaged = settings.base_model == PACKAGED
    base = PACKAGED if packaged else Path(settings.base_model).resolve().name
    licence = (
        "CC BY-SA 4.0, as that of the packaged weights, from which this model is derived and to whose card the "
        "attribution goes"
        if packaged
        else f"that of `{base}` (CC BY-SA 4.0 where it comes from the packaged weights)"
    )
    notes = "".join(f"\n- {note}" for note in data.notes)
    unfinished = "" if outcome.complete else "\n\n**The time budget ended training early.**"
    return f"""---
language: ko
license: {"cc-by-sa-4.0" if packaged else "other"}
tags: [langchain-klue-rerank]
---
# The packaged bi-encoder, adapted

Made from `{base}` (`{identity(settings.base_model)}`) with `python -m training.recipes.adapt` in
{outcome.seconds / 60:.1f} minutes. It runs without torch:

```python
from langchain_klue_rerank import KlueEmbeddings, KlueRetriever

retriever = KlueRetriever.from_documents(documents, embeddings=KlueEmbeddings(model="path/to/this/folder"))
```

## Scores

{test.describe()} None of them, nor any other question about their passages, trained. With 95% intervals (bootstrap):

{table(outcome.before, outcome.after)}{unfinished}

## Data

{data.name}: {len(data.train)} pairs, {len(data.test)} test questions. A share of {settings.held_out:g} of the pairs
chose how far to go from the base model: {outcome.share:.0%} of the way that training went.{notes}

**Licence: {licence}**; whether your own texts allow it is yours to judge. No text of the data is contained in the
weights.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Read the settings, adapt, and print the scores before and after."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    logging.getLogger("training").setLevel(logging.INFO)
    settings: Any = settings_room.parse(Settings, argv)
    try:
        outcome = train(settings)
    except (SettingsError, DataError, KlueRerankError) as error:
        logger.error("%s", error)
        sys.exit(2)
    print(table(outcome.before, outcome.after))
    print(f"\n{outcome.model}: {outcome.seconds / 60:.1f} minutes")


if __name__ == "__main__":
    main()
