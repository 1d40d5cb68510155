r"""Fit the confidence of the first result, the numbers in ``langchain_klue_rerank/weights/confidence``.

    python -m training.packaged.bi_encoder --data D --out runs/unwritten --work runs/unwritten_work --leave-out written
    python -m training.packaged.confidence --data D --bi-encoder runs/unwritten

Every question is asked twice: with the passage that answers it in the corpus, and with that passage (and others of its
group) taken out, so that the nearest others remain; and every corpus is asked questions of another kind. The corpora
are cut out of the data sets, 6 to 2,000 passages each, at random or around a topic, with whole passages and with
pieces of them, with titles and without. Data sets ask in the words of their passages, people do not: the corpora in
``training/packaged/everyday``, written for this, ask as people type, and have questions that no passage answers. They
weigh four fifths, three of them those that are no harder than what people ask. The questions of ``benchmarks/everyday``
fit nothing. With the packaged encoder as second bi-encoder the same is done again, with fewer passages of each data
set, since it is slow; and once more with its reading of the first result, on kinds that it has not learned to read.

The packaged bi-encoder was trained on the everyday questions and knows them by heart: it finds nine of ten passages
first where one that was not finds four. So another one asks here, the same but for those questions.

Signals are computed with the retriever that serves and kept in ``--work``, one file a kind; ``--resume`` takes them
from there. Prints what a model fitted without a kind does on that kind. Run it again when the bi-encoder, the reranker
or their blend change. One core, some ten minutes; seconds with ``--resume``.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from langchain_klue_rerank import KlueEmbeddings, KlueRetriever
from langchain_klue_rerank.adapters import first_stage
from langchain_klue_rerank.adapters.documents import searchable_text
from langchain_klue_rerank.adapters.first_stage import Options
from langchain_klue_rerank.adapters.reranking import RankerCompressor
from langchain_klue_rerank.engine.contracts import ScoreRequest
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.settings import VECTORS
from langchain_klue_rerank.engine.models.names import WEIGHTS
from langchain_klue_rerank.engine.rerank import confidence as engine
from langchain_klue_rerank.engine.rerank.close_scores import close_leaders, put_first
from langchain_klue_rerank.engine.rerank.ranker import blend_scores
from langchain_klue_rerank.evaluation.metrics import calibration_error
from training import data as readers
from training.data import Pair

#: The kind that has all everyday corpora as one.
ALL: Final = "everyday: all"
#: Corpora cut out of each kind, and questions asked of each.
_CORPORA, _QUESTIONS, _STRANGERS = 10, 12, 5
#: Largest corpus.
_LARGEST = 2000
#: Kinds of the data sets whose questions the packaged encoder has learned to read.
_READ_KINDS: Final = frozenset({"klue_mrc", "klue_mrc, pieces", "welfare", "strategy", "manuals"})
#: Passages of a kind that are looked at, at most: tokenizing them takes most of the time, a second bi-encoder more.
_POOL, _SECOND_POOL = 2000, 100
#: How often questions are answerable, near and off topic: three of five questions to a bot are answered in its files.
_SHARES: Final = {"answerable": 0.6, "near": 0.2, "off_topic": 0.2}
#: How often the first result of an answerable question is right, as on the seen half of ``benchmarks/everyday``; how
#: hard the corpora here are must not decide it.
_RIGHT: Final = 0.8
#: Weights of everyday corpora that ask as people do, of those that were written to be harder, and of data sets.
_GROUPS: Final = {"usual": 0.6, "hard": 0.2, "data": 0.2}
#: The same where the packaged encoder has a say: it knows the passages of the usual corpora, and those of the data sets
#: share so many words with their questions that nothing is left to read.
_GROUPS_OF_ENCODER: Final = {"usual": 0.4, "hard": 0.55, "data": 0.05}
_FRESH: Final = frozenset(f"everyday: {name}" for name in readers.FRESH_CORPORA)
_USUAL: Final = frozenset(f"everyday: {name}" for name in readers.USUAL_CORPORA)
_SENTENCE = re.compile(r"(?<=[.?!])\s+|\n+")


@dataclass(frozen=True)
class Kind:
    """Questions over passages.

    Attributes:
        name: What it is called in tables.
        passages: Title, text and group of each; passages of one group may answer the same question.
        questions: Question and the numbers of the passages that answer it; none for one that nothing answers.
        labels: Kind of each question.
    """

    name: str
    passages: list[tuple[str, str, str]]
    questions: list[tuple[str, frozenset[int]]]
    labels: list[str]

    def first(self, count: int) -> Kind:
        """Return the first passages and the questions that they answer."""
        kept = [number for number, (_, right) in enumerate(self.questions) if max(right, default=0) < count]
        questions, labels = [self.questions[number] for number in kept], [self.labels[number] for number in kept]
        return replace(self, passages=self.passages[:count], questions=questions, labels=labels)


@dataclass(frozen=True)
class Asked:
    """Signals of many questions: (n, `SIGNALS`), whether the first result was right, and the questions' labels."""

    signals: NDArray[np.float64]
    right: NDArray[np.bool_]
    labels: NDArray[np.str_]


