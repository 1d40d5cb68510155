"""Options of models from a folder or the hub, grouped as in langchain-huggingface."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

_NOTHING_ELSE = ConfigDict(extra="forbid")


class ModelKwargs(TypedDict, total=False):
    """How a model is loaded.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, ``"mps"`` ...; the best available if it is missing.
        revision: Branch, tag or commit of a hub model.
        trust_remote_code: Whether code from the model's repository may run; no if it is missing.
    """

    __pydantic_config__ = _NOTHING_ELSE  # type: ignore[misc]

    device: str | None
    revision: str | None
    trust_remote_code: bool


class EncodeKwargs(TypedDict, total=False):
    """How a bi-encoder computes.

    Attributes:
        batch_size: Texts computed at a time; 32 if it is missing.
        max_length: Longest text in tokens, the rest is cut; the model's own limit if it is missing.
        normalize_embeddings: Only True: vectors always have length 1 here.
    """

    __pydantic_config__ = _NOTHING_ELSE  # type: ignore[misc]

    batch_size: Annotated[int, Field(ge=1)]
    max_length: Annotated[int, Field(ge=8)] | None
    normalize_embeddings: Literal[True]


class RerankKwargs(TypedDict, total=False):
    """How a cross-encoder or a late-interaction model computes.

    Attributes:
        batch_size: Most pairs computed at a time; 32 if it is missing.
        max_length: Longest pair in tokens; the model's own limit if it is missing.
        max_windows: Most windows read of a long document, chosen by the words they share with the query (by a
            late-interaction model, which does not know the query yet, the first ones); all if it is missing.
        window_length: Tokens of a document read at a time; all that fit beside the query if it is missing. A pair's
            cost grows with its length: ``{"max_windows": 1, "window_length": 128}`` is several times cheaper than all.
        max_vectors: Most vectors that a late-interaction model keeps of a document, the most alike merged; a vector
            takes the model's dimension in bytes, plus 2. 128 if it is missing.
    """

    __pydantic_config__ = _NOTHING_ELSE  # type: ignore[misc]

    batch_size: Annotated[int, Field(ge=1)]
    max_length: Annotated[int, Field(ge=8)] | None
    max_windows: Annotated[int, Field(ge=1)] | None
    window_length: Annotated[int, Field(ge=8)] | None
    max_vectors: Annotated[int, Field(ge=1)]


def refuse_for_packaged(what: str, **given: Any) -> None:
    """Check that packaged weights are given no option that they cannot use.

    Raises:
        ValueError: For the first option that has a value.
    """
    for name, value in given.items():
        if value:
            raise ValueError(
                f"{name}={value!r} is for models from a folder or the hub; the {what} cannot use it: name a model, or "
                "leave it out."
            )
