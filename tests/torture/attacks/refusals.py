"""A system that refuses: files may not grow, no file can be opened, memory ends, calls fail one by one."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from tests.torture import versions
from tests.torture.attack import Attack, Trials, address_space, guarded
from tests.unit_tests.engine.helpers import add, passage

_CALLS = ("fsync", "replace", "mkdir", "open", "close", "stat", "unlink", "rmdir", "scandir")
_ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINVAL, errno.EACCES, errno.EMFILE, errno.ENOMEM, errno.EROFS)


def file_size(chance: random.Random) -> None:
    """No file may be longer: real errors of real writes, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = int(10 ** chance.uniform(0, 4.5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def open_files(chance: random.Random) -> None:
    """No more files can be opened than a few."""
    limit = len(os.listdir("/proc/self/fd")) + chance.randrange(12)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def memory(chance: random.Random) -> None:
    """Memory ends soon."""
    limit = address_space() + int(10 ** chance.uniform(5, 7))
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def system_call(chance: random.Random) -> None:
    """One function of the system fails, at its n-th call, once or from then on."""
    name, left = chance.choice(_CALLS), chance.randrange(40)
    code, always = chance.choice(_ERRORS), chance.random() < 0.5
    real = getattr(os, name)

    def fail(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0 and (always or left == -1):
            raise OSError(code, os.strerror(code))
        return real(*arguments, **options)

    setattr(os, name, fail)


def refused(refuse: Callable[[random.Random], None]) -> Callable[[random.Random, Path], Trials]:
    """Make trials: a change is saved while the system refuses something."""

    def trials(chance: random.Random, folder: Path) -> Trials:
        place = folder / "index"
        versions.first(place)
        version = 0
        while True:
            seed = chance.random()
            reading, writing = os.pipe()

            def save(seed: float = seed, version: int = version, writing: int = writing) -> str | None:
                versions.keep_segments(random.Random(seed))
                index = PassageIndex.load(place)
                limits = resource.getrlimit(resource.RLIMIT_AS)
                refuse(random.Random(seed))
                try:
                    if refuse is memory:  # changes that need some
                        add(index, *(passage(f"판 {n}", f"{n} 번째 글 {seed}") for n in range(100, 500)))
                    versions.change(index, version + 1)
                    index.save(place)
                    os.write(writing, b"saved")
                except (OSError, MemoryError):
                    pass
                resource.setrlimit(resource.RLIMIT_AS, limits)
                return versions.parts_fault(index) if refuse is not open_files else None

            fault = guarded(save)
            os.close(writing)
            with open(reading, "rb") as pipe:
                saved = bool(pipe.read())
            fault = fault or versions.load_fault(place, version + saved, version + 1)
            yield fault
            if fault:
                versions.first(place)
            version = PassageIndex.load(place).get(["판 0"])[0].metadata["version"]

    return trials


_PROMISE = "The index on disk is the old or the new one, that in memory is whole; a save that returned is there"
ATTACKS = [
    Attack("files that may not grow (RLIMIT_FSIZE)", _PROMISE, refused(file_size), short=6, full=300),
    Attack("no file can be opened (RLIMIT_NOFILE)", _PROMISE, refused(open_files), short=6, full=200),
    Attack("memory that ends (RLIMIT_AS)", _PROMISE, refused(memory), short=6, full=200),
    Attack("system calls that fail", _PROMISE, refused(system_call), short=10, full=500),
]
