"""The tables that pages take from the figures, in English and in Korean."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figures.store import Figures

_NOTES = """¹ A part of KLUE-MRC, no official score: {} questions over {} contexts; TyDi QA: {} over {}. ² Of our own,
as people type them: {} over {}. ³ Of our own, avoiding every word of their passage: {} over {}."""
#: English -> Korean, for what stands in tables.
_KOREAN = {
    _NOTES: """¹ KLUE-MRC의 일부라서 공식 점수가 아닙니다. 질문 {}개, 지문 {}건. TyDi QA는 {}개와 {}건입니다.
² 사람들이 실제로 칠 법하게 직접 쓴 질문 {}개, 지문 {}건.
³ 지문의 낱말을 하나도 쓰지 않고 직접 쓴 질문 {}개, 지문 {}건.""",
    "questions": "질문",
    "search": "검색",
    "lexical": "낱말",
    "hybrid": "하이브리드",
    "hybrid, reranked": "하이브리드 + 재정렬",
    "KLUE-MRC¹, {} over all {} contexts": "KLUE-MRC¹ {}개, 전체 지문 {}건",
    "the same, over their own {1} contexts²": "같은 질문, 그 질문들의 지문 {1}건²",
    "KorQuAD 1.0 dev, {} over {} paragraphs": "KorQuAD 1.0 dev {}개, 문단 {}건",
    "TyDi QA Korean dev, {} over {} passages": "TyDi QA 한국어 dev {}개, 지문 {}건",
    "our samples³, {} over {} passages": "직접 쓴 샘플³ {}개, 지문 {}건",
    "everyday questions, {} over {} passages": "일상 질문 {}개, 지문 {}건",
    "ms a query": "질문당 ms",
    "lexical: BM25": "낱말: BM25",
    "hybrid: with vectors": "하이브리드: 벡터와 함께",
    "**hybrid, reranked: the default**": "**하이브리드 + 재정렬: 기본 설정**",
    'the same with `second_embeddings="packaged-encoder"`': '여기에 `second_embeddings="packaged-encoder"`',
    "samples, paraphrase ({})": "샘플, 낱말이 겹치지 않는 질문 ({})",
    "samples, plain ({})": "샘플, 낱말이 겹치는 질문 ({})",
    "everyday, seen half ({})": "일상 질문, 공개한 절반 ({})",
    "TyDi QA dev ({})": "TyDi QA dev ({})",
    "KorQuAD dev ({})": "KorQuAD dev ({})",
    "KLUE-MRC, own contexts ({})": "KLUE-MRC, 그 질문들의 지문 ({})",
    "KLUE-MRC, all contexts ({})": "KLUE-MRC, 전체 지문 ({})",
    "without": "없이",
    "with": "함께",
    "packaged encoder": "패키지의 인코더",
    "articles by number, {} over {}": "번호로 묻는 조문, {}개 / {}건",
    "articles that name one another, {} over {}": "서로를 인용하는 조문, {}개 / {}건",
    "siblings but for one word, {} over {}": "한 낱말만 다른 지문, {}개 / {}건",
    "codes, dates, amounts, {} over {}": "코드, 날짜, 금액, {}개 / {}건",
    "Korean itself, {} over {}": "한국어 자체를 묻는 질문, {}개 / {}건",
    "our samples, {} over {}": "직접 쓴 샘플, {}개 / {}건",
    "KLUE-MRC validation, {} over {}": "KLUE-MRC 검증, {}개 / {}건",
    "KLUE-MRC test, {} over {}": "KLUE-MRC 테스트, {}개 / {}건",
    "KorQuAD 1.0 dev, {} over {}": "KorQuAD 1.0 dev, {}개 / {}건",
    "TyDi QA dev, {} over {}": "TyDi QA dev, {}개 / {}건",
    "KoBEST BoolQ dev, {} over {}": "KoBEST BoolQ dev, {}개 / {}건",
    "headings of documentation, {} over {}": "설명서의 제목, {}개 / {}건",
    "words": "낱말",
    "reranked": "재정렬",
    "questions over passages": "질문과 지문",
    "one query over {} passages: lexical / hybrid / 30 reranked / 100 reranked": (
        "지문 {}건에서 질문 하나: 낱말 / 하이브리드 / 30건 재정렬 / 100건 재정렬"
    ),
    "the same, 95th percentile": "95번째 백분위수",
    "indexing, Kiwi's start included (passages of {} characters)": "색인 ({}자 지문, Kiwi 시작 시간 포함)",
    "{} passages/s": "초당 {}건",
    "from `python`'s start to the first result of a saved index": "`python` 시작부터 저장된 색인의 첫 결과까지",
    "{} s": "{}초",
    "peak memory of that process": "그 프로세스의 최대 메모리",
    "opening an index of {} passages, {} vectors each, and searching once": (
        "문서 {}건(건당 벡터 {}개)의 색인을 열고 한 번 검색"
    ),
    "loading in a fresh process: Kiwi / bi-encoder / reranker": (
        "새 프로세스에서 불러오기: Kiwi / 바이인코더 / 재정렬기"
    ),
    "indexing, passages per second of processor time: bigrams / lexical / dense / hybrid": (
        "색인, 프로세서 시간 1초당 지문: 두 글자 묶음 / 낱말 / 벡터 / 하이브리드"
    ),
    "packaged weights, of which the encoder that `second_embeddings` opens": (
        "패키지에 든 가중치, 그중 `second_embeddings`로 여는 인코더"
    ),
    "the encoder: one question / passages of 900 characters": "인코더: 질문 하나 / 900자 지문",
    "base install: packages / downloads / on disk": "기본 설치: 패키지 / 내려받기 / 디스크",
    "first results of all questions: calibration error": "모든 질문의 첫 결과: 보정 오차",
    "first results of answerable questions: calibration error": "답이 있는 질문의 첫 결과: 보정 오차",
    "right first results above those of questions about the same thing without an answer (AUC)": (
        "맞은 첫 결과가 비슷하지만 답이 없는 질문의 첫 결과보다 높은 비율 (AUC)"
    ),
    "the same, questions about something else": "엉뚱한 질문과 비교해서",
    "share of right first results, answerable questions": "답이 있는 질문에서 첫 결과가 맞은 비율",
    "mean of their confidence": "그 결과들의 평균",
    "at the threshold: answered, of questions whose passage came first": "임계값을 넘긴 비율: 첫 결과가 맞은 질문",
    "answered, of questions about the same thing without an answer": "비슷하지만 답이 없는 질문",
    "answered, of questions about something else": "엉뚱한 질문",
    "`confidence`, seen half": "`confidence`, 공개한 절반",
    "`confidence`, unseen half": "`confidence`, 숨겨 둔 절반",
    "`relevance_score`, threshold 0.1, unseen half": "`relevance_score`, 임계값 0.1, 숨겨 둔 절반",
}


def say(words: str, language: str, *values: str) -> str:
    """Return words in a language, with values in the places of their braces."""
    return (words if language == "en" else _KOREAN[words]).format(*values)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: int | None = None) -> str:
    """Return a Markdown table.

    Args:
        header: Headings.
        rows: Cells.
        numbers: How many of the last columns are aligned to the right; None for all but the first.
    """
    right = len(header) - 1 if numbers is None else numbers
    rule = [*["---"] * (len(header) - right), *["---:"] * right]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))


def short(figures: Figures, language: str) -> str:
    """Return the README's table: four ways to search, what each finds and what it takes."""
    ways = {
        "lexical": "lexical: BM25",
        "hybrid": "hybrid: with vectors",
        "reranked": "**hybrid, reranked: the default**",
        "encoder": 'the same with `second_embeddings="packaged-encoder"`',
    }
    sets = {"klue": "hit1", "tydi": "hit1", "everyday": "hit1", "paraphrase": "hit5"}
    rows = []
    for way, words in ways.items():
        mark = "**" if way == "reranked" else ""
        names = [f"{name}.{way}.{metric}" for name, metric in sets.items()]
        cells = [f"{mark}{figures[name]}{mark}" if name in figures else "–" for name in names]
        times = f"+ {figures['encoder.query.ms']}" if way == "encoder" else figures[f"query.{way}.ms"]
        rows.append([say(words, language), *cells, f"{mark}{times}{mark}"])
    titles = {"klue": "KLUE-MRC¹", "tydi": "TyDi QA", "everyday": "everyday questions²", "paraphrase": "other words³"}
    if language == "ko":
        titles |= {"everyday": "일상 질문²", "paraphrase": "다른 말³"}
    made = table([say("search", language), *titles.values(), say("ms a query", language)], rows)
    counts = [figures[f"{name}.{what}"] for name in sets for what in ("questions", "passages")]
    return f"{made}\n\n{say(_NOTES, language, *counts)}"


