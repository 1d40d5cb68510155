"""The index: passages, their tokens, postings and vectors, kept together through adding, removing and saving."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays import storage
from langchain_klue_rerank.engine.arrays.checked import as_unit_vectors
from langchain_klue_rerank.engine.arrays.quantized import TokenVectors
from langchain_klue_rerank.engine.contracts import Evidence
from langchain_klue_rerank.engine.forks import ForkSafeLock
from langchain_klue_rerank.engine.index import fusion
from langchain_klue_rerank.engine.index.parts import Parts
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors, VectorIndex
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.errors import IndexFormatError, ModelOutputError

#: Scores of a batch of queries computed at a time; bounds the memory of a batch over a large index to some 100 MB.
_SCORES_AT_ONCE = 8_000_000
#: Passages whose windows are read for a query: the best as wholes, so many at least, so many for each result asked for,
#: and this share of all. On KLUE-MRC reading all of them finds no more answers.
_READ, _READ_FOR_EACH, _READ_SHARE = 500, 10, 0.05

#: Numbers, scores, cosines and lexical scores of a query's best passages.
_Ranked = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32] | None]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The best passages for one query.

    Attributes:
        passages: k passages, best first.
        scores: Their scores in 0..1, (k,) float32.
        evidence: What the index knows of them: the cosines and lexical scores that went into the scores and, if they
            were asked for and are kept, tokens and token vectors.
    """

    passages: list[Passage]
    scores: NDArray[np.float32]
    evidence: Evidence


