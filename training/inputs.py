"""What the recipes learn from and are tested on: from the hub, from a data folder, or from a file of your own."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from langchain_klue_rerank.engine.text.words import clean
from langchain_klue_rerank.errors import MissingExtraError
from langchain_klue_rerank.files.loading import read_rows_of
from training.data import with_title

logger = logging.getLogger(__name__)

Row = TypeVar("Row")
_KLUE_LICENCE = "CC BY-SA 4.0"
#: Share of a single file that only tests.
_TEST_SHARE = 0.1


class DataError(ValueError):
    """Training data that is missing, empty or of the wrong shape; the message names the place and the remedy."""


@dataclass(frozen=True)
class Scored:
    """Two sentences and how alike they are, from 0 (unrelated) to 1 (the same)."""

    first: str
    second: str
    label: float


@dataclass(frozen=True)
class Question:
    """A question and the passage that answers it.

    Attributes:
        question: The question.
        passage: The passage that answers it.
        title: Title of the passage; two passages of one title are never each other's wrong passage.
        answer: The part of the passage that answers, empty when unknown.
        negatives: Wrong passages that the data itself names.
    """

    question: str
    passage: str
    title: str = ""
    answer: str = ""
    negatives: tuple[str, ...] = ()


@dataclass(frozen=True)
class Data:
    """Rows to learn from and rows to be tested on.

    Attributes:
        name: For the model card.
        licence: Of the data, for the model card.
        train: `Scored` or `Question` rows.
        test: The same; none of them trains.
        counts: Rows that were dropped or that are special, by the names of `NOTES`.
    """

    name: str
    licence: str
    train: list[Any]
    test: list[Any]
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """Choices that were made while reading, for the log and the model card."""
        return [NOTES[name].format(count) for name, count in self.counts.items()]


#: What each count of `Data` says.
NOTES = {
    "asked_twice": "{} test questions stood there twice; the first of each is kept.",
    "train_is_test": "{} training rows that are test rows, too, do not train.",
    "sample": "A sample of at most {} rows of each part.",
    "impossible_train": "{} training questions cannot be answered from their passage; kept as in the tutorial.",
    "impossible_test": "{} test questions cannot be answered from their passage; kept as in the tutorial.",
}


def read_scored(
    data: str, label_max: float = 5.0, seed: int = 42, sample: int | None = None, *, as_given: bool = False
) -> Data:
    """Read sentence pairs with a similarity.

    Args:
        data: ``"hub"`` (klue/sts), a folder with ``klue_sts`` in it or with ``train`` and ``validation`` files, or a
            csv or jsonl file with the columns sentence1, sentence2 and label, a tenth of which then tests.
        label_max: What stands for "the same". Default 5.
        seed: Of the split of a single file.
        sample: At most so many rows of each part.
        as_given: Keep training rows that are test rows, too, as the tutorial does.

    Raises:
        DataError: If a file or column is missing, a file is empty, a label is no number from 0 to `label_max`, or all
            labels are equal.
    """
    name, licence, parts = _read_parts(data, "klue_sts", "sts")
    digits = 1 if licence == _KLUE_LICENCE else 12  # KLUE's own label is its real-valued one rounded to one digit
    train, test = ([_scored(place, row, label_max, digits) for place, row in rows] for rows in parts.values())
    if not test:
        train, test = _split(train, [f"{row.first}\n{row.second}" for row in train], _TEST_SHARE, seed)
    for part, rows in (("training", train), ("test", test)):
        if len({row.label for row in rows}) < 2:
            raise DataError(f"--data {data}: all {part} rows have one label; a correlation needs two or more")
    known = set() if as_given else {(row.first, row.second) for row in test}
    return _finished(name, licence, train, test, lambda row: (row.first, row.second) in known, seed, sample, {})


def read_questions(
    data: str, titles: bool = False, seed: int = 42, sample: int | None = None, *, as_given: bool = False
) -> Data:
    """Read questions with the passages that answer them.

    Args:
        data: ``"hub"`` (klue/mrc), a folder with ``klue_mrc`` in it or with ``train`` and ``validation`` files (and
            perhaps ``test``), or a csv or jsonl file with the columns question and passage (or context), and, if it has
            them, negative, title and answer. A tenth of a single file's passages then test.
        titles: Whether to put the title before each passage, as `KlueRetriever` reads them.
        seed: Of the split of a single file.
        sample: At most so many questions of each part.
        as_given: Keep questions that stand there twice and training rows that are test rows, as the tutorial does.

    Raises:
        DataError: If a file or column is missing, a file is empty, or all rows have one passage.
    """
    name, licence, parts = _read_parts(data, "klue_mrc", "mrc")
    train, test = ([_question(place, row, titles) for place, row in rows] for rows in parts.values())
    if not test:
        train, test = _split(train, [row.passage for row in train], _TEST_SHARE, seed)
    if len({row.title or row.passage for row in train}) < 2:
        raise DataError(f"--data {data}: all training rows have one passage or title: none could be wrong; add rows")
    counts = {}
    for part, rows in parts.items():
        if impossible := sum(bool(row.get("is_impossible")) for _, row in rows):
            counts[f"impossible_{part}"] = impossible
    asked: dict[str, Question] = {}
    if not as_given:
        for row in test:
            asked.setdefault(row.question, row)
        if len(asked) < len(test):
            counts["asked_twice"] = len(test) - len(asked)
        test = list(asked.values())
    return _finished(name, licence, train, test, lambda row: row.question in asked, seed, sample, counts)


def hold_out(rows: Sequence[Question], share: float, seed: int) -> tuple[list[Question], list[Question]]:
    """Split training questions into those that train and those that pick the best checkpoint, by passage."""
    return _split(rows, [row.passage for row in rows], share, seed) if share else (list(rows), [])


# Files --------------------------------------------------------------------------------------------------------------

_Rows = list[tuple[str, dict[str, Any]]]


def _read_parts(data: str, folder_name: str, hub_name: str) -> tuple[str, str, dict[str, _Rows]]:
    """Return name, licence and the rows of the parts ``train`` and ``test``, each with its place for errors."""
    if data == "hub":
        return f"klue/{hub_name}", _KLUE_LICENCE, _from_hub(hub_name)
    path = Path(data)
    if path.is_file():
        return path.name, "unknown", {"train": _read_file(path), "test": []}
    if not path.is_dir():
        raise DataError(f"--data {data}: there is no such file or folder; 'hub' loads klue/{hub_name}")
    folder = path / folder_name if (path / folder_name).is_dir() else path
    found = {part: _find(folder, part) for part in ("train", "validation", "test")}
    if found["train"] is None or found["validation"] is None:
        missing = "train" if found["train"] is None else "validation"
        raise DataError(
            f"--data {data}: there is neither {missing}.csv nor {missing}.jsonl in {folder}; name a folder with both "
            "parts, or a single file"
        )
    licence = _KLUE_LICENCE if folder.name == folder_name else "unknown"
    test = [row for part in ("validation", "test") if (file := found[part]) for row in _read_file(file)]
    return folder.name, licence, {"train": _read_file(found["train"]), "test": test}


def _find(folder: Path, part: str) -> Path | None:
    return next((path for ending in ("jsonl", "csv") if (path := folder / f"{part}.{ending}").is_file()), None)


def _read_file(path: Path) -> _Rows:
    if path.suffix not in (".csv", ".jsonl"):
        raise DataError(f"{path} ends in {path.suffix!r}; give a .csv or .jsonl file")
    try:
        found = [(f"{path}, line {number}", row) for number, row in read_rows_of(path)]
    except ValueError as error:
        raise DataError(str(error)) from error
    if not found:
        raise DataError(f"{path} is empty; it needs a row for every example")
    return found


def _from_hub(name: str) -> dict[str, _Rows]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingExtraError("datasets", "train", "--data hub") from error
    try:
        splits = load_dataset("klue/klue", name)
    except Exception as error:  # whatever the network raises
        raise DataError(
            f"--data hub: klue/{name} cannot be loaded ({type(error).__name__}: {error}); check the connection, or "
            "name a folder"
        ) from error
    parts = {"train": splits["train"], "test": splits["validation"]}
    return {
        part: [(f"klue/{name} {part} {n}", _flat(row)) for n, row in enumerate(rows)] for part, rows in parts.items()
    }


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the hub's KLUE with the columns of our files."""
    if "labels" in row:
        return {**row, "label": row["labels"]["label"]}
    return {**row, "answer": next(iter(row["answers"]["text"]), "")}


