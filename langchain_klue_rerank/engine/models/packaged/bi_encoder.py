"""The packaged bi-encoder, or one adapted from it, behind the bi-encoder contract."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.contracts import Kind
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize


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