def long(figures: Figures, language: str) -> str:
    """Return lexical, hybrid and reranked search on every public set and the samples, with intervals."""
    sets = {
        "klue": "KLUE-MRC¹, {} over all {} contexts",
        "klue-own": "the same, over their own {1} contexts²",
        "korquad": "KorQuAD 1.0 dev, {} over {} paragraphs",
        "tydi": "TyDi QA Korean dev, {} over {} passages",
        "samples": "our samples³, {} over {} passages",
    }
    ways = {"lexical": "lexical", "hybrid": "hybrid", "reranked": "hybrid, reranked"}
    rows = []
    for name, title in sets.items():
        for way, words in ways.items():
            mark = "**" if way == "reranked" else ""
            first = say(title, language, figures[f"{name}.questions"], figures[f"{name}.passages"])
            cells = []
            for metric in ("hit1", "hit10"):
                value = figures[f"{name}.{way}.{metric}"]
                cells.append(f"{mark}{value}{mark}{figures.whole(f'{name}.{way}.{metric}').removeprefix(value)}")
            cells.append(f"{mark}{figures[f'{name}.{way}.mrr']}{mark}")
            p = figures[f"{name}.{way}.p"] if way == "reranked" else ""
            rows.append([first if way == "lexical" else "", f"{mark}{say(words, language)}{mark}", *cells, p])
    header = [say("questions", language), say("search", language), "HitRate@1", "HitRate@10", "MRR@10", "p"]
    return table(header, rows, 4)