# Rows ---------------------------------------------------------------------------------------------------------------


def _scored(place: str, row: dict[str, Any], label_max: float, digits: int) -> Scored:
    first, second = _text(place, row, "sentence1"), _text(place, row, "sentence2")
    if "label" not in row:
        raise DataError(_no_column(place, row, "label"))
    try:
        label = round(float(row["label"]), digits)
    except (TypeError, ValueError):
        label = -1.0
    if not 0 <= label <= label_max:
        raise DataError(f"{place}: the label {row['label']!r} is no number from 0 to {label_max:g}; see --label-max")
    return Scored(first, second, label / label_max)


def _question(place: str, row: dict[str, Any], titles: bool) -> Question:
    title, answer, negative = (row.get(name) for name in ("title", "answer", "negative"))
    passage = _text(place, row, "passage", "context")
    named = title if isinstance(title, str) else ""
    return Question(
        _text(place, row, "question"),
        with_title(named, passage) if titles and named else passage,
        named,
        answer.strip() if isinstance(answer, str) else "",
        (clean(negative),) if isinstance(negative, str) and negative.strip() else (),
    )


def _text(place: str, row: dict[str, Any], *names: str) -> str:
    if not any(name in row for name in names):
        raise DataError(_no_column(place, row, " or ".join(names)))
    text = next((row[name] for name in names if isinstance(row.get(name), str) and row[name].strip()), None)
    if text is None:
        raise DataError(f"{place}: the column {' or '.join(names)} is blank; fill it or drop the row")
    return clean(text)


