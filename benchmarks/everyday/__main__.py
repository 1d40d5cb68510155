"""How far the confidence of first results can be trusted, on questions as people type them; see the folder's README.

    python -m benchmarks.everyday              # the seen half
    python -m benchmarks.everyday --unseen     # the other
    python -m benchmarks.everyday --second packaged-encoder

For ``confidence``, and for ``relevance_score`` as the baseline: calibration errors of first results (of answerable
questions, and of all), how often a right first result is above that of a near or an off-topic question (AUC; beside it
the same for the first result of any answerable question), the mean of first results beside the share that is right,
and what is answered at the threshold. Intervals: 95% bootstrap over questions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.everyday.sets import SEEN, UNSEEN, read_corpus
from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.evaluation.metrics import calibration_error

#: Below this ``relevance_score`` the question-answering bot refused before there was a confidence.
BEFORE = 0.10
_SAMPLES = 1000


@dataclass(frozen=True)
class Answers:
    """What came first for n questions.

    Attributes:
        kinds: The questions' kinds.
        ranks: Place of the first right passage from 0; 99 where it is not among the best ten.
        confidence: Of the first results; 0 where nothing was found.
        relevance: Their ``relevance_score``.
    """

    kinds: NDArray[np.str_]
    ranks: NDArray[np.int64]
    confidence: NDArray[np.float64]
    relevance: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64]) -> Answers:
        """Return some of the questions."""
        return Answers(self.kinds[rows], self.ranks[rows], self.confidence[rows], self.relevance[rows])


def ask(name: str, second: str | None = None) -> Answers:
    """Ask a corpus its questions, with a second bi-encoder or without."""
    corpus = read_corpus(name)
    retriever = KlueRetriever.from_documents(corpus.documents, k=10, second_embeddings=second)
    found = retriever.batch([question.text for question in corpus.questions])
    ranks = [
        next((rank for rank, one in enumerate(documents) if one.id in question.passages), 99)
        for question, documents in zip(corpus.questions, found, strict=True)
    ]
    first = [documents[0].metadata if documents else {} for documents in found]
    return Answers(
        np.array([question.kind for question in corpus.questions]),
        np.array(ranks),
        np.array([one.get("confidence", 0.0) for one in first]),
        np.array([one.get("relevance_score", 0.0) for one in first]),
    )


def join(parts: list[Answers]) -> Answers:
    """Return several corpora's questions as one."""
    return Answers(*(np.concatenate([getattr(one, name) for one in parts]) for name in Answers.__dataclass_fields__))


def area(high: NDArray[np.float64], low: NDArray[np.float64]) -> float:
    """Return how often one of the first is above one of the second."""
    return float((high[:, None] > low).mean() + (high[:, None] == low).mean() / 2) if len(high) * len(low) else np.nan


def figures(answers: Answers, scores: NDArray[np.float64], threshold: float) -> dict[str, float]:
    """Return the figures of one kind of score."""
    answerable, near, off = (answers.kinds == kind for kind in ("answerable", "near", "off_topic"))
    right = answers.ranks == 0
    return {
        "ECE, answerable": calibration_error(scores[answerable], right[answerable]),
        "ECE, all": calibration_error(scores, right),
        "AUC right/near": area(scores[right], scores[near]),
        "AUC right/off topic": area(scores[right], scores[off]),
        "AUC answerable/near": area(scores[answerable], scores[near]),
        "AUC answerable/off topic": area(scores[answerable], scores[off]),
        "mean, answerable": float(scores[answerable].mean()),
        "mean, right": float(scores[right].mean()),
        "share right": float(right[answerable].mean()),
        "answered, right": float((scores[right] >= threshold).mean()),
        "answered, near": float((scores[near] >= threshold).mean()),
        "answered, off topic": float((scores[off] >= threshold).mean()),
    }


def interval(answers: Answers, figure: Callable[[Answers], dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Return 95% bootstrap intervals over the questions."""
    draw = np.random.default_rng(0)
    samples = [figure(answers.take(draw.integers(0, len(answers.kinds), len(answers.kinds)))) for _ in range(_SAMPLES)]
    return {
        name: (float(low), float(high))
        for name in samples[0]
        for low, high in [np.nanquantile([one[name] for one in samples], (0.025, 0.975))]
    }


def reliability(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> str:
    """Return a table: of the first results with about this confidence, how many are right."""
    lines = ["| confidence | first results | mean | right |", "| --- | ---: | ---: | ---: |"]
    for low in np.arange(0, 1, 0.1):
        own = (scores >= low) & ((scores < low + 0.1) | (low > 0.85))
        if own.any():
            lines.append(f"| {low:.1f} | {own.sum()} | {scores[own].mean():.2f} | {right[own].mean():.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unseen", action="store_true", help="measure the half that was put away")
    parser.add_argument("--second", help="name of a second bi-encoder")
    options = parser.parse_args()
    names = UNSEEN if options.unseen else SEEN
    threshold = KlueRetriever().confidence_threshold
    parts = {name: ask(name, options.second) for name in names}
    print("| corpus | questions | @1 | @3 | @10 | AUC right/near | AUC right/off topic |\n| --- |" + " ---: |" * 6)
    for name, one in (*parts.items(), ("all", join(list(parts.values())))):
        ranks = one.ranks[one.kinds == "answerable"]
        rates = " | ".join(f"{(ranks < k).mean():.3f}" for k in (1, 3, 10))
        own = figures(one, one.confidence, threshold)
        print(
            f"| {name} | {len(one.ranks)} | {rates} | {own['AUC right/near']:.3f} | {own['AUC right/off topic']:.3f} |"
        )
    whole = join(list(parts.values()))
    told, before = figures(whole, whole.confidence, threshold), figures(whole, whole.relevance, BEFORE)
    ranges = interval(whole, lambda one: figures(one, one.confidence, threshold))
    print(f"\n| | confidence, {threshold} | 95% interval | relevance_score, {BEFORE} |\n| --- | ---: | ---: | ---: |")
    for name, value in told.items():
        low, high = ranges[name]
        print(f"| {name} | {value:.3f} | {low:.3f}-{high:.3f} | {before[name]:.3f} |")
    print("\n" + reliability(whole.confidence, whole.ranks == 0))


if __name__ == "__main__":
    main()