def price(figures: Figures, language: str) -> str:
    """Return what everything costs."""

    def slashed(*names: str) -> str:
        return " / ".join(figures[name] for name in names)

    queries = [f"query.{way}" for way in ("lexical", "hybrid", "reranked", "reranked100")]
    kinds = [f"indexing.{kind}" for kind in ("bigrams", "lexical", "dense", "hybrid")]
    second = say("{} passages/s", language, figures["encoder.passages"])
    rows = [
        (
            say(
                "one query over {} passages: lexical / hybrid / 30 reranked / 100 reranked",
                language,
                figures["klue.passages"],
            ),
            f"{slashed(*(f'{name}.ms' for name in queries))} ms",
        ),
        (
            say(
                "indexing, Kiwi's start included (passages of {} characters)", language, figures["indexing.characters"]
            ),
            say("{} passages/s", language, figures["indexing.speed"]),
        ),
        (
            say("indexing, passages per second of processor time: bigrams / lexical / dense / hybrid", language),
            slashed(*kinds),
        ),
        (
            say("from `python`'s start to the first result of a saved index", language),
            say("{} s", language, figures["start.seconds"]),
        ),
        (say("peak memory of that process", language), f"{figures['start.memory']} MiB"),
        (
            say("loading in a fresh process: Kiwi / bi-encoder / reranker", language),
            f"{slashed('loading.kiwi', 'loading.bi_encoder', 'loading.reranker')} ms",
        ),
        (
            say(
                "opening an index of {} passages, {} vectors each, and searching once",
                language,
                figures["large.passages"],
                figures["large.vectors"],
            ),
            say("{} s", language, figures["large.seconds"]),
        ),
        (
            say("the encoder: one question / passages of 900 characters", language),
            f"{figures['encoder.query.ms']} ms / {second}",
        ),
        (
            say("packaged weights, of which the encoder that `second_embeddings` opens", language),
            f"{slashed('weights.all', 'weights.encoder')} MB",
        ),
        (
            say("base install: packages / downloads / on disk", language),
            f"{figures['install.packages']} / {figures['install.wheels']} MB / {figures['install.disk']} MB",
        ),
    ]
    if all(f"{name}.p95" in figures for name in queries):
        slowest = slashed(*(f"{name}.p95" for name in queries))
        rows.insert(1, (say("the same, 95th percentile", language), f"{slowest} ms"))
    return table(["", ""], rows)


def encoder(figures: Figures, language: str) -> str:
    """Return what the packaged encoder brings, at the default weight."""
    sets = {
        "paraphrase": "samples, paraphrase ({})",
        "plain": "samples, plain ({})",
        "everyday": "everyday, seen half ({})",
        "tydi": "TyDi QA dev ({})",
        "korquad": "KorQuAD dev ({})",
        "klue-own": "KLUE-MRC, own contexts ({})",
        "klue": "KLUE-MRC, all contexts ({})",
    }
    rows = []
    for name, title in sets.items():
        if f"{name}.encoder.hit1" not in figures:  # a large set, not measured with these weights
            continue
        for reranked, ways in enumerate((("hybrid", "encoder-hybrid"), ("reranked", "encoder"))):
            for number, way in enumerate(ways):
                first = say(title, language, figures[f"{name}.questions"]) if not reranked and not number else ""
                words = "" if number else say("hybrid, reranked" if reranked else "hybrid", language)
                cells = [figures.whole(f"{name}.{way}.hit{depth}") for depth in (1, 3, 5, 10)]
                p = figures[f"{name}.{way}.p"] if number else ""
                rows.append([first, words, say(("without", "with")[number], language), *cells, p])
    header = [say(word, language) for word in ("questions", "search", "packaged encoder")]
    return table([*header, *(f"HitRate@{depth}" for depth in (1, 3, 5, 10)), "p"], rows, 5)


