"""From a model's name to a loaded model: packaged weights, a folder (packaged format or not), or a hub id."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_klue_rerank.engine.models.encoder.bi_encoder import EncoderBiEncoder
from langchain_klue_rerank.engine.models.encoder.weights import EncoderWeights
from langchain_klue_rerank.engine.models.names import (
    PACKAGED,
    PACKAGED_ENCODER,
    WEIGHTS,
    is_late_interaction,
    resolve,
)
from langchain_klue_rerank.engine.models.options import CrossEncoderOptions, ModelOptions
from langchain_klue_rerank.engine.models.packaged import static_files
from langchain_klue_rerank.engine.models.packaged.cross_encoder import PackagedCrossEncoder, PairScorer
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import PackagedBiEncoder, StaticBiEncoder
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.errors import ModelLoadError

if TYPE_CHECKING:
    from langchain_klue_rerank.engine.contracts import BiEncoder, CrossEncoder


def is_static(model: str | None) -> bool:
    """Whether a bi-encoder's name means weights in the packaged format, which read tokens and need no torch.

    Args:
        model: See `resolve`.

    Raises:
        ModelLoadError: If there is no such model.
    """
    found = resolve(model)
    return found == PACKAGED or (isinstance(found, Path) and static_files.is_at(found))


def is_encoder(model: str | None) -> bool:
    """Whether a bi-encoder's name means an encoder at four bits, which needs no torch; see `is_static`."""
    found = resolve(model)
    return found == PACKAGED_ENCODER or (isinstance(found, Path) and EncoderWeights.is_at(found))


@lru_cache(maxsize=1)
def packaged_encoder() -> EncoderBiEncoder:
    """Return the packaged encoder, loaded once in a process."""
    return EncoderBiEncoder(WEIGHTS / "encoder")


@lru_cache(maxsize=1)
def packaged_bi_encoder() -> StaticBiEncoder:
    """Return the packaged bi-encoder, loaded once in a process."""
    return StaticBiEncoder.load(WEIGHTS / "bi_encoder")


@lru_cache(maxsize=1)
def packaged_pair_scorer() -> PairScorer:
    """Return the packaged reranker, loaded once in a process."""
    return PairScorer.load(WEIGHTS / "reranker")


def load_bi_encoder(
    model: str | None, options: ModelOptions, query_prompt: str | None = None, passage_prompt: str | None = None
) -> BiEncoder:
    """Load a bi-encoder.

    Args:
        model: See `resolve`.
        options: For models that are not in the packaged format.
        query_prompt: Put before every query; None for the model's own prompt, if it has one.
        passage_prompt: The same for passages.

    Raises:
        ModelLoadError: If there is no such model, or it cannot be loaded.
        MissingExtraError: If it needs the ``torch`` extra and that is not installed.
    """
    found = resolve(model)
    if found == PACKAGED:
        return PackagedBiEncoder(packaged_bi_encoder())
    if found == PACKAGED_ENCODER:
        return packaged_encoder()
    if isinstance(found, Path) and (is_static(model) or is_encoder(model)):
        try:
            return EncoderBiEncoder(found) if is_encoder(model) else PackagedBiEncoder(StaticBiEncoder.load(found))
        except (OSError, ValueError, TypeError) as error:
            raise ModelLoadError(f"The model in {str(found)!r} cannot be loaded: {error}") from error
    from langchain_klue_rerank.engine.models.transformer.bi_encoder import TorchBiEncoder

    return TorchBiEncoder(str(found), options, query_prompt, passage_prompt)


def load_cross_encoder(model: str | None, options: CrossEncoderOptions) -> CrossEncoder:
    """Load a cross-encoder or a late-interaction model; arguments and errors as in `load_bi_encoder`."""
    found = resolve(model)
    if found == PACKAGED:
        shared_analyzer().kiwi  # noqa: B018  # loading it is a part of loading the model
        return PackagedCrossEncoder(packaged_pair_scorer(), packaged_bi_encoder)
    if is_encoder(model):
        raise ModelLoadError(f"{str(found)!r} is a bi-encoder and cannot rerank. Give it to KlueEmbeddings.")
    if is_late_interaction(model, options):
        from langchain_klue_rerank.engine.models.transformer.late_interaction import LateInteraction

        return LateInteraction(str(found), options)
    if options.max_vectors is not None:
        raise ValueError(
            f"max_vectors is for late-interaction models, and {str(found)!r} is a cross-encoder: leave it out."
        )
    from langchain_klue_rerank.engine.models.transformer.cross_encoder import TransformerCrossEncoder

    return TransformerCrossEncoder(str(found), options)
