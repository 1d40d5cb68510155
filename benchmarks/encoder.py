"""What a second bi-encoder brings to `KlueRetriever`, and what it costs.

    python -m benchmarks.encoder --data ../shared/data               # quality: the packaged encoder beside none
    python -m benchmarks.encoder --price                             # milliseconds, passages a second, bytes
    python -m benchmarks.encoder --data D --model runs/my-encoder    # another encoder, by name

Sets: the samples, the seen half of the everyday questions, TyDi QA dev, the first 500 questions of KorQuAD dev, and
KLUE-MRC's validation and test questions over their own contexts; with ``--large`` also over all contexts. Every set is
asked without and with the second bi-encoder, not reranked and reranked; intervals are 95% bootstrap over the questions,
p is the exact sign test of HitRate@1. Indexes are kept under ``--runs``, so that a second run embeds nothing, and an
interrupted one goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

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

_DEPTHS = (1, 3, 5, 10)
#: Passages of 900 characters whose embedding is timed, questions that are asked, and repetitions.
_PASSAGES, _QUESTIONS, _REPEATS = 12, 60, 2


def read_all(data: Path | None, large: bool) -> Iterator[tuple[str, list[EvaluationSet], list[list[int]]]]:
    """Yield names, the sets of each, and which of their questions count."""
    [samples] = read_sets("samples")
    with (SAMPLES / "questions.jsonl").open(encoding="utf-8") as file:
        kinds = [json.loads(line)["kind"] for line in file]
    for kind in ("paraphrase", "plain"):
        yield f"samples, {kind}", [samples], [[row for row, own in enumerate(kinds) if own == kind]]
    everyday = []
    for name in SEEN:
        corpus = read_corpus(name)
        asked = [question for question in corpus.questions if question.passages]
        relevant = [question.passages for question in asked]
        everyday.append(EvaluationSet(name, corpus.documents, [question.text for question in asked], relevant))
    yield "everyday, seen half", everyday, [list(range(len(one.questions))) for one in everyday]
    if data is None:
        return
    [tydi] = read_sets(str(data / "tydiqa_ko" / "korean_tydiqa_dev.json"))
    yield "TyDi QA dev", [tydi], [list(range(len(tydi.questions)))]
    [korquad] = read_sets(str(data / "korquad"))
    yield "KorQuAD dev, 500", [korquad], [list(range(500))]
    own, everything = read_sets(str(data / "klue_mrc"))
    yield "KLUE-MRC, own contexts", [own], [list(range(len(own.questions)))]
    if large:
        yield "KLUE-MRC, all contexts", [everything], [list(range(len(everything.questions)))]


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
    found = retriever.batch([data.questions[row] for row in rows], k=max(_DEPTHS))
    return np.array(
        [
            next((place for place, one in enumerate(documents) if one.id in data.relevant[row]), 99)
            for row, documents in zip(rows, found, strict=True)
        ]
    )


def quality(data: Path | None, model: str, runs: Path, weights: list[float], large: bool) -> None:
    """Print a table of hit rates without and with the second bi-encoder."""
    print("| questions | search | second | @1 | @3 | @5 | @10 | p of @1 |\n| --- | --- | ---: |" + " ---: |" * 5)
    for name, sets, chosen in read_all(data, large):
        retrievers = [open_retriever(one, model, runs) for one in sets]
        for reranked in (False, True):
            without: NDArray[np.float64] | None = None
            for weight in (0.0, *weights):
                changes = {"second_weight": weight} | ({} if reranked else {"reranker": None})
                if not weight:
                    changes["second_embeddings"] = None
                places = np.concatenate(
                    [
                        ranks(retriever.model_copy(update=changes), one, rows)
                        for retriever, one, rows in zip(retrievers, sets, chosen, strict=True)
                    ]
                )
                hits = [(places < depth).astype(np.float64) for depth in _DEPTHS]
                cells = [f"{one.mean():.3f}<br>{'-'.join(f'{end:.3f}' for end in interval(one))}" for one in hits]
                p = f"{paired_p_value(hits[0], without):.4f}" if without is not None else ""
                without = hits[0] if without is None else without
                first = f"{name} ({len(places):,})" if not reranked and not weight else ""
                way = "" if weight else "hybrid, reranked" if reranked else "hybrid"
                print(f"| {first} | {way} | {weight or '-'} | {' | '.join(cells)} | {p} |", flush=True)


def price(runs: Path) -> None:
    """Print what the packaged encoder costs."""
    print(machine() + "\n")
    weights = EncoderWeights.load(WEIGHTS / "encoder")
    [samples] = read_sets("samples")
    text = " ".join(document.page_content for document in samples.documents)
    passages = [text[start : start + 900] for start in range(0, 900 * _PASSAGES, 900)]
    questions = samples.questions[:_QUESTIONS]
    print("| encoder | a question, ms | passages of 900 characters a second |\n| --- | ---: | ---: |")
    encoders = {
        type(network).__name__: EncoderBiEncoder(WEIGHTS / "encoder", network)
        for network in (open_network(weights), NumpyNetwork(weights))
    }
    for name, encoder in encoders.items():
        embeddings = _Timed(encoder)
        speeds = [embeddings.speed(passages) for _ in range(_REPEATS)]
        times = [embeddings.milliseconds(question) for _ in range(_REPEATS) for question in questions]
        print(f"| {name} | {statistics.median(times):.1f} | {statistics.median(speeds):.1f} |", flush=True)
    retriever = open_retriever(samples, "packaged-encoder", runs)
    plain = KlueRetriever.from_documents(samples.documents)
    print("\n| a reranked query over the samples, ms | p50 | p90 |\n| --- | ---: | ---: |")
    taken: dict[str, list[float]] = {"without": [], "with": []}
    for question in questions:
        for name, one in (("without", plain), ("with", retriever)):
            start = time.perf_counter()
            one.invoke(question)
            taken[name].append(1000 * (time.perf_counter() - start))
    for name, times in taken.items():
        p50, p90 = np.percentile(times[5:], [50, 90])
        print(f"| {name} the packaged encoder | {p50:.1f} | {p90:.1f} |")
    bytes_of = [one._index.vectors_of_passage[1] for one in (plain, retriever)]
    print(f"\nBytes of vectors a passage: {bytes_of[0]:.0f} without, {bytes_of[1]:.0f} with.")


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
        price(options.runs)
    else:
        quality(
            options.data, options.model, options.runs, [float(one) for one in options.weights.split(",")], options.large
        )


if __name__ == "__main__":
    main()