def exact(figures: Figures, language: str) -> str:
    """Return whether fusion and reranking keep what exact words find."""
    sets = {
        "articles": "articles by number, {} over {}",
        "cross-references": "articles that name one another, {} over {}",
        "siblings": "siblings but for one word, {} over {}",
        "codes": "codes, dates, amounts, {} over {}",
        "korean": "Korean itself, {} over {}",
        "samples": "our samples, {} over {}",
        "klue-validation": "KLUE-MRC validation, {} over {}",
        "klue-test": "KLUE-MRC test, {} over {}",
        "korquad": "KorQuAD 1.0 dev, {} over {}",
        "tydi": "TyDi QA dev, {} over {}",
        "boolq": "KoBEST BoolQ dev, {} over {}",
        "headings": "headings of documentation, {} over {}",
    }
    rows = [
        [
            say(title, language, figures[f"{name}.questions"], figures[f"{name}.passages"]),
            figures[f"{name}.lexical.hit1"],
            figures[f"{name}.hybrid.hit1"],
            figures.whole(f"{name}.reranked.hit1"),
            figures[f"{name}.reranked.p-lexical"],
        ]
        for name, title in sets.items()
    ]
    header = [say(word, language) for word in ("questions over passages", "words", "hybrid", "reranked")]
    return table([*header, "p"], rows)


def everyday(figures: Figures, language: str) -> str:
    """Return how far the confidence can be trusted on everyday questions."""
    lines = {
        "ece-all": "first results of all questions: calibration error",
        "ece": "first results of answerable questions: calibration error",
        "auc-near": "right first results above those of questions about the same thing without an answer (AUC)",
        "auc-off": "the same, questions about something else",
        "right": "share of right first results, answerable questions",
        "mean": "mean of their confidence",
        "answered-right": "at the threshold: answered, of questions whose passage came first",
        "answered-near": "answered, of questions about the same thing without an answer",
        "answered-off": "answered, of questions about something else",
    }
    rows = []
    for key, words in lines.items():
        seen, unseen = (figures.whole(f"everyday.{half}.confidence.{key}") for half in ("seen", "unseen"))
        rows.append([say(words, language), seen, unseen, figures[f"everyday.unseen.relevance.{key}"]])
    header = ["`confidence`, seen half", "`confidence`, unseen half", "`relevance_score`, threshold 0.1, unseen half"]
    return table(["", *(say(words, language) for words in header)], rows)


def reranker(figures: Figures, language: str) -> str:
    """Return the table of the reranker's card."""
    rows = []
    for name, title in _CARD.items():
        hits = " ".join(figures[f"{name}.reranked.hit{depth}"] for depth in (1, 3, 5, 10))
        rows.append(
            [
                title.format(figures[f"{name}.questions"], figures[f"{name}.passages"]),
                " ".join(figures[f"{name}.hybrid.hit{depth}"] for depth in (1, 10)),
                f"{hits}, {figures[f'{name}.reranked.mrr']}",
                figures[f"{name}.reranked.p"],
            ]
        )
    return table(["questions, passages", "hybrid @1 @10", "reranked @1 @3 @5 @10, MRR@10", "p, @1"], rows, 0)


def bi_encoder(figures: Figures, language: str) -> str:
    """Return the table of the bi-encoder's card."""
    rows = []
    for name, title in _CARD.items():
        cells = [
            " ".join(figures[f"{name}.{way}.hit{depth}"] for depth in (1, 10))
            for way in ("one-vector", "dense", "lexical", "hybrid")
        ]
        rows.append([title.format(figures[f"{name}.questions"], figures[f"{name}.passages"]), *cells])
    header = ["one vector a passage @1 @10", "windows of 50 words @1 @10", "lexical @1 @10", "hybrid @1 @10"]
    return table(["questions, passages", *header], rows, 0)


_CARD = {
    "klue-validation": "KLUE-MRC (a part), validation: {} questions over {} passages",
    "klue-test": "KLUE-MRC (a part), test: {} questions over {} passages",
    "korquad": "KorQuAD 1.0 dev: {} questions over {} passages",
    "tydi": "TyDi QA Korean dev: {} questions over {} passages",
    "paraphrase": "our samples, questions in other words: {} questions over {} passages",
    "plain": "our samples, questions in the same words: {} questions over {} passages",
}

BLOCKS = {
    "short": short,
    "long": long,
    "price": price,
    "encoder": encoder,
    "exact": exact,
    "everyday": everyday,
    "reranker-card": reranker,
    "bi-encoder-card": bi_encoder,
}
