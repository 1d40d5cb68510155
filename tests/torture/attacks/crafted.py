"""Index folders made to do harm: names outside, endless or nested JSON, pipes, loops of links, lying headers."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from langchain_klue_rerank.engine.arrays.manifest import MANIFEST, checksum_of
from tests.torture.attack import Attack, Trials, guarded
from tests.torture.attacks.damage import make, noticed, signed, used

#: Changes of the manifest, of which the checksum is corrected afterwards: all have to be refused.
MANIFESTS: dict[str, dict[str, Any]] = {
    "no files": {"files": {}},
    "files of another kind": {"files": []},
    "a file above": {"files": {"../manifest.json": {"bytes": 1, "sha256": ""}}},
    "a file elsewhere": {"files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}},
    "a file with a zero": {"files": {"a\0b": {"bytes": 1, "sha256": ""}}},
    "a file with a long name": {"files": {"a" * 5000 + ".npy": {"bytes": 1, "sha256": ""}}},
    "sizes that are no numbers": {"files": {"ids.json": {"bytes": [], "sha256": ""}}},
    "negative sizes": {"files": {"ids.json": {"bytes": -1, "sha256": ""}}},
    "another folder": {"data": ".."},
    "no folder": {"data": "data-000000000000"},
    "a folder that is a list": {"data": [[]]},
    "a later version": {"version": 99},
    "version true": {"version": True},
    "version zero": {"version": 0},
    "settings of other kinds": {"config": {"lexical": "yes"}},
    "windows of no words": {"config": {"window_words": -1.5}},
    "unknown settings": {"config": {"novel": 1}},
    "token vectors that are missing": {"config": {"token_vectors": "model"}},
    "settings of another index": {"config": {"lexical": True, "dense": True, "kiwi": True}},
}

#: What stands in the manifest's place.
CONTENTS = {
    "deep lists": b"[" * 500_000,
    "deep objects": b'{"a":' * 500_000,
    "a very long number": b'{"format": ' + b"9" * 900_000 + b"}",
    "two gigabytes of spaces": None,
    "nothing": b"",
    "no utf-8": b"\xff\xfe{}",
    "a number": b"3",
    "not a number": b"NaN",
    "a half": b'{"format": "langchain-klue',
}


def replace_by_folder(path: Path) -> None:
    """Put a folder in a file's place."""
    path.unlink()
    path.mkdir()


def replace_by_pipe(path: Path) -> None:
    """Put a pipe in a file's place."""
    path.unlink()
    os.mkfifo(path)


def replace_by_loop(path: Path) -> None:
    """Put a link to itself in a file's place."""
    path.unlink()
    path.symlink_to(path.name)


def replace_by_device(path: Path) -> None:
    """Put a link to an endless device in a file's place."""
    path.unlink()
    path.symlink_to("/dev/zero")


def array_headers() -> Iterator[tuple[str, bytes]]:
    """Yield array files that lie."""
    for shape in ("(1000000000000,)", "(-1,)", "(2, -3)", "(1e9,)", "('a',)", "((((1,),),),)", "(True,)"):
        yield f"shape {shape}", npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}")
    for kind in ("'|O'", "'<U1000000'", "'|V100'", "[('a', '<f4')]", "[" * 2000 + "]" * 2000, "'>f4'", "'<M8[s]'"):
        yield f"type {kind[:20]}", npy(f"{{'descr': {kind}, 'fortran_order': False, 'shape': (6,), }}")
    yield "code", npy("__import__('os').system('true')")
    yield "nothing", b""
    yield "magic only", b"\x93NUMPY\x01\x00"
    yield "version 9", b"\x93NUMPY\x09\x00" + b"\xff" * 200


def npy(header: str) -> bytes:
    """Return an array file with a header."""
    text = header.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)


def crafted(folder: Path) -> Iterator[tuple[str, Callable[[Path], str | None]]]:
    """Yield names and what to do with a whole index's folder, again and again."""
    place = folder / "index"
    manifest = place / MANIFEST
    files = make(place)
    whole = json.loads(files[manifest])

    def anew() -> None:
        shutil.rmtree(place)
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    while True:
        for name, changes in MANIFESTS.items():
            anew()
            edited = {**whole, **changes}
            edited["checksum"] = checksum_of(edited)
            manifest.write_text(json.dumps(edited), encoding="utf-8")
            yield name, noticed
        for name, text in CONTENTS.items():
            anew()
            if text is None:
                with manifest.open("wb") as file:
                    file.truncate(2 << 30)
            else:
                manifest.write_bytes(text)
            yield name, noticed
        for replace in (replace_by_folder, replace_by_pipe, replace_by_loop, replace_by_device):
            for path in files:
                anew()
                replace(path)
                yield f"{path.name}: {replace.__name__}", noticed
        for path in files:
            if path.suffix == ".npy":
                for name, content in array_headers():
                    anew()
                    path.write_bytes(content)
                    signed(files, place)
                    yield f"{path.name}: {name}", noticed
        anew()
        [identifiers] = [path for path in files if path.name == "ids.json"]
        for number, text in enumerate((b"[" * 200_000, b"{}", b"[1, 2]", b'["a"]', b"[" + b'"a",' * 5 + b'"a"]', b"3")):
            identifiers.write_bytes(text)
            signed(files, place)
            yield f"identifiers {number}", noticed
        anew()
        [passages] = [path for path in files if path.name == "passages.jsonl"]
        lines = [b"[" * 100_000, b"{}", b'{"text": 3, "metadata": {}}', b'{"text": "a", "metadata": []}']
        for number, line in enumerate([*lines, b"\xff", b"9" * 9999]):
            passages.write_bytes((line + b"\n") * 6)
            signed(files, place)
            yield f"passages {number}", used


def trials(chance: random.Random, folder: Path) -> Trials:
    """Load crafted folders."""
    for name, check in crafted(folder):
        place = folder / "index"
        fault = guarded(lambda check=check, place=place: check(place))  # type: ignore[misc]
        yield f"{name}: {fault}" if fault else None


ATTACKS = [
    Attack(
        "crafted manifests, arrays, pipes, links",
        "IndexFormatError, no crash, no hang, no more than 512 MB, nothing read that the manifest does not name",
        trials,
        short=60,
        full=800,
    )
]
