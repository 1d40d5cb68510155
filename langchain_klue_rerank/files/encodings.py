"""Bytes into text: the encodings in which Korean files come."""

from __future__ import annotations

import codecs
import os
import re
import unicodedata
from pathlib import Path

from langchain_klue_rerank.engine.text.words import clean

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: How text in ISO-2022-KR begins, as in older mail.
_MAIL = b"\x1b$)C"
#: Bytes by which UTF-16 without a mark is recognised.
_SAMPLE = 4096
#: Shares of characters from which two bytes are taken for one: of Latin and Hangul, and of these with Chinese
#: characters, punctuation and symbols.
_PLAIN, _USUAL = 0.5, 0.9
_PLAIN_LETTERS = re.compile("[\t\r\n -~가-힣]")
_USUAL_LETTERS = re.compile(
    "[\t\r\n -~\u00a0-\u00ff\u2010-\u206f\u20a0-\u27bf\u3000-\u33ff\u4e00-\u9fff가-힣\uff00-\uffef]"
)
#: Share of characters that may be unreadable in a damaged text, and its least length: a shorter one may be anything.
_UNREADABLE, _SHORTEST = 0.05, 10

#: How errors are handled in a damaged text: a character at a time, those of CP949 in the rows for users' own too.
_PASS_OVER = "klue_pass_over"
_USERS_OWN = (0xC9, 0xFE)


def _pass_over(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    pair = error.object[error.start : error.start + 2]
    if error.encoding == "cp949" and len(pair) == 2 and pair[0] in _USERS_OWN and pair[1] > 0xA0:
        return "\ufffd", error.start + 2
    return "\ufffd", error.end


codecs.register_error(_PASS_OVER, _pass_over)


def readable_path(path: str | os.PathLike[str]) -> str:
    r"""Return a path as people write it: with slashes, in NFC, and every name as text.

    Archives from Windows leave names in CP949, of which Python makes halves of characters that no file of text and no
    answer of a server can hold. A name that is neither UTF-8 nor CP949 gets its bytes as ``\xff``.
    """
    shown = Path(path).as_posix()
    try:
        shown.encode()
    except UnicodeEncodeError:
        shown = "/".join(map(_readable_name, shown.split("/")))
    return unicodedata.normalize("NFC", shown)


def _readable_name(name: str) -> str:
    content = os.fsencode(name)
    found = _strictly(content, ("utf-8", "cp949"))
    return found[0] if found else content.decode("utf-8", "backslashreplace")


def decode(content: bytes, declared: str | None = None) -> str:
    """Decode text; see `decode_text`, which also says whether anything was lost."""
    return decode_text(content, declared)[0]


def decode_text(content: bytes, declared: str | None = None) -> tuple[str, int]:
    """Decode text in UTF-8 or UTF-16 (with and without BOM), UTF-32, CP949 or ISO-2022-KR, into NFC.

    Byte order marks are dropped wherever they stand: programs that put files together leave them in the middle.

    Args:
        content: The bytes.
        declared: The encoding that the content itself names, as HTML does; tried before guessing.

    Returns:
        The text, and the first line with a character that could not be read and became U+FFFD; 0 if there is none.

    Raises:
        UnicodeError: If it is in none of them, or is no text.
    """
    text, is_damaged = _decoded(content, declared)
    text = clean(text.replace("\ufeff", ""))
    return text, text.count("\n", 0, text.find("\ufffd")) + 1 if is_damaged else 0


def _decoded(content: bytes, declared: str | None) -> tuple[str, bool]:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _strictly(content, (encoding,)) or _damaged(content, (encoding,))
    if b"\0" in content:
        return _utf16(content) or _refuse("binary")
    encodings = tuple(filter(None, ("iso2022_kr" if _MAIL in content else "", "utf-8", declared, "cp949")))
    # two bytes each, all letters and no space, is tried late: it is rare, and short texts may be read either way
    return _strictly(content, encodings) or _utf16(content) or _damaged(content, encodings)


def _refuse(why: str) -> tuple[str, bool]:
    raise UnicodeError(why)


def _strictly(content: bytes, encodings: tuple[str, ...]) -> tuple[str, bool] | None:
    for encoding in encodings:
        try:
            return content.decode(encoding), False
        except (UnicodeDecodeError, LookupError):
            continue
    return None


def _damaged(content: bytes, encodings: tuple[str, ...]) -> tuple[str, bool]:
    """Decode text of which a little cannot be read: a cut end, a damaged byte, a character of somebody's own."""
    for encoding in encodings:
        try:
            text = content.decode(encoding, _PASS_OVER)
        except LookupError:
            continue
        lost = text.count("\ufffd") - text.endswith("\ufffd")  # an end may be cut
        if lost <= _UNREADABLE * len(text) and len(text) >= _SHORTEST:
            return text, True
    return _refuse("neither UTF-8, UTF-16 nor CP949")


def _utf16(content: bytes) -> tuple[str, bool] | None:
    """Decode UTF-16 without a mark, if nearly everything in it is usual in Korean text read one way."""
    even = content[: len(content) // 2 * 2]
    best, encoding = 0.0, ""
    for order in ("utf-16-le", "utf-16-be"):
        sample = even[:_SAMPLE].decode(order, "replace")
        plain = len(_PLAIN_LETTERS.findall(sample)) / max(1, len(sample))
        if plain > best and plain >= _PLAIN and len(_USUAL_LETTERS.findall(sample)) >= _USUAL * len(sample):
            best, encoding = plain, order
    if not encoding:
        return None
    try:
        return even.decode(encoding), False
    except UnicodeDecodeError:
        return None