class PassageIndex:
    """Passages that can be searched lexically, by vectors, or by both.

    All methods may be called from several threads.

    Args:
        settings: What the index holds.
    """

    def __init__(self, settings: IndexSettings) -> None:
        self._lock = ForkSafeLock(threading.RLock)
        self._parts = Parts.empty(settings)

    def _replace(self, parts: Parts) -> None:
        """Put new parts in the place of the old ones: the only way in which an index changes.

        It is one assignment, so that an interrupt leaves the old parts or the new ones. Whoever calls holds the lock.

        Raises:
            IndexFormatError: If the parts do not fit together; the old ones stay.
        """
        parts.check()
        self._parts = parts

    @property
    def settings(self) -> IndexSettings:
        """What the index holds."""
        return self._parts.settings

    def __getstate__(self) -> dict[str, Any]:
        parts = self._parts.compacted()
        rows = parts.passages.rows()
        return {
            "settings": parts.settings,
            "passages": [parts.passages.get(row) for row in rows.tolist()],
            "tokens": parts.tokens.take(rows) if parts.lexical is not None else None,
            "vectors": parts.vectors.vectors if parts.vectors is not None else None,
            "token_vectors": parts.token_vectors,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        PassageIndex.__init__(self, state.pop("settings"))
        if state["passages"]:
            self.add(**state)

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self._parts.passages)

    @property
    def dimension(self) -> int | None:
        """Dimension of the vectors; None while there are none."""
        return self._parts.dimension

    @property
    def token_vector_bytes(self) -> float:
        """Bytes that the token vectors of a passage take on average; 0 without any."""
        kept = self._parts.token_vectors
        return kept.nbytes / len(kept) if kept else 0.0

    @property
    def vectors_of_passage(self) -> tuple[float, float]:
        """How many vectors a passage has on average, and the bytes that they take; 0 without any."""
        parts = self._parts
        if parts.vectors is None or not parts.passages.size:
            return 0.0, 0.0
        kept, count = parts.vectors.vectors, parts.passages.size
        short = int((np.diff(kept.windows.offsets) == 0).sum())
        return (short + len(kept.windows.values)) / count, (kept.wholes.nbytes + kept.windows.nbytes) / count

    def keep_token_vectors(self, model: str | None) -> None:
        """Decide whose token vectors an index keeps; without effect on an index that holds passages.

        Args:
            model: Identity of a late-interaction model; None for no token vectors.
        """
        with self._lock:
            if not len(self):
                self._replace(Parts.empty(replace(self.settings, token_vectors=model)))

    def require_lexical(self) -> None:
        """Make sure that the index can be searched by words.

        Raises:
            IndexFormatError: If it cannot.
        """
        if not self.settings.lexical:
            raise IndexFormatError("This index was built without lexical search and can be searched by vectors only.")

    def require_vectors(self) -> None:
        """Make sure that the index can be searched by vectors.

        Raises:
            IndexFormatError: If it cannot.
        """
        if not self.settings.dense:
            raise IndexFormatError("This index was built without vectors and can be searched by words only.")

    def add(
        self,
        passages: Sequence[Passage],
        tokens: TokenizedTexts | None = None,
        vectors: NDArray[np.float32] | PassageVectors | None = None,
        token_vectors: TokenVectors | None = None,
    ) -> None:
        """Add passages; one with the identifier of an earlier one replaces it.

        Args:
            passages: The passages; of several with the same identifier the last counts.
            tokens: Their tokens; needed by a lexical index.
            vectors: Their vectors, (n, dim), or those of their windows, too; needed by a dense index.
            token_vectors: Their token vectors; needed by an index that keeps some, otherwise left alone.

        Raises:
            ModelOutputError: If there is not one vector for each passage, or vectors are not finite or of another
                dimension; the index is then as before.
            ValueError: If tokens, vectors or token vectors that the index needs are missing, or metadata holds what
                has no plain value; the index is then as before.
        """
        last = {passage.id: number for number, passage in enumerate(passages)}
        numbers = np.fromiter(last.values(), np.int64, len(last))
        kept = [passages[number].plain() for number in numbers.tolist()]
        if self.settings.lexical and len(tokens or ()) != len(passages):
            raise ValueError(f"{len(tokens or ())} tokenized texts for {len(passages)} passages.")
        if self.settings.dense and vectors is None and passages:
            raise ValueError("This index holds vectors; give one for each passage.")
        if not self.settings.dense:
            vectors = None
        if not self.settings.lexical:
            tokens = None
        if self.settings.token_vectors is None:
            token_vectors = None
        elif passages and (token_vectors is None or len(token_vectors) != len(passages)):
            raise ValueError("This index keeps token vectors; give those of each passage.")
        with self._lock:
            checked = PassageVectors.checked(vectors, self.dimension) if vectors is not None else None
            if checked is not None and len(checked) != len(passages):
                raise ModelOutputError(
                    f"The embedding model returned {len(checked)} vectors for {len(passages)} texts."
                )
            new = self._parts.copy()
            new.remove([passage.id for passage in passages])
            whole = len(numbers) == len(passages)
            new.append(
                kept,
                tokens if tokens is None or whole else tokens.take(numbers),
                checked if checked is None or whole else checked.take(numbers),
                token_vectors if token_vectors is None or whole else token_vectors.take(numbers),
            )
            self._replace(new)

    def delete(self, identifiers: Sequence[str]) -> int:
        """Remove passages; unknown identifiers are passed over.

        Returns:
            How many were removed.
        """
        with self._lock:
            new = self._parts.copy()
            removed = new.remove(identifiers)
            if removed:
                size = new.passages.size
                self._replace(new.compacted() if size > 1000 and len(new.passages) < size / 2 else new)
        return removed

    def find(self, keep: Callable[[Passage], bool]) -> list[str]:
        """Return the identifiers of the passages that a filter keeps."""
        kept = self._parts.passages
        passages = (kept.get(row) for row in kept.rows().tolist())
        return [passage.id for passage in passages if keep(passage)]

    def get(self, identifiers: Sequence[str]) -> list[Passage]:
        """Return the passages with these identifiers; unknown ones are passed over."""
        passages = self._parts.passages
        rows = [passages.row(identifier) for identifier in identifiers]
        return [passages.get(row) for row in rows if row is not None]

    def tokens(self, passages: Sequence[Passage]) -> TokenizedTexts | None:
        """Return the stored tokens of passages; None unless every one is here, by identifier and text."""
        parts = self._parts
        rows = [parts.passages.row(passage.id) for passage in passages]
        known = [row for row in rows if row is not None]
        if parts.lexical is None or len(known) < len(rows):
            return None
        if any(parts.passages.get(row).text != one.text for row, one in zip(known, passages, strict=True)):
            return None
        return parts.tokens.take(np.asarray(known, np.int64))

    def search(
        self,
        k: int,
        *,
        tokens: TokenizedTexts | None = None,
        vectors: NDArray[np.float32] | None = None,
        dense_weight: float = 1.0,
        keep: Callable[[Passage], bool] | None = None,
        with_tokens: bool = False,
        with_token_vectors: bool = False,
        keep_lexical: int = 0,
        exact: Sequence[float] | None = None,
    ) -> list[Candidates]:
        """Find the best passages for m queries.

        Args:
            k: How many at most.
            tokens: The queries' tokens, for lexical search; None to search by vectors alone.
            vectors: The queries' vectors, (m, dim), for dense search; None to search lexically alone.
            dense_weight: Weight of the dense score beside the lexical one (1) where both are given.
            keep: Says of a passage whether it may be found; None for all.
            with_tokens: Whether to give the passages' stored tokens with them.
            with_token_vectors: The same for their token vectors.
            keep_lexical: How many of the passages that the words alone rank first stay among those found, wherever
                fusion puts them; a reranker can then tell what they are worth.
            exact: How much of each query has to be found as it is written; see `fusion.fuse_scores`. Default: nothing.

        Returns:
            For each query its candidates. Lexical search finds only passages that share a term with the query.
            Scores are the lexical score, (1 + cosine) / 2, or their fusion, all in 0..1.

        Raises:
            IndexFormatError: If tokens are given and the index keeps no lexical postings.
            ModelOutputError: If vectors are not finite or of another dimension.
        """
        parts = self._parts  # a search sees one state of the index, whatever others add meanwhile
        if tokens is not None:
            self.require_lexical()
        if vectors is not None:
            vectors = as_unit_vectors(vectors, parts.dimension)
        allowed = parts.passages.alive()
        if keep is not None:
            allowed = allowed.copy()
            for row in np.flatnonzero(allowed).tolist():
                allowed[row] = keep(parts.passages.get(row))
        return [
            Candidates(
                [parts.passages.get(row) for row in rows.tolist()],
                scores,
                Evidence(
                    parts.tokens.take(rows) if with_tokens and parts.lexical is not None else None,
                    cosines,
                    lexical,
                    len(parts.passages),
                    parts.token_vectors.take(rows) if with_token_vectors and parts.token_vectors is not None else None,
                ),
            )
            for rows, scores, cosines, lexical in _rank(
                parts, k, tokens, vectors, dense_weight, allowed, keep_lexical, exact
            )
        ]

    def vectors(self, identifiers: Sequence[str]) -> NDArray[np.float32]:
        """Return the unit vectors of passages as wholes, (n, dim) float32; zeros for unknown identifiers."""
        parts = self._parts
        found = np.zeros((len(identifiers), parts.dimension or 0), np.float32)
        rows = [parts.passages.row(identifier) for identifier in identifiers]
        if parts.vectors is not None:
            known = np.asarray([row for row in rows if row is not None], np.int64)
            found[[row is not None for row in rows]] = parts.vectors.wholes(known)
        return found

    def save(self, folder: Path) -> None:
        """Write the index completely or not at all; removed passages are dropped.

        Raises:
            IndexFormatError: If `folder` holds something else.
            IndexLockedError: If another process or thread is writing there and does not finish.
            OSError: If writing fails; an index that was there before is untouched.
        """
        folder = Path(folder)
        # The state is taken while nobody else can save: of two saves the later one holds what the earlier one did.
        with storage.writer_lock(folder):
            with self._lock:
                self._replace(self._parts.compacted())
                parts = self._parts
            storage.save_folder(folder, asdict(parts.settings), parts.save)

    @classmethod
    def load(cls, folder: Path, *, any_analysis: bool = False) -> PassageIndex:
        """Read what `save` wrote.

        Args:
            folder: The folder.
            any_analysis: Whether its words may be split in another way than questions are: only to be built again.

        Raises:
            IndexFormatError: If the folder is not an index, is damaged, was written by a newer version, or has words
                that are split in another way.
        """
        index = cls.__new__(cls)
        index._lock = ForkSafeLock(threading.RLock)
        index._parts = storage.read_folder(Path(folder), Parts.load)
        if not any_analysis:
            index.settings.check_analysis(str(folder))
        return index


