"""Texts of any characters as questions, passages, titles, filters and names: no error but ours, and always an end."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from langchain_klue_rerank import KlueEmbeddings, KlueReranker, KlueRetriever, KlueSparseEmbeddings, klue_tokens
from langchain_klue_rerank.engine.index.filters import UnknownOperatorError
from langchain_klue_rerank.engine.text.words import clean, has_words, plain_numbers, split_words
from langchain_klue_rerank.errors import KlueRerankError
from tests.torture.attack import Attack, Trials

#: Characters that have made trouble somewhere, and the ranges that any may come from.
_ODD = [
    *"\0\x1b\x7f\x85\u00ad\u0300\u0345\u200b\u200d\u202e\u2028\ufe0f\ufeff\ufffd\uffff\ud800\udfff",
    "\U0001f469",
    "㎏",
    "ﬁ",
]
_ODD += [*"0123456789,.-−+#%℃원만억천동호제조항일이삼", *"ㅋㅎㅏ가각힣하다는을", *"\t\n\r ", *"()[]{}<>'\"`$\\/|*?"]
_RANGES = [(0x20, 0x7E), (0xAC00, 0xD7A3), (0x1100, 0x11FF), (0x300, 0x36F), (0x4E00, 0x9FFF), (0, 0x10FFFF)]


def text(chance: random.Random) -> str:
    """Return some characters of any kind, seldom many."""
    length = int(chance.choice([3, 12, 12, 40, 200]) * chance.random() * 2)
    parts = []
    while len(parts) < length:
        if chance.random() < 0.5:
            parts.append(chance.choice(_ODD))
        else:
            first, last = chance.choice(_RANGES)
            parts.append(chr(chance.randint(first, last)))
        if chance.random() < 0.05:
            parts.append(parts[-1] * chance.randrange(40))
    return "".join(parts)


def normal(value: str) -> str | None:
    """What is true of a cleaned text and of words."""
    made = clean(value)
    made.encode()
    if clean(made) != made:
        return "cleaning twice is not cleaning once"
    words = split_words(value)
    if any(not word or len(word) > 32 for word in words):
        return "a word is empty or too long"
    return None if has_words(value) == bool(words) else "has_words and split_words do not agree"


class Uses:
    """What a program does with texts of strangers, often cheap and seldom dear."""

    def __init__(self) -> None:
        self.retriever = KlueRetriever.from_documents([Document("전입신고는 14일 안에 합니다.", id="a")])
        self.reranker, self.embeddings = KlueReranker(), KlueEmbeddings()
        self.sparse = KlueSparseEmbeddings.fit(["전입신고는 14일 안에 합니다."])
        self.dear: list[Callable[[str], Any]] = [
            self.retriever.invoke,
            lambda value: self.reranker.rerank([value, "글"], "질문"),
            lambda value: self.reranker.rerank(["글", "말"], value),
            self.embeddings.embed_query,
            lambda value: self.embeddings.embed_documents([value]),
            self.sparse.embed_query,
            klue_tokens,
            self.added,
            lambda value: self.retriever.invoke("전입", filter={value: value}),
            lambda value: self.retriever.explain(value or "?", Document(value)),
        ]

    def added(self, value: str) -> None:
        """Add a document with a text, an id, a title and a key of strangers, find it, and remove it."""
        made = Document(value, id=value or "b", metadata={"title": value, value or "key": value})
        before = len(self.retriever)
        ids = self.retriever.add_documents([made])
        self.retriever.invoke(value)
        json.dumps([one.metadata for one in self.retriever.get_by_ids(ids)])
        self.retriever.delete([one for one in ids if one != "a"])
        if len(self.retriever) != before:
            raise AssertionError(f"{len(self.retriever)} documents are there, not {before}")

    def use(self, value: str, dear: int | None) -> str | None:
        """Use a text; return what went wrong."""
        fault = normal(value)
        plain_numbers(value)
        if dear is not None:
            self.dear[dear % len(self.dear)](value)
        return fault


def trials(chance: random.Random, folder: Path) -> Trials:
    """One text a trial; one in ten of them is searched, reranked, embedded, indexed or explained."""
    uses = Uses()
    number = 0
    while True:
        number += 1
        value = text(chance)
        start = time.monotonic()
        try:
            fault = uses.use(value, number // 10 if number % 10 == 0 else None)
        except (KlueRerankError, UnknownOperatorError):
            fault = None
        except Exception as error:
            fault = f"{value!r}: {error!r}"
        spent = time.monotonic() - start
        yield fault or (f"{value!r} takes {spent:.0f} s" if spent > 5 else None)


ATTACKS = [
    Attack(
        "fuzzed texts",
        "No error but ours, nothing over 5 s, cleaning and words as promised",
        trials,
        short=500,
        full=1_000_000,
    ),
]
