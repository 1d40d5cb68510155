"""The index: passages, their tokens, postings and vectors, in immutable segments that readers never wait for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors, as_unit_vectors
from langchain_klue_rerank.engine.contracts import Evidence
from langchain_klue_rerank.engine.index.passages import Passage, plain
from langchain_klue_rerank.engine.index.saved import SavedIndex
from langchain_klue_rerank.engine.index.search import Keep, SecondQueries, allowed, rank
from langchain_klue_rerank.engine.index.segments.rescoring import rescored
from langchain_klue_rerank.engine.index.segments.segment import Segment
from langchain_klue_rerank.engine.index.segments.snapshot import Snapshot
from langchain_klue_rerank.engine.index.settings import SECOND_VECTORS, VECTORS, IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.text.spellings import respelled
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.engine.threads import gently
from langchain_klue_rerank.errors import IndexFormatError, ModelOutputError

_Self = TypeVar("_Self", bound="PassageIndex")
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _finds_damage(
    method: Callable[Concatenate[_Self, _Arguments], _Result],
) -> Callable[Concatenate[_Self, _Arguments], _Result]:
    """Say which file is damaged if a method meets a number out of range in one that `verify` has not checked yet."""

    def call(self: _Self, /, *arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        try:
            return method(self, *arguments, **options)
        except IndexError:
            self.verify()
            raise

    return update_wrapper(call, method)


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


class PassageIndex(SavedIndex):
    """Passages that can be searched lexically, by vectors, or by both.

    All methods may be called from several threads. A reader takes a reference to the present state and never waits for
    writers. Writers wait for one another.

    Args:
        settings: What the index holds.
    """

    def __init__(self, settings: IndexSettings) -> None:
        super().__init__(Snapshot.empty(settings))

    def __getstate__(self) -> dict[str, Any]:
        state = self._state
        rows = state.rows()
        return {
            "settings": state.settings,
            "passages": state.passages(rows),
            "tokens": state.tokens(rows) if state.settings.lexical else None,
            "vectors": {name: state.vectors(name, rows) for name in state.fields} if len(rows) else {},
            "token_vectors": state.token_vectors(rows) if state.settings.token_vectors is not None else None,
            "origins": self._origins,
            "saved": self._changes == self._saved_changes,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        PassageIndex.__init__(self, state.pop("settings"))
        self._origins = state.pop("origins")
        saved = state.pop("saved")
        if state["passages"]:
            self.add(**state)
        self._saved_changes = self._changes if saved else -1

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self._state)

    @property
    def dimension(self) -> int | None:
        """Dimension of the vectors; None while there are none."""
        return self._state.dimensions.get(VECTORS)

    @property
    def second_dimension(self) -> int | None:
        """Dimension of the second bi-encoder's vectors; None while there are none."""
        return self._state.dimensions.get(SECOND_VECTORS)

    def keep_token_vectors(self, model: str | None) -> None:
        """Decide whose token vectors an index keeps; without effect on an index that holds passages.

        Args:
            model: Identity of a late-interaction model; None for no token vectors.
        """
        with self._lock:
            if not self._state.count:
                self.settings = replace(self.settings, token_vectors=model)
                self._state = Snapshot.empty(self.settings)

    def respelled(self, query: str) -> str:
        """Write the words of a query that occur in no passage as the passages write them; see `spellings.respelled`."""
        terms = self._state.terms
        return respelled(query, terms.has, terms.beginning_with) if self.settings.lexical else query

    def require_lexical(self) -> None:
        """Check that the index can be searched by words.

        Raises:
            IndexFormatError: If it cannot.
        """
        if not self.settings.lexical:
            raise IndexFormatError("This index was built without lexical search and can be searched by vectors only.")

    def require_vectors(self) -> None:
        """Check that the index can be searched by vectors.

        Raises:
            IndexFormatError: If it cannot.
        """
        if not self.settings.dense:
            raise IndexFormatError("This index was built without vectors and can be searched by words only.")

    def add(
        self,
        passages: Sequence[Passage],
        tokens: TokenizedTexts | None = None,
        vectors: NDArray[np.float32] | PassageVectors | Mapping[str, PassageVectors] | None = None,
        token_vectors: TokenVectors | None = None,
    ) -> None:
        """Add passages; one with the identifier of an earlier one replaces it.

        Args:
            passages: The passages; of several with the same identifier the last counts.
            tokens: Their tokens; needed by a lexical index.
            vectors: Their vectors, (n, dim), or those of their windows, too; needed by a dense index. A mapping has
                those of several fields, the first of which is `VECTORS`.
            token_vectors: Their token vectors; needed by an index that keeps some, otherwise left alone.

        Raises:
            ModelOutputError: If there is not one vector for each passage, or vectors are not finite or of another
                dimension; the index is then as before.
            ValueError: If tokens, vectors or token vectors that the index needs are missing, or metadata holds what
                has no plain value; the index is then as before.
        """
        last = {passage.id: number for number, passage in enumerate(passages)}
        numbers = np.fromiter(last.values(), np.int64, len(last))
        kept = plain([passages[number] for number in numbers.tolist()])
        tokenized = len(tokens.offsets) - 1 if tokens is not None else 0
        if self.settings.lexical and tokenized != len(passages):
            raise ValueError(f"{tokenized} tokenized texts for {len(passages)} passages.")
        if self.settings.dense and vectors is None and passages:
            raise ValueError("This index holds vectors; give one for each passage.")
        if self.settings.token_vectors is None:
            token_vectors = None
        elif passages and (token_vectors is None or len(token_vectors) != len(passages)):
            raise ValueError("This index keeps token vectors; give those of each passage.")
        fields = vectors if isinstance(vectors, Mapping) else {VECTORS: vectors}
        with self._lock:
            checked = {}
            for name, given in fields.items():
                if given is not None and self.settings.dense:
                    checked[name] = PassageVectors.checked(given, self._state.dimensions.get(name))
                    count = len(checked[name].wholes)
                    if count != len(passages):
                        raise ModelOutputError(
                            f"The embedding model returned {count} vectors for {len(passages)} texts."
                        )
            if not kept:
                return
            if len(numbers) < len(passages):
                tokens = tokens.take(numbers) if tokens is not None else None
                checked = {name: own.take(numbers) for name, own in checked.items()}
                token_vectors = token_vectors.take(numbers) if token_vectors is not None else None
            segment = Segment.build(
                kept,
                self._state.terms,
                tokens if self.settings.lexical else None,
                checked,
                token_vectors,
                morphemes=self.settings.kiwi,
            )
            state = self._state.added(segment, list(last))
            self._replace(state, removed=self._state.count + segment.size - state.count)

    def delete(self, identifiers: Sequence[str]) -> int:
        """Remove passages; unknown identifiers are skipped.

        Returns:
            How many were removed.
        """
        with self._lock:
            state, removed = self._state.removed(identifiers)
            if removed:
                self._replace(state, removed=removed)
        return removed

    def clear(self) -> None:
        """Remove all passages."""
        with self._lock:
            self._state, self._removed = Snapshot.empty(self.settings), 0
            self._changes += 1

    def find(self, keep: Keep | None = None) -> list[str]:
        """Return the identifiers of the passages that a filter keeps, in the order in which they were added."""
        state = self._state
        mask = allowed(state, keep)
        found: list[str] = []
        for start, view in zip(state.starts.tolist(), state.views, strict=False):
            ids = view.segment.passages.ids
            if mask is None:
                found += gently(ids, 1024)
            else:
                rows = np.flatnonzero(mask[start : start + len(ids)])
                for place in gently(range(0, len(rows), 1024), 1):
                    found += ids.strings(rows[place : place + 1024])
        return found

    def get(self, identifiers: Sequence[str]) -> list[Passage]:
        """Return the passages with these identifiers; unknown ones are skipped."""
        state = self._state
        rows = state.find(identifiers)
        return state.passages(rows[rows >= 0])

    @_finds_damage
    def tokens(self, passages: Sequence[Passage]) -> TokenizedTexts | None:
        """Return the stored tokens of passages; None unless every one is here, by identifier and text."""
        state = self._state
        rows = state.held(passages)
        return state.tokens(rows) if state.settings.lexical and not (rows < 0).any() else None

    @_finds_damage
    def rescore(
        self, query: TokenizedTexts, passages: Sequence[Passage], read: Callable[[Sequence[Passage]], TokenizedTexts]
    ) -> tuple[TokenizedTexts, NDArray[np.float32]]:
        """Return the tokens and lexical scores of n given passages, of those that are not here as if they were.

        Args:
            query: One query.
            passages: The passages.
            read: Tokenizes passages, with morphemes.

        Returns:
            Their tokens, and their scores in 0..1, (n,): those of a search.
        """
        self.require_lexical()
        return rescored(self._state, query, passages, read)

    @_finds_damage
    def search(
        self,
        k: int,
        *,
        tokens: TokenizedTexts | None = None,
        vectors: NDArray[np.float32] | None = None,
        dense_weight: float = 1.0,
        keep: Keep | None = None,
        with_tokens: bool = False,
        with_token_vectors: bool = False,
        keep_lexical: int = 0,
        exact: Sequence[float] | None = None,
        second: NDArray[np.float32] | None = None,
        second_weight: float = 0.0,
    ) -> list[Candidates]:
        """Find the best passages for m queries.

        Args:
            k: How many at most.
            tokens: The queries' tokens, for lexical search; None to search by vectors alone.
            vectors: The queries' vectors, (m, dim), for dense search; None to search lexically alone.
            dense_weight: Weight of the dense score beside the lexical one (1) where both are given.
            keep: Which passages may be found: a condition on their metadata, or a function of a passage; None for all.
            with_tokens: Whether to give the passages' stored tokens with them.
            with_token_vectors: The same for their token vectors.
            keep_lexical: How many of the passages that the words alone rank first stay among those found, wherever
                fusion ranks them, for the reranker to decide.
            exact: Share of each query that must match exactly; see `fusion.fuse_scores`. Default: nothing.
            second: The queries' vectors by the index's second bi-encoder, where both tokens and vectors are given.
                Default: none.
            second_weight: Weight of its scores, the lexical ones having 1.

        Returns:
            For each query its candidates. Lexical search finds only passages that share a term with the query.
            Scores are the lexical score, (1 + cosine) / 2, or their fusion, all in 0..1.

        Raises:
            IndexFormatError: If tokens are given and the index keeps no lexical postings, or a file is damaged.
            ModelOutputError: If vectors are not finite or of another dimension.
        """
        state = self._state
        if tokens is not None:
            self.require_lexical()
        if vectors is not None:
            vectors = as_unit_vectors(vectors, state.dimensions.get(VECTORS))
        others = None
        if second is not None:
            others = SecondQueries(as_unit_vectors(second, self.second_dimension), second_weight, SECOND_VECTORS)
        mask = allowed(state, keep)
        return [
            Candidates(
                state.passages(found.rows),
                found.scores,
                Evidence(
                    state.tokens(found.rows) if with_tokens and state.settings.lexical else None,
                    found.cosines,
                    found.lexical,
                    state.count,
                    state.token_vectors(found.rows) if with_token_vectors else None,
                    found.second,
                ),
            )
            for found in rank(state, k, tokens, vectors, dense_weight, mask, VECTORS, keep_lexical, exact, others)
        ]

    def vectors(self, identifiers: Sequence[str]) -> NDArray[np.float32]:
        """Return the unit vectors of passages as wholes, (n, dim) float32; zeros for unknown identifiers."""
        state = self._state
        found = np.zeros((len(identifiers), state.dimensions.get(VECTORS) or 0), np.float32)
        rows = state.find(identifiers)
        if found.shape[1]:
            found[rows >= 0] = state.wholes(VECTORS, rows[rows >= 0])
        return found

    def passage_vectors(self, field: str) -> PassageVectors | None:
        """Return a field's vectors of all passages, in the order in which they were added; None if it has none."""
        state = self._state
        return state.vectors(field, state.rows()) if field in state.fields else None