def _rank(
    parts: Parts,
    k: int,
    tokens: TokenizedTexts | None,
    vectors: NDArray[np.float32] | None,
    dense_weight: float,
    allowed: NDArray[np.bool_],
    keep_lexical: int,
    exact: Sequence[float] | None,
) -> Iterator[_Ranked]:
    """Rank passages for each query; see `search`."""
    count = len(tokens) if tokens is not None else len(vectors) if vectors is not None else 0
    step = max(1, _SCORES_AT_ONCE // max(1, len(allowed)))
    for start in range(0, count, step):
        some = np.arange(start, min(start + step, count))
        lexical = parts.lexical.scores(tokens.take(some)) if tokens is not None and parts.lexical else None
        if vectors is None or parts.vectors is None:
            for words in lexical if lexical is not None else np.zeros((len(some), len(allowed)), np.float32):
                rows = fusion.top(words, k, allowed)
                yield rows, words[rows], None, words[rows]
            continue
        asked = vectors[some]
        for number, cosines in enumerate(parts.vectors.scores(asked)):
            words = lexical[number] if lexical is not None else None
            cosines = _blanks_last(parts.vectors, np.arange(len(cosines)), cosines)
            share = exact[int(some[number])] if exact is not None else 0.0
            scores = fusion.first_stage(words, cosines, dense_weight, share)
            rows = np.arange(len(scores))
            leading = fusion.top(words, keep_lexical, allowed) if words is not None else rows[:0]
            if parts.vectors.has_windows:
                read = max(_READ, _READ_FOR_EACH * k, int(_READ_SHARE * len(scores)))
                rows = np.union1d(fusion.top(scores, read, allowed, above=-1), leading)
                cosines = _blanks_last(parts.vectors, rows, parts.vectors.best_scores(asked[number], rows))
                scores = fusion.first_stage(words[rows] if words is not None else None, cosines, dense_weight, share)
            # a query without a word has no vector: nothing is near it
            least = 0 if words is not None else -1 if asked[number].any() else 1
            best = fusion.top(scores, k, allowed[rows], above=least)
            best = fusion.with_leading(best, np.searchsorted(rows, leading), scores, k)
            rows = rows[best]
            yield rows, scores[best], cosines[best], words[rows] if words is not None else None


def _blanks_last(vectors: VectorIndex, rows: NDArray[np.int64], cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give passages without a word, whose vectors are zero, the lowest cosine that there is."""
    zero = np.flatnonzero(cosines == 0)
    blank = zero[~vectors.wholes(rows[zero]).any(axis=1)]
    if len(blank):
        cosines = cosines.copy()
        cosines[blank] = -1
    return cosines
