"""What a question asks for, and which sentences can say it: amounts, times, places, persons, reasons, ways."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_PERIOD: Final = r"하루|이틀|사흘|나흘|열흘|보름"
_COUNT: Final = r"[한두세네]\s?(?:달|주|번|명|사람|시간|개|장|가지)"
#: For each kind of question how it is recognised, and how a sentence that could answer it is.
_KINDS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "amount",
        r"몇|얼마|며칠|횟수|인원|퍼센트",
        rf"\d|{_COUNT}|{_PERIOD}|절반|[일이삼사오육칠팔구십백천만]+\s?(?:원|명|일|개월|퍼센트)",
    ),
    (
        "time",
        r"언제|며칠|몇 ?[시년월]|기간|시간|까지|요일|날짜",
        rf"\d+\s?(?:시|분|일|월|년|개월|주|초)|오전|오후|새벽|아침|저녁|[월화수목금토일]요일|평일|주말|매[월주년일달]"
        rf"|까지|부터|동안|이내|안에|전에|{_PERIOD}|{_COUNT}",
    ),
    (
        "place",
        r"어디|장소|곳[은이]|어느 (?:나라|도시|지역)|데 있",
        r"에서|층|앞|옆|(?:실|센터|창구|사무소|관|역|동|구|시)(?:에|으로|은|는|이)?\b|로 (?:오|가)",
    ),
    (
        "person",
        r"누구|누가|누굴|사람[은이]",
        r"(?:자|님|분|원|장|인|씨|사람|팀|부서|가족|부모|담당)(?:은|는|이|가|께서|에게|께|으로)?\b",
    ),
    (
        "reason",
        r"왜|이유|까닭|원인|때문|어째서",
        r"때문|위해|므로|이유|[아어]서|니까|으니|탓|까닭|원인|라는 뜻|하여",
    ),
    (
        "way",
        r"어떻|어케|어찌|어떡|방법|하려면|[으려]면\s*$|어쩌|해야 ?(?:하|되|돼)|법\s*\??$",
        r"세요|십시오|바랍니다|시면 됩니다|하면 됩니다|시기 바|해야|하여야|야 합니다|야 한다|야 해요",
    ),
    (
        "money",
        r"얼마|비용|요금|가격|돈|값|[료비]\b|원\b|공짜|무료",
        r"원(?:이|을|은|입|까|으|씩|과|\b)|무료|비용|요금|수수료|[료비](?:는|를|가|은|이|도)?\b|환불|돌려|할인|퍼센트|%",
    ),
)
_ASKED: Final = tuple(re.compile(question) for _, question, _ in _KINDS)
_SAYS: Final = tuple(re.compile(sentence) for _, _, sentence in _KINDS)
#: Beginnings of sentences that go on about the subject of the one before.
_GOES_ON: Final = re.compile(
    r"^(?:(?:이|그|여기|거기)(?:것|곳|를|는)?|그녀|이때|그때|이후|그 뒤|이렇게|그러면|이런|그런)"
    r"(?:은|는|이|가|을|를|에|의|도)?\b"
)
#: Kinds of question.
KINDS: Final = tuple(name for name, _, _ in _KINDS)


def said(question: str, sentences: Sequence[str]) -> NDArray[np.float64]:
    """Tell which sentences can say what a question asks for.

    Args:
        question: The question.
        sentences: n sentences.

    Returns:
        (n, kinds): 1 where the question is of a kind and the sentence has what such a question asks for, else 0.
    """
    result = np.zeros((len(sentences), len(KINDS)))
    for column, (asked, says) in enumerate(zip(_ASKED, _SAYS, strict=True)):
        if asked.search(question):
            result[:, column] = [says.search(sentence) is not None for sentence in sentences]
    return result


def goes_on(sentences: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which sentences begin with a word for what the one before is about, (n,)."""
    return np.array([_GOES_ON.search(sentence) is not None for sentence in sentences], bool)
