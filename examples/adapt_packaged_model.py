"""Adapt the packaged bi-encoder to a handbook of an invented company, then search with it.

pip install "langchain-klue-rerank[train]"      # for adapting; the adapted model runs without torch
python -m examples.adapt_packaged_model my-bi-encoder
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from langchain_core.documents import Document

from langchain_klue_rerank import KlueEmbeddings, KlueRetriever
from training.recipes import adapt

#: Passages of the handbook, each with two questions in the words of those who work there. A real file has hundreds.
HANDBOOK = {
    "모든 직원은 입사 첫날 안내 데스크에서 출입 카드를 받으며, 카드는 본인만 쓸 수 있습니다.": (
        "첫 출근날 문 여는 카드는 어디서 주나요?",
        "제 카드를 동료한테 빌려줘도 되나요?",
    ),
    "출입 카드를 잃어버리면 즉시 시설팀 내선 7300으로 신고하고, 재발급 비용 만 원을 냅니다.": (
        "카드를 분실했는데 어떻게 하죠?",
        "사원증 다시 만드는 데 돈이 드나요?",
    ),
    "재택근무는 한 주에 이틀까지이며, 전날 오후 다섯 시까지 팀장에게 알려야 합니다.": (
        "집에서 일하는 건 며칠까지 되나요?",
        "내일 집에서 일하려면 누구에게 말하나요?",
    ),
    "야간 작업이 밤 열 시를 넘으면 택시비를 실비로 정산하며, 영수증에 작업 번호를 적습니다.": (
        "늦게 끝나면 집에 갈 때 차비를 주나요?",
        "택시 영수증에는 뭘 써야 하나요?",
    ),
    "별빛홀은 스무 명까지 들어가며, 예약은 사내 달력에서 사흘 전까지 합니다.": (
        "별빛홀에는 몇 명이 들어갈 수 있어요?",
        "제일 큰 회의실은 언제까지 잡아야 하나요?",
    ),
    "구내식당 점심은 열한 시 반부터 한 시 반까지이고, 채식 식단은 하루 전에 신청합니다.": (
        "밥은 몇 시부터 먹을 수 있나요?",
        "고기를 안 먹는데 식사가 따로 나오나요?",
    ),
    "노트북은 3년마다 바꿔 주며, 쓰던 기기는 자료를 지운 뒤 전산팀에 돌려줍니다.": (
        "컴퓨터는 얼마나 쓰면 새로 주나요?",
        "쓰던 노트북은 어디에 반납해요?",
    ),
    "외부 저장 장치는 보안팀에 등록한 것만 쓸 수 있고, 등록은 한 해 동안 유효합니다.": (
        "유에스비를 꽂아도 되나요?",
        "보안 등록은 얼마 동안 가나요?",
    ),
    "가족 돌봄 휴가는 한 해에 열흘까지 무급으로 쓸 수 있으며, 증빙 서류를 함께 냅니다.": (
        "부모님이 편찮으셔서 며칠 쉬고 싶어요.",
        "돌봄 휴가 때 월급이 나오나요?",
    ),
    "경조사 화환은 총무팀이 보내며, 늦어도 하루 전에 날짜와 장소를 알려 주십시오.": (
        "결혼식에 회사 꽃을 받으려면 어떻게 해요?",
        "상을 당했는데 회사에서 뭘 보내 주나요?",
    ),
    "자전거 보관소는 지하 1층에 있고, 등록 스티커가 없는 자전거는 매달 말일에 치웁니다.": (
        "자전거는 어디에 세우나요?",
        "타고 온 자전거가 없어졌어요.",
    ),
    "사내 도서는 한 번에 세 권을 2주 동안 빌리며, 새 책은 분기마다 신청을 받습니다.": (
        "책은 몇 권까지 빌릴 수 있어요?",
        "읽고 싶은 책을 사 달라고 할 수 있나요?",
    ),
    "출장비는 돌아온 날부터 닷새 안에 경비 시스템에 올리고, 늦으면 다음 달에 지급합니다.": (
        "출장 다녀와서 언제까지 돈을 청구하나요?",
        "경비를 늦게 올리면 어떻게 되나요?",
    ),
    "법인 카드로 산 간식은 한 사람에 한 달 3만 원까지이며, 참석한 사람을 적어야 합니다.": (
        "회식 말고 간식은 얼마까지 살 수 있어요?",
        "회사 카드로 과자를 사면 뭘 적나요?",
    ),
    "건강 검진은 생일이 있는 달에 받고, 검진 날은 반나절 유급으로 쉽니다.": (
        "검진은 언제 받아요?",
        "병원에 검사받으러 가는 날은 휴가를 써야 하나요?",
    ),
}


def write_pairs(path: Path) -> None:
    """Write the handbook's questions as a file that `training.recipes.adapt` reads."""
    rows = [
        {"question": question, "passage": passage} for passage, questions in HANDBOOK.items() for question in questions
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def build_retriever(output: Path) -> KlueRetriever:
    """Adapt the packaged model, write it to a new folder, and index the handbook with it."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = Path(folder) / "handbook.jsonl"
        write_pairs(pairs)
        # 1. The same as: python -m training.recipes.adapt --data handbook.jsonl --output my-bi-encoder
        outcome = adapt.train(adapt.Settings(data=str(pairs), output=output))
    # 2. The model is a folder; its name is all that changes in an application.
    return handbook_retriever(KlueEmbeddings(model=str(outcome.model)))


def handbook_retriever(embeddings: KlueEmbeddings) -> KlueRetriever:
    """Index the handbook."""
    return KlueRetriever.from_documents([Document(text) for text in HANDBOOK], embeddings=embeddings, k=1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("Name a new folder for the model: python -m examples.adapt_packaged_model my-bi-encoder [QUESTION]")
    retrievers = {"adapted": build_retriever(Path(sys.argv[1])), "packaged": handbook_retriever(KlueEmbeddings())}
    for question in sys.argv[2:] or ["집에서 일하고 싶은데 누구 허락을 받나요?"]:
        print(f"\n{question}")
        for name, retriever in retrievers.items():
            for document in retriever.invoke(question):
                print(f"  {name:9s} {document.metadata['relevance_score']:.3f}  {document.page_content}")
