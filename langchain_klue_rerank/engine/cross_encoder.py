"""Cross-encoders: a query and a passage, read together, into a score. Packaged or from sentence-transformers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_klue_rerank.engine import torch_models
from langchain_klue_rerank.engine.models import ModelOptions
from langchain_klue_rerank.engine.pair_scorer import PairScorer
from langchain_klue_rerank.engine.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.engine.text import TokenizedTexts, clean, shared_analyzer, tokenize
from langchain_klue_rerank.errors import ModelLoadError, ModelOutputError

logger = logging.getLogger(__name__)

#: Share of a window that the next one repeats, so that no sentence is cut in both.
_WINDOW_OVERLAP = 0.25
#: How likely a passage of the same meaning (cosine 1) and no matching word answers.
_COSINE_SHARE = 0.1


class CrossEncoder(Protocol):
    """What scores passages for a query. May be called from several threads."""

    def score(
        self,
        queries: Sequence[str],
        passages: Sequence[Sequence[str]],
        tokens: Sequence[TokenizedTexts | None] | None = None,
        *,
        alone: bool = True,
    ) -> list[NDArray[np.float32]]:
        """Score the passages of several queries in one go.

        Args:
            queries: m queries.
            passages: For each query its passages. A passage longer than the model's window is read in overlapping
                windows, of which the best counts.
            tokens: For each query its passages tokenized, if the caller has them; saves the packaged model that work.
            alone: Whether these scores alone decide. Without a first stage's scores beside them the packaged model
                also asks the packaged bi-encoder. Default True.

        Returns:
            For each query its passages' scores in 0..1, float32. A pair's score does not depend on the other pairs.

        Raises:
            ModelOutputError: If the model returns NaN or infinity.
        """
        ...


class PackagedCrossEncoder:
    """The packaged pair scorer behind the protocol.

    It reads matches, and where there are none its scores say nothing. A retriever adds its first stage's scores, which
    then decide. Alone, it takes the packaged bi-encoder's cosine for a little evidence of its own: the probability
    that the matches or, seldom, the meaning answers. That hardly moves anything where words match and keeps it from
    doing harm where they do not.

    Args:
        model: The loaded pair scorer.
        bi_encoder: Returns the loaded bi-encoder; called on first need.
    """

    def __init__(self, model: PairScorer, bi_encoder: Callable[[], StaticBiEncoder]) -> None:
        self._model = model
        self._bi_encoder = bi_encoder

    def score(
        self,
        queries: Sequence[str],
        passages: Sequence[Sequence[str]],
        tokens: Sequence[TokenizedTexts | None] | None = None,
        *,
        alone: bool = True,
    ) -> list[NDArray[np.float32]]:
        """Score the passages of several queries; see `CrossEncoder`."""
        analyzer = shared_analyzer()
        ready = tokens if tokens is not None else [None] * len(queries)
        result = []
        for query, texts, own in zip(queries, passages, ready, strict=True):
            asked = tokenize([query], analyzer)
            read = own if own is not None else tokenize(texts, analyzer)
            scores = self._model.score(asked, read)
            if alone:
                encoder = self._bi_encoder()
                cosines = encoder.encode(read) @ encoder.encode(asked)[0]
                scores += (1 - scores) * np.float32(_COSINE_SHARE) * np.maximum(cosines, 0)
            result.append(scores)
        return result


class TorchCrossEncoder:
    """A sentence-transformers cross-encoder with one output.

    Args:
        name: Folder or hub id.
        options: Device, batch size, longest input, revision, remote code.

    Raises:
        ModelLoadError: If it cannot be loaded, or has several outputs.
        MissingExtraError: If sentence-transformers is not installed.
    """

    def __init__(self, name: str, options: ModelOptions) -> None:
        self._name = name
        self._model = torch_models.load("CrossEncoder", name, options)
        if self._model.num_labels != 1:
            raise ModelLoadError(
                f"The model {name!r} has {self._model.num_labels} outputs; a reranker has one. Name a cross-encoder "
                "trained for reranking, not a classifier."
            )
        torch_models.repair_tokenizer(self._model)
        self._max_length = torch_models.input_length(self._model, name, options.max_length)
        self._model.max_seq_length = self._max_length
        self._batch_size = options.batch_size
        # The fast tokenizer keeps its truncation state in one object: two threads at once crash it.
        self._lock = threading.Lock()

    def score(
        self,
        queries: Sequence[str],
        passages: Sequence[Sequence[str]],
        tokens: Sequence[TokenizedTexts | None] | None = None,
        *,
        alone: bool = True,
    ) -> list[NDArray[np.float32]]:
        """Score the passages of several queries; see `CrossEncoder`."""
        import torch

        counts = [len(texts) for texts in passages]
        best = np.zeros(sum(counts), np.float32)
        with self._lock:
            pairs: list[tuple[str, str]] = []
            owners: list[int] = []
            number = 0
            for query, texts in zip(queries, passages, strict=True):
                query, room = self._fit_query(clean(query))
                for text in texts:
                    for window in self._windows(clean(text), room):
                        pairs.append((query, window))
                        owners.append(number)
                    number += 1
            if pairs:
                scores = self._model.predict(
                    pairs, batch_size=self._batch_size, activation_fn=torch.nn.Sigmoid(), show_progress_bar=False
                )
                np.maximum.at(best, owners, check_scores(scores, self._name))
        return np.split(best, list(accumulate(counts))[:-1]) if counts else []

    def _fit_query(self, query: str) -> tuple[str, int]:
        """Cut a query that would leave passages less than half of the window; returns it and the room that is left."""
        special = self._model.tokenizer.num_special_tokens_to_add(pair=True)
        limit = max(1, (self._max_length - special) // 2)
        spans = self._spans(query)
        if len(spans) > limit:
            logger.warning("The query has %d tokens; %s reads its first %d", len(spans), self._name, limit)
            spans = spans[:limit]
            query = query[: spans[-1][1]]
        return query, max(1, self._max_length - special - len(spans))

    def _windows(self, text: str, room: int) -> Iterator[str]:
        spans = self._spans(text)
        step = max(1, int(room * (1 - _WINDOW_OVERLAP)))
        for start in range(0, max(1, len(spans) - room + step), step):
            window = spans[start : start + room]
            yield text[window[0][0] : window[-1][1]] if window else text

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Return where in the text each token begins and ends."""
        tokenizer: Any = self._model.tokenizer
        if not tokenizer.is_fast:  # such a tokenizer does not tell; no token is shorter than a character
            return [(start, start + 1) for start in range(len(text))]
        encoded = tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
        )
        return encoded["offset_mapping"]  # type: ignore[no-any-return]


def check_scores(scores: ArrayLike, name: str) -> NDArray[np.float32]:
    """Return scores as float32.

    Raises:
        ModelOutputError: If one is NaN or infinite.
    """
    array = np.asarray(scores, np.float32)
    if not np.isfinite(array).all():
        raise ModelOutputError(
            f"The model {name!r} returned NaN or infinity for pair number {int((~np.isfinite(array)).argmax())}. "
            "Check the weights and the precision (fp16 overflows)."
        )
    return array
