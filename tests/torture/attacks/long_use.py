"""A process that is used for long, and texts that are long: memory stays, and time grows with the length."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from langchain_klue_rerank import KlueEmbeddings, KlueReranker, KlueRetriever, KlueSparseEmbeddings, klue_tokens
from langchain_klue_rerank.errors import KlueRerankError
from langchain_klue_rerank.explanation import explain_match
from langchain_klue_rerank.files import load_documents
from tests.torture.attack import Attack, Trials, resident

#: Trials before memory is looked at, and bytes that it may grow by after them.
_WARM, _MAY_GROW = 10, 64 << 20
#: A long text, how much shorter the short one is, and how much longer it may take.
_LONG, _TIMES, _MAY_TAKE = 1_000_000, 10, 12
#: Seconds below which a time says nothing: the system counts hundredths.
_LEAST = 0.05


def used(chance: random.Random, folder: Path) -> Trials:
    """Make a trial of adding, searching, filtering, deleting, saving and loading; memory may not grow with them."""
    words = [chr(0xAC00 + chance.randrange(11172)) + chr(0xAC00 + chance.randrange(11172)) for _ in range(3000)]
    retriever = KlueRetriever.from_texts([" ".join(chance.choices(words, k=30)) for _ in range(500)])
    first = 0
    for number in count(1):
        texts = [" ".join(chance.choices(words, k=30)) for _ in range(20)]
        made = [Document(text, id=f"{number}-{one}", metadata={"n": one}) for one, text in enumerate(texts)]
        retriever.add_documents(made)
        for _ in range(20):
            retriever.invoke(" ".join(chance.choices(words, k=3)), filter={"n": chance.randrange(20)})
        retriever.delete([str(one.id) for one in made])
        if number % 10 == 0:
            retriever.save(folder / "index")
            KlueRetriever.load(folder / "index").invoke(words[0])
        gc.collect()
        if number == _WARM:
            first = resident()
        grown = resident() - first if first else 0
        yield f"memory has grown by {grown >> 20} MB" if grown > _MAY_GROW else None
        if grown > _MAY_GROW:
            first = resident()


#: Texts of which a long one is made.
_TEXTS = [
    "가",
    "가나다 ",
    "전입신고를 14일 안에 합니다. ",
    "a",
    "A-1 ",
    "1,000",
    "1,",
    ".",
    '"',
    "\n",
    " ",
    "ㅋ",
    "한 글 자 ",
]
_TEXTS += [
    "\u200b",
    "\u0301",
    "가\u0301",
    "㎏",
    "\ud800",
    "\ufffd",
    "(",
    "{",
    "# a\n",
    "- 가\n",
    "가\n\n",
    "C++ ",
    "\0",
]
_TEXTS += ["3만 5천원 ", "제1조제2항 "]


def _entries(folder: Path) -> dict[str, Callable[[str], Any]]:
    retriever = KlueRetriever.from_texts(["전입신고는 14일 안에 합니다.", "여권은 구청에서 만듭니다."])
    reranker, embeddings = KlueReranker(), KlueEmbeddings()
    sparse = KlueSparseEmbeddings.fit(["전입신고"])

    def added(text: str) -> None:
        retriever.add_documents([Document(text, id="긴 글", metadata={"title": text[:10_000], "본문": text})])
        retriever.delete(["긴 글"])

    def read(ending: str, before: str = "") -> Callable[[str], Any]:
        def act(text: str) -> None:
            path = folder / f"긴 글{ending}"
            path.write_text(before + text, encoding="utf-8", errors="surrogatepass")
            load_documents(path)

        return act

    return {
        "invoke": retriever.invoke,
        "a filter": lambda text: retriever.invoke("전입", filter={"title": text}),
        "rerank a question": lambda text: reranker.rerank(["글", "말"], text),
        "rerank a document": lambda text: reranker.rerank([text], "전입신고"),
        "embed_query": embeddings.embed_query,
        "embed_documents": lambda text: embeddings.embed_documents([text]),
        "a sparse vector": lambda text: sparse.embed_documents([text]),
        "klue_tokens": klue_tokens,
        "add_documents": added,
        "explain": lambda text: explain_match("전입신고", text),
        "a txt file": read(".txt"),
        "a md file": read(".md"),
        "a csv file": read(".csv", "text\n"),
        "a jsonl file": read(".jsonl"),
        "a json file": read(".json"),
        "a html file": read(".html"),
    }


def _seconds(act: Callable[[str], Any], text: str) -> float:
    """Return the processor time of a call, that of the processes that it started included."""
    gc.collect()
    start = sum(os.times()[:4])
    with contextlib.suppress(KlueRerankError):
        act(text)
    return sum(os.times()[:4]) - start


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let the readers say nothing of the lines that they pass over."""
    log = logging.getLogger("langchain_klue_rerank")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _grows(act: Callable[[str], Any], short_text: str, long_text: str) -> str | None:
    """Return what is wrong with the time of a text that is ten times as long."""
    _seconds(act, short_text)
    taken = [(_seconds(act, short_text), _seconds(act, long_text))]
    if taken[0][1] > _MAY_TAKE * max(_LEAST, taken[0][0]):  # a pause of the machine is no fault
        taken += [(_seconds(act, short_text), _seconds(act, long_text)) for _ in range(2)]
    short_time, long_time = (min(times) for times in zip(*taken, strict=True))
    if long_time <= _MAY_TAKE * max(_LEAST, short_time):
        return None
    return f"{len(short_text):,} characters {short_time:.2f} s, ten times as many {long_time:.2f} s"


def long(chance: random.Random, folder: Path) -> Trials:
    """Make a trial of an entry point and a text, a tenth of a megabyte and a whole one."""
    pairs = [(name, act, text) for name, act in _entries(folder).items() for text in _TEXTS]
    while True:
        chance.shuffle(pairs)
        for name, act, text in pairs:
            long_text = text * (_LONG // len(text.encode("utf-8", "surrogatepass")))
            short_text = long_text[: len(long_text) // _TIMES]
            with _quiet():
                fault = _grows(act, short_text[: len(short_text) // _TIMES], short_text)
                fault = fault or _grows(act, short_text, long_text)
            yield f"{name}, {text!r}: {fault}" if fault else None


ATTACKS = [
    Attack("memory over long use", "It does not grow by more than 64 MB", used, short=12, full=1000),
    Attack("a megabyte of one thing", "Ten times the length takes at most 12 times as long", long, short=2, full=448),
]
