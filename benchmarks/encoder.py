"""What a second bi-encoder brings to `KlueRetriever`, and what it costs.

    python -m benchmarks.encoder --data ../shared/data               # quality: the packaged encoder beside none
    python -m benchmarks.encoder --price                             # milliseconds, passages a second, bytes
    python -m benchmarks.encoder --data D --model runs/my-encoder    # another encoder, by name

Sets: the samples, the seen half of the everyday questions, TyDi QA dev, KorQuAD dev, and
KLUE-MRC's validation and test questions over their own contexts; with ``--large`` also over all contexts. Every set is
asked without and with the second bi-encoder, not reranked and reranked; intervals are 95% bootstrap over the questions,
p is the exact sign test of HitRate@1. Indexes are kept under ``--runs``, so that a second run embeds nothing, and an
interrupted one goes on.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.everyday.sets import SEEN, read_corpus
from benchmarks.price import machine
from langchain_klue_rerank import KlueEmbeddings, KlueRetriever
from langchain_klue_rerank.engine.models.encoder.bi_encoder import EncoderBiEncoder, open_network
from langchain_klue_rerank.engine.models.encoder.network import NumpyNetwork
from langchain_klue_rerank.engine.models.encoder.weights import EncoderWeights
from langchain_klue_rerank.engine.models.names import WEIGHTS
from langchain_klue_rerank.evaluation.metrics import interval, paired_p_value
from langchain_klue_rerank.evaluation.sets import SAMPLES, EvaluationSet, read_sets
from training.data import read_jsonl

_DEPTHS = (1, 3, 5, 10)
#: Questions that are asked together.
_TOGETHER = 500
#: Passages of 900 characters whose embedding is timed, questions that are asked, and repetitions.
_PASSAGES, _QUESTIONS, _REPEATS = 12, 60, 2


#: Names of the sets, the large one last.
NAMES = (
    "samples, paraphrase",
    "samples, plain",
    "everyday, seen half",
    "TyDi QA dev",
    "KorQuAD dev",
    "KLUE-MRC, own contexts",
    "KLUE-MRC, all contexts",
)


def read_all(data: Path | None, names: Collection[str]) -> Iterator[tuple[str, list[EvaluationSet], list[list[int]]]]:
    """Yield the name of each set, what it is made of, and which questions of that count.

    Args:
        data: The data folder; None for our own questions alone.
        names: Names of the sets to read.
    """
    [samples] = read_sets("samples")
    kinds = [row["kind"] for row in read_jsonl(SAMPLES / "questions.jsonl")]
    for kind in ("paraphrase", "plain"):
        if f"samples, {kind}" in names:
            yield f"samples, {kind}", [samples], [[row for row, own in enumerate(kinds) if own == kind]]
    everyday = []
    for name in SEEN:
        corpus = read_corpus(name)
        asked = [question for question in corpus.questions if question.passages]
        relevant = [question.passages for question in asked]
        everyday.append(EvaluationSet(name, corpus.documents, [question.text for question in asked], relevant))
    if "everyday, seen half" in names:
        yield "everyday, seen half", everyday, [list(range(len(one.questions))) for one in everyday]
    if data is None:
        return
    for name, source in (
        ("TyDi QA dev", data / "tydiqa_ko" / "korean_tydiqa_dev.json"),
        ("KorQuAD dev", data / "korquad"),
        ("KLUE-MRC, own contexts", data / "klue_mrc"),
        ("KLUE-MRC, all contexts", data / "klue_mrc"),
    ):
        if name in names:
            own = read_sets(str(source))[-1 if "all" in name else 0]
            yield name, [own], [list(range(len(own.questions)))]


def open_retriever(data: EvaluationSet, model: str, runs: Path) -> KlueRetriever:
    """Return a retriever over a set with the vectors of a second bi-encoder, from disk or new."""
    folder = runs / f"{data.name} {model}".replace("/", "_").replace(" ", "_")
    second = KlueEmbeddings(model=model)
    if not (folder / "manifest.json").exists():
        KlueRetriever.from_documents(data.documents).save(folder)
        return KlueRetriever.rebuild(folder, second_embeddings=second)
    try:
        return KlueRetriever.load(folder, second_embeddings=second)
    except Exception:  # an index without second vectors, or with those of another version
        return KlueRetriever.rebuild(folder, second_embeddings=second)


def ranks(retriever: KlueRetriever, data: EvaluationSet, rows: list[int]) -> NDArray[np.int64]:
    """Return the place of the first right passage of each question, from 0; 99 where it is not among the best ten."""
    places = []
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        found = retriever.batch([data.questions[row] for row in some], k=max(_DEPTHS))
        places += [
            next((place for place, one in enumerate(documents) if one.id in data.relevant[row]), 99)
            for row, documents in zip(some, found, strict=True)
        ]
    return np.array(places)


@dataclass(frozen=True)
class Line:
    """One way to search one set.

    Attributes:
        name: The set's name.
        questions: How many.
        passages: Over how many.
        search: ``lexical``, ``hybrid`` or ``reranked``.
        weight: ``second_weight``; 0 without the second bi-encoder.
        hits: For each of the depths 1, 3, 5 and 10, and each question: 1 if a right passage is within it, else 0.
        p: Of HitRate@1 against the same search without the second bi-encoder; None for that itself.
    """

    name: str
    questions: int
    passages: int
    search: str
    weight: float
    hits: dict[int, NDArray[np.float64]]
    p: float | None


def quality(data: Path | None, model: str, runs: Path, weights: list[float], names: Collection[str]) -> Iterator[Line]:
    """Ask every set without and with the second bi-encoder, not reranked and reranked; without it, the words alone too.

    Args:
        data: The data folder; None for our own questions alone.
        model: Name of the second bi-encoder.
        runs: Where indexes are kept.
        weights: Values of ``second_weight``.
        names: Names of the sets to ask, of `NAMES`.
    """
    for name, sets, chosen in read_all(data, names):
        retrievers = [open_retriever(one, model, runs) for one in sets]
        counts = sum(len(rows) for rows in chosen), sum(len(one.documents) for one in sets)

        def hits(
            changes: dict[str, Any],
            retrievers: list[KlueRetriever] = retrievers,
            sets: list[EvaluationSet] = sets,
            chosen: list[list[int]] = chosen,
        ) -> dict[int, NDArray[np.float64]]:
            places = np.concatenate(
                [
                    ranks(retriever.model_copy(update=changes), one, rows)
                    for retriever, one, rows in zip(retrievers, sets, chosen, strict=True)
                ]
            )
            return {depth: (places < depth).astype(np.float64) for depth in _DEPTHS}

        alone: dict[str, Any] = {"second_embeddings": None, "second_weight": 0.0}
        words = hits(alone | {"reranker": None, "search_type": "lexical"})
        yield Line(name, *counts, "lexical", 0.0, words, None)
        for search, changes in (("hybrid", {"reranker": None}), ("reranked", {})):
            without = hits(alone | changes)
            yield Line(name, *counts, search, 0.0, without, None)
            for weight in weights:
                found = hits({"second_weight": weight} | changes)
                p = paired_p_value(found[1], without[1])
                yield Line(name, *counts, search, weight, found, p)


def show(lines: Iterable[Line]) -> None:
    """Print a table of hit rates without and with the second bi-encoder."""
    print("| questions | search | second | @1 | @3 | @5 | @10 | p of @1 |\n| --- | --- | ---: |" + " ---: |" * 5)
    for line in lines:
        cells = [f"{one.mean():.3f}<br>{'-'.join(f'{e:.3f}' for e in interval(one))}" for one in line.hits.values()]
        p = "" if line.p is None else f"{line.p:.4f}"
        first = f"{line.name} ({line.questions:,})" if line.search == "lexical" else ""
        search = "" if line.weight else line.search
        print(f"| {first} | {search} | {line.weight or '-'} | {' | '.join(cells)} | {p} |", flush=True)


@dataclass(frozen=True)
class Price:
    """What an encoder costs.

    Attributes:
        milliseconds: Median of embedding one question, by the name of what computes.
        speed: Passages of 900 characters a second, by that name.
        queries: Median and 90th percentile of a reranked query over the samples, in milliseconds, ``without`` the
            encoder and ``with`` it.
        size: Bytes of vectors a passage, without and with it.
    """

    milliseconds: dict[str, float]
    speed: dict[str, float]
    queries: dict[str, tuple[float, float]]
    size: dict[str, float]


def price(runs: Path) -> Price:
    """Measure what the packaged encoder costs.

    Args:
        runs: Where indexes are kept.
    """
    weights = EncoderWeights.load(WEIGHTS / "encoder")
    [samples] = read_sets("samples")
    text = " ".join(document.page_content for document in samples.documents)
    passages = [text[start : start + 900] for start in range(0, 900 * _PASSAGES, 900)]
    questions = samples.questions[:_QUESTIONS]
    speeds, times = {}, {}
    for network in (open_network(weights), NumpyNetwork(weights)):
        name, embeddings = type(network).__name__, _Timed(EncoderBiEncoder(WEIGHTS / "encoder", network))
        speeds[name] = statistics.median(embeddings.speed(passages) for _ in range(_REPEATS))
        times[name] = statistics.median(
            embeddings.milliseconds(question) for _ in range(_REPEATS) for question in questions
        )
    both = {
        "without": KlueRetriever.from_documents(samples.documents),
        "with": open_retriever(samples, "packaged-encoder", runs),
    }
    taken: dict[str, list[float]] = {name: [] for name in both}
    for question in questions:
        for name, one in both.items():
            start = time.perf_counter()
            one.invoke(question)
            taken[name].append(1000 * (time.perf_counter() - start))
    return Price(
        times,
        speeds,
        {name: (float(np.percentile(own[5:], 50)), float(np.percentile(own[5:], 90))) for name, own in taken.items()},
        {name: one._index.vectors_of_passage[1] for name, one in both.items()},
    )


def show_price(found: Price) -> None:
    """Print what an encoder costs."""
    print(machine() + "\n")
    print("| encoder | a question, ms | passages of 900 characters a second |\n| --- | ---: | ---: |")
    for name, milliseconds in found.milliseconds.items():
        print(f"| {name} | {milliseconds:.1f} | {found.speed[name]:.1f} |")
    print("\n| a reranked query over the samples, ms | p50 | p90 |\n| --- | ---: | ---: |")
    for name, (p50, p90) in found.queries.items():
        print(f"| {name} the packaged encoder | {p50:.1f} | {p90:.1f} |")
    print(f"\nBytes of vectors a passage: {found.size['without']:.0f} without, {found.size['with']:.0f} with.")


class _Timed:
    """Times an encoder behind the windows that an index cuts."""

    def __init__(self, encoder: EncoderBiEncoder) -> None:
        self._encoder = encoder

    def speed(self, passages: list[str]) -> float:
        """Return passages a second."""
        from langchain_klue_rerank.adapters.embedding import SECOND_WINDOW_WORDS
        from langchain_klue_rerank.engine.text.windows import cut_texts

        windows, _ = cut_texts(passages, [""] * len(passages), SECOND_WINDOW_WORDS)
        start = time.perf_counter()
        self._encoder.encode(windows, "passage")
        return len(passages) / (time.perf_counter() - start)

    def milliseconds(self, question: str) -> float:
        """Return how long a question takes."""
        start = time.perf_counter()
        self._encoder.encode([question], "query")
        return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the data folder; without, our own questions alone")
    parser.add_argument("--model", default="packaged-encoder", help="name of the second bi-encoder")
    parser.add_argument("--weights", default="0.2", help="values of second_weight, with commas between")
    parser.add_argument("--runs", type=Path, default=Path("runs/encoder"), help="where indexes are kept")
    parser.add_argument("--large", action="store_true", help="also the set of 3,835 passages")
    parser.add_argument("--price", action="store_true", help="measure time and memory instead of quality")
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    if options.price:
        show_price(price(options.runs))
    else:
        weights = [float(one) for one in options.weights.split(",")]
        names = NAMES if options.large else NAMES[:-1]
        show(quality(options.data, options.model, options.runs, weights, names))


if __name__ == "__main__":
    main()
