"""A forked process, as of a server that loads before it forks, has none of its parent's threads."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document

from langchain_klue_rerank import KlueReranker, KlueRetriever
from langchain_klue_rerank.engine.forks import ForkSafeLock, ForkSafeSemaphore
from langchain_klue_rerank.engine.text.kiwi import Analyzer
from tests.unit_tests.fakes import QUESTION, documents

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def succeeds_in_a_fork(check: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:  # pragma: no cover
        signal.alarm(30)  # ends a child that hangs
        os._exit(0 if check() else 1)
    return os.waitpid(child, 0)[1] == 0


def test_kiwi_analyses_new_words() -> None:
    analyzer = Analyzer()
    expected = Analyzer().morphemes(["구청장에게", "부탁했다"])
    analyzer.morphemes(["준비"])
    with analyzer._lock:  # as if another thread were just analysing
        assert succeeds_in_a_fork(lambda: analyzer.morphemes(["구청장에게", "부탁했다"]) == expected)


def test_async_reranking_goes_on() -> None:
    reranker = KlueReranker()
    found = asyncio.run(reranker.acompress_documents(documents(), QUESTION))
    assert succeeds_in_a_fork(lambda: asyncio.run(reranker.acompress_documents(documents(), QUESTION)) == found)


def busy(retriever: KlueRetriever, stop: threading.Event, thread: int) -> None:
    """Add, search and delete until told to stop."""
    number = 0
    while not stop.is_set():
        number += 1
        identifier = f"{thread}-{number}"
        retriever.add_documents([Document(f"{number} 번째 {QUESTION} 새로 온 글", id=identifier)])
        retriever.invoke(f"{QUESTION} {number}")
        retriever.delete([identifier])


@pytest.mark.parametrize("forks", [4])
def test_whatever_other_threads_were_doing(forks: int) -> None:
    """A child must not wait for a lock that a thread of its parent held: index, models, analyser, caches."""
    retriever = KlueRetriever.from_documents(documents())
    stop = threading.Event()
    threads = [threading.Thread(target=busy, args=(retriever, stop, number)) for number in range(3)]

    def use() -> bool:
        retriever.add_documents([Document("전입신고는 자식 과정에서도 합니다.", id="새 글")])
        found = retriever.invoke(QUESTION)
        return bool(found) and retriever.delete(["새 글"]) == 1 and bool(KlueReranker().rerank(["글", "말"], "글"))

    assert use()  # imports on first use, in LangChain too: Python's locks of imports survive no fork
    for thread in threads:
        thread.start()
    try:
        for number in range(forks):
            time.sleep(0.003 * number)
            assert succeeds_in_a_fork(use)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("make", [ForkSafeLock, lambda: ForkSafeSemaphore(1)])
def test_a_lock_that_another_thread_holds_is_free_in_the_child(make: Callable[[], Any]) -> None:
    lock = make()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def take() -> bool:
        with lock:
            pass
        free = lock.acquire()
        lock.release()
        return free and lock.acquire(timeout=0.1)

    try:
        assert not lock.acquire(timeout=0.01)
        assert succeeds_in_a_fork(take)
    finally:
        done.set()
        thread.join()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_an_interrupt_never_leaves_a_lock_taken() -> None:
    lock = ForkSafeLock()
    taken = []

    def try_it() -> None:
        taken.append(not lock.acquire(blocking=False))
        if not taken[-1]:
            lock.release()

    def interrupt(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(400):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + number * 1e-7)
                while True:
                    with lock:
                        pass
            except InterruptedError:
                other = threading.Thread(target=try_it)
                other.start()
                other.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(taken) == 400
    assert not any(taken)
