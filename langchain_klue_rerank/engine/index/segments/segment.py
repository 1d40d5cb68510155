"""A segment: passages and everything that an index keeps of them. Immutable, merged with others into a larger one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.files import SavedFiles
from langchain_klue_rerank.engine.arrays.mapped import RESTORE, resident
from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors
from langchain_klue_rerank.engine.index import vectors as passage_vectors
from langchain_klue_rerank.engine.index.passages import Passage, PassageTable
from langchain_klue_rerank.engine.index.segments.postings import Postings
from langchain_klue_rerank.engine.index.segments.terms import Terms, new_name
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.engine.threads import give_way
from langchain_klue_rerank.errors import IndexFormatError

#: Bytes by which mapped memory may grow before it is given back; what is read again comes from the system's cache.
#: Where its size is not known, that is done after so many searches.
_GROWN, _SEARCHES = 160 << 20, 2
#: Postings from which on their highest frequency is remembered; few terms have as many.
_COUNTED_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """What an index keeps of n passages, row by row.

    Attributes:
        passages: Identifiers, texts and metadata.
        tokens: For each passage the numbers of its words; None in an index without lexical search.
        fields: Postings by field, ``"bigram"`` and ``"morpheme"``; empty in an index without lexical search.
        vectors: Vectors by field; empty in an index without vectors.
        token_vectors: A late-interaction model's vectors of tokens; None in an index without.
        files: The files that all of it is mapped from; None for what is in memory.
        name: Its name, which no other segment has, in any index, and under which it is saved.
        size: The number of passages.
    """

    passages: PassageTable
    tokens: Ragged | None = None
    fields: Mapping[str, Postings] = field(default_factory=dict)
    vectors: Mapping[str, PassageVectors] = field(default_factory=dict)
    token_vectors: TokenVectors | None = None
    files: SavedFiles | None = None
    name: str = field(default_factory=new_name)
    size: int = field(init=False)
    _searches: Iterator[int] = field(default_factory=count)
    _norms: dict[str, tuple[float, NDArray[np.float32]]] = field(default_factory=dict)
    _least: dict[str, tuple[NDArray[np.float32], float]] = field(default_factory=dict)
    _resident: dict[str, int] = field(default_factory=dict)
    _highest: dict[tuple[str, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Count the passages."""
        object.__setattr__(self, "size", self.passages.size)

    @classmethod
    def build(
        cls,
        passages: Sequence[Passage],
        terms: Terms,
        tokens: TokenizedTexts | None,
        vectors: Mapping[str, PassageVectors],
        token_vectors: TokenVectors | None,
        *,
        morphemes: bool,
    ) -> Segment:
        """Make a segment of new passages.

        Args:
            passages: Passages with distinct identifiers; their metadata is not copied.
            terms: The index's terms, to which those of the passages are added.
            tokens: The passages' tokens; None for no lexical search.
            vectors: Their vectors by field.
            token_vectors: Their token vectors.
            morphemes: Whether to index morphemes beside bigrams.
        """
        words, fields = (None, {}) if tokens is None else index_tokens(terms, tokens, morphemes=morphemes)
        return cls(PassageTable.of(passages), words, fields, dict(vectors), token_vectors)

    def __len__(self) -> int:
        """Return the number of passages."""
        return self.size

    def searched(self) -> None:
        """Give mapped memory back from time to time: else every page that a search ever read stays in memory.

        Called after each search.
        """
        if self.size >= passage_vectors.LARGE:
            self.release()

    def release(self) -> None:
        """Give mapped memory back if it has grown much since the last time."""
        if self.files is None:
            return
        present = resident()
        if present is None:
            grown = next(self._searches) % _SEARCHES == _SEARCHES - 1
        else:
            grown = present - self._resident.get("after", 0) > _GROWN
        if grown:
            self.files.release()
            self._resident["after"] = resident() or 0

    def verify(self) -> None:
        """Check the content of the files that were too large to be read when they were opened.

        Raises:
            IndexFormatError: If one was edited or damaged.
        """
        if self.files is not None:
            self.files.verify()

    def check(self, settings: IndexSettings) -> None:
        """Check that every part has a row for each passage.

        Raises:
            IndexFormatError: If one has not.
        """
        sizes: dict[str, int] = {}
        if settings.lexical:
            sizes["tokens"] = len(self.tokens) if self.tokens is not None else 0
            for name in ("bigram", "morpheme") if settings.kiwi else ("bigram",):
                sizes[f"{name} postings"] = len(self.fields[name]) if name in self.fields else 0
        for name in settings.vector_fields:
            sizes[name] = len(self.vectors[name]) if name in self.vectors else 0
        if settings.token_vectors is not None:
            sizes["token vectors"] = len(self.token_vectors) if self.token_vectors is not None else 0
        for name, size in sizes.items():
            if size != self.size:
                raise IndexFormatError(f"The index has {name} of {size} passages but holds {self.size}. {RESTORE}")

    @classmethod
    def merge(
        cls,
        segments: Sequence[Segment],
        kept: Sequence[NDArray[np.bool_] | None],
        check: Callable[[], None] = give_way,
    ) -> Segment:
        """Make one segment of several.

        Args:
            segments: At least one.
            kept: Of each which passages to keep, (n,) bool; None for all.
            check: Called before each part; raises to give up. Default: searches of other threads compute first.

        Raises:
            IndexFormatError: If a file of theirs was edited or damaged: it must not become part of a new one.
        """
        for segment in segments:
            segment.verify()
        rows = [None if keep is None else np.flatnonzero(keep) for keep in kept]

        def taken(parts: Sequence[Any]) -> list[Any]:
            check()
            return [part if some is None else part.take(some) for part, some in zip(parts, rows, strict=True)]

        first = segments[0]
        tokens = token_vectors = None
        if first.tokens is not None:
            tokens = Ragged.join(taken([segment.tokens for segment in segments]))
        if first.token_vectors is not None:
            token_vectors = TokenVectors.join(taken([segment.token_vectors for segment in segments]))
        fields = {}
        for name in first.fields:
            check()
            fields[name] = Postings.merge([segment.fields[name] for segment in segments], kept)
        vectors = {
            name: PassageVectors.join(taken([segment.vectors[name] for segment in segments])) for name in first.vectors
        }
        for own in vectors.values():
            check()
            own.prepare()
        return cls(
            PassageTable.join([segment.passages for segment in segments], kept), tokens, fields, vectors, token_vectors
        )

    @property
    def norms_in_use(self) -> dict[str, tuple[float, NDArray[np.float32]]]:
        """What `norms` returned last, by field, with the mean length."""
        return self._norms

    def norms(self, name: str, mean: float, k1: float, b: float) -> NDArray[np.float32]:
        """Return what BM25 adds to a term's frequency in each passage of a field.

        Args:
            name: The field.
            mean: The mean length of the index's passages.
            k1: BM25's saturation.
            b: BM25's strength of the length normalisation.
        """
        known = self._norms.get(name)
        if known is None or known[0] != mean:
            known = (mean, length_norms(self.fields[name].lengths, mean, k1, b))
            self._norms[name] = known  # of two readers with different means both have their own
        return known[1]

    def highest_frequency(self, name: str, start: int, end: int) -> float:
        """Return the highest frequency among the postings of a term of a field, which are those from start to end."""
        if end - start < _COUNTED_ONCE:
            return float(self.fields[name].frequencies[start:end].max())
        known = self._highest.get((name, start))
        if known is None:
            known = self._highest[name, start] = float(self.fields[name].frequencies[start:end].max())
        return known

    def least_norm(self, name: str, norms: NDArray[np.float32]) -> float:
        """Return the least of what `norms` returned for a field."""
        known = self._least.get(name)
        if known is None or known[0] is not norms:
            known = self._least[name] = (norms, float(norms.min()))
        return known[1]


def length_norms(lengths: NDArray[np.float32], mean: float, k1: float, b: float) -> NDArray[np.float32]:
    """Return what BM25 adds to a term's frequency in passages of some lengths; see `Segment.norms`."""
    return (k1 * (1 - b + b * lengths / mean)).astype(np.float32)


def index_tokens(terms: Terms, tokens: TokenizedTexts, *, morphemes: bool) -> tuple[Ragged, dict[str, Postings]]:
    """Number the words of passages, and make their postings.

    Returns:
        The passages as word numbers, and postings by field.
    """
    words = terms.add(tokens)
    tables = {"bigram": terms.word_bigrams.rows}
    if morphemes:
        tables["morpheme"] = terms.word_morphemes.rows
    return words, {name: Postings.of(words.through(table)) for name, table in tables.items()}
