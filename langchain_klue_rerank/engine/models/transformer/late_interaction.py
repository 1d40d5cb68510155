"""Late interaction: query and passages are read apart, then every token of the query looks for its best match.

Between a bi-encoder and a cross-encoder: the passages' side can be computed once and kept, so that a query costs one
pass of the model over the query alone and a matrix product.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors
from langchain_klue_rerank.engine.contracts import ScoreRequest, Scores, State, check_scores
from langchain_klue_rerank.engine.models.options import MAX_VECTORS, CrossEncoderOptions
from langchain_klue_rerank.engine.models.transformer import torch_loading
from langchain_klue_rerank.engine.models.transformer.windows import cut
from langchain_klue_rerank.engine.text.cache import TextCache
from langchain_klue_rerank.engine.text.words import clean
from langchain_klue_rerank.engine.threads import ForkSafeLock, seconds_until
from langchain_klue_rerank.errors import ModelLoadError, ModelOutputError

logger = logging.getLogger(__name__)

#: Bytes of token vectors that a model keeps of passages that it was given without.
CACHED_BYTES = 64_000_000
#: Passages whose vectors are computed before they are pooled and rounded; bounds the memory of indexing.
_CHUNK = 256
#: Passages that are read between two looks at the clock.
_AT_A_TIME = 4


class LateInteraction:
    """A sentence-transformers MultiVectorEncoder behind the protocol of cross-encoders.

    A score is the mean, over the query's tokens, of the best cosine with a token of the passage, brought to 0..1 by the
    logistic curve that the model's config names (``late_interaction``: slope and intercept; the training recipe fits
    it), else as (1 + mean) / 2.

    Args:
        name: Folder or hub id.
        options: Device, batch size, longest input, windows, most vectors of a passage, revision, remote code.

    Raises:
        ModelLoadError: If it cannot be loaded.
        MissingExtraError: If sentence-transformers is not installed.
        ValueError: If ``max_length`` is more than the model can read, or another backend than torch is asked for.
    """

    def __init__(self, name: str, options: CrossEncoderOptions) -> None:
        if options.backend not in ("auto", "torch"):
            raise ValueError(
                f"backend={options.backend!r} computes cross-encoders, and {name!r} is a late-interaction model. "
                "Leave the backend out."
            )
        self._name = name
        self._options = options
        self._model = torch_loading.load("MultiVectorEncoder", name, options)
        torch_loading.repair_tokenizer(self._model)
        self._model.max_seq_length = torch_loading.input_length(self._model, name, options.max_length)
        self._curve = _curve(self._model, name)
        self._find_tokens = _offsets_finder(self._model.tokenizer)
        self._cache: TextCache[TokenVectors] = TextCache(CACHED_BYTES, lambda vectors: vectors.nbytes)
        # The fast tokenizer keeps its truncation state in one object: two threads at once crash it.
        self._lock = ForkSafeLock()

    def score(self, requests: Sequence[ScoreRequest], deadline: float | None = None) -> list[Scores]:
        """Score the candidates of several queries; see `CrossEncoder`.

        Candidates whose `TokenVectors` are among the evidence cost a matrix product only.
        """
        kept = [None if request.evidence is None else request.evidence.token_vectors for request in requests]
        queries = None
        if any(request.passages for request in requests):
            queries = self.read_queries([request.query for request in requests], deadline)
        if queries is None:
            return [Scores.unread(len(request.passages), State.LATE) for request in requests]
        # the best candidates of all queries first: a deadline may leave the others unread
        missing = [request.passages for request, vectors in zip(requests, kept, strict=True) if vectors is None]
        most = max(map(len, missing), default=0)
        made = self._vectors([texts[rank] for rank in range(most) for texts in missing if rank < len(texts)], deadline)
        return [
            Scores.read(self.map_scores(vectors.best_cosines(query)))
            if vectors is not None
            else self._score_texts(query, request.passages, made)
            for query, request, vectors in zip(queries, requests, kept, strict=True)
        ]

    def _score_texts(
        self, query: NDArray[np.float32], texts: Sequence[str], made: Mapping[str, TokenVectors]
    ) -> Scores:
        """Score texts whose vectors were made; the others are late. Equal texts are scored once."""
        scores = Scores.unread(len(texts), State.LATE)
        known = sorted(made.keys() & set(texts))  # in one order: the last digits follow from it
        if known:
            values = self.map_scores(TokenVectors.join([made[text] for text in known]).best_cosines(query))
            found = dict(zip(known, values.tolist(), strict=True))
            for place, text in enumerate(texts):
                if text in found:
                    scores.values[place], scores.states[place] = found[text], State.READ
        return scores

    def map_scores(self, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scores in 0..1 for mean best cosines."""
        slope, intercept = self._curve or (0.0, 0.0)
        if self._curve is None:
            scores = (1 + cosines) / 2
        else:
            scores = 1 / (1 + np.exp(-np.clip(slope * cosines + intercept, -80, 80)))
        return check_scores(scores, self._name)

    def encode_passages(self, texts: Sequence[str], *, show_progress: bool = False) -> TokenVectors:
        """Return the token vectors of passages, to be kept and given to `score`.

        A passage longer than the model's input is read in overlapping windows, and keeps the vectors of all of them.

        Args:
            texts: n passages, at least one.
            show_progress: Whether to draw a progress bar.

        Raises:
            ModelOutputError: If the model returns NaN or infinity.
        """
        parts = []
        with tqdm(total=len(texts), desc="token vectors", disable=not show_progress) as progress:
            for start in range(0, len(texts), _CHUNK):
                chunk = texts[start : start + _CHUNK]
                parts.append(self._encode_passages(chunk, None))
                progress.update(len(chunk))
        return TokenVectors.join([part for part in parts if part is not None])

    def _vectors(self, texts: Sequence[str], deadline: float | None) -> Mapping[str, TokenVectors]:
        """Return the vectors of texts, from the cache where they are there; without those not read in time."""
        distinct = list(dict.fromkeys(texts))
        found = self._cache.get(distinct)
        missing = [text for text in distinct if text not in found]
        step = _AT_A_TIME
        if deadline is None:
            step = _CHUNK
            missing.sort()
        cost = 0.0
        for start in range(0, len(missing), step):
            began = time.monotonic()
            chunk = missing[start : start + step]
            if deadline is not None and began + cost > deadline:
                break
            vectors = self._encode_passages(chunk, deadline)
            if vectors is None:
                break
            new = {text: vectors.take(np.asarray([row])) for row, text in enumerate(chunk)}
            self._cache.put(new)
            found.update(new)
            cost = max(cost, time.monotonic() - began)
        return found

    def _encode_passages(self, texts: Sequence[str], deadline: float | None) -> TokenVectors | None:
        read = self.read_passages(texts, deadline)
        return (
            None
            if read is None
            else TokenVectors.of([pool(own, self._options.max_vectors or MAX_VECTORS) for own in read])
        )

    def read_passages(self, texts: Sequence[str], deadline: float | None = None) -> list[NDArray[np.float32]] | None:
        """Return the unit vectors of all tokens of passages, neither pooled nor rounded.

        Args:
            texts: n passages.
            deadline: As for `score`.

        Returns:
            For each (tokens, dim); None if the model was not free in time.
        """
        cleaned = [clean(text) for text in texts]
        windows = [self._windows(text, spans) for text, spans in zip(cleaned, self._find_tokens(cleaned), strict=True)]
        vectors = self._encode([window for own in windows for window in own], "document", deadline)
        if vectors is None:
            return None
        rows = iter(vectors)
        return [np.concatenate([next(rows) for _ in window]) for window in windows]

    def read_queries(self, texts: Sequence[str], deadline: float | None = None) -> list[NDArray[np.float32]] | None:
        """Return the unit vectors of the tokens of queries; see `read_passages`."""
        return self._encode([clean(text) for text in texts], "query", deadline)

    def _windows(self, text: str, tokens: Sequence[tuple[int, int]]) -> list[str]:
        """Cut a text into windows that the model can read; `tokens` are the places where its tokens begin and end."""
        room = max(1, self._model.max_seq_length - self._model.tokenizer.num_special_tokens_to_add())
        room = min(room, self._options.window_length or room)
        spans = cut(len(tokens), room)[: self._options.max_windows]
        if len(spans) == 1 and len(tokens) <= room:
            return [text]
        return [text[tokens[start][0] : tokens[end - 1][1]] for start, end in spans]

    def _encode(self, texts: Sequence[str], kind: str, deadline: float | None) -> list[NDArray[np.float32]] | None:
        """Return each text's unit vectors, or None if the model was not free in time."""
        encode = self._model.encode_query if kind == "query" else self._model.encode_document
        with self._turn(deadline) as is_ours:
            if not is_ours:
                return None
            found: list[NDArray[np.float32]] = encode(
                list(texts),
                batch_size=self._options.batch_size,
                convert_to_numpy=True,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        for number, vectors in enumerate(found):
            if not np.isfinite(vectors).all():
                raise ModelOutputError(
                    f"The model {self._name!r} returned NaN or infinity for text number {number}. Check the weights "
                    "and the precision (fp16 overflows)."
                )
        return found

    @contextmanager
    def _turn(self, deadline: float | None) -> Iterator[bool]:
        is_ours = self._lock.acquire(timeout=-1 if deadline is None else seconds_until(deadline))
        try:
            yield is_ours
        finally:
            if is_ours:
                self._lock.release()


def _curve(model: Any, name: str) -> tuple[float, float] | None:
    """Return slope and intercept of the model's logistic curve, if it has one."""
    values = getattr(model[0].auto_model.config, "late_interaction", None)
    if values is None:
        return None
    try:
        slope, intercept = float(values["slope"]), float(values["intercept"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelLoadError(
            f"The config of the model {name!r} has late_interaction={values!r}; expected slope and intercept."
        ) from error
    return slope, intercept


def _offsets_finder(tokenizer: Any) -> Any:
    """Return a function from texts to the places where their tokens begin and end, safe for threads."""
    if not getattr(tokenizer, "is_fast", False):
        logger.warning("The tokenizer %s tells no places of tokens: long passages are cut", type(tokenizer).__name__)
        return lambda texts: [[] for _ in texts]
    from tokenizers import Tokenizer

    own = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    own.no_truncation()
    own.no_padding()
    return lambda texts: [one.offsets for one in own.encode_batch(list(texts), add_special_tokens=False)]


#: Most vectors that are clustered; the clustering's time and memory grow with their square.
_CLUSTERED = 1024


def pool(vectors: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Merge a passage's tokens that are most alike (Ward's clustering, as Clavie et al. 2024) until few are left.

    Args:
        vectors: The passage's unit vectors, (tokens, dim). Of a very long passage neighbours are merged first.
        most: Most vectors to return, at least 1.

    Returns:
        (at most `most`, dim) unit vectors.
    """
    if len(vectors) <= most:
        return vectors
    longest = max(_CLUSTERED, most)
    if len(vectors) > longest:
        vectors = _means(vectors, np.arange(len(vectors)) * longest // len(vectors))
    from scipy.cluster.hierarchy import fcluster, linkage  # comes with sentence-transformers

    return _means(vectors, fcluster(linkage(vectors, "ward"), most, "maxclust"))


def _means(vectors: NDArray[np.float32], groups: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return the mean of every group's vectors, scaled to length 1."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sums = np.add.reduceat(vectors[order], starts, axis=0)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), np.float32)
