"""Bytes into text: the encodings in which Korean files come."""

from __future__ import annotations

import codecs

from langchain_klue_rerank.engine.text.words import clean

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Bytes by which UTF-16 without a mark is recognised.
_SAMPLE = 4096
#: Share of Latin and Hangul characters from which two bytes are taken for a character.
_USUAL = 0.9


def decode(content: bytes, declared: str | None = None) -> str:
    """Decode text in UTF-8 (with and without BOM), UTF-16, UTF-32 or CP949, into NFC.

    Args:
        content: The bytes.
        declared: The encoding that the content itself names, as HTML does; tried before guessing.

    Raises:
        UnicodeError: If it is in none of them, or is no text.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return clean(content.decode(encoding))
    if (wide := _utf16(content)) is not None:
        return clean(wide)
    if b"\0" in content:
        raise UnicodeError("binary")
    for encoding in filter(None, ("utf-8", declared, "cp949")):
        try:
            return clean(content.decode(encoding))
        except (UnicodeDecodeError, LookupError):
            continue
    raise UnicodeError("neither UTF-8, UTF-16 nor CP949")


def _utf16(content: bytes) -> str | None:
    """Decode UTF-16 without a mark, if nearly everything in it is Latin or Hangul read one way."""
    if len(content) % 2 or b"\0" not in content[:_SAMPLE]:
        return None
    for encoding in ("utf-16-le", "utf-16-be"):
        sample = content[:_SAMPLE].decode(encoding, "replace")
        if sum(map(_is_usual, sample)) >= _USUAL * len(sample):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError:
                continue
    return None


def _is_usual(character: str) -> bool:
    return " " <= character <= "~" or character in "\t\r\n" or "가" <= character <= "힣"
