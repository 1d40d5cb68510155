"""How a model is loaded and run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ModelOptions:
    """How to load and run a sentence-transformers model; models in the packaged format need none of it.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, ``"mps"`` ...; None picks the best available.
        batch_size: Texts or pairs computed at a time.
        max_length: Longest input in tokens; None for the model's own limit.
        revision: Branch, tag or commit of a hub model.
        trust_remote_code: Whether code from the model's repository may run.
        cache_folder: Where files from the hub are kept; None for the hub's own cache.
    """

    device: str | None = None
    batch_size: int = 32
    max_length: int | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    cache_folder: str | None = None


#: Most token vectors that a late-interaction model keeps of a passage if nothing else is asked for.
MAX_VECTORS = 128
#: What computes a cross-encoder.
Backend = Literal["auto", "torch", "onnx", "onnx-int8"]


@dataclass(frozen=True)
class CrossEncoderOptions(ModelOptions):
    """How to load and run a cross-encoder; the packaged one needs none of it.

    Attributes:
        backend: What computes; see `transformer.backends.open_transformer`.
        max_windows: Most windows read of a passage, chosen by what they share with the query; None for all.
        window_length: Tokens of a passage read at a time; None for all that fit beside the query.
        max_vectors: Most token vectors of a passage that a late-interaction model keeps; None for `MAX_VECTORS`.
    """

    backend: Backend = "torch"
    max_windows: int | None = None
    window_length: int | None = None
    max_vectors: int | None = None
