"""Steps 1 to 4 of `packaged_reranker`: questions, term tables, candidates, features."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.index.fusion import LEXICAL_SHARE, fuse_scores, with_leading
from langchain_klue_rerank.engine.models.packaged.match_features import (
    MATCH_FEATURES,
    PAIR_FEATURES,
    lexical_trust,
    pair_features,
)
from langchain_klue_rerank.engine.models.packaged.query_terms import (
    MAX_TERMS,
    TERM_FEATURES,
    TermStatistics,
    TermVectors,
    prepare_query,
)
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.text.windows import WINDOW_WORDS, cut_tokens
from langchain_klue_rerank.engine.text.words import bigrams, exact_share, split_words
from training import data as readers
from training.data import Pair
from training.lexical import LexicalCorpus
from training.packaged.exact_kinds import exact_pairs
from training.packaged.morpheme_vectors import unit
from training.packaged.static_vectors import Base


@dataclass(frozen=True)
class ExampleSettings:
    """What decides the examples.

    Attributes:
        seed: Of every random choice.
        held_out: Share of each kind's groups of passages whose questions only calibrate.
        candidates: How many of the first stage's best count. A question whose right passage is not among them does not
            train: it would teach that what the first stage left out is better.
        most: Of any kind but KLUE-MRC so many questions are used, at most.
        headings: How many headings of software manuals are asked for the text below them.
        exact: About how many questions of each kind whose exact words decide (`exact_kinds`).
        per_question: Pairs per training question, the right passage among them.
        hardest: How many of the negatives are the first stage's very best; the others are drawn from the rest.
        without_title: Share of training questions whose candidates lose their titles, and with them the lexical scores,
            which know the titles.
        without_lexical: Share of the others that have no lexical scores, as where other search has found the passages.
        dense_weight: Weight of the bi-encoder's cosine in the first stage, `KlueRetriever`'s default.
        table_bits: Two to this power slots hold the document frequencies.
        steps: Steps of a stored document frequency per doubling.
        raw_passages: How many passages of each raw text are counted beside the questions' corpora.
        raw_length: Lines of raw text are joined into passages of at least so many characters.
        vocabulary: How many morphemes have a vector, at most.
        dimension: Of those vectors.
    """

    seed: int = 0
    held_out: float = 0.1
    candidates: int = 30
    most: int = 2500
    headings: int = 4000
    exact: int = 1600
    per_question: int = 16
    hardest: int = 8
    without_title: float = 0.3
    without_lexical: float = 0.1
    dense_weight: float = 0.25
    table_bits: int = 20
    steps: float = 8.0
    raw_passages: dict[str, int] = field(
        default_factory=lambda: {
            "boddari": 8000, "petitions": 4000, "ms_docs": 8000, "tech_docs": 4000, "nsmc_reviews": 8000,
        }
    )  # fmt: skip
    raw_length: int = 500
    vocabulary: int = 30_000
    dimension: int = 64


@dataclass
class Kind:
    """Questions of one kind over one corpus.

    Attributes:
        name: Key of the training's weights.
        passages: The corpus, distinct texts; a title, if any, is the first line.
        questions: Question, number of the passage that answers it.
        groups: For each passage its group: passages of the group of the right one are never negatives, and a group
            is held out as a whole.
        tokens: The corpus, tokenized.
        title_words: For each passage how many words its title has.
    """

    name: str
    passages: list[str]
    questions: list[tuple[str, int]]
    groups: list[str]
    tokens: TokenizedTexts
    title_words: NDArray[np.int64]


@dataclass
class Examples:
    """Features of questions with their candidates, padded.

    Attributes:
        matches: float16, (questions, candidates, MAX_TERMS, MATCH_FEATURES).
        terms: float16, (questions, MAX_TERMS, TERM_FEATURES).
        term_counts: (questions,).
        pairs: float32, (questions, candidates, PAIR_FEATURES).
        positive: (questions,): place of the right passage among the candidates, -1 if it is not there.
        kinds: (questions,): name of the kind.
        first_stage: float32, (questions, candidates): first-stage scores.
    """

    matches: NDArray[np.float16]
    terms: NDArray[np.float16]
    term_counts: NDArray[np.int64]
    pairs: NDArray[np.float32]
    positive: NDArray[np.int64]
    kinds: NDArray[np.str_]
    first_stage: NDArray[np.float32]

    def take(self, rows: NDArray[np.bool_]) -> Examples:
        """Return some of the questions."""
        return Examples(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})

    def save(self, path: Path) -> None:
        """Write them to a file."""
        np.savez(path, **{one.name: getattr(self, one.name) for one in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Examples:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{one.name: arrays[one.name] for one in fields(cls)})

    @classmethod
    def join(cls, parts: Sequence[Examples]) -> Examples:
        """Return the questions of several parts, which have equally many candidates, as one."""
        return cls(**{one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)})


def by_kind(parts: Sequence[Examples]) -> dict[str, Examples]:
    """Put the parts of one kind together; parts without questions are left out."""
    named: dict[str, list[Examples]] = {}
    for part in parts:
        if len(part.positive):
            named.setdefault(str(part.kinds[0]), []).append(part)
    return {name: Examples.join(own) for name, own in named.items()}


# Step 1: questions and passages -------------------------------------------------------------------------------------


def make_kind(name: str, pairs: Sequence[Pair], groups: Sequence[str] | None = None, titled: bool = True) -> Kind:
    """Turn pairs into a kind; a passage that answers several questions is one passage."""
    numbers: dict[str, int] = {}
    questions, passage_groups = [], []
    for i, pair in enumerate(pairs):
        if pair.passage not in numbers:
            numbers[pair.passage] = len(numbers)
            passage_groups.append(groups[i] if groups else str(len(numbers)))
        questions.append((pair.query, numbers[pair.passage]))
    title_words = [len(split_words(text.partition("\n")[0])) if titled else 0 for text in numbers]
    return Kind(
        name,
        list(numbers),
        questions,
        passage_groups,
        tokenize(numbers, shared_analyzer()),
        np.array(title_words, np.int64),
    )


def read_kinds(data: Path, settings: ExampleSettings) -> list[Kind]:
    """Read everything that trains."""
    welfare = readers.read_welfare(data)
    headings = readers.heading_pairs(readers.read_raw(data, "ms_docs"))
    petitions = [
        Pair(one[0], " ".join(one[1:])[:900]) for one in readers.documents(readers.read_raw(data, "petitions"))
    ]
    return [
        make_kind("klue_mrc", readers.read_mrc(data)),
        make_kind("tydiqa", readers.read_squad(data / "tydiqa_ko" / "korean_tydiqa_train.json")),
        make_kind("welfare", [pair for pair, _ in welfare], [programme for _, programme in welfare], titled=False),
        make_kind("strategy", readers.read_strategy(data), titled=False),
        make_kind("petitions", [pair for pair in petitions if len(pair.passage) >= 150], titled=False),
        make_kind("manuals", random.Random(settings.seed).sample(headings, settings.headings), titled=False),
        make_kind("boolq", readers.read_boolq(data), titled=False),
    ]


def read_exact_kinds(data: Path, settings: ExampleSettings) -> list[Kind]:
    """Make the kinds whose exact words decide; one of several corpora is several kinds of one name."""
    made = exact_pairs(data, settings.seed, settings.exact)
    return [make_kind(name, pairs, titled=False) for name, corpora in made.items() for pairs in corpora if pairs]


def read_other_texts(data: Path, settings: ExampleSettings) -> TokenizedTexts:
    """Read further texts for the document frequencies, short lines joined into passages."""
    passages: list[str] = []
    for name, count in settings.raw_passages.items():
        own, passage = [], ""
        for line in readers.read_raw(data, name):
            passage = f"{passage} {line}" if passage else line
            if len(passage) >= settings.raw_length or name == "nsmc_reviews":
                own.append(passage[: 4 * settings.raw_length])
                passage = ""
        passages += random.Random(settings.seed).sample(own, min(count, len(own)))
    return tokenize(passages, shared_analyzer())


# Step 2: document frequencies ---------------------------------------------------------------------------------------


def count_terms(corpora: Sequence[TokenizedTexts], settings: ExampleSettings) -> TermStatistics:
    """Count in how many passages every morpheme and bigram stands, into a hashed table of bytes."""
    counts: Counter[str] = Counter()
    documents = 0
    for tokens in corpora:
        terms: dict[str, int] = {}
        rows = [
            [terms.setdefault(term, len(terms)) for term in (*(morphemes or (word,)), *bigrams(word))]
            for word, morphemes in zip(tokens.words, tokens.morphemes, strict=True)
        ]
        passages = Ragged(tokens.word_ids, tokens.offsets).through(Ragged.from_rows(rows))
        owners = np.repeat(np.arange(len(passages)), passages.lengths())
        keys = np.unique((passages.values.astype(np.int64) << 32) | owners)
        frequency = np.bincount(keys >> 32, minlength=len(terms))
        counts.update(dict(zip(terms, frequency.tolist(), strict=True)))
        documents += len(tokens)
    table = np.zeros(2**settings.table_bits, np.uint8)
    for term, count in counts.items():
        if count > 1:
            slot = TermStatistics.slot(term, len(table))
            table[slot] = max(table[slot], min(255, round(1 + settings.steps * float(np.log2(count)))))
    return TermStatistics(table, documents, settings.steps)


# Steps 3 and 4: candidates and features -----------------------------------------------------------------------------


def make_vectors(
    corpora: Sequence[TokenizedTexts], bi_encoder: Base, settings: ExampleSettings
) -> tuple[list[str], NDArray[np.int8]]:
    """Take the bi-encoder's rows of the most frequent morphemes, and of each its most telling directions.

    Returns:
        The vocabulary, and (morphemes, dimension): unit vectors times 127, rounded.
    """
    rows = {name: row for row, name in enumerate(bi_encoder.vocabulary)}
    counts: Counter[str] = Counter()
    for tokens in corpora:
        frequency = np.bincount(tokens.word_ids, minlength=len(tokens.words))
        for morphemes, count in zip(tokens.morphemes, frequency.tolist(), strict=True):
            for morpheme in morphemes:
                counts[morpheme] += count
    names = [name for name, _ in counts.most_common() if name in rows][: settings.vocabulary]
    vectors = unit(bi_encoder.vectors[[rows[name] for name in names]]).astype(np.float64)
    # The fourth root lets frequent morphemes, of which queries consist, decide more, but not everything.
    weight = np.array([counts[name] for name in names])[:, None] ** 0.25
    directions = np.linalg.eigh((vectors * weight).T @ vectors)[1][:, -settings.dimension :]
    return names, np.rint(127 * unit(vectors @ directions)).astype(np.int8)


def read_everything(
    data: Path, bi_encoder: Path, settings: ExampleSettings
) -> tuple[list[Kind], TermStatistics, list[str], NDArray[np.int8]]:
    """Read the questions' kinds and count and take what the scorer knows of terms (steps 1 and 2).

    Args:
        data: The data folder.
        bi_encoder: Folder of the bi-encoder whose vectors of morphemes are taken.
        settings: The settings.

    Returns:
        The kinds, document frequencies, and the vocabulary and vectors of `TermVectors`.
    """
    kinds = read_kinds(data, settings)
    corpora = [*(kind.tokens for kind in kinds), read_other_texts(data, settings)]
    kinds += read_exact_kinds(data, settings)
    for kind in kinds:
        if kind.name != "klue_mrc" and len(kind.questions) > settings.most:
            kind.questions = random.Random(settings.seed).sample(kind.questions, settings.most)
    return kinds, count_terms(corpora, settings), *make_vectors(corpora, Base.open(str(bi_encoder)), settings)


class FirstStage:
    """The search of `KlueRetriever` over one corpus.

    Args:
        kind: The corpus.
        encoder: The bi-encoder.
        dense_weight: Weight of the cosine with a passage's best window.
    """

    def __init__(self, kind: Kind, encoder: StaticBiEncoder, dense_weight: float) -> None:
        self._lexical = LexicalCorpus(kind.tokens)
        self._encoder = encoder
        self._weight = dense_weight
        windows, self._offsets = cut_tokens(kind.tokens, kind.title_words.tolist(), WINDOW_WORDS)
        self._vectors = encoder.encode(windows)

    def scores(
        self, query: TokenizedTexts, text: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the passages' scores, cosines with their best windows and lexical scores, each (passages,)."""
        cosines = np.maximum.reduceat(self._vectors @ self._encoder.encode(query)[0], self._offsets[:-1])
        lexical = self._lexical.scores(query)[0]
        return fuse_scores(lexical, cosines, self._weight, exact_share(text)), cosines, lexical


