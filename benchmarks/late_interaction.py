"""Late interaction: what it finds, how little can be kept of a passage, and what it costs beside a search.

    python -m benchmarks.late_interaction --data ../shared/data/klue_mrc --model LATE_INTERACTION --questions 200

Candidates of a first stage are reranked with all their token vectors, with fewer (pooled), and with these rounded to
bytes. Times are one query's: the search, then the scoring of its candidates whose vectors an index keeps. Nothing else
should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.figures.printed import with_interval
from langchain_klue_rerank import KlueEmbeddings, KlueReranker, KlueRetriever
from langchain_klue_rerank.adapters.documents import searchable_text
from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors
from langchain_klue_rerank.engine.contracts import Evidence, ScoreRequest
from langchain_klue_rerank.engine.models.transformer.late_interaction import LateInteraction, pool
from langchain_klue_rerank.engine.rerank.ranker import blend_scores
from langchain_klue_rerank.evaluation.metrics import Judged, hit_rate, paired_p_value
from langchain_klue_rerank.evaluation.sets import read_sets

Vectors = NDArray[np.float32]


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples", help="as for klue-rerank evaluate; of several sets the last")
    parser.add_argument("--model", required=True, type=Path, help="folder of a late-interaction model")
    parser.add_argument("--embeddings", help="folder of a bi-encoder instead of the packaged one")
    parser.add_argument("--search-type", default="dense", choices=["dense", "hybrid", "lexical"], help="first stage")
    parser.add_argument("--questions", type=int, default=200, help="how many questions to ask (200)")
    parser.add_argument("--candidates", type=int, default=30, help="candidates to rerank (30)")
    parser.add_argument("--most", type=int, nargs="*", default=[256, 128, 64, 32, 16], help="vectors of a passage")
    options = parser.parse_args()
    data = read_sets(options.data)[-1].first(options.questions)
    retriever = KlueRetriever.from_documents(
        data.documents,
        embeddings=KlueEmbeddings(model=options.embeddings),
        reranker=None,
        search_type=options.search_type,
        k=options.candidates,
    )
    found = [retriever.invoke(question) for question in data.questions]
    identifiers = [[str(document.id) for document in own] for own in found]
    firsts = [[document.metadata["relevance_score"] for document in own] for own in found]
    texts = {str(one.id): searchable_text(one.page_content, one.metadata, "title") for own in found for one in own}

    reranker = KlueReranker(model=str(options.model), model_kwargs={"device": "cpu"}, top_n=None)
    encoder = reranker.encoder
    if not isinstance(encoder, LateInteraction):
        parser.error(f"{options.model} is no late-interaction model")
    distinct = list(texts)
    read: dict[str, Vectors] = {}
    for start in tqdm(range(0, len(distinct), 64), desc="reading passages", mininterval=5):
        part = distinct[start : start + 64]
        read.update(zip(part, encoder.read_passages([texts[one] for one in part]) or [], strict=True))
    queries = [encoder.read_queries([question])[0] for question in data.questions]  # type: ignore[index]

    print(f"{len(data.questions)} questions, {len(data.documents)} passages, {options.search_type} candidates")
    print("| token vectors | kept as | bytes a passage | HitRate@1 | mean with the first stage | agreement |")
    print("|---|---|---|---|---|---|")
    plain = _hits(identifiers, firsts, data.relevant)
    print(f"| no reranking | | | {_cell(plain)} | | |")
    whole = [[_best(query, read[one]) for one in own] for query, own in zip(queries, identifiers, strict=True)]
    most = max(map(len, read.values()))
    _row("all", "float32", read, 4, whole, whole, identifiers, firsts, data.relevant, encoder)
    for count in [most, *options.most]:
        pooled = {one: pool(vectors, count) for one, vectors in tqdm(read.items(), desc="pooling", mininterval=5)}
        label = "all" if count == most else f"at most {count}"
        kept = TokenVectors.of(list(pooled.values()))
        rows = {one: row for row, one in enumerate(pooled)}
        scores = [
            kept.take(np.asarray([rows[one] for one in own])).best_cosines(query).tolist()
            for query, own in zip(queries, identifiers, strict=True)
        ]
        if count != most:
            exact = [
                [_best(query, pooled[one]) for one in own] for query, own in zip(queries, identifiers, strict=True)
            ]
            _row(label, "float32", pooled, 4, exact, whole, identifiers, firsts, data.relevant, encoder)
        _row(label, "int8", pooled, 1, scores, whole, identifiers, firsts, data.relevant, encoder)
        if count == 128:
            _times(retriever, reranker, data.questions, identifiers, texts, kept, rows)


def _times(
    retriever: KlueRetriever,
    reranker: KlueReranker,
    questions: Sequence[str],
    identifiers: Sequence[Sequence[str]],
    texts: dict[str, str],
    kept: TokenVectors,
    rows: dict[str, int],
) -> None:
    """Print what a query costs, without and with reranking; the first call of each is not counted."""
    search, rerank = [], []
    for question, own in zip(questions, identifiers, strict=True):
        start = time.perf_counter()
        retriever.invoke(question)
        middle = time.perf_counter()
        vectors = kept.take(np.asarray([rows[one] for one in own]))
        reranker._score([ScoreRequest(question, [texts[one] for one in own], Evidence(token_vectors=vectors))])
        search.append(1000 * (middle - start))
        rerank.append(1000 * (time.perf_counter() - middle))
    one, other = statistics.median(search[1:]), statistics.median(rerank[1:])
    tqdm.write(
        f"| search {one:.1f} ms, reranking {other:.1f} ms, both {(one + other) / one:.2f} x the search | | | | | |"
    )


def _best(query: Vectors, passage: Vectors) -> float:
    return float((query @ passage.T).max(axis=1).mean())


def _hits(
    identifiers: Sequence[Sequence[str]], scores: Sequence[Sequence[float]], relevant: Sequence[frozenset[str]]
) -> Judged:
    rankings = [
        [own[number] for number in np.argsort(-np.asarray(values), kind="stable")]
        for own, values in zip(identifiers, scores, strict=True)
    ]
    return Judged.from_rankings(rankings, relevant)


def _cell(judged: Judged, against: Judged | None = None) -> str:
    hits = hit_rate(judged, 1)
    text = with_interval(hits)
    return text if against is None else f"{text}, p {paired_p_value(hits, hit_rate(against, 1)):.3f}"


def _row(
    label: str,
    kind: str,
    vectors: dict[str, Vectors],
    width: int,
    cosines: Sequence[Sequence[float]],
    whole: Sequence[Sequence[float]],
    identifiers: Sequence[Sequence[str]],
    firsts: Sequence[Sequence[float]],
    relevant: Sequence[frozenset[str]],
    encoder: LateInteraction,
) -> None:
    """Print one line: how good it is alone and beside the first stage, and how often its first is that of all."""
    dimension = next(iter(vectors.values())).shape[1]
    size = np.mean([len(own) for own in vectors.values()]) * (dimension * width + (2 if width == 1 else 0))
    plain = _hits(identifiers, firsts, relevant)
    scores = [encoder.map_scores(np.asarray(own, np.float32)).tolist() for own in cosines]
    both = [blend_scores(own, first, 0.5).tolist() for own, first in zip(scores, firsts, strict=True)]
    agreement = np.mean([np.argmax(own) == np.argmax(other) for own, other in zip(cosines, whole, strict=True)])
    alone, blended = (_cell(_hits(identifiers, one, relevant), plain) for one in (cosines, both))
    print(f"| {label} | {kind} | {size:,.0f} | {alone} | {blended} | {agreement:.3f} |")


if __name__ == "__main__":
    main()
