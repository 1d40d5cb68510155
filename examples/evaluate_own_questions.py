"""Does it find what your users ask for? Hit rates on your own questions, with and without reranking.

pip install langchain-klue-rerank
python -m examples.evaluate_own_questions my_questions.csv    # columns question, passage[, title]

The same table, with intervals and times: ``klue-rerank evaluate --data my_questions.csv``.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

from langchain_klue_rerank.evaluation import Report, evaluate
from langchain_klue_rerank.evaluation.sets import read_sets

QUESTIONS = [
    ("사내 도서는 며칠 동안 빌릴 수 있나요?", "사내 도서는 한 번에 세 권, 두 주 동안 빌릴 수 있습니다.", "사내 도서관"),
    ("책을 늦게 돌려주면 어떻게 되나요?", "반납이 늦으면 늦은 날만큼 새로 빌릴 수 없습니다.", "사내 도서관"),
    ("회의실은 어디에서 예약하나요?", "회의실은 사내 일정표에서 예약하고, 쓰지 않게 되면 바로 취소합니다.", "회의실"),
    (
        "방문 손님 주차는 몇 시간까지 무료인가요?",
        "방문객은 안내 창구에 등록하면 세 시간까지 무료입니다.",
        "주차장",
    ),
    ("재택근무는 누구에게 신청하나요?", "재택근무는 하루 전까지 팀장에게 신청합니다.", "근무 제도"),
    ("노트북이 고장 나면 어디로 가져가나요?", "고장 난 장비는 3층 전산실에 맡기고 대체품을 받아 갑니다.", "장비"),
]


def write_questions(path: Path) -> Path:
    """Write questions as a csv file of the expected form."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "passage", "title"])
        writer.writerows(QUESTIONS)
    return path


def compare(path: Path) -> Report:
    """Search with every question of a file, in every way."""
    [data] = read_sets(str(path))
    return evaluate(data, show_progress=False)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else write_questions(Path(folder, "questions.csv"))
        report = compare(path)
    print(f"{report.questions} questions over {report.passages} passages")
    for row in report.rows:
        name = f"{row.search_type}, reranked" if row.reranked else row.search_type
        print(f"{name:<20} HitRate@1 {row.values['HitRate@1']:.3f}   HitRate@10 {row.values['HitRate@10']:.3f}")
