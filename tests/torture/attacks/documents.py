"""Documents made to fill the memory, to take for ever, or to reach for other files: every kind that is read."""

from __future__ import annotations

import io
import json
import logging
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from langchain_klue_rerank.errors import KlueRerankError
from langchain_klue_rerank.files import load_documents
from langchain_klue_rerank.files.isolated import Limits
from tests.torture.attack import Attack, Trials, guarded

_SECRET = "비밀 7319"
#: The parts of an office file that its readers look at.
_PARTS = {
    ".docx": ["word/document.xml"],
    ".xlsx": ["xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"],
    ".pptx": ["ppt/presentation.xml", "ppt/slides/slide1.xml"],
    ".hwpx": ["Contents/section0.xml", "Contents/header.xml", "Contents/content.hpf"],
}
_COUNTS = {
    ".docx": "word/2006/main",
    ".xlsx": "spreadsheetml/2006/main",
    ".pptx": "presentationml/2006/main",
    ".hwpx": "hancom/hwpml",
}


def _xml_bombs(secret: Path) -> dict[str, str]:
    """XML that grows, nests, or names other files."""
    laughs = "".join(f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 12))
    head = '<?xml version="1.0"?>'
    return {
        "entities": f'{head}<!DOCTYPE a [<!ENTITY a0 "하">{laughs}]><a>&a11;</a>',
        "another file": f'{head}<!DOCTYPE a [<!ENTITY x SYSTEM "{secret.as_uri()}">]><a>&x;</a>',
        "nesting": f"{head}" + "<a>" * 200_000 + "</a>" * 200_000,
        "attributes": f"{head}<a " + " ".join(f'b{n}="{n}"' for n in range(200_000)) + "/>",
        "one long attribute": f'{head}<a b="{"가" * 5_000_000}"/>',
        "no end": f"{head}<a><b>",
        "noise": "\udcff".encode("utf-8", "surrogatepass").decode("latin-1") * 1000,
    }


