"""Evaluation sets: the samples, your own questions, and the formats of published sets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from langchain_klue_rerank.errors import MissingExtraError
from langchain_klue_rerank.files.loading import read_rows_of

#: Where the sample passages and questions lie that come with the package.
SAMPLES = Path(__file__).parents[1] / "samples"


@dataclass(frozen=True)
class EvaluationSet:
    """Questions over a corpus.

    Attributes:
        name: What it is called in tables.
        documents: The corpus; every document has an id.
        questions: The questions.
        relevant: For each question the ids of the documents that answer it.
    """

    name: str
    documents: list[Document]
    questions: list[str]
    relevant: list[frozenset[str]]

    def first(self, count: int | None) -> EvaluationSet:
        """Return the same corpus with the first questions only; None for all."""
        return EvaluationSet(self.name, self.documents, self.questions[:count], self.relevant[:count])


def read_sets(data: str) -> list[EvaluationSet]:
    """Read evaluation sets.

    Args:
        data: One of

            - ``"samples"``: the passages and questions that come with the package;
            - ``"hub"``: KLUE-MRC from the hub (needs the ``train`` extra), with its validation questions;
            - a folder with ``passages.jsonl`` (id, text[, title]) and ``questions.jsonl`` (question, passage_id);
            - a folder with ``train.jsonl``, ``validation.jsonl`` and ``test.jsonl`` of question, context and title:
              the questions of validation and test, over their own contexts (the seed's protocol) and over all contexts;
            - a file or folder of SQuAD JSON, such as KorQuAD;
            - a csv or jsonl file of your own with the columns question and passage, and title if there is one.

    Returns:
        The sets; two for KLUE-MRC.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it has none of these forms, or a column is missing.
    """
    if data == "samples":
        return [_read_folder(SAMPLES, "samples")]
    if data == "hub":
        return _from_hub()
    path = Path(data)
    if not path.exists():
        raise FileNotFoundError(
            f"--data {data!r}: there is no such file or folder; 'samples' and 'hub' are known names."
        )
    if path.is_dir():
        if (path / "questions.jsonl").exists():
            return [_read_folder(path, path.name)]
        if (path / "validation.jsonl").exists():
            splits = {
                name: _jsonl(path / f"{name}.jsonl", "question", "context") for name in ("train", "validation", "test")
            }
            return _two_protocols(path.name, splits["train"], splits["validation"] + splits["test"])
        files = sorted(path.glob("*.json"))
        if not files:
            raise ValueError(
                f"--data {data!r}: the folder holds neither questions.jsonl, validation.jsonl nor SQuAD JSON."
            )
        return [_from_pairs(file.stem, list(_squad(file))) for file in files]
    if path.suffix == ".json":
        return [_from_pairs(path.stem, list(_squad(path)))]
    return [_from_pairs(path.stem, read_pairs(path))]


def read_pairs(path: Path) -> list[dict[str, str]]:
    """Read a csv or jsonl file with the columns question and passage (or context, or text), and title if there is one.

    Raises:
        ValueError: If the ending is another one, the file is empty, or a column is missing.
    """
    if path.suffix == ".jsonl":
        rows = _jsonl(path)
    elif path.suffix == ".csv":
        rows = [row for _, row in read_rows_of(path)]
    else:
        raise ValueError(f"{str(path)!r} ends in {path.suffix!r}; expected .csv, .jsonl or .json.")
    pairs = []
    for number, row in enumerate(rows, 1):
        passage = next((row[name] for name in ("passage", "context", "text") if _is_text(row.get(name))), None)
        if passage is None or not _is_text(row.get("question")):
            missing = "passage" if _is_text(row.get("question")) else "question"
            raise ValueError(
                f"{str(path)!r}, row {number}: no {missing!r} among the columns {', '.join(map(str, row))}."
            )
        pairs.append({"question": row["question"], "context": passage, "title": row.get("title") or ""})
    if not pairs:
        raise ValueError(f"{str(path)!r} is empty.")
    return pairs


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _two_protocols(name: str, train: list[dict[str, Any]], test: list[dict[str, Any]]) -> list[EvaluationSet]:
    return [
        _from_pairs(f"{name}, own contexts", test),
        _from_pairs(f"{name}, all contexts", test, more=train),
    ]


def _from_pairs(name: str, pairs: Sequence[dict[str, Any]], more: Sequence[dict[str, Any]] = ()) -> EvaluationSet:
    """Make a set of rows with question, context and title; equal contexts are one passage."""
    documents: dict[str, Document] = {}
    for row in [*pairs, *more]:
        context = row["context"]
        if context not in documents:
            metadata = {"title": row["title"]} if row.get("title") else {}
            documents[context] = Document(context, id=str(len(documents)), metadata=metadata)
    return EvaluationSet(
        name,
        list(documents.values()),
        [row["question"] for row in pairs],
        [frozenset({documents[row["context"]].id or ""}) for row in pairs],
    )


def _read_folder(folder: Path, name: str) -> EvaluationSet:
    documents = read_passages(folder / "passages.jsonl")
    known = {document.id for document in documents}
    questions = _jsonl(folder / "questions.jsonl", "question", "passage_id")
    for row in questions:
        if row["passage_id"] not in known:
            raise ValueError(
                f"The question {row['question']!r} names the passage {row['passage_id']!r}, which is missing."
            )
    return EvaluationSet(
        name, documents, [row["question"] for row in questions], [frozenset({row["passage_id"]}) for row in questions]
    )


def read_passages(path: Path) -> list[Document]:
    """Read documents from a jsonl file of id, text and title."""
    return [
        Document(row["text"], id=row["id"], metadata={key: row[key] for key in row if key not in ("id", "text")})
        for row in _jsonl(path, "id", "text")
    ]


def _jsonl(path: Path, *needed: str) -> list[dict[str, Any]]:
    """Read a jsonl file whose lines have all of these keys, each with a text."""
    rows = []
    for number, row in read_rows_of(path):
        for key in needed:
            if not isinstance(row.get(key), str):
                raise ValueError(f"{str(path)!r}, line {number} has no text under {key!r}.")
        rows.append(row)
    return rows


def _squad(path: Path) -> Iterator[dict[str, str]]:
    try:
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    yield {
                        "question": question["question"],
                        "context": paragraph["context"],
                        "title": article.get("title", ""),
                    }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is not SQuAD JSON ({type(error).__name__}: {error}).") from error


def _from_hub() -> list[EvaluationSet]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingExtraError("datasets", "train", "--data hub") from error
    splits = load_dataset("klue/klue", "mrc")
    return _two_protocols("KLUE-MRC", list(splits["train"]), list(splits["validation"]))