def from_pairs(name: str, pairs: Sequence[Pair], titled: bool, piece: int | None = None) -> Kind:
    """Make a kind of pairs.

    Args:
        name: Its name.
        pairs: Questions and passages.
        titled: Whether a passage's first line is its title.
        piece: Cut passages into pieces of about so many characters, of which the one with the answer is right; None to
            leave them whole.
    """
    passages: list[tuple[str, str, str]] = []
    rows: dict[str, list[int]] = {}
    questions: list[tuple[str, frozenset[int]]] = []
    for pair in pairs:
        if pair.passage not in rows:
            title, _, body = pair.passage.partition("\n") if titled else ("", "", pair.passage)
            texts = [body] if piece is None else pieces(body, piece)
            if len(passages) + len(texts) > _POOL:
                continue
            rows[pair.passage] = list(range(len(passages), len(passages) + len(texts)))
            # pieces of one passage are neighbours, not answers to the same question
            passages += [(title, text, (title or str(len(passages))) if piece is None else "") for text in texts]
        own = rows[pair.passage]
        right = own if piece is None else [n for n in own if pair.answer and pair.answer in passages[n][1]]
        if len(right) == 1:
            questions.append((pair.query, frozenset(right)))
    return Kind(name, passages, questions, ["answerable"] * len(questions))


def pieces(text: str, length: int) -> list[str]:
    """Cut a text after sentences into pieces of about so many characters."""
    result = [""]
    for sentence in _SENTENCE.split(text):
        if result[-1] and len(result[-1]) + len(sentence) > length:
            result.append("")
        result[-1] = f"{result[-1]} {sentence}".strip()
    return [one for one in result if one]


