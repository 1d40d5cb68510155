"""What an attack is, and how it is carried out: trial by trial, each in bounds of time and memory."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import pkgutil
import random
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: What a trial may take: seconds, and bytes beside what the process had before.
SECONDS, MEMORY = 5.0, 512 << 20

#: The trials of an attack, without end: None for one that passed, otherwise what went wrong.
Trials = Iterator[str | None]


@dataclass(frozen=True)
class Attack:
    """Something that must do no harm.

    Attributes:
        name: A few words, for the table.
        promise: What must hold after every trial.
        trials: Makes the trials from a source of chance and an empty folder.
        short: How many trials the unit tests run.
        full: How many trials a full run has, at least.
    """

    name: str
    promise: str
    trials: Callable[[random.Random, Path], Trials]
    short: int
    full: int


@dataclass
class Result:
    """What came of an attack."""

    attack: Attack
    count: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def attacks() -> list[Attack]:
    """All attacks, from the modules of the folder `attacks`."""
    package = importlib.import_module("tests.torture.attacks")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return [attack for module in modules for attack in module.ATTACKS]


def carry_out(attack: Attack, folder: Path, *, seed: int, count: int | None = None, seconds: float = 1e9) -> Result:
    """Run trials until there are `count`, or `seconds` are over."""
    result = Result(attack)
    start = time.monotonic()
    trials = attack.trials(random.Random(f"{attack.name}:{seed}"), folder)
    try:
        while result.count != count and (result.seconds < seconds or not result.count):
            fault = next(trials)
            result.count += 1
            result.seconds = time.monotonic() - start
            if fault is not None:
                result.faults.append(f"trial {result.count}: {fault}")
    finally:
        trials.close()  # type: ignore[attr-defined]
    return result


def ended_at_random(act: Callable[[int], None], number: int, chance: random.Random, moments: tuple[float, ...]) -> str:
    """Fork, and send the child a signal at a random moment after its first line, until it ends.

    Args:
        act: What the child does; gets a file descriptor to write lines to, the first when it has begun.
        number: The signal.
        chance: Draws the moment.
        moments: The longest times to wait in seconds, one of which is drawn.

    Returns:
        What the child wrote after its first line; an error of its own as a line that begins with "fault".
    """
    reading, writing = os.pipe()
    alive, dying = os.pipe()  # its end is heard when the child ends
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            act(writing)
        except KeyboardInterrupt:  # another one
            pass
        except BaseException as error:
            os.write(writing, f"fault: {error!r}\n".encode())
        os._exit(0)
    os.close(writing)
    os.close(dying)
    with open(reading) as pipe:
        pipe.readline()  # it has begun
        time.sleep(chance.uniform(0, chance.choice(moments)))
        os.kill(child, number)
        # Python loses an interrupt that arrives in a callback of its own: as people do, send another one
        while not select.select([alive], [], [], 3)[0]:
            os.kill(child, number)
        said = pipe.read()
    os.close(alive)
    os.waitpid(child, 0)
    return said


def guarded(act: Callable[[], str | None], seconds: float = SECONDS, memory: int = MEMORY) -> str | None:
    """Do something in a child process that may neither crash, nor hang, nor take more memory than allowed.

    Args:
        act: What to do; returns what went wrong, if anything. An error that it raises is a fault.
        seconds: Most seconds of processor time that it may take, and a quarter of those that may pass: the machine may
            do other work.
        memory: Most bytes that it may take beside what the process has already.

    Returns:
        What went wrong, or None.
    """
    before = resident()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            limit = address_space() + 4 * memory
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds) + 1))
            said = act()
        except BaseException:
            said = traceback.format_exc(limit=-3)
        with contextlib.suppress(OSError):
            os.write(writing, (said or "").encode("utf-8", "replace")[:4000])
        os._exit(0 if said is None else 1)
    os.close(writing)
    with open(reading, "rb") as pipe:
        ready, _, _ = select.select([pipe], [], [], 4 * seconds)
        said = pipe.read().decode() if ready else ""
    if not ready:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    if not ready:
        return f"hangs: {seconds} s were not enough"
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return f"hangs: {seconds} s of processor time were not enough"
    if os.WIFSIGNALED(status):
        return f"crashes with signal {os.WTERMSIG(status)}"
    taken = usage.ru_maxrss * 1024 - before
    if taken > memory:
        return f"takes {taken >> 20} MB"
    return said or None


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def address_space() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
