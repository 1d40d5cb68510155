"""Pickles in the place of a FAISS folder's, made to run code, to crash, to hang or to fill the memory."""

from __future__ import annotations

import os
import pickle
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_klue_rerank.engine.index.faiss_folder import read_community_folder
from langchain_klue_rerank.errors import KlueRerankError
from tests.torture.attack import Attack, Trials, guarded

_DOCUMENT = b"clangchain_core.documents.base\nDocument\n"
_DOCSTORE = b"clangchain_community.docstore.in_memory\nInMemoryDocstore\n"


class Runs:
    """Calls something when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call = call, arguments

    def __reduce__(self) -> Any:
        return self.call


def text(value: str) -> bytes:
    """Return the instruction that makes a text."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def folder_of(metadata: bytes, content: bytes | None = None) -> bytes:
    """Return the pickle of one document with some metadata."""
    document = (
        _DOCUMENT + b")\x81}(" + text("page_content") + (content or text("글")) + text("metadata") + metadata + b"ub"
    )
    return (
        b"\x80\x04"
        + _DOCSTORE
        + b")\x81}"
        + text("_dict")
        + b"}"
        + text("d0")
        + document
        + b"ssb}K\x00"
        + text("d0")
        + b"s\x86."
    )


def nested(start: bytes, level: bytes, count: int) -> bytes:
    """Return a value in a value in a value."""
    return start + level * count


def doubling(levels: int, start: bytes = b"]") -> bytes:
    """Return a list of two of the same list of two of the same list ..."""
    made = start + b"r" + struct.pack("<I", 1000)
    for level in range(levels):
        before = b"j" + struct.pack("<I", 1000 + level)
        made += b"]r" + struct.pack("<I", 1001 + level) + b"(" + before + before + b"e"
    return made


def written_by_hand(chance: random.Random) -> Iterator[bytes]:
    """Yield attacks of every kind, with sizes that vary."""
    while True:
        many = chance.choice([100, 10_000, 300_000])
        few = chance.randrange(20, 200)
        values = [
            nested(b")", b"\x85", many),
            b"}" + nested(b")", b"\x85", many) + b"Ns",
            b"\x8f(" + nested(b")", b"\x85", many) + b"\x90",
            b"(" * many + b"l" * many,
            b"]" * many + b"a" * (many - 1),
            doubling(few),
            b"}" + text("a") + doubling(few) + b"s",
            b"]r\0\4\0\0j\0\4\0\0a",
            b"}r\0\4\0\0" + text("a") + b"j\0\4\0\0s",
            b"N" + b"r" + struct.pack("<I", 2**32 - chance.randrange(1, 1000)),
            b"X" + struct.pack("<I", 2**31),
            b"\x8d" + struct.pack("<Q", 2**63 - 1),
            b"\x8b" + struct.pack("<i", 2**31 - 1),
            b"\x8b" + struct.pack("<i", many) + b"\x7f" * many,
            b"I" + b"9" * many + b"\n",
            b"(" + b"]" * many + b"t",
            b"}(" + b"".join(b"\x8a\x09" + (n * (2**61 - 1)).to_bytes(9, "little") + b"N" for n in range(few)) + b"u",
            b"}(" + b"".join(text(str(n % 7)) + b"N" for n in range(many)) + b"u",
            b"\x96" + struct.pack("<Q", 1 << 40),
        ]
        value = chance.choice(values)
        yield folder_of(value) if chance.random() < 0.8 else b"\x80\x04" + value + b"."
        big = text("가" * 100_000) + b"r\0\4\0\0"
        yield folder_of(b"](" + b"j\0\4\0\0" * many + b"e", big)  # one long text, many times
        yield pickle.dumps(Runs(os.system, "touch was-run"), chance.randrange(6))
        yield pickle.dumps({"a": Runs(eval, "1/0")}, chance.randrange(6))


def mutated(chance: random.Random) -> Iterator[bytes]:
    """Yield a normal file with some bytes changed."""
    whole = folder_of(b"}(" + text("쪽") + b"K\x07" + text("표") + b"](K\x01K\x02eu")
    while True:
        changed = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 5])):
            kind = chance.randrange(3)
            place = chance.randrange(len(changed))
            if kind == 0:
                changed[place] = chance.randrange(256)
            elif kind == 1:
                changed[place:place] = chance.randbytes(chance.randrange(1, 6))
            else:
                del changed[place : place + chance.randrange(1, 6)]
        yield bytes(changed)


def read(folder: Path) -> str | None:
    """Read a folder's documents: they are refused, or have texts and plain metadata."""
    try:
        content = read_community_folder(folder, with_vectors=False)
    except KlueRerankError:
        return None
    for passage in content.passages:
        repr(passage)
    return "code was run" if Path("was-run").exists() else None


def trials(chance: random.Random, folder: Path) -> Trials:
    """Read crafted and changed pickles."""
    (folder / "index.pkl").write_bytes(folder_of(b"}"))
    assert len(read_community_folder(folder, with_vectors=False).passages) == 1
    sources = [written_by_hand(chance), mutated(chance)]
    while True:
        for source in sources:
            (folder / "index.pkl").write_bytes(next(source))
            yield guarded(lambda: read(folder))


ATTACKS = [
    Attack(
        "untrusted pickles",
        "Nothing is run; refused or read, no crash, no hang over 5 s, no more than 512 MB",
        trials,
        short=20,
        full=300,
    )
]