def read_kinds(data: Path) -> Iterator[Kind]:
    """Read everything of the data folder that may train."""
    draw = random.Random(0)
    wiki = readers.read_mrc(data)
    tydi = readers.read_squad(data / "tydiqa_ko" / "korean_tydiqa_train.json")
    yield from_pairs("klue_mrc", draw.sample(wiki, 1500), titled=True)
    yield from_pairs("klue_mrc, pieces", draw.sample(wiki, 600), titled=True, piece=220)
    yield from_pairs("tydiqa", tydi, titled=True)
    yield from_pairs("tydiqa, pieces", draw.sample(tydi, 1000), titled=True, piece=160)
    welfare = [Pair(one.query, f"{programme}\n{one.passage}") for one, programme in readers.read_welfare(data)]
    yield from_pairs("welfare", draw.sample(welfare, 2000), titled=True)
    yield from_pairs("strategy", draw.sample(readers.read_strategy(data), 2000), titled=False)
    manuals = readers.heading_pairs(readers.read_raw(data, "ms_docs"))
    yield from_pairs("manuals", draw.sample(manuals, 1500), titled=False)
    texts = [one for one in readers.documents(readers.read_raw(data, "petitions")) if len(" ".join(one[1:])) >= 150]
    petitions = [Pair(one[0], " ".join(one[1:])[:500]) for one in texts]
    yield from_pairs("petitions", draw.sample(petitions, 1200), titled=False)
    with (data / "kobest_boolq" / "train.tsv").open(encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    boolq = [Pair(row[2], row[1]) for row in rows if len(row) >= 4]
    yield from_pairs("boolq", draw.sample(boolq, 1500), titled=False)
    with (data / "paraphrase" / "kor_pair_train.csv").open(encoding="utf-8-sig", newline="") as file:
        same = [Pair(r["question1"], r["question2"]) for r in csv.DictReader(file) if r["is_duplicate"] == "0"]
    yield from_pairs("duplicate questions", draw.sample(same, 1500), titled=False)


def read_everyday() -> list[Kind]:
    """Read the corpora written for this, each by itself and all as one.

    What a corpus does not answer, another may: of all as one only the questions with an answer are asked.
    """
    kinds: list[Kind] = []
    passages: list[tuple[str, str, str]] = []
    questions: list[tuple[str, frozenset[int]]] = []
    for folder in sorted(path for path in readers.EVERYDAY.iterdir() if path.is_dir()):
        rows = readers.read_jsonl(folder / "passages.jsonl")
        number = {row["id"]: place for place, row in enumerate(rows)}
        own = [(row["title"], row["text"], f"{folder.name} {row['id']}") for row in rows]
        asked = readers.read_jsonl(folder / "questions.jsonl")
        right = [frozenset(number[one] for one in row["passages"]) for row in asked]
        pairs = [(row["question"], one) for row, one in zip(asked, right, strict=True)]
        kinds.append(Kind(f"everyday: {folder.name}", own, pairs, [row["kind"] for row in asked]))
        questions += [(text, frozenset(n + len(passages) for n in one)) for text, one in pairs if one]
        passages += own
    return [*kinds, Kind(ALL, passages, questions, ["answerable"] * len(questions))]


class Searched:
    """A kind's passages, tokenized and embedded once, of which corpora are made."""

    def __init__(self, kind: Kind, embeddings: KlueEmbeddings, second: str | None = None) -> None:
        self.kind, self.embeddings, self.second = kind, embeddings, second
        retriever = KlueRetriever(embeddings=embeddings, second_embeddings=second)
        self.passages = [
            Passage(str(number), text, {"title": title} if title else {})
            for number, (title, text, _) in enumerate(kind.passages)
        ]
        texts = [searchable_text(one.text, one.metadata, retriever.title_key) for one in self.passages]
        self.tokens, fields = retriever._read(self.passages, texts)
        assert fields is not None
        self.fields = fields
        self.groups = [group or str(number) for number, (_, _, group) in enumerate(kind.passages)]

    def rows(self, size: int, draw: random.Random) -> list[int]:
        """Choose the passages of a corpus, drawn or around one of them."""
        count = len(self.passages)
        if size >= count:
            return list(range(count))
        if draw.random() < 0.6:
            wholes = self.fields[VECTORS].wholes
            return np.sort(np.argsort(-(wholes @ wholes[draw.randrange(count)]))[:size]).tolist()
        return sorted(draw.sample(range(count), size))

    def corpus(self, rows: Sequence[int]) -> KlueRetriever:
        """Make a retriever over some of the passages."""
        numbers = np.asarray(rows)
        retriever = KlueRetriever(embeddings=self.embeddings, second_embeddings=self.second)
        fields = {name: vectors.take(numbers) for name, vectors in self.fields.items()}
        retriever._index.add([self.passages[row] for row in rows], self.tokens.take(numbers), fields)
        return retriever


def ask(
    searched: Searched,
    retriever: KlueRetriever,
    question: str,
    right: frozenset[int],
    *,
    take_out: bool,
) -> tuple[NDArray[np.float64], bool] | None:
    """Return a question's signals and whether the first result is right; None where nothing is found.

    Args:
        searched: The kind.
        retriever: Over one of its corpora.
        question: The question.
        right: The passages that answer it.
        take_out: Whether those, and all of their groups, are taken out of what is found.
    """
    reranker = retriever.reranker
    assert isinstance(reranker, RankerCompressor)
    options = Options(k=4, fetch_k=engine.CANDIDATES + 4, score_threshold=None, search_type="hybrid")
    found = retriever._first_stage.find(question, options, None)
    if found is None:
        return None
    groups = {searched.groups[one] for one in right}
    numbers = [int(one.id or "") for one in found.documents]
    kept = [
        place
        for place, number in enumerate(numbers)
        if searched.groups[number] not in groups or (number in right and not take_out)
    ][: engine.CANDIDATES]
    if not kept or found.evidence is None:
        return None
    rows = np.asarray(kept)
    texts = [
        searchable_text(found.documents[n].page_content, found.documents[n].metadata, retriever.title_key) for n in kept
    ]
    evidence, first = found.evidence.take(rows), found.scores[rows]
    [scores] = reranker._score([ScoreRequest(question, texts, evidence, first, retriever.rerank_weight)])
    blended = blend_scores(scores.values, first, retriever.rerank_weight)
    assert evidence.lexical is not None
    assert evidence.cosines is not None
    assert evidence.tokens is not None
    if searched.second is not None and (leaders := close_leaders(blended)):
        odds = KlueEmbeddings(model=searched.second).read(question, [texts[place] for place in leaders])
        blended = blended if odds is None else put_first(blended, leaders, odds.tolist())
    best = int(blended.argmax())
    known = engine.signals(blended, evidence.lexical, evidence.cosines, evidence.tokens, evidence.second)
    if searched.second is not None:
        odds = KlueEmbeddings(model=searched.second).read(question, [texts[best]])
        known = known if odds is None else np.append(known, odds)
    return known, numbers[kept[best]] in right and not take_out


def ask_all(searched: Searched, strangers: Sequence[str]) -> Asked:
    """Ask a kind's questions of corpora of many sizes, and strangers' questions too."""
    kind, draw = searched.kind, random.Random(searched.kind.name)
    everyday = kind.name.startswith("everyday")
    sizes = [round(np.exp(draw.uniform(np.log(6), np.log(min(_LARGEST, len(kind.passages)))))) for _ in range(_CORPORA)]
    rows: list[tuple[NDArray[np.float64], bool, str]] = []

    def add(retriever: KlueRetriever, question: str, right: frozenset[int], label: str) -> None:
        for take_out in (False, True) if right and kind.name != ALL else (False,):
            one = ask(searched, retriever, question, right, take_out=take_out)
            if one is not None:
                rows.append((*one, "near" if take_out else label))

    for size in tqdm([len(kind.passages)] if everyday else sizes, desc=kind.name, mininterval=5):
        passages = searched.rows(size, draw)
        retriever, present = searched.corpus(passages), set(passages)
        mine = [n for n, (_, right) in enumerate(kind.questions) if right <= present]
        chosen = mine if everyday else draw.sample(mine, min(_QUESTIONS, len(mine)))
        for number in chosen:
            add(retriever, *kind.questions[number], kind.labels[number])
        for question in draw.sample(list(strangers), min(_STRANGERS, len(strangers))):
            add(retriever, question, frozenset(), "off_topic")
    known, right, labels = zip(*rows, strict=True)
    return Asked(np.stack(known), np.asarray(right), np.asarray(labels))


def fit(parts: dict[str, Asked], groups: Mapping[str, float], threshold: float = 0.5) -> engine.ConfidenceModel:
    """Fit weights that are not negative, by Newton's method without those that would be.

    Args:
        parts: What was asked, by kind.
        groups: The weight of each group of kinds.
        threshold: Confidence from which an answer is recommended.
    """
    signals = np.concatenate([one.signals for one in parts.values()])
    right = np.concatenate([one.right for one in parts.values()]).astype(np.float64)
    weights = np.concatenate([example_weights(name, one, parts, groups) for name, one in parts.items()])
    scale = signals.std(axis=0) + 1e-9
    used = np.ones(signals.shape[1], bool)
    while True:
        inputs = np.column_stack([(signals / scale)[:, used], np.ones(len(signals))])
        ridge = np.diag([1e-3] * int(used.sum()) + [0.0])
        found = np.zeros(inputs.shape[1])
        for _ in range(40):
            chance = 1 / (1 + np.exp(-np.clip(inputs @ found, -30, 30)))
            slope = inputs.T @ (weights * (chance - right)) + ridge @ found
            bend = inputs.T @ (inputs * (weights * chance * (1 - chance))[:, None]) + ridge
            found -= np.linalg.solve(bend, slope)
        if bool((found[:-1] >= 0).all()):
            break
        used[np.flatnonzero(used)[int(found[:-1].argmin())]] = False
    result = np.zeros(signals.shape[1])
    result[used] = found[:-1] / scale[used]
    return engine.ConfidenceModel(result, float(found[-1]), threshold)


def knows(name: str) -> bool:
    """Say whether the packaged encoder has learned to read the questions of a kind, or knows its passages by heart."""
    return name in _READ_KINDS or (name.startswith("everyday") and name not in _USUAL | _FRESH)


def group_of(name: str) -> str:
    """Return the group of a kind; see `_GROUPS`."""
    return "data" if not name.startswith("everyday") else "usual" if name in _USUAL else "hard"


def example_weights(
    name: str, asked: Asked, parts: dict[str, Asked], groups: Mapping[str, float]
) -> NDArray[np.float64]:
    """Return weights that give groups of kinds their shares, every kind of one the same, and every label its share."""
    alike = sum(group_of(other) == group_of(name) for other in parts)
    answerable = asked.labels == "answerable"
    shares = [(asked.labels == label, share) for label, share in _SHARES.items() if label != "answerable"]
    for own, share in ((asked.right, _RIGHT), (~asked.right, 1 - _RIGHT)):
        shares.append((answerable & own, share * _SHARES["answerable"]))
    weights = np.zeros(len(asked.right))
    for own, share in shares:
        weights[own] = share / max(int(own.sum()), 1)
    return weights * groups[group_of(name)] / alike


def area(high: NDArray[np.float64], low: NDArray[np.float64]) -> float:
    """Return how often one of the first is above one of the second."""
    return float((high[:, None] > low).mean() + (high[:, None] == low).mean() / 2) if len(high) * len(low) else np.nan


def row(name: str, asked: Asked, model: engine.ConfidenceModel) -> str:
    """Return a line of the table."""
    chance = model(asked.signals)
    answerable, near, off = (asked.labels == label for label in _SHARES)
    right = asked.right
    cells = [
        calibration_error(chance[answerable], right[answerable]),
        area(chance[right], chance[near]),
        area(chance[right], chance[off]),
        float((chance[right] >= model.threshold).mean()),
        float((chance[near] >= model.threshold).mean()),
        float((chance[off] >= model.threshold).mean()),
    ]
    return f"| {name} | {len(right)} | {right[answerable].mean():.3f} | {' | '.join(f'{one:.3f}' for one in cells)} |"


def main() -> None:
    """Collect, fit, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--out", type=Path, default=WEIGHTS / "confidence", help="where the numbers go")
    parser.add_argument("--work", type=Path, default=Path("runs/confidence"), help="where signals are kept")
    parser.add_argument("--resume", action="store_true", help="take signals that are there already")
    parser.add_argument("--threshold", type=float, default=0.5, help="the threshold to recommend; default 0.5")
    parser.add_argument(
        "--bi-encoder", type=Path, required=True, help="a bi-encoder that has not seen the everyday questions"
    )
    options = parser.parse_args()
    embeddings = KlueEmbeddings(model=str(options.bi_encoder))
    options.work.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {"format": engine.FORMAT, "format_version": engine.FORMAT_VERSION}
    # Only the packaged bi-encoder's cosines are handed to the reranker: take this one for it.
    with patch.object(first_stage, "packaged_identity", lambda: embeddings.identity):
        asked = {
            key: collect(options.data, options.work / key, embeddings, second, resume=options.resume)
            for key, second in ((engine.FIRST, None), (engine.READ, "packaged-encoder"))
        }
    asked[engine.SECOND] = asked[engine.READ]
    for key, names in engine.SIGNALS_OF.items():
        print(f"\n{key}\n")
        groups = _GROUPS if key == engine.FIRST else _GROUPS_OF_ENCODER
        parts = {name: replace(one, signals=one.signals[:, : len(names)]) for name, one in asked[key].items()}
        print("| kind left out | rows | @1 | ECE | AUC near | AUC off topic | right answered | near | off topic |")
        print("| --- |" + " ---: |" * 8)
        for name, one in parts.items():
            if name != ALL:
                rest = {k: v for k, v in parts.items() if k != name and not (name.startswith("everyday") and k == ALL)}
                print(row(name, one, fit(rest, groups, options.threshold)), flush=True)
        model = fit(parts, groups, options.threshold)
        weights = dict(zip(names, np.round(model.weights, 4).tolist(), strict=True))
        config[key] = {"weights": weights, "bias": round(model.bias, 4)}
    config["threshold"] = options.threshold
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=2) + "\n"
    (options.out / engine.CONFIG_FILE).write_text(text, encoding="utf-8")
    print(text)


def collect(
    data: Path, work: Path, embeddings: KlueEmbeddings, second: str | None, *, resume: bool
) -> dict[str, Asked]:
    """Ask all kinds' questions and keep what is known of them.

    Args:
        data: The data folder.
        work: Where signals are kept, one file a kind.
        embeddings: The bi-encoder that asks.
        second: Name of the second bi-encoder, which is not asked what it `knows`; None for none.
        resume: Whether to take signals that are there already.
    """
    work.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Asked] = {}
    strangers: list[str] = []
    for whole in (*read_everyday(), *read_kinds(data)):
        kind = whole if second is None or whole.name.startswith("everyday") else whole.first(_SECOND_POOL)
        if second is not None and knows(kind.name):
            strangers = [question for question, _ in kind.questions]
            continue
        path = work / f"{kind.name.replace(': ', '_').replace(', ', '_').replace(' ', '_')}.npz"
        if resume and path.exists():
            with np.load(path, allow_pickle=False) as saved:
                parts[kind.name] = Asked(saved["signals"], saved["right"], saved["labels"])
        else:
            one = parts[kind.name] = ask_all(Searched(kind, embeddings, second), strangers)
            np.savez(path, signals=one.signals, right=one.right, labels=one.labels)
        strangers = [question for question, _ in kind.questions]
    return parts


if __name__ == "__main__":
    main()