def _no_column(place: str, row: dict[str, Any], name: str) -> str:
    return f"{place}: there is no column {name}, only {', '.join(map(str, row))}; rename one"


# Parts --------------------------------------------------------------------------------------------------------------


def _split(rows: Sequence[Row], groups: Sequence[str], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Set a share of the groups apart, as a whole, so that nothing is learned by heart; at least one group a part."""
    names = sorted(set(groups))
    if len(names) < 2:
        raise DataError(f"{len(rows)} rows with {len(names)} different texts cannot be split; add rows")
    random.Random(seed).shuffle(names)
    apart = set(names[: min(max(1, round(share * len(names))), len(names) - 1)])
    pairs = list(zip(rows, groups, strict=True))
    return [row for row, group in pairs if group not in apart], [row for row, group in pairs if group in apart]


def _finished(
    name: str,
    licence: str,
    train: list[Any],
    test: list[Any],
    is_test: Any,
    seed: int,
    sample: int | None,
    counts: dict[str, int],
) -> Data:
    """Take test rows out of training, take samples, and log the choices."""
    kept = [row for row in train if not is_test(row)]
    found = dict(counts)
    if len(kept) < len(train):
        found["train_is_test"] = len(train) - len(kept)
    if not kept:
        raise DataError(f"{name}: no training row is left that is not a test row; give other test rows")
    if sample is not None and sample < max(len(kept), len(test)):
        found["sample"] = sample
        kept, test = (random.Random(seed).sample(rows, min(sample, len(rows))) for rows in (kept, test))
    data = Data(name, licence, kept, test, found)
    for note in data.notes:
        logger.warning("%s: %s", name, note)
    logger.info("%s: %d rows to learn from, %d to be tested on", name, len(kept), len(test))
    return data
