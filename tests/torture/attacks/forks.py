"""Processes forked while other threads index, search, rerank and save."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

from tests.torture.attack import Attack, Trials, guarded

_QUESTION = "전입신고는 며칠 안에 하나요?"


def busy(retriever: Any, folder: Path, stop: threading.Event, thread: int) -> None:
    """Use everything that holds a lock, until told to stop."""
    from langchain_core.documents import Document  # heavy, and of no use to the other attacks

    number = 0
    while not stop.is_set():
        number += 1
        identifier = f"{thread} {number}"
        retriever.add_documents([Document(f"{number} 번째로 새로 온 전입신고 글", id=identifier)])
        retriever.invoke(f"{_QUESTION} {number}")
        retriever.delete([identifier])
        if number % 5 == 0:
            retriever.save(folder)


def use(retriever: Any) -> str | None:
    """Do in the child what the threads do."""
    from langchain_core.documents import Document

    from langchain_klue_rerank import KlueReranker

    before = len(retriever)
    retriever.add_documents([Document("자식 과정의 전입신고 글입니다.", id="자식")])
    if len(retriever) != before + 1 or not retriever.invoke(_QUESTION):
        return "the index does not work"
    if retriever.delete(["자식"]) != 1:
        return "what was added cannot be deleted"
    return None if KlueReranker().rerank(["글", "전입신고"], _QUESTION) else "nothing was reranked"


def trials(chance: random.Random, folder: Path) -> Trials:
    """Fork at random moments."""
    from langchain_core.documents import Document

    from langchain_klue_rerank import KlueRetriever

    retriever = KlueRetriever.from_documents([Document(f"{n} 번째 전입신고 안내 글", id=f"글 {n}") for n in range(20)])
    use(retriever)  # a fork while another thread imports a module hangs in Python itself: all are imported first
    retriever.save(folder / "index")
    stop = threading.Event()
    threads = [threading.Thread(target=busy, args=(retriever, folder / "index", stop, n)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        while True:
            time.sleep(chance.uniform(0, 0.05))
            # Kiwi is loaded anew in the child, which takes some seconds and 300 MB
            yield guarded(lambda: use(retriever), seconds=60, memory=1 << 30)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


ATTACKS = [
    Attack(
        "forks with busy threads",
        "The child can use index, models and caches: none hangs",
        trials,
        short=3,
        full=48,
    )
]