def _archive(ending: str, contents: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("[Content_Types].xml", f"<Types>{_COUNTS[ending]}</Types>")
        archive.writestr("mimetype", "application/hwp+zip")
        for name, content in contents.items():
            archive.writestr(name, content)
    return out.getvalue()


def _written(ending: str) -> bytes:
    """An honest file of an office kind, where its writer is installed; else an archive with its parts."""
    out = io.BytesIO()
    if ending == ".docx":
        import docx

        docx.Document().save(out)
    elif ending == ".xlsx":
        import openpyxl

        openpyxl.Workbook().save(out)
    elif ending == ".pptx":
        import pptx

        pptx.Presentation().save(out)
    else:
        return _archive(ending, dict.fromkeys(_PARTS[ending], b"<a/>"))
    return out.getvalue()


def _with_part(honest: bytes, part: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(honest)) as source,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for name in {*source.namelist(), part}:
            archive.writestr(name, content if name == part else source.read(name))
    return out.getvalue()


def _blown(honest: bytes, part: str) -> bytes:
    return _with_part(honest, part, b" " * (300 << 20))


def _office(ending: str, secret: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    honest = _written(ending)
    for part in _PARTS[ending][:2]:
        for name, text in _xml_bombs(secret).items():
            yield f"{name} in {part}", partial(_with_part, honest, part, text.encode("utf-8", "replace"))
        yield f"hundreds of megabytes in {part}", partial(_blown, honest, part)
    yield "many parts", partial(_archive, ending, {f"a/{number}.xml": b"" for number in range(60_000)})
    paths = ("../../etc/x", "/etc/x", "C:\\x", *_PARTS[ending])
    yield "paths", partial(_archive, ending, dict.fromkeys(paths, b"<a/>"))
    yield "cut off", lambda: honest[: len(honest) // 2]
    lying = bytearray(honest)
    place = lying.find(b"PK\x01\x02")
    lying[place + 20 : place + 28] = struct.pack("<II", 10, 2**32 - 2)
    yield "a directory that lies", lambda: bytes(lying)
    encrypted = bytearray(honest)
    encrypted[6] |= 1
    yield "said to be encrypted", lambda: bytes(encrypted)


def _pdf(objects: list[bytes]) -> bytes:
    return b"%PDF-1.7\n" + b"\n".join(objects) + b"\ntrailer<</Root 1 0 R/Size 99>>\nstartxref\n9\n%%EOF"


def _pdfs() -> Iterator[tuple[str, bytes]]:
    packed = zlib.compress(b"BT (x) Tj ET " * (20 << 20))
    catalog = b"1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj"
    page = b"3 0 obj<</Type/Page/Parent 2 0 R/Contents 4 0 R/MediaBox[0 0 9 9]>>endobj"
    pages = b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj"
    stream = b"4 0 obj<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream endobj" % (len(packed), packed)
    yield "a page of gigabytes", _pdf([catalog, pages, page, stream])
    yield (
        "a tree of pages that is its own branch",
        _pdf([catalog, b"2 0 obj<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9>>endobj"]),
    )
    yield (
        "two thousand million pages",
        _pdf([catalog, b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 2000000000>>endobj", page]),
    )
    yield "deep arrays", _pdf([catalog, pages, b"3 0 obj" + b"[" * 500_000 + b"]" * 500_000 + b"endobj"])
    yield (
        "a filter of a filter",
        _pdf([catalog, pages, page, b"4 0 obj<</Length 4 0 R/Filter 4 0 R>>stream\nendstream endobj"]),
    )
    yield "noise", b"%PDF-1.7\n" + random.Random(1).randbytes(1 << 20)


def _texts() -> Iterator[tuple[str, str, bytes]]:
    yield ".html", "nesting", b"<div>" * 300_000
    yield ".html", "a wide cell", b"<table><tr><td colspan=999999999 rowspan=999999999>a</td></tr></table>" * 100
    yield ".html", "many tables in tables", b"<table><tr><td>" * 50_000
    yield ".html", "attributes", b"<p " + b" ".join(b"a%d=1" % n for n in range(300_000)) + b">"
    yield ".csv", "one field", b'text\n"' + b"a" * (5 << 20)
    yield ".csv", "many columns", b",".join(b"a%d" % n for n in range(300_000)) + b"\n" + b"1," * 300_000
    yield ".csv", "quotes", b"text\n" + b'"' * 2_000_001
    yield ".csv", "empty lines", b"text\n" + b"\n" * 5_000_000
    yield ".tsv", "NUL", b"text\t\0\n" + b"\0\t" * 300_000
    yield ".json", "nesting", b"[" * 5_000_000
    yield ".json", "a long number", b'{"text": ' + b"9" * 5_000_000 + b"}"
    yield ".json", "many keys", json.dumps({f"a{number}": number for number in range(300_000)}).encode()
    yield ".jsonl", "bad lines", b"{\n" * 300_000
    yield ".jsonl", "nesting", (b'{"text": ' + b"[" * 50_000 + b"\n") * 20
    yield ".md", "quotes in quotes", b">" * 1_000_000 + b" a"
    yield ".md", "headings", b"# a\n" * 200_000
    yield ".md", "fences", b"```\n" * 300_000
    yield ".md", "front matter", b"---\n" + b"a: &a [*a]\n" * 100_000 + b"---\n"
    yield ".txt", "spaces", b" " * (50 << 20)
    yield ".txt", "no space", "가".encode() * (3 << 20)
    yield ".txt", "marks", b"a" + "\u0301".encode() * 2_000_000
    yield ".txt", "noise", random.Random(2).randbytes(5 << 20)
    yield ".hwp", "noise", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + random.Random(3).randbytes(1 << 20)
    yield (
        ".hwp",
        "a chain of sectors that is a circle",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504 + b"\1\0\0\0" * 100_000,
    )


def bombs(secret: Path) -> list[tuple[str, str, Callable[[], bytes]]]:
    """Return ending, name and content of every bomb."""
    made: list[tuple[str, str, Callable[[], bytes]]] = []
    for ending in _PARTS:
        made += [(ending, name, content) for name, content in _office(ending, secret)]
    made += [(".pdf", name, lambda content=content: content) for name, content in _pdfs()]
    made += [(ending, name, lambda content=content: content) for ending, name, content in _texts()]
    return made


def read(path: Path) -> str | None:
    """Read a file: it gives documents or one of our errors, and nothing of another file."""
    logging.disable(logging.CRITICAL)  # what is passed over is logged; this process ends with the trial
    try:
        documents = load_documents(path, limits=Limits(seconds=10))
    except KlueRerankError:
        return None
    if any(_SECRET in document.page_content for document in documents):
        return "another file was read"
    return None


def trials(chance: random.Random, folder: Path) -> Trials:
    """One bomb a trial, in an order by chance, each once before any comes again."""
    secret = folder / "secret.txt"
    secret.write_text(_SECRET, encoding="utf-8")
    known = bombs(secret)
    while True:
        chance.shuffle(known)
        for ending, name, content in known:
            path = folder / f"bomb{ending}"
            path.write_bytes(content())
            fault = guarded(lambda path=path: read(path), seconds=20)  # type: ignore[misc]
            yield fault and f"{ending}, {name}: {fault}"


ATTACKS = [
    Attack(
        "document bombs",
        "Documents or one of our errors, in time and memory; no other file is read",
        trials,
        short=6,
        full=120,
    ),
]
