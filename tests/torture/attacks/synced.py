"""A `sync` that is killed or interrupted at a random moment: the index opens, and the next `sync` makes it right."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.engine.arrays.storage import state_of
from langchain_klue_rerank.files.sync import sync_folder
from tests.torture.attack import Attack, Trials, ended_at_random

_FILES = 8
#: Seconds after the start of a sync within which the process is ended.
_MOMENTS = (0.02, 0.1, 0.3)


def make(folder: Path | None) -> KlueRetriever:
    """Open an index, or begin one."""
    return KlueRetriever.load(folder) if folder else KlueRetriever(reranker=None)


def change(folder: Path, chance: random.Random, version: int) -> None:
    """Write some files anew, and now and then remove one."""
    for number in chance.sample(range(_FILES), 3):
        path = folder / f"글 {number}.txt"
        if chance.random() < 0.2:
            path.unlink(missing_ok=True)
        else:
            path.write_text(f"글 {number}의 판 {version}입니다. 전입신고 안내.", encoding="utf-8")


def contents(folder: Path) -> list[str]:
    """What the files say."""
    return sorted(path.read_text(encoding="utf-8") for path in folder.glob("*.txt"))


def work(folder: Path, index: Path, seed: int, version: int, begun: int) -> None:
    """Change files and sync, again and again, until ended."""
    chance = random.Random(seed)
    while True:
        version += 1
        change(folder, chance, version)
        if not contents(folder):
            continue
        os.write(begun, b"begun\n")
        sync_folder([folder], index, make)


def fault_of(folder: Path, index: Path) -> str | None:
    """Open the index, sync once more, and compare it with the files."""
    if state_of(index) is not None:
        texts = [one.page_content for one in KlueRetriever.load(index).documents()]
        if any("전입신고" not in text for text in texts) or len(texts) > _FILES:
            return f"the index holds {texts}"
    if not contents(folder):
        return None
    sync_folder([folder], index, make)
    texts = sorted(one.page_content for one in KlueRetriever.load(index).documents())
    return None if texts == contents(folder) else f"the index holds {texts}, the files {contents(folder)}"


def ended(number: int) -> Callable[[random.Random, Path], Trials]:
    """Make trials: a process that syncs gets a signal at a random moment."""

    def trials(chance: random.Random, folder: Path) -> Trials:
        files, index = folder / "files", folder / "index"
        files.mkdir()
        version = 0
        make(None).add_documents([])
        while True:
            version += 1000
            said = ended_at_random(partial(work, files, index, version, version), number, chance, _MOMENTS)
            try:
                fault = fault_of(files, index)
            except Exception as error:
                fault = repr(error)
            yield said[said.index("fault") :] if "fault" in said else fault

    return trials


_PROMISE = "The index opens and holds versions of the files; the next sync makes it what the files say"
ATTACKS = [
    Attack("kill -9 in sync", _PROMISE, ended(signal.SIGKILL), short=4, full=300),
    Attack("Ctrl-C in sync", _PROMISE, ended(signal.SIGINT), short=4, full=300),
]
