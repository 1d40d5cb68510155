"""A saved index that is damaged, or edited by somebody who also corrects the checksums."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from langchain_klue_rerank.engine.arrays.manifest import MANIFEST, checksum_of
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.errors import KlueRerankError
from tests.torture.attack import Attack, Trials, guarded
from tests.unit_tests.engine.helpers import SETTINGS, add, passage, tokens_of, vectors_of


def make(folder: Path) -> dict[Path, bytes]:
    """Save an index and return its files."""
    index = PassageIndex(SETTINGS)
    add(index, *(passage(f"글 {number}", f"{number} 번째 전입신고 안내", 쪽=number) for number in range(6)))
    index.save(folder)
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name[0] != "."}


def noticed(folder: Path) -> str | None:
    """A damaged index has to be refused, with our error."""
    try:
        PassageIndex.load(folder)
    except KlueRerankError:
        return None
    return "was not noticed"


def used(folder: Path) -> str | None:
    """An index whose checksums are right is refused, or can be used as far as it goes, with our errors alone."""
    try:
        index = PassageIndex.load(folder)
        found = index.search(3, tokens=tokens_of(["전입신고 3"]), vectors=vectors_of(["전입신고 3"]))
        for candidates in found:
            if not ((candidates.scores >= 0) & (candidates.scores <= 1)).all():
                return f"scores {candidates.scores}"
        index.get(index.find(lambda _: True))
        add(index, passage("새 글", "새로 온 전입신고"))
        index.delete(["글 1"])
        index.save(folder.with_name("again"))
    except KlueRerankError:
        return None
    finally:
        shutil.rmtree(folder.with_name("again"), ignore_errors=True)
    return None


def change(content: bytes, chance: random.Random) -> bytes:
    """Damage a file: a bit, a byte, a piece, its end."""
    place = chance.randrange(len(content) + 1)
    kind = chance.randrange(7)
    length = chance.choice([1, 2, 4, 8, 100])
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content + chance.randbytes(length)
    if kind == 2:
        return content[:place] + chance.randbytes(length) + content[place + length :]
    if kind == 3:
        return content[:place] + content[place + length :]
    if kind == 4:
        return content[:place] + content[place : place + length] * chance.choice([2, 50]) + content[place + length :]
    if kind == 5:
        return content[:place] + bytes(length) + content[place + length :]
    changed = bytearray(content or b"x")
    changed[place % len(changed)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def same(content: bytes, other: bytes) -> bool:
    """Whether two contents say the same: in JSON a space may become another one."""
    try:
        return content == other or bool(json.loads(content) == json.loads(other))
    except (ValueError, RecursionError):
        return False


def signed(files: dict[Path, bytes], folder: Path) -> None:
    """Make the manifest say what the files are now."""
    path = folder / MANIFEST
    manifest = json.loads(files[path])
    for name, entry in manifest["files"].items():
        content = (folder / entry.get("data", manifest["data"]) / name).read_bytes()
        entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["checksum"] = checksum_of(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def every_byte(chance: random.Random, folder: Path) -> Trials:
    """Change every byte of every file, one at a time, and begin again with other changes."""
    place = folder / "index"
    files = make(place)
    while True:
        for path, content in files.items():
            for number in range(len(content)):
                changed = bytearray(content)
                changed[number] ^= chance.randrange(1, 256)
                path.write_bytes(changed)
                yield None if same(content, bytes(changed)) else noticed(place)
            path.write_bytes(content)


def damaged(files: dict[Path, bytes], chance: random.Random, read: Callable[[], str | None]) -> Trials:
    """Damage files at random, and read the index each time."""
    while True:
        path = chance.choice(list(files))
        content = change(files[path], chance)
        path.write_bytes(content)
        yield None if same(content, files[path]) else guarded(read)
        path.write_bytes(files[path])


def random_damage(chance: random.Random, folder: Path) -> Trials:
    """Damage files at random."""
    place = folder / "index"
    return damaged(make(place), chance, lambda: noticed(place))


def with_checksums(chance: random.Random, folder: Path) -> Trials:
    """Damage files at random, arrays also number by number, and correct the checksums."""
    place = folder / "index"
    files = make(place)
    while True:
        path = chance.choice([path for path in files if path.name != MANIFEST])
        if path.suffix == ".npy" and chance.random() < 0.6:
            array = np.load(path).copy()
            values: list[Any] = [0, -1, 1, 5, 127, 2**31 - 1, -(2**31), np.nan, np.inf]
            if array.size:
                with np.errstate(all="ignore"):
                    value = np.asarray(chance.choice(values)).astype(array.dtype)
                array.reshape(-1)[chance.randrange(array.size)] = value
            np.save(path, array[: chance.choice([len(array), len(array), max(0, len(array) - 1)])])
        else:
            path.write_bytes(change(files[path], chance))
        signed(files, place)
        yield guarded(lambda: used(place))
        path.write_bytes(files[path])


def attacks() -> list[Attack]:
    """Return the attacks."""
    noticing = "Every change is noticed: IndexFormatError, no crash, no hang, no more than 512 MB"
    using = "Refused, or searched, changed and saved with no other error than ours; scores in 0..1"
    trials: list[tuple[str, str, Callable[[random.Random, Path], Trials], int, int]] = [
        ("every byte of every file changed", noticing, every_byte, 400, 12_000),
        ("files damaged at random", noticing, random_damage, 25, 4000),
        ("files damaged, checksums corrected", using, with_checksums, 25, 4000),
    ]
    return [Attack(*each) for each in trials]


ATTACKS = attacks()
