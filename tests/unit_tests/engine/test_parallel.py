"""Two parts of a search at the same time: results, errors, interrupts, forks, many callers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from langchain_klue_rerank.engine import parallel
from langchain_klue_rerank.engine.parallel import both, spread, staged
from langchain_klue_rerank.engine.threads import searching


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: 2)


def raises(error: BaseException) -> None:
    raise error


def wait_for_the_other(barrier: threading.Barrier) -> int:
    barrier.wait(10)
    return threading.get_ident()


def test_both_are_called_at_the_same_time() -> None:
    barrier = threading.Barrier(2)
    first, second = both(lambda: wait_for_the_other(barrier), lambda: wait_for_the_other(barrier))
    assert first == threading.get_ident() != second


@pytest.mark.parametrize("cores", [1, 2])
def test_every_part_goes_through_both_stages_in_order(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: cores)
    called: list[tuple[str, int]] = []

    def first(part: int) -> int:
        called.append(("first", part))
        return part * 10

    def second(part: int, ten: int) -> int:
        called.append(("second", part))
        return part + ten

    for parts in ([], [3], [3, 1, 2]):
        called.clear()
        assert staged(parts, first, second) == [(part * 10, part * 11) for part in parts]
        for stage in ("first", "second"):
            assert [part for name, part in called if name == stage] == parts


def test_a_part_is_in_the_second_stage_while_the_next_is_in_the_first() -> None:
    barrier = threading.Barrier(2)

    def first(part: int) -> int:
        return barrier.wait(10) if part else 0

    def second(part: int, _: int) -> int:
        return barrier.wait(10) if part < 2 else 0

    assert len(staged([0, 1, 2], first, second)) == 3


@pytest.mark.parametrize("stage", ["first", "second"])
def test_what_a_stage_raises_ends_the_others(stage: str) -> None:
    called: list[int] = []

    def first(part: int) -> None:
        called.append(part)
        if stage == "first" and part == 1:
            raise ValueError(part)

    def second(part: int, _: None) -> None:
        if stage == "second" and part == 0:
            raise ValueError(part)

    with pytest.raises(ValueError, match="0" if stage == "second" else "1"):
        staged([0, 1, 2], first, second)
    assert 2 not in called


def test_one_core_has_no_second_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    assert both(threading.get_ident, threading.get_ident) == (threading.get_ident(),) * 2


def test_searches_of_several_threads_have_one_core_each() -> None:
    searched, done = threading.Event(), threading.Event()

    @searching()
    def search() -> None:
        searched.set()
        done.wait(10)

    other = threading.Thread(target=search)
    other.start()
    searched.wait(10)
    try:
        with searching():
            assert both(threading.get_ident, threading.get_ident) == (threading.get_ident(),) * 2
    finally:
        done.set()
        other.join()


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_every_thread_takes_the_next_item(cores: int) -> None:
    spread([], raises, cores)
    barrier, threads = threading.Barrier(cores), set()
    called: list[int] = []

    def call(item: int) -> None:
        threads.add(wait_for_the_other(barrier))
        called.append(item)

    spread(range(2 * cores), call, cores)
    assert sorted(called) == [*range(2 * cores)]
    assert len(threads) == cores


def test_after_a_failure_no_further_item_is_begun() -> None:
    barrier = threading.Barrier(2)
    called: list[int] = []

    def call(item: int) -> None:
        called.append(item)
        barrier.wait(10)  # both threads have one
        if item == 0:
            raise ValueError(item)
        time.sleep(0.2)

    with pytest.raises(ValueError, match="0"):
        spread(range(9), call, 2)
    assert sorted(called) == [0, 1]


@pytest.mark.parametrize("error", [ValueError("one"), KeyboardInterrupt(), SystemExit(3)])
def test_what_either_raises_is_raised(error: BaseException) -> None:
    with pytest.raises(type(error)) as seen:
        both(lambda: 1, lambda: raises(error))
    assert seen.value is error
    with pytest.raises(type(error)) as seen:
        both(lambda: raises(error), lambda: raises(RuntimeError("another")))
    assert seen.value is error


def test_without_a_thread_one_is_called_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_start", lambda _: raises(RuntimeError("can't start new thread")))
    assert both(lambda: 1, lambda: 2) == (1, 2)


def test_nobody_waits_for_a_thread_that_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    late: list[Callable[[], None]] = []
    monkeypatch.setattr(parallel, "_start", late.append)
    called: list[int] = []
    assert both(lambda: 1, lambda: called.append(2)) == (1, None)
    late[0]()  # when it comes to its turn after all
    assert called == [2]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@pytest.mark.parametrize("which", ["first", "second"])
def test_ctrl_c_is_raised_and_no_thread_stays(which: str) -> None:
    before = len(sys._current_frames())

    def long() -> None:
        for _ in range(20):
            time.sleep(0.01)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            both(*((long, int) if which == "first" else (int, long)))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    until = time.monotonic() + 10
    while len(sys._current_frames()) > before and time.monotonic() < until:
        time.sleep(0.01)
    assert len(sys._current_frames()) <= before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_meanwhile_can_do_the_same() -> None:
    def fork() -> int:
        child = os.fork()
        if child == 0:  # pragma: no cover
            signal.alarm(30)
            os._exit(0 if both(lambda: 1, lambda: 2) == (1, 2) else 1)
        return os.waitpid(child, 0)[1]

    assert both(fork, lambda: time.sleep(0.05)) == (0, None)


def test_many_callers_and_calls_within_calls() -> None:
    def nested(depth: int) -> int:
        return 1 if not depth else sum(both(lambda: nested(depth - 1), lambda: nested(depth - 1)))

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(nested, [4] * 64)) == [16] * 64


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_a_process_that_may_use_one_core_starts_one_thread_of_kiwi() -> None:
    code = (  # as in a container with --cpuset-cpus
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from langchain_klue_rerank.engine.parallel import cores\n"
        "from langchain_klue_rerank.engine.text.kiwi import shared_analyzer\n"
        "print(cores(), shared_analyzer().kiwi.num_workers)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1 1\n"
