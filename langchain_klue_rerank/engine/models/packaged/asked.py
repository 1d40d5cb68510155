"""What a question asks for, and which sentences can say it: amounts, times, places, persons, reasons, ways, leave."""

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
    (
        "often",
        r"자주|몇 ?번|주기|며칠에|몇 ?(?:달|주|일|년|시간)에",
        r"마다|에 ?(?:한|두|세|\d+) ?번|번씩|매[일주월년달]|한 번",
    ),
    (
        "allowed",
        r"[가-힣]도 ?(?:되|돼|됨|될|괜찮)|수 ?(?:있|없)|되나|돼요|되는지|될까|괜찮|가능|안 ?되|금지|허용"
        r"|해야 ?(?:하|되|돼|함)|[나까]요?\?*$",
        r"수 (?:있|없)|면 안|안 됩|않습|않아|됩니다|되며|돼요|금지|허용|가능|불가|못 |만 (?:되|됩|받|쓸|가능)"
        r"|[해아어여]야|하여야|받지|마세요|마십시오|없습니다|없이",
    ),
)
#: "몇" and a unit, and other names of the same unit.
_HOW_MANY: Final = re.compile(
    r"몇 ?(년|월|달|개월|주|시간|시|분|초|명|사람|번|회|개|층|호|퍼센트|프로|살|세|학년|권|장|대|마리|가지|미터|킬로"
    r"|도|점)"
)
#: A usual spelling of "며칠".
_HOW_MANY_DAYS: Final = re.compile(r"몇 ?일(?=[은이을에간동까만씩인마째\s?]|$)")
_SAME_UNIT: Final = (
    {"달", "개월"},
    {"사람", "명", "인", "분"},
    {"퍼센트", "프로", "%", "할"},
    {"번", "회"},
    {"킬로", "kg", "㎏", "km"},
    {"살", "세"},
)
_NUMBER: Final = r"(?:\d|[한두세네반]|다섯|여섯|일곱|여덟|아홉|열|스무|서른|수십|[일이삼사오육칠팔구십백천만])\s?"
_DAYS: Final = r"(?:\d\s?일|하루|이틀|사흘|나흘|닷새|엿새|이레|열흘|보름|주일|당일|전날|다음 날)"
#: How long before something ("사흘 전까지"): only a question that says so, too, asks for it.
_BEFORE: Final = r"\s?전(?:에|까지|부터|이|의|\b)"
_ASKS_BEFORE: Final = re.compile(rf"(?:며칠|몇 ?[가-힣]{{1,3}}){_BEFORE}")
_SOME_TIME_BEFORE: Final = re.compile(
    rf"(?:{_PERIOD}|(?:\d+|{_NUMBER})\s?(?:초|분|시간|일|주|주일|달|개월|년|영업일)){_BEFORE}"
)
_ASKED: Final = tuple(re.compile(question) for _, question, _ in _KINDS)
_SAYS: Final = tuple(re.compile(sentence) for _, _, sentence in _KINDS)
#: Beginnings of sentences that go on about the subject of the one before.
_GOES_ON: Final = re.compile(
    r"^(?:(?:이|그|여기|거기)(?:것|곳|를|는)?|그녀|이때|그때|이후|그 뒤|이렇게|그러면|이런|그런)"
    r"(?:은|는|이|가|을|를|에|의|도)?\b"
)
#: Kinds of question; the last one asks for a number of something, which the sentence has to have.
KINDS: Final = (*(name for name, _, _ in _KINDS), "unit")


def said(question: str, sentences: Sequence[str]) -> NDArray[np.float64]:
    """Tell which sentences can say what a question asks for.

    Args:
        question: The question.
        sentences: n sentences.

    Returns:
        (n, kinds): 1 where the question is of a kind and the sentence has what such a question asks for, else 0.
    """
    result = np.zeros((len(sentences), len(KINDS)))
    question = _HOW_MANY_DAYS.sub("며칠", question)
    counted = _counted(question)
    if counted and not _ASKS_BEFORE.search(question):
        sentences = [_SOME_TIME_BEFORE.sub("", sentence) for sentence in sentences]
    for column, (asked, says) in enumerate(zip(_ASKED, _SAYS, strict=True)):
        if asked.search(question):
            result[:, column] = [says.search(sentence) is not None for sentence in sentences]
    if counted:
        result[:, -1] = [counted.search(sentence) is not None for sentence in sentences]
    return result


def _counted(question: str) -> re.Pattern[str] | None:
    """Return what finds a number of the unit that a question asks for ("몇 년"); None if it asks for none."""
    if "며칠" in question:
        number = _DAYS
    elif found := _HOW_MANY.search(question):
        # "분" is a minute, too: only who asks for persons means them
        same = next((names for names in _SAME_UNIT if found[1] in names and found[1] != "분"), {found[1]})
        number = f"{_NUMBER}(?:{'|'.join(sorted(same))})"
    else:
        return None
    return re.compile(number + (_BEFORE if _ASKS_BEFORE.search(question) else ""))


def goes_on(sentences: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which sentences begin with a word for what the one before is about, (n,)."""
    return np.array([_GOES_ON.search(sentence) is not None for sentence in sentences], bool)
