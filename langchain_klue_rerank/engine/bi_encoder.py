"""Bi-encoders: texts into vectors. Packaged or from sentence-transformers, behind one protocol."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine import torch_models
from langchain_klue_rerank.engine.models import ModelOptions
from langchain_klue_rerank.engine.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.engine.text import TokenizedTexts, clean, shared_analyzer, tokenize
from langchain_klue_rerank.engine.vectors import as_unit_vectors

Kind = Literal["query", "passage"]


class BiEncoder(Protocol):
    """What turns texts into vectors. May be called from several threads."""

    def encode(
        self, texts: Sequence[str], kind: Kind, tokens: TokenizedTexts | None = None, *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Encode texts.

        Args:
            texts: n texts; the packaged model does not read them where it has their tokens.
            kind: Whether they ask or answer; some models treat the two differently.
            tokens: The same texts tokenized, if the caller has them; saves the packaged model that work.
            show_progress: Whether to draw a progress bar.

        Returns:
            (n, dim) float32 unit vectors; the zero vector for a text with nothing to read.

        Raises:
            ModelOutputError: If the model returns NaN or infinity.
        """
        ...


class PackagedBiEncoder:
    """A static bi-encoder, the packaged one or one adapted from it, behind the protocol.

    Args:
        model: The loaded model.
    """

    def __init__(self, model: StaticBiEncoder) -> None:
        self.model = model

    def encode(
        self, texts: Sequence[str], kind: Kind, tokens: TokenizedTexts | None = None, *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Encode texts; see `BiEncoder`."""
        return self.model.encode(tokens if tokens is not None else tokenize(texts, shared_analyzer()))


class TorchBiEncoder:
    """A sentence-transformers bi-encoder.

    Args:
        name: Folder or hub id.
        options: Device, batch size, longest input, revision, remote code.
        query_prompt: Put before every query; None for the model's own.
        passage_prompt: Put before every passage; None for the model's own.

    Raises:
        ModelLoadError: If it cannot be loaded.
        MissingExtraError: If sentence-transformers is not installed.
    """

    def __init__(
        self, name: str, options: ModelOptions, query_prompt: str | None = None, passage_prompt: str | None = None
    ) -> None:
        self._model = torch_models.load("SentenceTransformer", name, options)
        torch_models.repair_tokenizer(self._model)
        self._model.max_seq_length = torch_models.input_length(self._model, name, options.max_length)
        self._batch_size = options.batch_size
        self._prompts = {"query": query_prompt, "passage": passage_prompt}
        # The fast tokenizer keeps its truncation state in one object: two threads at once crash it.
        self._lock = threading.Lock()

    def encode(
        self, texts: Sequence[str], kind: Kind, tokens: TokenizedTexts | None = None, *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Encode texts; see `BiEncoder`."""
        if not texts:
            return np.zeros((0, self._model.get_embedding_dimension()), np.float32)
        settings: dict[str, Any] = {"batch_size": self._batch_size, "show_progress_bar": show_progress}
        if self._prompts[kind] is not None:
            settings["prompt"] = self._prompts[kind]
        encode = self._model.encode_query if kind == "query" else self._model.encode_document
        with self._lock:
            return as_unit_vectors(encode([clean(text) for text in texts], **settings))
