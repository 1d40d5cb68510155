"""A forked process, as of a server that loads before it forks, has none of its parent's threads."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from langchain_klue_rerank import KlueReranker
from langchain_klue_rerank.engine.text.kiwi import Analyzer
from langchain_klue_rerank.engine.threads import ForkSafeLock, ForkSafeSemaphore
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
