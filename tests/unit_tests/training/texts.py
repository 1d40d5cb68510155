"""A few questions and passages of our own, enough to train a tiny model for a few steps."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Title, passage, and questions with their answers.
_PASSAGES: list[tuple[str, str, list[tuple[str, str]]]] = [
    (
        "전입신고",
        "이사한 사람은 새 집에 들어간 날부터 열네 날 안에 동 주민센터에 알려야 한다. 늦으면 과태료가 있다.",
        [("이사하면 며칠 안에 알려야 하나요?", "열네 날"), ("전입신고는 어디에서 하나요?", "동 주민센터")],
    ),
    (
        "여권 발급",
        "여권은 구청 민원실에서 만든다. 사진 한 장과 신분증이 필요하고, 나오기까지 나흘쯤 걸린다.",
        [("여권은 어디에서 만들어요?", "구청 민원실"), ("여권이 나오기까지 얼마나 걸리나요?", "나흘쯤")],
    ),
    (
        "도서관 이용",
        "시립 도서관은 월요일마다 쉰다. 책은 한 번에 다섯 권까지 두 주 동안 빌릴 수 있다.",
        [("시립 도서관이 쉬는 요일은 언제인가요?", "월요일"), ("책은 몇 권까지 빌릴 수 있나요?", "다섯 권")],
    ),
    (
        "쓰레기 배출",
        "재활용품은 화요일과 금요일 저녁에 내놓는다. 음식물은 따로 모아 노란 통에 담는다.",
        [("재활용품은 언제 내놓나요?", "화요일과 금요일 저녁"), ("음식물 쓰레기는 어디에 담나요?", "노란 통")],
    ),
    (
        "주차장",
        "공영 주차장은 처음 삼십 분이 무료이고 그 뒤로 십 분마다 삼백 원을 받는다. 밤에는 문을 닫는다.",
        [("주차는 얼마 동안 무료인가요?", "삼십 분"), ("주차 요금은 십 분에 얼마인가요?", "삼백 원")],
    ),
    (
        "수영장",
        "구민 수영장은 여섯 시에 열고 모자를 써야 들어갈 수 있다. 초보 강습은 매달 첫 주에 시작한다.",
        [("수영장에서 꼭 써야 하는 것은 무엇인가요?", "모자"), ("초보 강습은 언제 시작하나요?", "매달 첫 주")],
    ),
    (
        "무료 진료",
        "보건소는 목요일 오후에 이를 무료로 봐 준다. 예순다섯 살이 넘은 주민만 미리 전화로 예약한다.",
        [("이를 무료로 봐 주는 요일은?", "목요일"), ("무료 진료는 몇 살부터 받을 수 있나요?", "예순다섯 살")],
    ),
    (
        "텃밭 분양",
        "시에서는 봄마다 텃밭을 나누어 준다. 신청은 이월에 받고 추첨으로 뽑으며 한 해에 이만 원이다.",
        [("텃밭은 어떻게 뽑나요?", "추첨"), ("텃밭은 한 해에 얼마인가요?", "이만 원")],
    ),
]


def question_rows() -> list[dict[str, Any]]:
    """Sixteen questions over eight passages, in the columns of KLUE-MRC's files."""
    return [
        {"title": title, "context": passage, "question": question, "answer": answer}
        for title, passage, asked in _PASSAGES
        for question, answer in asked
    ]


def scored_rows() -> list[dict[str, Any]]:
    """Sentence pairs with a similarity from 0 to 5."""
    passages = [passage for _, passage, _ in _PASSAGES]
    rows = [
        {"sentence1": question, "sentence2": passage, "label": 3.0 + number % 3}
        for number, (_, passage, asked) in enumerate(_PASSAGES)
        for question, _ in asked
    ]
    others = zip(passages, passages[3:] + passages[:3], strict=True)
    return rows + [{"sentence1": a, "sentence2": b, "label": number % 3} for number, (a, b) in enumerate(others)]


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def data_folder(folder: Path, *, apart: bool = False) -> Path:
    """A data folder of the usual layout: two passages of klue_mrc test, in two parts if wanted, the others train."""
    questions, scored = question_rows(), scored_rows()
    write_jsonl(folder / "klue_mrc" / "train.jsonl", questions[:12])
    write_jsonl(folder / "klue_mrc" / "validation.jsonl", questions[12:14] if apart else questions[12:])
    if apart:
        write_jsonl(folder / "klue_mrc" / "test.jsonl", questions[14:])
    write_csv(folder / "klue_sts" / "train.csv", scored[:18])
    write_csv(folder / "klue_sts" / "validation.csv", scored[18:])
    return folder
