"""The report's words, in English and in Korean."""

from __future__ import annotations

from training.inputs import NOTES

EN = {
    "title": "Two-stage Korean retrieval, reproduced",
    "made_of": "Bi-encoder from {base}, cross-encoder from {reranker}; data: {data}; {precision}, {device}.",
    "orientation": "The tutorial's figures are of klue/roberta-base and -small on all of KLUE and a GPU; where "
    "model, data or machine differ, they stand here for orientation. No figure on a part of KLUE-MRC is an official "
    "score.",
    "reduced": "This run differs from the tutorial: {what}. Its figures are not the tutorial's.",
    "reduced_steps": "{stage}: {count} steps",
    "reduced_questions": "{count} questions",
    "conclusion": "What reranking bought, and what it cost",
    "effect": "{protocol}, {count:,} questions over {passages:,} passages, {fetch} candidates reranked: HitRate@10 "
    "went from {before10:.3f} to {after10:.3f} ({difference10}), HitRate@1 from {before1:.3f} to {after1:.3f} "
    "({difference1}).",
    "cost": "A question took {after:.1f} ms instead of {before:.1f} ms, {ratio:.1f} times as long.",
    "gain": "The gain at @{k} is more than chance explains.",
    "loss": "The loss at @{k} is more than chance explains: these candidates are better left in their order.",
    "chance": "The difference at @{k} is within what chance explains on so few questions.",
    "tutorial_protocol": "As the tutorial measures",
    "our_protocol": "Our way, {corpus}",
    "beside": "Beside the tutorial",
    "beside_text": "Each figure of the tutorial and ours, measured as the tutorial measures: rows as they are, "
    "wrong passages of random rows with another title, {count:,} questions over their own contexts, a flat L2 index "
    "over raw vectors, {fetch} candidates, {kept} kept. The last column is ours, not the tutorial's: distinct "
    "contexts, all of them, 95% intervals, long passages read in windows, the mean of both scores.",
    "figure": "figure",
    "tutorial": "tutorial",
    "here": "here",
    "ours": "ours: all contexts",
    "before": "before",
    "after": "after",
    "ratio": "reranked / fine-tuned, seconds",
    "of_questions": "{value} ({count:,} questions)",
    "stages": "Stages",
    "stage_head": "stage|metric|tutorial: before|after|here: before|after|untrained model|minutes",
    "stage_text": "Correlation with the labels of test pairs: stage 1 on sentence pairs, stages 2 and 3 on "
    "questions with their passage (1) and a wrong one (0), a random one of another title or, for the hard ones, the "
    "best that BM25 finds without the answer in it. The untrained model has the base model's size and random "
    "weights.",
    "hard": "hard wrong passages",
    "retrieval": "Retrieval, our way",
    "retrieval_text": "95% bootstrap intervals. Own contexts are those of the questions, all contexts the honest "
    "corpus. Where time is short, fewer questions are reranked; the same ones not reranked stand beside them. "
    "Seconds are for all questions of the row; indexing is not in them.",
    "retrieval_head": "corpus|search|questions|HitRate@1|HitRate@10|MRR@10|seconds|ms a query",
    "picture": "HitRate at 1 and at 10 with 95% intervals",
    "adds": "What reranking adds",
    "adds_head": "corpus|search|HitRate@1, difference|HitRate@10, difference",
    "adds_text": "Against the same bi-encoder without reranking, question by question; p of a paired test.",
    "closing": "The tutorial's closing table",
    "closing_head": "1,000 questions, own contexts|HitRate@10|seconds",
    "rows": "Rows",
    "rows_head": "stage|trained|held out|tested",
    "rows_text": "Rows that are held out pick the checkpoint and do not train.",
    "training": "Training",
    "training_head": "stage|steps|rows a step|computed in, on",
    "training_text": "With a time limit the number of steps was planned at the first start from measured speed, and "
    "kept: a run that is interrupted and resumed makes the same steps on the same data. On one machine with the "
    "same number of threads its scores are the same; times are not, and another machine's plan is another one.",
    "models": "The models",
    "models_head": "stage|folder|at the hub",
    "not_uploaded": "not uploaded",
    "load": "Load them:",
    "upload": "Upload them (after `hf auth login`; --private keeps them to yourself):",
    "settings": "Settings",
    "settings_head": "setting|value",
    "plan_head": "plan|value",
    "machine": "Machine and versions",
    "sts": "1, sentence pairs (KLUE-STS)",
    "mrc": "2, questions and passages (KLUE-MRC), bi-encoder",
    "cross_encoder": "3, questions and passages (KLUE-MRC), cross-encoder",
    "base": "base (stage 1)",
    "fine_tuned": "fine-tuned (stage 2)",
    "reranked": "fine-tuned, top {fetch} reranked",
    "seconds": "seconds",
    "machine_date": "date",
    "machine_machine": "machine",
    "machine_cores": "cores",
    "machine_accelerator": "accelerator",
    **NOTES,
}
KO = {
    "title": "2단계 한국어 검색 재현 보고서",
    "made_of": "바이인코더는 {base}, 교차 인코더(cross-encoder)는 {reranker}에서 시작했습니다. 데이터: {data}. "
    "계산: {precision}, {device}.",
    "orientation": "튜토리얼의 수치는 klue/roberta-base와 -small을 KLUE 전체와 GPU로 학습한 결과입니다. 모델, "
    "데이터, 장비가 다르면 참고용으로만 보십시오. KLUE-MRC 일부에서 잰 수치는 공식 점수가 아닙니다.",
    "reduced": "이 실행은 튜토리얼과 다음이 다릅니다: {what}. 따라서 튜토리얼의 수치로 부를 수 없습니다.",
    "reduced_steps": "{stage}: {count}스텝",
    "reduced_questions": "질문 {count}개",
    "conclusion": "순위 재정렬로 얻은 것과 치른 값",
    "effect": "{protocol}: 질문 {count:,}개, 본문 {passages:,}개, 후보 {fetch}개 재정렬. "
    "HitRate@10 {before10:.3f} → {after10:.3f} ({difference10}), "
    "HitRate@1 {before1:.3f} → {after1:.3f} ({difference1}).",
    "cost": "질문 하나에 {before:.1f} ms 걸리던 검색이 {after:.1f} ms로, {ratio:.1f}배가 되었습니다.",
    "gain": "@{k}의 상승은 우연으로 설명되지 않습니다.",
    "loss": "@{k}의 하락은 우연으로 설명되지 않습니다. 이 후보들은 재정렬하지 않는 편이 낫습니다.",
    "chance": "@{k}의 차이는 질문 수에 비해 작아 우연일 수 있습니다.",
    "tutorial_protocol": "튜토리얼 방식으로 측정",
    "our_protocol": "우리 방식, {corpus}",
    "beside": "튜토리얼과 나란히",
    "beside_text": "튜토리얼의 모든 수치와 우리 수치입니다. 튜토리얼 방식 그대로 쟀습니다. 행은 있는 그대로 쓰고, "
    "오답 본문은 제목이 다른 임의의 행에서 뽑고, 질문 {count:,}개를 그 질문들의 본문에서 찾고, 정규화하지 않은 "
    "벡터를 L2 색인에 넣고, 후보 {fetch}개를 재정렬해 {kept}개를 남깁니다. 마지막 열은 튜토리얼이 아니라 우리 "
    "방식입니다. 중복을 없앤 본문 전체에서 찾고, 95% 구간을 표시하고, 긴 본문은 창으로 나누어 읽고, 두 점수의 "
    "평균을 씁니다.",
    "figure": "수치",
    "tutorial": "튜토리얼",
    "here": "이번 실행",
    "ours": "우리 방식: 본문 전체",
    "before": "학습 전",
    "after": "학습 후",
    "ratio": "재정렬 / 미세 조정, 시간 비",
    "of_questions": "{value} (질문 {count:,}개)",
    "stages": "단계별 결과",
    "stage_head": "단계|지표|튜토리얼: 학습 전|학습 후|이번 실행: 학습 전|학습 후|학습하지 않은 모델|분",
    "stage_text": "시험 쌍의 정답과 상관계수입니다. 1단계는 문장 쌍, 2·3단계는 질문과 정답 본문(1), 오답 "
    "본문(0)입니다. 오답은 제목이 다른 임의의 본문이고, '어려운 오답'은 답이 들어 있지 않은 본문 가운데 BM25가 가장 "
    "높게 찾은 것입니다. 학습하지 않은 모델은 크기가 같고 가중치가 난수인 모델입니다.",
    "hard": "어려운 오답",
    "retrieval": "검색, 우리 방식",
    "retrieval_text": "95% 부트스트랩 구간입니다. '질문의 본문'은 질문들이 나온 본문만, '본문 전체'는 모든 본문을 "
    "색인에 넣은 결과입니다. 시간이 모자라면 재정렬하는 질문을 줄이고, 같은 질문을 재정렬하지 않은 결과를 함께 "
    "적습니다. 시간은 그 행의 모든 질문을 합한 초이고 색인 시간은 뺐습니다.",
    "retrieval_head": "말뭉치|검색|질문 수|HitRate@1|HitRate@10|MRR@10|초|질문당 ms",
    "picture": "HitRate@1과 @10, 95% 구간",
    "adds": "순위 재정렬이 더한 것",
    "adds_head": "말뭉치|검색|HitRate@1 차이|HitRate@10 차이",
    "adds_text": "재정렬하지 않은 같은 바이인코더와 질문별로 비교했습니다. p는 대응 표본 검정의 값입니다.",
    "closing": "튜토리얼의 마지막 표",
    "closing_head": "질문 1,000개와 그 본문|HitRate@10|초",
    "rows": "행 수",
    "rows_head": "단계|학습|떼어 둠|시험",
    "rows_text": "떼어 둔 행은 체크포인트를 고르는 데만 쓰고 학습하지 않습니다.",
    "training": "학습",
    "training_head": "단계|스텝|스텝당 행|정밀도, 장치",
    "training_text": "시간 제한이 있으면 첫 시작 때 잰 속도로 스텝 수를 정하고 그대로 지킵니다. 중단했다가 이어서 "
    "해도 같은 데이터로 같은 스텝을 밟습니다. 같은 장비, 같은 스레드 수에서는 점수가 같습니다. 시간은 다를 수 있고, "
    "장비가 바뀌면 계획도 바뀝니다.",
    "models": "모델",
    "models_head": "단계|폴더|허브",
    "not_uploaded": "올리지 않음",
    "load": "불러오기:",
    "upload": "올리기 (먼저 `hf auth login`; --private을 붙이면 비공개):",
    "settings": "설정",
    "settings_head": "설정|값",
    "plan_head": "계획|값",
    "machine": "장비와 버전",
    "sts": "1단계, 문장 쌍(KLUE-STS)",
    "mrc": "2단계, 질문과 본문(KLUE-MRC), 바이인코더",
    "cross_encoder": "3단계, 질문과 본문(KLUE-MRC), 교차 인코더",
    "base": "기본(1단계)",
    "fine_tuned": "미세 조정(2단계)",
    "reranked": "미세 조정, 상위 {fetch}개 재정렬",
    "seconds": "초",
    "machine_date": "날짜",
    "machine_machine": "장비",
    "machine_cores": "코어",
    "machine_accelerator": "가속기",
    "asked_twice": "시험 질문 {}개는 두 번 나와서 하나씩만 남겼습니다.",
    "train_is_test": "학습 행 {}개는 시험 행이기도 해서 학습에서 뺐습니다.",
    "sample": "부분마다 {}행 이하만 뽑아 썼습니다.",
    "impossible_train": "학습 질문 {}개는 본문에서 답할 수 없는 질문입니다. 튜토리얼처럼 그대로 두었습니다.",
    "impossible_test": "시험 질문 {}개는 본문에서 답할 수 없는 질문입니다. 튜토리얼처럼 그대로 두었습니다.",
}
WORDS = {"en": EN, "ko": KO}

#: Names that the measured rows have in English, in the order in which they are replaced.
_NAMES = {
    "mean of both scores": "두 점수의 평균",
    "lexical search": "어휘 검색",
    "base (stage 1)": "기본(1단계)",
    "fine-tuned (stage 2)": "미세 조정(2단계)",
    "not reranked": "재정렬 안 함",
    "reranked": "재정렬",
    "own contexts": "질문의 본문",
    "all contexts": "본문 전체",
}


def named(name: str, language: str) -> str:
    """Return what a measured row or corpus is called in a language."""
    if language == "ko":
        for english, korean in _NAMES.items():
            name = name.replace(english, korean)
    return name