def drop_titles(passages: TokenizedTexts, title_words: NDArray[np.int64]) -> TokenizedTexts:
    """Return the passages without their first words; one that would be empty keeps them."""
    skip = np.where(title_words < passages.lengths(), title_words, 0)
    keep = np.ones(len(passages.word_ids), bool)
    for start, count in zip(passages.offsets[:-1].tolist(), skip.tolist(), strict=True):
        keep[start : start + count] = False
    offsets = np.concatenate([[0], np.cumsum(passages.lengths() - skip)])
    return TokenizedTexts(passages.words, passages.morphemes, passages.word_ids[keep], offsets)


def one_text(texts: TokenizedTexts, number: int) -> TokenizedTexts:
    """Return one of several texts."""
    ids = texts.word_ids[texts.offsets[number] : texts.offsets[number + 1]]
    return TokenizedTexts(texts.words, texts.morphemes, ids, np.array([0, len(ids)], np.int64))


def make_examples(
    kind: Kind,
    questions: Sequence[tuple[str, int]],
    first_stage: FirstStage,
    statistics: TermStatistics,
    vectors: TermVectors,
    settings: ExampleSettings,
    *,
    training: bool,
) -> Examples:
    """Search and compute features.

    Args:
        kind: The corpus.
        questions: Questions and the numbers of their passages.
        first_stage: Of this corpus.
        statistics: Weights of terms.
        vectors: What tells similar terms.
        settings: The settings.
        training: True: the right passage first, then negatives, sometimes without titles. False: the first stage's
            candidates in its order, as they come.

    Returns:
        One row per question; in training, per question whose passage the first stage finds.
    """
    generator = np.random.default_rng(settings.seed)
    width = settings.per_question if training else settings.candidates
    width = min(width, len(kind.passages))
    n = len(questions)
    examples = Examples(
        matches=np.zeros((n, width, MAX_TERMS, MATCH_FEATURES), np.float16),
        terms=np.zeros((n, MAX_TERMS, TERM_FEATURES), np.float16),
        term_counts=np.zeros(n, np.int64),
        pairs=np.zeros((n, width, PAIR_FEATURES), np.float32),
        positive=np.zeros(n, np.int64),
        kinds=np.array([kind.name] * n),
        first_stage=np.zeros((n, width), np.float32),
    )
    reachable = np.ones(n, bool)
    groups = np.unique(kind.groups, return_inverse=True)[1]
    trust = lexical_trust(len(kind.passages))
    queries = tokenize([question for question, _ in questions], shared_analyzer())
    for i in tqdm(range(n), desc=f"{kind.name} {'training' if training else 'held out'}", mininterval=5):
        query, right = one_text(queries, i), questions[i][1]
        scores, cosines, lexical = first_stage.scores(query, questions[i][0])
        if training:
            allowed = np.where(groups == groups[right], -np.inf, scores)
            reachable[i] = (
                np.sum(allowed > scores[right]) < settings.candidates
                or np.sum(lexical[np.isfinite(allowed)] > lexical[right]) < LEXICAL_SHARE * settings.candidates
            )
            best = np.argsort(-allowed, kind="stable")[: settings.candidates]
            words = np.argsort(-np.where(np.isfinite(allowed), lexical, -1), kind="stable")
            best = with_leading(best, words[: int(LEXICAL_SHARE * settings.candidates)], allowed, settings.candidates)
            drawn = generator.choice(len(best) - settings.hardest, width - 1 - settings.hardest, replace=False)
            chosen = np.concatenate([[right], best[: settings.hardest], best[settings.hardest + drawn]])
        else:
            # Other passages of the right one's group may be as right: they are left out.
            allowed = np.where((groups == groups[right]) & (np.arange(len(groups)) != right), -np.inf, scores)
            chosen = np.argsort(-allowed, kind="stable")[:width]
            words = np.argsort(-np.where(np.isfinite(allowed), lexical, -1), kind="stable")
            chosen = with_leading(chosen, words[: int(LEXICAL_SHARE * width)], allowed, width)
        passages, known = kind.tokens.take(chosen), True
        if training and generator.random() < settings.without_title:
            passages, known = drop_titles(passages, kind.title_words[chosen]), False
        elif training and generator.random() < settings.without_lexical:
            known = False
        terms = prepare_query(query, statistics.idf, vectors, questions[i][0])
        own = lexical[chosen] if known else None
        features = pair_features(terms, passages, vectors, cosines[chosen], own, trust)
        count = len(features.terms)
        examples.matches[i, :, :count] = features.matches
        examples.terms[i, :count] = features.terms
        examples.term_counts[i] = count
        examples.pairs[i] = features.pairs
        examples.first_stage[i] = scores[chosen]
        places = np.flatnonzero(chosen == right)
        examples.positive[i] = places[0] if len(places) else -1
    return examples.take(reachable)


def split_questions(kind: Kind, settings: ExampleSettings) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return training and held-out questions; a whole group is held out or not."""
    names = sorted(set(kind.groups))
    held = set(random.Random(settings.seed).sample(names, round(settings.held_out * len(names))))
    inside = [kind.groups[passage] in held for _, passage in kind.questions]
    return (
        [q for q, out in zip(kind.questions, inside, strict=True) if not out],
        [q for q, out in zip(kind.questions, inside, strict=True) if out],
    )
