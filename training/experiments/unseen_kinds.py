"""How the packaged reranker does on kinds of text that it was not trained on, and how much of the score it should have.

    python -m training.experiments.unseen_kinds --data D --blind runs/blind

Every kind of question is left out once: networks that were trained on the others rerank all its questions. The same for
questions of kinds that were seen, each scored by networks that have not seen its group of passages. That is some 26,000
questions in all; shares of the reranker's score in `KlueRetriever`'s differ by less than a few hundred questions can
tell. `--blind` is the bi-encoder that `packaged_reranker` trains with. One core, 15 minutes.
"""

from __future__ import annotations

import argparse
import logging
import time
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.names import WEIGHTS
from langchain_klue_rerank.engine.models.packaged.query_terms import TermVectors
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import StaticBiEncoder
from training.packaged.reranker import (
    Network,
    Settings,
    fit_calibration,
    hit_rates,
    outputs,
    pair_labels,
    train_network,
)
from training.packaged.reranker_examples import Examples, FirstStage, Kind, by_kind, make_examples, read_everything

#: Shares of the reranker's score that are compared.
SHARES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
#: Parts into which the questions of every kind are cut by their groups of passages.
_FOLDS = 3
#: Networks of an ensemble; the packaged one has five.
_NETWORKS = 2

logger = logging.getLogger(__name__)


def folds(kind: Kind) -> NDArray[np.int64]:
    """Return the fold of each question of a kind, the same for questions of one group of passages."""
    return np.array([zlib.crc32(kind.groups[passage].encode()) % _FOLDS for _, passage in kind.questions])


def trained(parts: list[Examples], settings: Settings, deadline: float) -> list[Network]:
    """Train an ensemble."""
    return [train_network(parts, settings, settings.seed + number, deadline) for number in range(_NETWORKS)]


def row(name: str, logits: NDArray[np.float64], examples: Examples, calibration: tuple[float, float]) -> str:
    """Return HitRate@1 of one kind for every share, as a line of a table."""
    reranked = 1 / (1 + np.exp(-(calibration[0] * logits + calibration[1])))
    rates = [
        hit_rates(share * reranked + (1 - share) * examples.first_stage, examples.positive)["@1"] for share in SHARES
    ]
    return f"| {name} | {len(logits):,} | {' | '.join(f'{rate:.3f}' for rate in rates)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--blind", type=Path, required=True, help="a bi-encoder that has not seen the questions")
    parser.add_argument("--most", type=int, help="questions of a kind at most; all if left out")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    settings, deadline = Settings(), time.monotonic() + 3600
    blind = StaticBiEncoder.load(options.blind)
    kinds, statistics, vocabulary, numbers = read_everything(options.data, WEIGHTS / "bi_encoder", settings.examples)
    vectors = TermVectors(vocabulary, numbers)

    trains: list[list[Examples]] = [[] for _ in range(_FOLDS)]
    asks: list[list[Examples]] = [[] for _ in range(_FOLDS)]
    corpora = Counter(kind.name for kind in kinds)
    for kind in kinds:
        if options.most is not None:
            kind.questions = kind.questions[: options.most // corpora[kind.name]]
        first_stage, fold = FirstStage(kind, blind, settings.examples.dense_weight), folds(kind)
        for number in range(_FOLDS):
            questions = [one for one, own in zip(kind.questions, fold.tolist(), strict=True) if own == number]
            common = (kind, questions, first_stage, statistics, vectors, settings.examples)
            trains[number].append(make_examples(*common, training=True))
            asks[number].append(make_examples(*common, training=False))
    names = list(corpora)
    training = {name: [by_kind(trains[number])[name] for number in range(_FOLDS)] for name in names}
    asked = {name: [by_kind(asks[number])[name] for number in range(_FOLDS)] for name in names}

    seen: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for number in range(_FOLDS):
        parts = [own[other] for own in training.values() for other in range(_FOLDS) if other != number]
        networks = trained(parts, settings, deadline)
        for name, own in asked.items():
            seen[name].append(outputs(networks, own[number]))
        logger.info("Fold %d of %d is done", number + 1, _FOLDS)
    logits = np.concatenate([one.ravel() for own in seen.values() for one in own])
    labels = np.concatenate([pair_labels(one).ravel() for own in asked.values() for one in own])
    # Every kind counts the same, however many questions it has.
    sizes = [sum(one.size for one in own) for own in seen.values()]
    weights = np.concatenate([np.full(size, 1e4 / size) for size in sizes])
    calibration = fit_calibration(logits, labels, weights)

    print(f"| HitRate@1, share of the reranker | questions | {' | '.join(map(str, SHARES))} |")
    print("| --- |" + " ---: |" * (len(SHARES) + 1))
    for name, own in asked.items():
        print(row(f"{name}, kind seen", np.concatenate(seen[name]), joined(own), calibration))
    for name, own in asked.items():
        networks = trained(
            [one for other, given in training.items() if other != name for one in given], settings, deadline
        )
        unseen = np.concatenate([outputs(networks, one) for one in own])
        print(row(f"{name}, kind not seen", unseen, joined(own), calibration), flush=True)


def joined(parts: list[Examples]) -> Examples:
    """Return the questions of several parts as one."""
    return replace(
        parts[0],
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in ("positive", "first_stage")},
    )


if __name__ == "__main__":
    main()
