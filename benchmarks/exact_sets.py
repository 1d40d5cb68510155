"""Evaluation sets on which the exact words decide: articles, siblings, codes and amounts, and questions about Korean.

The first three are made here from building blocks, the same for the same seed; the last one was written by hand and
lies in ``benchmarks/sets/korean_language``. Nothing of them trains anything.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from langchain_core.documents import Document

from langchain_klue_rerank.evaluation import EvaluationSet, read_sets

#: Questions about Korean itself: forms that differ by a particle, an ending, a space or a letter.
KOREAN_LANGUAGE = Path(__file__).parent / "sets" / "korean_language"

_PARTICLE = re.compile(r"([가-힣])(은|이|을|와)\((는|가|를|과)\)")
_CIRCLED = "①②③④⑤⑥⑦⑧⑨"
_BODIES = (
    "위원회",
    "사무국",
    "이사회",
    "감사",
    "총회",
    "운영협의회",
    "회계담당자",
    "심사위원회",
    "시설관리자",
    "지부장",
)
_OBJECTS = (
    "회비", "예산", "회의록", "사업계획", "시설물", "기부금", "출장비", "회원 명부", "비품", "장학금", "공용차량",
    "기록물", "열람실", "연구비", "포상금", "계약서", "보증금", "안전점검표", "숙소", "수당",
)  # fmt: skip
_SUBJECTS = ("관리", "지급", "심의", "보고", "공개", "변경", "반환", "승인", "점검", "보존")
_RULES = (
    "{body}은(는) {object}의 {subject}에 관한 사항을 매년 {month}월까지 정하여야 한다.",
    "{object}의 {subject}에 드는 비용은 {amount}만원을 넘을 수 없다.",
    "{body}은(는) {object}에 관하여 {days}일 이내에 {other}에 알려야 한다.",
    "{object}의 {subject}을(를) 신청하려는 회원은 신청서를 {body}에 내야 한다.",
    "{body}은(는) 필요하다고 인정하면 {object}의 {subject}을(를) {days}일의 범위에서 미룰 수 있다.",
    "{object}의 {subject}에 이의가 있는 회원은 통지를 받은 날부터 {days}일 안에 {other}에 재심을 청구할 수 있다.",
    "{body}의 회의는 재적 인원 {share}분의 2 이상의 찬성으로 {object}의 {subject}을(를) 의결한다.",
    "그 밖에 {object}의 {subject}에 필요한 사항은 {body}이(가) 따로 정한다.",
)
_REFERENCES = (
    "{body}은(는) 제{article}조제{paragraph}항에 따른 {object}의 {subject}을(를) 마치면 그 결과를 {other}에 내야 한다.",
    "제{article}조제{paragraph}항에도 불구하고 {object}의 {subject}은(는) {body}이(가) 달리 정할 수 있다.",
    "{object}의 {subject}에 관하여는 제{article}조제{paragraph}항을 준용한다.",
    "제{article}조제{paragraph}항에서 정한 기간이 지난 때에는 {object}의 {subject}을(를) 신청할 수 없다.",
)
_ASKED = (
    "제{article}조제{paragraph}항에서 정한 것은?",
    "제{article}조 제{paragraph}항은 무엇을 정하고 있나요?",
    "{article}조 {paragraph}항 내용을 알려 주세요",
)


def regulation(references: bool, articles: int = 160, seed: int = 0) -> EvaluationSet:
    """Make the articles of a regulation, and ask each for one of its paragraphs by number.

    Args:
        references: Whether half of the paragraphs name a paragraph of another article, as laws do.
        articles: How many. Default 160.
        seed: Of every choice.
    """
    generator = random.Random(seed)
    headings = generator.sample([f"{one}의 {other}" for one, other in product(_OBJECTS, _SUBJECTS)], articles)
    counts = [generator.randint(2, 5) for _ in range(articles)]
    documents, questions, relevant = [], [], []
    for number, (heading, count) in enumerate(zip(headings, counts, strict=True), 1):
        thing, subject = heading.split("의 ")
        paragraphs = []
        for place in range(count):
            body, other = generator.sample(_BODIES, 2)
            target = generator.randrange(articles)
            rule = generator.choice(_REFERENCES if references and generator.random() < 0.5 else _RULES)
            text = rule.format(
                body=body, other=other, object=thing, subject=subject, month=generator.randint(1, 12),
                amount=generator.randint(1, 90), days=generator.randint(3, 60), share=generator.choice((3, 4, 5)),
                article=target + 1, paragraph=generator.randint(1, counts[target]),
            )  # fmt: skip
            paragraphs.append(f"{_CIRCLED[place]} {_with_particles(text)}")
        documents.append(Document(f"제{number}조({heading}) {' '.join(paragraphs)}", id=str(number)))
        asked = generator.choice(_ASKED).format(article=number, paragraph=generator.randint(1, count))
        questions.append(asked)
        relevant.append(frozenset({str(number)}))
    name = "articles that cite each other" if references else "articles by number"
    return EvaluationSet(name, documents, questions, relevant)


def siblings(seed: int = 0) -> EvaluationSet:
    """Make groups of passages that share all words but one, some of which name a sibling; ask for each by its word."""
    places = [f"{one}{other}동" for one, other in product("가나다라마바사아", ("람", "래", "솔", "온", "루"))]
    goods = ["냉장고", "세탁기", "건조기", "청소기", "공기청정기", "제습기", "전자레인지", "식기세척기", "밥솥"]
    ills = ["독감", "홍역", "수두", "백일해", "풍진", "결핵", "코로나", "볼거리", "장염", "폐렴", "대상포진"]
    crafts = ["목공", "도예", "서예", "수채화", "사진", "기타", "우쿨렐레", "한지공예", "자수", "제빵", "민화"]
    leaves = ["출산", "결혼", "장례", "난임", "돌봄", "병가", "입양", "보상", "안식", "포상", "연차", "유산"]
    groups = (
        _Group(
            "{0} 주민센터는 평일 아침 9시부터 저녁 6시까지 민원을 받습니다. {0} 주민센터 무인 발급기는 현관 "
            "안쪽에 있으며 점심시간에도 쓸 수 있습니다. 발급기가 고장 나면 {1} 주민센터를 찾아 주십시오.",
            places,
            ("{0} 주민센터는 몇 시까지 하나요?", "점심시간에 {0} 발급기 쓸 수 있나요?"),
        ),
        _Group(
            "{0} 보증은 구매한 날부터 시작하며 제품 번호와 영수증을 함께 내야 합니다. {0} 보증 기간에는 "
            "부품값과 출장비를 받지 않지만, 떨어뜨리거나 물에 젖어 생긴 고장에는 요금이 듭니다. {1} 보증과 "
            "날짜가 다를 수 있습니다.",
            goods,
            ("{0} 보증은 언제부터 시작해요?", "{0}을(를) 떨어뜨려서 고장 났는데 요금이 드나요?"),
        ),
        _Group(
            "{0} 감염이 의심되면 사람이 많은 곳을 피하고 가까운 보건소에 전화로 먼저 알립니다. 검사 결과는 "
            "하루 안에 문자로 보내 드리며, {1}와(과) 달리 닷새 동안 집에서 쉬도록 권합니다.",
            ills,
            ("{0} 검사 결과는 언제 나오나요?", "{0}에 걸리면 며칠 쉬어야 합니까?"),
        ),
        _Group(
            "{0} 과정은 봄학기와 가을학기에 한 번씩 열립니다. 신청은 누리집에서 받으며 정원은 스무 명입니다. "
            "{1} 과정과 함께 들을 수 없고, 세 번 넘게 빠지면 수료할 수 없습니다.",
            crafts,
            ("{0} 과정은 몇 번 빠지면 수료를 못 하나요?", "{0} 과정 정원이 몇 명이에요?"),
        ),
        _Group(
            "휴가의 종류 가운데 {0} 휴가는 사유가 생긴 날부터 쓸 수 있습니다. 신청서는 부서장에게 내고 증빙 "
            "서류를 함께 붙입니다. {1} 휴가와 이어서 쓰려면 따로 승인을 받아야 합니다.",
            leaves,
            ("{0} 휴가는 언제부터 쓸 수 있나요?", "{0} 휴가 신청서는 누구한테 내죠?"),
        ),
    )
    return _from_groups("siblings but for one word", groups, seed)


def codes(seed: int = 0) -> EvaluationSet:
    """Make passages that differ by a model number, a code, a date or an amount, and ask for each by it."""
    generator = random.Random(seed)
    models = [f"{generator.choice(('KX', 'SR', 'HD'))}-{number}" for number in generator.sample(range(100, 999), 60)]
    errors = [f"E{number:03d}" for number in generator.sample(range(10, 400), 60)]
    dates = [
        f"{year}년 {month}월 {generator.randint(1, 28)}일"
        for year, month in product((2022, 2023, 2024, 2025), range(1, 13))
    ]
    amounts = [f"{number}만원" for number in generator.sample(range(1, 90), 40)]
    rooms = [f"{block}동 {floor}0{room}호" for block, floor, room in product(range(101, 107), (3, 7, 12), (1, 2, 3))]
    groups = (
        _Group(
            "{0} 모델은 벽에 걸어 쓰는 제품으로 소비 전력이 낮습니다. 필터는 {1}에 들어가는 것과 같으며 여섯 "
            "달에 한 번 갈아 줍니다. 설명서는 누리집 자료실에 있습니다.",
            models,
            ("{0} 필터는 얼마나 자주 갈아요?", "{0} 설명서 어디서 받나요"),
        ),
        _Group(
            "화면에 {0} 오류가 뜨면 전원을 끄고 오 분쯤 기다렸다가 다시 켭니다. 그래도 표시가 사라지지 않거나 "
            "{1} 오류로 바뀌면 고객센터에 오류 번호를 알려 주십시오.",
            errors,
            ("{0} 오류 떴는데 어떻게 하나요", "{0} 표시가 사라지지 않아요"),
        ),
        _Group(
            "{0} 정기 회의에서는 {1} 회의의 결과를 보고하고 다음 달 일정을 정했습니다. 참석자는 모두 "
            "동의하였으며 자세한 내용은 붙임 문서에 있습니다.",
            dates,
            ("{0} 회의에서 무엇을 정했나요?", "{0}에 열린 회의 참석자들은 동의했나요?"),
        ),
        _Group(
            "구매 금액이 {0} 이상이면 사은품을 하나 드립니다. 사은품은 고를 수 있고 {1} 할인권과 함께 쓸 수 "
            "없습니다. 반품하면 사은품도 돌려주셔야 합니다.",
            amounts,
            ("{0} 이상 사면 사은품을 주나요?", "{0}어치 사고 반품하면 사은품은 어떻게 하나요"),
        ),
        _Group(
            "{0} 세대는 이번 달 소독을 마쳤습니다. 다음 소독은 석 달 뒤이며, 부재중이면 {1}에 열쇠를 맡기지 "
            "말고 관리사무소에 미리 알려 주십시오.",
            rooms,
            ("{0} 소독 끝났나요?", "{0}는 다음 소독이 언제인가요?"),
        ),
    )
    return _from_groups("codes, dates, amounts", groups, seed)


@dataclass(frozen=True)
class _Group:
    """Passages that differ by one value and name that of another (``{1}``), and what each is asked."""

    passage: str
    values: Sequence[str]
    asked: Sequence[str]


def _from_groups(name: str, groups: Sequence[_Group], seed: int) -> EvaluationSet:
    """Fill each group's passage and questions with each of its values."""
    generator = random.Random(seed)
    documents: list[Document] = []
    questions: list[str] = []
    relevant: list[frozenset[str]] = []
    for group in groups:
        for value in group.values:
            identifier = str(len(documents))
            other = generator.choice([one for one in group.values if one != value])
            documents.append(Document(_with_particles(group.passage.format(value, other)), id=identifier))
            questions += [_with_particles(question.format(value)) for question in group.asked]
            relevant += [frozenset({identifier})] * len(group.asked)
    generator.shuffle(documents)
    return EvaluationSet(name, documents, questions, relevant)


def korean_language() -> EvaluationSet:
    """Read the questions about Korean itself."""
    return read_sets(str(KOREAN_LANGUAGE))[0]


def _with_particles(text: str) -> str:
    """Choose between the forms of particles, written "은(는)", "이(가)", "을(를)" or "와(과)"."""
    return _PARTICLE.sub(
        lambda m: m[1] + (m[2] if ((ord(m[1]) - ord("가")) % 28 > 0) != (m[2] == "와") else m[3]), text
    )


#: Name -> what makes the set.
EXACT_SETS: dict[str, Callable[[], EvaluationSet]] = {
    "articles": lambda: regulation(references=False),
    "cross-references": lambda: regulation(references=True),
    "siblings": siblings,
    "codes": codes,
    "korean": korean_language,
}
