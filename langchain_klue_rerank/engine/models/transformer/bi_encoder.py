"""Bi-encoders: texts into vectors. Packaged or from sentence-transformers, behind one protocol."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.unit_vectors import as_unit_vectors
from langchain_klue_rerank.engine.contracts import Kind
from langchain_klue_rerank.engine.models.options import ModelOptions
from langchain_klue_rerank.engine.models.transformer import torch_loading
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.engine.text.words import clean
from langchain_klue_rerank.engine.threads import ForkSafeLock

#: The E5 models of 2022 and 2023, which rank badly without their prompts and do not say so in their files; those that
#: are told what to do ("e5-mistral-7b-instruct") take others.
_E5: Final = re.compile(r"(?:^|[/\\_.-])e5-(?:small|base|large)(?!.*instruct)", re.IGNORECASE)
_E5_PROMPTS: Final = {"query": "query: ", "passage": "passage: "}


class TorchBiEncoder:
    """A sentence-transformers bi-encoder.

    Args:
        name: Folder or hub id.
        options: Device, batch size, longest input, revision, remote code.
        query_prompt: Put before every query; None for the model's own or, for a model that is called E5, "query: ".
        passage_prompt: The same for passages; "passage: " for E5.

    Raises:
        ModelLoadError: If it cannot be loaded.
        MissingExtraError: If sentence-transformers is not installed.
    """

    def __init__(
        self, name: str, options: ModelOptions, query_prompt: str | None = None, passage_prompt: str | None = None
    ) -> None:
        torch_loading.require_bi_encoder(name, options)
        self._model = torch_loading.load("SentenceTransformer", name, options)
        torch_loading.repair_tokenizer(self._model)
        if not torch_loading.is_static(self._model):
            self._model.max_seq_length = torch_loading.input_length(self._model, name, options.max_length)
        self._batch_size = options.batch_size
        given = {"query": query_prompt, "passage": passage_prompt}
        known = _E5_PROMPTS if _E5.search(name) and not any(self._model.prompts.values()) else {}
        self._prompts = {kind: known.get(kind) if prompt is None else prompt for kind, prompt in given.items()}
        # The fast tokenizer keeps its truncation state in one object: two threads at once crash it.
        self._lock = ForkSafeLock()

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
