"""What the packaged bi-encoder learns from the packaged encoder: vectors of single morphemes, and of sentences.

A transformer that was tuned on pairs of sentences puts words of one meaning near each other even where they never stand
in one text, which neither neighbourhoods nor a language model's counts tell. Each morpheme is read as a text of its
own; encoding a vocabulary and keeping the largest directions is how model2vec makes a table of vectors from such a
model (Tulkens and van Dongen 2024). Sentences are encoded to be imitated: which of them are alike, and how much.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from langchain_klue_rerank.engine.models.encoder.bi_encoder import EncoderBiEncoder
from training import data as sets
from training.packaged.morpheme_vectors import unit

#: Sentences of each raw text, at most, and pairs of paraphrases.
_RAW = {"nsmc_reviews": 15_000, "petitions": 20_000, "boddari": 20_000, "ms_docs": 8_000, "tech_docs": 4_000}
_PARAPHRASES = 8_000
#: Shortest and longest sentence of a raw text, and where any text is cut, in characters.
_SHORTEST, _LONGEST, _CUT = 12, 90, 200
#: Tags of verbs and adjectives.
_STEMS = ("VV", "VA")
#: Texts that are encoded between two writings of the file.
_AT_ONCE = 8192


def spoken(morpheme: str) -> str:
    """Return what is read for a morpheme: verbs and adjectives as a dictionary has them.

    Args:
        morpheme: ``form/TAG``.
    """
    form, _, tag = morpheme.rpartition("/")
    return form + "다" if tag in _STEMS else form


def sentences(data: Path, most: int, leave_out: Collection[str] = ()) -> list[str]:
    """Return sentences to imitate the encoder's opinion of: questions, sentence pairs, lines of raw text.

    Args:
        data: The data folder.
        most: How many are drawn.
        leave_out: Tasks of the bi-encoder whose questions are left out after that.
    """
    generator = random.Random(7)
    welfare = [pair.query for pair, _ in sets.read_welfare(data)]
    asked = {
        "wiki": [
            pair.query
            for pair in sets.read_mrc(data) + sets.read_squad(data / "tydiqa_ko" / "korean_tydiqa_train.json")
        ],
        "welfare": welfare,
        "strategy": [pair.query for pair in sets.read_strategy(data)],
        "written": [pair.query for _, pairs in sets.read_written() for pair in pairs],
    }
    texts = [query for own in asked.values() for query in own]
    texts += [text for pair in sets.read_klue_sts(data) + sets.read_kor_sts(data) for text in (pair.first, pair.second)]
    paraphrases = generator.sample(sets.read_paraphrases(data), _PARAPHRASES)
    texts += [text for pair in paraphrases for text in (pair.query, pair.passage)]
    for name, count in _RAW.items():
        texts += _sentences_of(sets.read_raw(data, name), count, generator)
    texts = [text[:_CUT] for text in dict.fromkeys(texts) if text.strip()]
    generator.shuffle(texts)
    unwanted = {query[:_CUT] for name in leave_out for query in asked.get(name, [])}
    return [text for text in texts[:most] if text not in unwanted]


def _sentences_of(lines: list[str], count: int, generator: random.Random) -> list[str]:
    found: list[str] = []
    generator.shuffle(lines)
    for line in lines:
        found += [one for one in sets.sentences(line) if _SHORTEST <= len(one) <= _LONGEST and sets.hangul(one) >= 8]
        if len(found) > 4 * count:
            break
    return generator.sample(found, min(count, len(found)))


def encode(texts: Sequence[str], encoder: Path, cache: Path) -> NDArray[np.float32]:
    """Return the encoder's vector of each text, from a file or new; what is new is added to the file as it comes.

    Args:
        texts: Texts. A thousand words take two seconds on a core, a thousand sentences seven.
        encoder: Folder of the encoder.
        cache: An ``.npz`` file; its folder must exist.

    Returns:
        float32, (texts, dimension), rows of length 1.
    """
    known: dict[str, NDArray[np.float16]] = {}
    if cache.exists():
        with np.load(cache, allow_pickle=False) as stored:
            known = dict(zip(stored["texts"].tolist(), stored["vectors"], strict=True))
    new = [text for text in dict.fromkeys(texts) if text not in known]
    model = EncoderBiEncoder(encoder) if new else None
    for start in tqdm(range(0, len(new), _AT_ONCE), desc="encoded", disable=not new):
        some = new[start : start + _AT_ONCE]
        assert model is not None
        known |= dict(zip(some, model.encode(some, "query").astype(np.float16), strict=True))
        part = cache.with_suffix(".part.npz")
        np.savez(part, texts=np.asarray(list(known)), vectors=np.stack(list(known.values())))
        part.replace(cache)
    return np.stack([known[text] for text in texts]).astype(np.float32)


def telling_directions(
    vectors: NDArray[np.float32], counts: NDArray[np.int64], dimension: int, drop: int = 2
) -> NDArray[np.float32]:
    """Centre vectors and keep the directions in which they differ most, but for the very first.

    Args:
        vectors: (n, any dimension).
        counts: (n,): how often each morpheme occurs; frequent ones count more.
        dimension: Directions that are kept, at most.
        drop: How many of the largest are left out: they tell a long word from a short one. Default 2.

    Returns:
        float32, (n, dimension), rows of length 1.
    """
    weight = np.sqrt(counts + 1.0)[:, None]
    centred = vectors - (vectors * weight).sum(axis=0) / weight.sum()
    directions = np.linalg.eigh((centred * weight).T @ centred)[1][:, ::-1]
    return unit(centred @ directions[:, drop : drop + dimension])
