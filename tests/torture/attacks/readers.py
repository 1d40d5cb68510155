"""A reader beside two writers."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

from langchain_klue_rerank.engine.arrays import storage
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from tests.torture import versions
from tests.torture.attack import Attack, Trials


def trials(chance: random.Random, folder: Path) -> Trials:
    """Load an index again and again while two processes save it."""
    index = folder / "index"
    versions.first(index)
    writers = []
    try:
        for _ in range(2):
            child = os.fork()
            if child == 0:
                try:
                    write(index)
                finally:
                    os._exit(1)
            writers.append(child)
        while True:
            ended = [child for child in writers if os.waitpid(child, os.WNOHANG)[0]]
            yield "a writer has ended" if ended else versions.load_fault(index, 0, 10**9)
            writers = [child for child in writers if child not in ended]
    finally:
        for child in writers:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def write(folder: Path) -> None:
    """Save version after version, in turns with the other writer: a save that would undo the other's is refused."""
    versions.keep_segments(random.Random(os.getpid()))
    version = 0
    while True:
        version += 1
        with storage.editing(folder):
            loaded = PassageIndex.load(folder)
            versions.change(loaded, version)
            loaded.save(folder)


ATTACKS = [
    Attack(
        "loads with two concurrent writers",
        "Every load gives a whole index, with all its vectors; no writer fails",
        trials,
        short=40,
        full=3000,
    )
]
