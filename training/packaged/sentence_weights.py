r"""Fit the weights by which `explain` chooses a sentence: constants of ``engine/models/packaged/sentence_match.py``.

    python -m training.packaged.sentence_weights --data D
    python -m training.packaged.sentence_weights --data D --encoder packaged-encoder    # the weights with an encoder

Of a passage's sentences the one that answers gets the highest softmax (a conditional logit). The examples are everyday
questions and questions that avoid their passage's words, with answer sentences named by hand (``answers`` in
``everyday/*/questions.jsonl``; those of older folders in ``answer_sentences.jsonl``), and training rows of KLUE-MRC and
TyDi whose answer stands in one sentence only. The samples and ``benchmarks/everyday`` fit nothing. Prints how often the
right sentence comes first in folders that were left out, and the constants to copy. Run it again when the bi-encoder,
the reranker or the encoder change. One core, a minute; two with the encoder, which reads the questions named by hand
only.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank import KlueEmbeddings, KlueReranker
from langchain_klue_rerank.engine.models.opening import packaged_bi_encoder
from langchain_klue_rerank.engine.models.packaged.sentence_match import (
    NAMES,
    rank_sentences,
    sentence_features,
    with_encoder,
)
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.sentences import sentence_spans
from langchain_klue_rerank.engine.text.tokenized import tokenize
from training import data as readers

HERE: Final = Path(__file__).parent
ANSWERS: Final = HERE / "answer_sentences.jsonl"
#: What each kind of example weighs together.
_SHARES: Final = {"everyday": 0.45, "paraphrased": 0.30, "klue_mrc": 0.15, "tydiqa": 0.10}
#: Examples of a data set, drawn, and sentences of a passage, at most.
_DRAWN, _LONGEST = 400, 20
_RIDGE: Final = 3e-3
#: Parts of the questions named by hand, each left out once: whole folders, or whole groups of passages.
_FOLDS: Final = 6


@dataclass(frozen=True)
class Example:
    """A question and the sentences of its passage.

    Attributes:
        kind: One of `_SHARES`.
        group: Examples of one group are left out together.
        features: (sentences, features).
        right: Which sentences answer.
    """

    kind: str
    group: str
    features: NDArray[np.float64]
    right: NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """A question, the passage that answers it, and the characters or the sentences of it that do."""

    kind: str
    group: str
    question: str
    title: str
    text: str
    answers: tuple[str, ...]


def named_cases() -> Iterator[Case]:
    """Yield the questions whose answer sentences were named by hand."""
    for folder in sorted((HERE / "everyday").iterdir()):
        passages = {one["id"]: one for one in readers.read_jsonl(folder / "passages.jsonl")}
        for row in readers.read_jsonl(folder / "questions.jsonl"):
            if row.get("answers"):
                for name in row["passages"]:
                    one = passages[name]
                    yield Case(
                        "everyday", folder.name, row["question"], one["title"], one["text"], tuple(row["answers"])
                    )
    yield from _named_apart()


def _named_apart() -> Iterator[Case]:
    """Yield those whose answers stand in a file of their own."""
    passages: dict[str, dict[str, Any]] = {}
    for row in readers.read_jsonl(ANSWERS):
        name = row["set"]
        if name not in passages:
            passages[name] = {one["id"]: one for one in readers.read_jsonl(HERE / name / "passages.jsonl")}
        passage = passages[name][row["passage"]]
        kind, _, folder = name.partition("/")
        group = folder if kind == "everyday" else row["passage"].rpartition("-")[0]
        yield Case(kind, group, row["question"], passage["title"], passage["text"], tuple(row["answers"]))


def drawn_cases(data: Path) -> Iterator[Case]:
    """Yield training rows of KLUE-MRC and TyDi."""
    draw = random.Random(0)
    pairs = {
        "klue_mrc": readers.read_mrc(data),
        "tydiqa": readers.read_squad(data / "tydiqa_ko" / "korean_tydiqa_train.json"),
    }
    for kind, rows in pairs.items():
        for row in draw.sample(rows, min(2 * _DRAWN, len(rows))):
            title, _, text = row.passage.partition("\n")
            if row.answer:
                yield Case(kind, kind, row.query, title, text, (row.answer,))


def examples(cases: Iterator[Case], encoder: KlueEmbeddings | None) -> list[Example]:
    """Compute the features of cases with several sentences of which only some answer."""
    reranker, analyzer, model = KlueReranker(), shared_analyzer(), packaged_bi_encoder()
    counts: dict[str, int] = {}
    found = []
    for case in cases:
        sentences = [case.text[start:end] for start, end in sentence_spans(case.text, analyzer)]
        named = case.kind in ("everyday", "paraphrased")
        right = np.array([any(a in one or one in a for a in case.answers) for one in sentences], bool)
        wanted = 0 < right.sum() < len(right) if named else right.sum() == 1 < len(right) <= _LONGEST
        if not wanted or (not named and counts.get(case.kind, 0) >= _DRAWN):
            continue
        counts[case.kind] = counts.get(case.kind, 0) + 1
        read = [f"{case.title}\n{one}" if case.title else one for one in sentences]
        [scores] = reranker.score([case.question], [read])
        tokens = tokenize([case.question, case.title, *sentences], analyzer)
        features = sentence_features(case.question, sentences, tokens, np.asarray(scores), model)
        if encoder is not None:
            cosines = np.asarray(encoder.embed_documents(read)) @ np.asarray(encoder.embed_query(case.question))
            features = with_encoder(features, cosines)
        found.append(Example(case.kind, case.group, features, right))
    return found


def fit(known: Sequence[Example]) -> NDArray[np.float64]:
    """Fit a conditional logit with a ridge, by Newton's method."""
    longest = max(len(one.right) for one in known)
    inputs = np.zeros((len(known), longest, known[0].features.shape[1]))
    present, right = np.zeros((2, len(known), longest), bool)
    for place, one in enumerate(known):
        inputs[place, : len(one.right)] = one.features
        present[place, : len(one.right)], right[place, : len(one.right)] = True, one.right
    scale = inputs[present].std(axis=0) + 1e-9
    inputs /= scale
    counts = {kind: sum(one.kind == kind for one in known) for kind in _SHARES}
    shares = np.array([_SHARES[one.kind] / counts[one.kind] for one in known])[:, None]
    weights = np.zeros(len(scale))
    for _ in range(10):
        values = inputs @ weights
        chances = shares * _softmax(np.where(present, values, -np.inf))
        answers = shares * _softmax(np.where(right, values, -np.inf))
        means = np.einsum("nl,nld->nd", chances, inputs)
        slope = 2 * _RIDGE * weights + means.sum(axis=0) - np.einsum("nl,nld->d", answers, inputs)
        spread = np.einsum("nld,nle->de", inputs * chances[:, :, None], inputs, optimize=True)
        bend = 2 * _RIDGE * np.eye(len(weights)) + spread - (means / shares).T @ means
        weights = weights - np.linalg.solve(bend, slope)
    return np.asarray(weights / scale)


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def is_first(one: Example, values: NDArray[np.float64]) -> bool:
    """Whether a sentence that answers has the greatest value."""
    return bool(one.right[int(values.argmax())])


