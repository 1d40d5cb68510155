"""Our BM25 beside bm25s and beside BM25 over words between spaces, on the same passages and questions.

    python -m benchmarks.lexical --data ../shared/data/klue_mrc

bm25s gets the tokens ready made, as our index does, once for morphemes and once for bigrams; its two scores are added.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import bm25s
import numpy as np
from numpy.typing import NDArray

from benchmarks.figures.printed import with_interval
from benchmarks.timing import timed
from langchain_klue_rerank.adapters.documents import searchable_text
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.text.words import bigrams
from langchain_klue_rerank.evaluation.metrics import Judged, hit_rate
from langchain_klue_rerank.evaluation.sets import EvaluationSet, read_sets

Scorer = Callable[[int], NDArray[np.float32]]
Ranker = Callable[[int], list[str]]


def main() -> None:
    """Print hit rates with intervals, seconds to index, milliseconds a query, and the cost of one more passage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples", help="as for klue-rerank evaluate; of several sets the last")
    data = read_sets(parser.parse_args().data)[-1]
    texts = [searchable_text(one.page_content, one.metadata, "title") for one in data.documents]
    passages, questions = tokenize(texts, shared_analyzer()), tokenize(data.questions, shared_analyzer())
    print(
        f"{data.name}: {len(data.questions)} questions over {len(texts)} passages; tokens are ready, Kiwi is not timed"
    )

    # 1. Ours: one index, both kinds of terms.
    start = time.perf_counter()
    ours = PassageIndex(IndexSettings(dense=False))
    ours.add([Passage(one.id or "", text, {}) for one, text in zip(data.documents, texts, strict=True)], passages)
    seconds = time.perf_counter() - start
    singles = [questions.take(np.asarray([number])) for number in range(len(questions))]
    _report("ours, morphemes + bigrams", data, lambda number: _ids(ours, singles[number]), seconds)

    # 2. bm25s over the same terms.
    kinds: dict[str, Callable[[TokenizedTexts], list[list[str]]]] = {"morphemes": _morphemes, "bigrams": _bigrams}
    indexes, asked, spent = {}, {}, {}
    for name, terms in kinds.items():
        corpus, asked[name] = terms(passages), terms(questions)
        start = time.perf_counter()
        indexes[name] = bm25s.BM25(k1=1.5, b=0.75)
        indexes[name].index(corpus, show_progress=False)
        spent[name] = time.perf_counter() - start
        _report(f"bm25s, {name}", data, _ranked(data, _scorer(indexes[name], asked[name])), spent[name])
    both = [_scorer(indexes[name], asked[name]) for name in kinds]
    both_added = _ranked(data, lambda number: both[0](number) + both[1](number))
    _report("bm25s, both added", data, both_added, sum(spent.values()))

    # 3. What most installations have: words between spaces.
    corpus, asked["words"] = [text.split() for text in texts], [question.split() for question in data.questions]
    start = time.perf_counter()
    index = bm25s.BM25(k1=1.5, b=0.75)
    index.index(corpus, show_progress=False)
    by_words = _ranked(data, _scorer(index, asked["words"]))
    _report("bm25s, words between spaces", data, by_words, time.perf_counter() - start)

    # 4. One more passage.
    one = passages.take(np.asarray([0]))
    times = timed(lambda number: ours.add([Passage(f"new {number}", texts[0], {})], one), range(50))
    print(f"one more passage: ours {np.median(times):.1f} ms; bm25s {1000 * sum(spent.values()):.0f} ms (a new index)")


def _ids(index: PassageIndex, query: TokenizedTexts) -> list[str]:
    [found] = index.search(10, tokens=query)
    return [passage.id for passage in found.passages]


def _ranked(data: EvaluationSet, score: Scorer) -> Ranker:
    """Return what ranks by scores: the ids of the ten best passages."""

    def ranked(number: int) -> list[str]:
        scores = score(number)
        best = np.argpartition(-scores, min(10, len(scores) - 1))[:10]
        best = best[np.argsort(-scores[best], kind="stable")]
        return [data.documents[row].id or "" for row in best.tolist()]

    return ranked


def _report(name: str, data: EvaluationSet, rank: Ranker, seconds: float) -> None:
    rankings: list[list[str]] = []
    times = timed(lambda number: rankings.append(rank(number)), range(len(data.questions)))
    judged = Judged.from_rankings(rankings, data.relevant)
    cells = [f"HitRate@{k} {with_interval(hit_rate(judged, k))}" for k in (1, 10)]
    print(f"{name:30s} {'  '.join(cells)}  index {seconds:5.2f} s  query {np.median(times):5.2f} ms")


def _scorer(index: bm25s.BM25, questions: list[list[str]]) -> Scorer:
    def score(number: int) -> NDArray[np.float32]:
        known = [term for term in questions[number] if term in index.vocab_dict]
        return (
            np.asarray(index.get_scores(known), np.float32) if known else np.zeros(index.scores["num_docs"], np.float32)
        )

    return score


def _morphemes(texts: TokenizedTexts) -> list[list[str]]:
    return _terms(texts, [list(morphemes) for morphemes in texts.morphemes])


def _bigrams(texts: TokenizedTexts) -> list[list[str]]:
    return _terms(texts, [bigrams(word) for word in texts.words])


def _terms(texts: TokenizedTexts, of_word: list[list[str]]) -> list[list[str]]:
    ends = texts.offsets.tolist()
    words = texts.word_ids.tolist()
    return [[term for word in words[ends[i] : ends[i + 1]] for term in of_word[word]] for i in range(len(texts))]


if __name__ == "__main__":
    main()
