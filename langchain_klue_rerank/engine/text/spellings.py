"""Other ways to write a word: Latin letters in Hangul, names of things, initial consonants.

An index uses them for words of a query that none of its passages has, so they cost nothing elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

#: Initial consonants by their number in a syllable's code.
INITIALS: Final = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
#: Syllable -> its initial consonant, for `str.translate`.
INITIAL_OF: Final = {0xAC00 + number: INITIALS[number // 588] for number in range(11_172)}
#: A word of initial consonants: at least three, as two are often slang ("ㄱㅅ", "ㅇㅋ").
INITIALS_WORD: Final = re.compile(rf"(?<![^\W_])[{INITIALS}]{{3,20}}(?![^\W_])")

#: Words that initial consonants are taken for.
MOST_WORDS: Final = 3
#: A word that may have another spelling; "wi-fi" is one.
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)?")

#: Letters as they are read, the usual way first.
_READ = {
    "a": ["에이"], "b": ["비"], "c": ["씨", "시"], "d": ["디"], "e": ["이"], "f": ["에프"], "g": ["지"],
    "h": ["에이치"], "i": ["아이"], "j": ["제이"], "k": ["케이"], "l": ["엘"], "m": ["엠"], "n": ["엔"],
    "o": ["오"], "p": ["피"], "q": ["큐"], "r": ["알", "아르"], "s": ["에스"], "t": ["티"], "u": ["유"],
    "v": ["브이", "비"], "w": ["더블유"], "x": ["엑스"], "y": ["와이"], "z": ["제트", "지"],
}  # fmt: skip
#: Names that are no rows of letters, by their most usual spelling in either script.
_NAMES = [
    ("챗지피티", "chatgpt"), ("와이파이", "wi-fi", "wifi"), ("블루투스", "bluetooth"), ("이메일", "email", "e-mail"),
    ("메일", "mail"), ("카카오톡", "kakaotalk"), ("카톡", "kakaotalk"), ("유튜브", "youtube"), ("구글", "google"),
    ("네이버", "naver"), ("인스타그램", "instagram"), ("페이스북", "facebook"), ("넷플릭스", "netflix"),
    ("줌", "zoom"), ("아이폰", "iphone"), ("아이패드", "ipad"), ("갤럭시", "galaxy"), ("안드로이드", "android"),
    ("애플", "apple"), ("마이크로소프트", "microsoft"), ("윈도우", "windows"), ("윈도", "windows"),
    ("리눅스", "linux"), ("맥북", "macbook"), ("엑셀", "excel"), ("파워포인트", "powerpoint"), ("워드", "word"),
    ("아웃룩", "outlook"), ("팀즈", "teams"), ("슬랙", "slack"), ("노션", "notion"), ("깃허브", "github"),
    ("도커", "docker"), ("쿠버네티스", "kubernetes"), ("파이썬", "python"), ("자바스크립트", "javascript"),
    ("자바", "java"), ("클라우드", "cloud"), ("로그인", "login"), ("다운로드", "download"), ("업데이트", "update"),
    ("온라인", "online"), ("오프라인", "offline"), ("홈페이지", "homepage"), ("웹사이트", "website"), ("앱", "app"),
    ("키오스크", "kiosk"), ("포인트", "point"), ("쿠폰", "coupon"),
]  # fmt: skip

_LETTER_OF = {spoken: letter for letter, ways in reversed(_READ.items()) for spoken in ways}  # 비 is b, 지 is g
#: Two to six letters as they are read, from the beginning of a word.
_SPOKEN = "|".join(sorted(_LETTER_OF, key=len, reverse=True))
_SPOKEN_WORD = re.compile(rf"(?:{_SPOKEN}){{2,6}}")
_SPOKEN_LETTER = re.compile(_SPOKEN)
_ACRONYM = re.compile(r"[a-z]{2,6}")

_FORMS: dict[str, list[str]] = {}
for _korean, *_latin in _NAMES:
    _FORMS.setdefault(_korean, []).extend(_latin)
    for _one in _latin:
        _FORMS.setdefault(_one, []).append(_korean)
_LONGEST = max(map(len, _FORMS))


def other_spellings(word: str) -> Iterator[tuple[str, str]]:
    """Yield other ways to write the beginning of a word, the likeliest first.

    Args:
        word: A word in lower case.

    Yields:
        The part of the word, and what may stand in its place.

    Examples:
        >>> list(other_spellings("유에스비를"))
        [('유에스비', 'usb'), ('유에스비', 'usv')]
        >>> list(other_spellings("ktx"))
        [('ktx', '케이티엑스')]
        >>> list(other_spellings("챗지피티로"))
        [('챗지피티', 'chatgpt')]
    """
    for length in range(min(len(word), _LONGEST), 0, -1):
        if forms := _FORMS.get(word[:length]):
            yield from ((word[:length], form) for form in forms)
            break
    if spoken := _SPOKEN_WORD.match(word):
        letters = "".join(_LETTER_OF[one] for one in _SPOKEN_LETTER.findall(spoken.group()))
        # 비 is v, too: everywhere, or at the end alone, as in cctv
        ways = dict.fromkeys([letters, letters.replace("b", "v"), "v".join(letters.rsplit("b", 1))])
        yield from ((spoken.group(), way) for way in ways)
    if acronym := _ACRONYM.match(word):
        read = ["".join(_READ[letter][place] for letter in acronym.group()) for place in (0, -1)]
        yield from ((acronym.group(), way) for way in dict.fromkeys(read))


def respelled(query: str, has: Callable[[str], bool], beginning_with: Callable[[str, int], Sequence[str]]) -> str:
    """Write the words of a query that occur nowhere as they occur.

    "유에스비" becomes "usb" where no passage has the one and one has the other, and "ㅈㅇㅅㄱ" becomes the words that
    have these initial consonants. Everything else stays as it is.

    Args:
        query: The query, cleaned.
        has: Tells whether a text may occur.
        beginning_with: Returns, for initial consonants, at most so many beginnings of words that have them.
    """

    def spell_out(match: re.Match[str]) -> str:
        initials = match.group()
        if len(set(initials)) == 1:  # laughter
            return initials
        return " ".join(beginning_with(initials, MOST_WORDS)) or initials

    def spell_otherwise(match: re.Match[str]) -> str:
        word = match.group()
        for part, other in other_spellings(word.lower()):
            if not has(part) and has(other):
                return other + word[len(part) :]
        return word

    return _WORD.sub(spell_otherwise, INITIALS_WORD.sub(spell_out, query))
