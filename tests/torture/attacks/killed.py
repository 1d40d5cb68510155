"""A process that is killed or interrupted at a random moment of add, delete, save and append."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from langchain_klue_rerank.engine.arrays import manifest, storage
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from tests.torture import versions
from tests.torture.attack import Attack, Trials, ended_at_random

#: Seconds after the start of a change within which a process is ended: in the change, in the save, in later ones.
_MOMENTS = (0.004, 0.02, 0.08)


def write(folder: Path, version: int, saved: int, *, append: bool) -> None:
    """Make version after version and tell which are saved; runs until it is ended."""
    versions.keep_segments(random.Random(version))
    index = PassageIndex.load(folder)
    while True:
        version += 1
        os.write(saved, f"begun {version}\n".encode())
        if append:
            with storage.writer_lock(folder, timeout=0):
                index = PassageIndex.load(folder)
                versions.change(index, version)
                index.save(folder)
        else:
            versions.change(index, version)
            index.save(folder)
        os.write(saved, f"saved {version}\n".encode())


def interrupted(folder: Path, version: int, saved: int, *, append: bool) -> None:
    """Write until Ctrl-C, and then save what is in memory, as a program does that ends in order."""
    kept: list[PassageIndex] = []
    change = versions.change

    def change_and_keep(index: PassageIndex, version: int) -> None:
        kept[:] = [index]
        change(index, version)

    versions.change = change_and_keep
    try:
        write(folder, version, saved, append=append)
    except KeyboardInterrupt:
        if kept and (fault := versions.parts_fault(kept[0])):
            os.write(saved, f"fault in memory: {fault}\n".encode())
        if kept:
            kept[0].save(folder)
    finally:
        versions.change = change


def _data(index: Path) -> tuple[set[str], set[str]]:
    """The data folders, and manifests that are being written, that are there; and those that the manifest names."""
    return {path.name for path in index.glob("data-*")}, {file.data for file in manifest.parse(index)[1].values()}


def ended(act: Callable[..., None], number: int) -> Callable[[random.Random, Path], Trials]:
    """Make trials: a writer is started, and gets a signal at a random moment."""

    def trials(chance: random.Random, folder: Path) -> Trials:
        index = folder / "index"
        versions.first(index)
        least = 0
        while True:
            append = chance.random() < 0.3
            before, named = _data(index)
            work = partial(act, index, least, append=append)
            said = ended_at_random(work, number, chance, _MOMENTS).splitlines()
            said.insert(0, f"begun {least + 1}")
            begun = [int(line.split()[1]) for line in said if line.startswith("begun")]
            least = max([least, *(int(line.split()[1]) for line in said if line.startswith("saved"))])
            fault = next((line for line in said if line.startswith("fault")), None)
            fault = fault or versions.load_fault(index, least, max(begun), interrupted=act is interrupted)
            present, now_named = _data(index)
            left = present - now_named
            # a save that ended has removed what earlier ones had left
            stale = left & (before - named) if any(line.startswith("saved") for line in said) else set()
            yield fault or (f"{sorted(stale)} are left" if stale else None)
            if fault:
                versions.first(index)
            found = PassageIndex.load(index).find(lambda one: one.id.startswith("판 "))
            if not found:  # an interrupt had removed the old passages: begin again with whole ones
                whole = PassageIndex.load(index)
                versions.change(whole, max(begun))
                whole.save(index)
            least = PassageIndex.load(index).get(["판 0"])[0].metadata["version"]

    return trials


ATTACKS = [
    Attack(
        "kill -9",
        "Every save that has returned is there, whole, and one of the versions that were written",
        ended(write, signal.SIGKILL),
        short=12,
        full=1000,
    ),
    Attack(
        "Ctrl-C, then save",
        "The same, and the index in memory is whole and can be saved",
        ended(interrupted, signal.SIGINT),
        short=12,
        full=1000,
    ),
]