def left_out(known: Sequence[Example]) -> dict[str, tuple[float, float]]:
    """Return, of each kind named by hand, how often the reranker's score alone and the fitted weights are right."""
    hits: dict[str, list[tuple[bool, bool]]] = {"everyday": [], "paraphrased": []}
    fold: dict[tuple[str, str], int] = {}
    for kind in hits:
        groups = sorted({one.group for one in known if one.kind == kind})
        fold |= {(kind, group): place % _FOLDS for place, group in enumerate(groups)}
    for number in range(_FOLDS):
        weights = fit([one for one in known if fold.get((one.kind, one.group)) != number])
        for one in known:
            if fold.get((one.kind, one.group)) == number:
                hits[one.kind].append((is_first(one, one.features[:, 0]), is_first(one, one.features @ weights)))
    return {kind: (float(np.mean(rows, axis=0)[0]), float(np.mean(rows, axis=0)[1])) for kind, rows in hits.items()}


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--encoder", metavar="MODEL", help="an encoder that has a say; leaves the data sets out")
    options = parser.parse_args()
    encoder = KlueEmbeddings(model=options.encoder) if options.encoder else None
    known = examples(named_cases(), encoder)
    if encoder is None:
        known += examples(drawn_cases(options.data), None)
    names = (*NAMES, "encoder") if encoder else NAMES
    print({kind: sum(one.kind == kind for one in known) for kind in _SHARES})
    for kind, (reranker, fitted) in left_out(known).items():
        print(f"{kind}, left out: reranker alone {reranker:.3f}, fitted {fitted:.3f}")
    if encoder is None:
        for kind in ("klue_mrc", "tydiqa"):
            rows = [one for one in known if one.kind == kind]
            print(f"{kind}, shipped weights: {np.mean([is_first(o, rank_sentences(o.features)) for o in rows]):.3f}")
    for name, weight in zip(names, fit(known), strict=True):
        print(f"    {weight:.3f},  # {name}")


if __name__ == "__main__":
    main()
