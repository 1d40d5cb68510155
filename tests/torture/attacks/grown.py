"""An index that grew over several saves, whose files lie in several folders, and files that are checked only later."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from langchain_klue_rerank.engine.arrays import mapped
from langchain_klue_rerank.engine.index import saved
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.errors import KlueRerankError
from tests.torture.attack import Attack, Trials, guarded
from tests.torture.attacks.damage import change, damaged, noticed, same, signed, used
from tests.unit_tests.engine.helpers import SETTINGS, add, passage, tokens_of, vectors_of


@contextmanager
def as_if_large(*, lazily: bool = False) -> Iterator[None]:
    """Save as an index of many passages is saved, and read its files as large ones."""
    with ExitStack() as patches:
        for name in ("_FEW", "_MANY"):
            patches.enter_context(patch.object(saved, name, 0))
        if lazily:
            patches.enter_context(patch.object(mapped, "LARGE_FILE", 1))
            patches.enter_context(patch.object(mapped, "_MAPPED", 0))
        yield


def make(folder: Path) -> dict[Path, bytes]:
    """Save an index four times, and return its files."""
    index = PassageIndex(SETTINGS)
    with as_if_large():
        add(index, *(passage(f"글 {number}", f"{number} 번째 전입신고 안내", 쪽=number) for number in range(9)))
        index.save(folder)
        for texts in (["주민등록 등본", "여권 발급"], ["자동차 등록"]):
            add(index, *(passage(text, text) for text in texts))
            index.save(folder)
        index.delete(["글 3", "여권 발급"])
        index.save(folder)
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name[0] != "."}


def several_saves(chance: random.Random, folder: Path) -> Trials:
    """Damage files of several saves, take them away, or put them in each other's place."""
    place = folder / "index"
    files = make(place)
    if len({path.parts[len(place.parts)] for path in files}) < 4:
        yield "the index does not lie in several folders"
    while True:
        path, other = chance.sample(list(files), 2)
        kind = chance.randrange(4)
        content = files[other] if kind == 0 else change(files[path], chance)
        path.write_bytes(content)
        if kind == 1:
            path.unlink()
        if kind == 2:
            other.write_bytes(files[path])
        unchanged = same(content, files[path]) and kind != 1 and (kind != 2 or same(files[other], files[path]))
        yield None if unchanged else guarded(lambda: noticed(place))
        path.write_bytes(files[path])
        other.write_bytes(files[other])


def with_checksums(chance: random.Random, folder: Path) -> Trials:
    """Damage files of several saves, and correct the checksums."""
    place = folder / "index"
    files = make(place)
    while True:
        path = chance.choice([path for path in files if path.suffix != ".json" or path.parent != place])
        path.write_bytes(change(files[path], chance))
        signed(files, place)
        yield guarded(lambda: used(place))
        path.write_bytes(files[path])


def found_later(folder: Path) -> str | None:
    """Damage is told when it is loaded or met, and by `verify`, and does not come into a copy."""
    with as_if_large(lazily=True):
        try:
            index = PassageIndex.load(folder)
        except KlueRerankError:
            return None
        for query in ("전입신고 3", "자동차 등록", "없는 낱말"):
            try:
                index.search(3, tokens=tokens_of([query]), vectors=vectors_of([query]), with_tokens=True)
                index.get(index.find(lambda _: True))
            except KlueRerankError:
                pass
        for name, check in (("verify", index.verify), ("a copy", lambda: index.save(folder.with_name("copy")))):
            try:
                check()
            except KlueRerankError:
                continue
            finally:
                left = folder.with_name("copy").exists()
                shutil.rmtree(folder.with_name("copy"), ignore_errors=True)
            return f"was not found by {name}"
        return "a copy was left" if left else None


def checked_later(chance: random.Random, folder: Path) -> Trials:
    """Damage files that are too large to be read when an index is opened."""
    place = folder / "index"
    return damaged(make(place), chance, lambda: found_later(place))


ATTACKS = [
    Attack(
        "files of several saves damaged, lost, exchanged",
        "Every change is noticed: IndexFormatError, no crash, no hang, no more than 512 MB",
        several_saves,
        25,
        6000,
    ),
    Attack(
        "files of several saves damaged, checksums corrected",
        "Refused, or searched, changed and saved with no other error than ours; scores in 0..1",
        with_checksums,
        25,
        4000,
    ),
    Attack(
        "large files damaged, checked later",
        "Searches raise no other error than ours; `verify` and a copy find it; no copy holds it",
        checked_later,
        25,
        10_000,
    ),
]
