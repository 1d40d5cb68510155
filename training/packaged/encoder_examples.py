"""Examples for `training.packaged.encoder_tuning`: questions with windows of passages, sentence pairs, entailments.

A question comes with the window of 40 words of its passage that answers it and with windows of wrong passages, those
that the package's own hybrid search ranks best: in-batch passages alone are told apart at once and teach nothing.
Questions written for this project (``everyday``, ``paraphrased``) avoid the words of their passage, so that no word
shows which of its windows answers: they come with all of them, of which the nearest counts. To read a question and a
passage together, longer windows are cut, and questions that no passage answers come with those nearest to them.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from tqdm import tqdm

from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.engine.text.windows import cut_texts
from training import data as sets
from training.files import write_jsonl
from training.recipes.windows import terms

logger = logging.getLogger(__name__)

#: Words of a window, as `KlueRetriever` cuts passages for a second bi-encoder.
WINDOW_WORDS = 40
#: Words of the windows that are read with a question.
_READ_WORDS = 80
#: Passages that the search looks at for wrong ones, and wrong ones that are kept.
_DEPTH, _WRONG = 20, 6


@dataclass(frozen=True)
class Asked:
    """A question, windows that answer it, and windows of passages that do not.

    Attributes:
        query: The question.
        right: The window of the right passage that holds its answer, or else shares most with the question; or all
            windows of its passages, of which one answers.
        wrong: Windows of wrong passages, the best of the search first.
    """

    query: str
    right: list[str]
    wrong: list[str]


def questions(data: Path, leave_out: Sequence[str], generator: random.Random, most: int) -> Iterator[Asked]:
    """Yield questions of all kinds that may train, each kind searched by itself.

    Args:
        data: The data folder.
        leave_out: Kinds to leave out, for checking: ``klue_mrc``, ``tydiqa``, ``welfare``, ``strategy``, ``headings``.
        generator: Where chance comes from.
        most: At most so many questions of a kind.
    """
    welfare = [sets.Pair(pair.query, f"{programme}\n{pair.passage}") for pair, programme in sets.read_welfare(data)]
    kinds = {
        "klue_mrc": lambda: sets.read_mrc(data),
        "tydiqa": lambda: sets.read_squad(data / "tydiqa_ko" / "korean_tydiqa_train.json"),
        "welfare": lambda: welfare,
        "strategy": lambda: sets.read_strategy(data),
        "headings": lambda: sets.heading_pairs(sets.read_raw(data, "ms_docs")),
    }
    for name, read in kinds.items():
        if name in leave_out:
            continue
        pairs = [pair for pair in read() if pair.query.strip() and pair.passage.strip()]
        generator.shuffle(pairs)
        logger.info("%s: %d questions, %d used", name, len(pairs), min(most, len(pairs)))
        yield from _mined(name, pairs, pairs[:most])


def written() -> Iterator[Asked]:
    """Yield the questions written for this project that the encoder learns from, each corpus searched by itself."""
    for name, pairs in sets.read_written():
        if name not in sets.FRESH_CORPORA:
            yield from _mined(name, pairs, pairs, every_window=True)


def to_read() -> Iterator[Asked]:
    """Yield questions written for this project with windows to be read together with them.

    Those of the usual and the fresh corpora are left out: the confidence is fitted on them.

    Yields:
        Questions; those that no passage answers have no right window.
    """
    for folder in (path for room in (sets.EVERYDAY, sets.PARAPHRASED) for path in sorted(room.iterdir())):
        if folder.is_dir() and folder.name not in (*sets.USUAL_CORPORA, *sets.FRESH_CORPORA):
            yield from _to_read(sets.read_jsonl(folder / "passages.jsonl"), sets.read_jsonl(folder / "questions.jsonl"))


def _to_read(rows: Sequence[dict[str, Any]], asked: Sequence[dict[str, Any]]) -> Iterator[Asked]:
    windows = {row["id"]: cut_texts([row["text"]], [row["title"]], _READ_WORDS)[0] for row in rows}
    documents = [Document(row["text"], metadata={"title": row["title"]}, id=row["id"]) for row in rows]
    retriever = KlueRetriever.from_documents(documents, reranker=None, k=_WRONG + 2)
    for row, found in zip(asked, retriever.batch([one["question"] for one in asked]), strict=True):
        # first the passage that a question without an answer is about, then those that the search finds
        near = dict.fromkeys([*row.get("near", ()), *(document.id for document in found)])
        wrong = [name for name in near if name not in row["passages"]][: _WRONG - 1]
        right = [window for name in row["passages"] for window in windows[name]]
        if wrong:
            yield Asked(row["question"], right, [window for name in wrong for window in windows[name][:2]])


def _mined(
    name: str, pairs: Sequence[sets.Pair], asked: Sequence[sets.Pair], every_window: bool = False
) -> Iterator[Asked]:
    passages = list(dict.fromkeys(pair.passage for pair in pairs))
    right: dict[str, set[str]] = {}
    for pair in pairs:
        right.setdefault(pair.query, set()).add(pair.passage)
    retriever = KlueRetriever.from_documents([Document(text) for text in passages], reranker=None, k=_DEPTH)
    for start in tqdm(range(0, len(asked), 256), desc=name, mininterval=5):
        rows = asked[start : start + 256]
        for pair, found in zip(rows, retriever.batch([row.query[:1000] for row in rows]), strict=True):
            title = pair.passage.partition("\n")[0]
            wrong = [
                one.page_content
                for one in found
                if one.page_content not in right[pair.query]
                and not (pair.answer and pair.answer in one.page_content)
                and one.page_content.partition("\n")[0] != title
            ]
            if wrong:
                windows = [_window(pair.query, text) for text in wrong[:_WRONG]]
                if every_window:
                    own = [window for text in sorted(right[pair.query]) for window in _windows(text)]
                else:
                    own = [_window(pair.query, pair.passage, pair.answer)]
                yield Asked(pair.query, own, windows)


def _windows(passage: str) -> list[str]:
    title, _, text = passage.partition("\n")
    if not text:
        title, text = "", passage
    return cut_texts([text], [title], WINDOW_WORDS)[0]


def _window(query: str, passage: str, answer: str = "") -> str:
    windows, wanted = _windows(passage), terms(query)
    holding = [window for window in windows if answer and answer in window]
    return max(holding or windows, key=lambda window: len(wanted & terms(window)))


def remembered(path: Path, find: Callable[[], Iterable[Asked]], seed: int) -> list[Asked]:
    """Return questions, found before and kept in a file or found now, in random order."""
    if not path.exists():
        rows = list(find())
        random.Random(seed).shuffle(rows)
        write_jsonl(path, map(vars, rows))
    return [Asked(**row) for row in sets.read_jsonl(path)]
