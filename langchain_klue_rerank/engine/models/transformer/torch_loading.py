"""Loading sentence-transformers models, with the traps of KLUE's models taken out. Torch is imported only here."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.names import PACKAGED, has_file, read_config, resolve
from langchain_klue_rerank.engine.models.options import ModelOptions
from langchain_klue_rerank.errors import MissingExtraError, ModelLoadError

if TYPE_CHECKING:
    from langchain_klue_rerank.engine.models.transformer.batches import Batch

logger = logging.getLogger(__name__)

#: RoBERTa counts positions from after the padding token's number.
_POSITIONS_AFTER_PADDING = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer"}
#: Architectures with a head that scores pairs, or that are asked for a token that does.
_SCORES = re.compile(r"ForSequenceClassification$|ForCausalLM$|ForConditionalGeneration$")
#: Models whose classifier reads the first token of the last layer, and whose layers are built alike.
_READS_FIRST_TOKEN = {"bert", "roberta", "xlm-roberta", "camembert", "electra"}


def load(kind: str, name: str, options: ModelOptions, **settings: Any) -> Any:
    """Load a model.

    Args:
        kind: ``"SentenceTransformer"``, ``"CrossEncoder"`` or ``"MultiVectorEncoder"``.
        name: Folder or hub id.
        options: Device, revision, remote code.
        **settings: More for the class.

    Raises:
        MissingExtraError: If sentence-transformers is not installed.
        ModelLoadError: If the model cannot be found, reached or read.
    """
    try:
        import sentence_transformers
    except ImportError as error:
        raise MissingExtraError("sentence-transformers", "torch", f"The model {name!r}") from error
    try:
        model = getattr(sentence_transformers, kind)(
            name,
            device=options.device,
            revision=options.revision,
            trust_remote_code=options.trust_remote_code,
            cache_folder=options.cache_folder,
            **settings,
        )
    except Exception as error:  # a damaged file raises what its reader likes, such as SafetensorError
        raise ModelLoadError(
            f"The model {name!r} cannot be loaded as a {kind}: {type(error).__name__}: {error}. Check the name, the "
            "revision and the connection to the hub; or name a local folder, or no model at all for the packaged "
            "weights."
        ) from error
    model.eval()
    logger.info("Loaded %s on %s", name, model.device)
    return model


def require_cross_encoder(name: str, options: ModelOptions) -> None:
    """Check that a model has a head that scores pairs: another would get one of random numbers.

    Raises:
        ModelLoadError: If it is a bi-encoder, a bare language model or a late-interaction model.
    """
    kind, architectures = _kind(name, options)
    if kind in (None, "CrossEncoder") and (
        not architectures or any(_SCORES.search(architecture) for architecture in architectures)
    ):
        return
    what = f"a {kind}" if kind not in (None, "CrossEncoder") else f"of the kind {', '.join(architectures)}"
    raise ModelLoadError(
        f"The model {name!r} is {what} and has no head that scores pairs: its scores would be random. Name a "
        "cross-encoder; a bi-encoder goes into KlueEmbeddings."
    )


def require_bi_encoder(name: str, options: ModelOptions) -> None:
    """Check that a model makes vectors of texts.

    Raises:
        ModelLoadError: If it is a cross-encoder or another classifier, or a late-interaction model.
    """
    kind, architectures = _kind(name, options)
    if kind not in (None, "SentenceTransformer", "SparseEncoder"):
        raise ModelLoadError(
            f"The model {name!r} is a {kind} and makes no vectors of texts. A cross-encoder or a late-interaction "
            "model goes into KlueReranker."
        )
    if kind is None and any(architecture.endswith("ForSequenceClassification") for architecture in architectures):
        raise ModelLoadError(
            f"The model {name!r} is a classifier ({', '.join(architectures)}) and makes no vectors of texts. Name a "
            "bi-encoder; a cross-encoder goes into KlueReranker."
        )


def _kind(name: str, options: ModelOptions) -> tuple[str | None, list[str]]:
    """Return sentence-transformers' own name of a model's kind, if the model has one, and its architectures."""
    found = resolve(name)
    assert not isinstance(found, str) or found != PACKAGED
    ours = read_config(found, "config_sentence_transformers.json", options)
    kind = ours.get("model_type") or ("SentenceTransformer" if ours or _has_modules(found, options) else None)
    architectures = read_config(found, "config.json", options).get("architectures") or []
    return kind, [str(architecture) for architecture in architectures]


def _has_modules(model: str | Path, options: ModelOptions) -> bool:
    return (model / "modules.json").exists() if isinstance(model, Path) else has_file(model, "modules.json", options)


def repair_tokenizer(model: Any) -> None:
    """Keep the tokenizer from making token types that the model has no embeddings for.

    KLUE's models pair a BertTokenizer, which numbers the second text of a pair 1, with a RoBERTa body that knows type 0
    only: without this, every pair ends in "index out of range".
    """
    names = getattr(model.tokenizer, "model_input_names", None)
    if names is None:  # a static model's: it pairs nothing
        return
    if getattr(_config(model), "type_vocab_size", 2) == 1 and "token_type_ids" in names:
        model.tokenizer.model_input_names = [name for name in names if name != "token_type_ids"]


def input_length(model: Any, name: str, wanted: int | None) -> int:
    """Return how many tokens the model is to read.

    Args:
        model: A loaded model.
        name: Its name, for the error.
        wanted: The longest input asked for; None for the model's own limit.

    Raises:
        ValueError: If more is asked for than the model has positions.
    """
    limit = positions(model)
    return check_length(limit, min(limit, model.max_seq_length or limit), name, wanted)


def is_static(model: Any) -> bool:
    """Whether a loaded model has no transformer inside, only a table of vectors (StaticEmbedding, model2vec)."""
    return _config(model) is None


def positions(model: Any) -> int:
    """Return how many tokens a loaded model has positions for."""
    config = _config(model)
    known = getattr(config, "max_position_embeddings", None)
    limit = int(known) if known else 512
    if config.model_type in _POSITIONS_AFTER_PADDING:
        limit -= (config.pad_token_id or 0) + 1
    return limit


def check_length(limit: int, own: int, name: str, wanted: int | None) -> int:
    """Return how many tokens to read of a model with `limit` positions that by itself reads `own`.

    Raises:
        ValueError: If more is wanted than the model has positions.
    """
    if wanted is not None and wanted > limit:
        raise ValueError(f"max_length={wanted} is more than the {limit} tokens that the model {name!r} can read.")
    return wanted or own


class TorchCompute:
    """Computes a cross-encoder's logits with torch.

    Args:
        model: A loaded sentence-transformers CrossEncoder.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        """Return a logit for each pair of a batch, shape (pairs,)."""
        import torch

        features = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if batch.types is not None:
            features["token_type_ids"] = batch.types
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(values).to(self.model.device) for name, values in features.items()}
            logits: NDArray[np.float32] = self.model(inputs)["scores"].float().cpu().numpy().reshape(-1)
        return logits


@contextmanager
def last_layer_for_first_token(body: Any) -> Iterator[None]:
    """Let a classifier's last layer compute the first token only, for as long as the context lasts.

    The head of BERT's and RoBERTa's kin reads nothing but the first token, whose last layer needs the others' keys and
    values, not their queries, outputs and feed-forward part. The scores are the same, for a seventh less of the work of
    six layers. Other models stay as they are.

    Args:
        body: The transformers model inside a cross-encoder.
    """
    import torch
    import transformers

    layers = getattr(getattr(body.base_model, "encoder", None), "layer", None)
    known = body.config.model_type in _READS_FIRST_TOKEN and int(transformers.__version__.partition(".")[0]) >= 5
    if not known or not layers or body.config.is_decoder:
        yield
        return
    whole = layers[-1]

    class FirstToken(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.whole = whole

        def forward(self, hidden: Any, attention_mask: Any = None, *_: Any, **__: Any) -> Any:
            attention = self.whole.attention.self
            first = hidden[:, :1]

            def heads(values: Any) -> Any:
                return values.unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)

            read = torch.nn.functional.scaled_dot_product_attention(
                heads(attention.query(first)),
                heads(attention.key(hidden)),
                heads(attention.value(hidden)),
                attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
            )
            attended = self.whole.attention.output(read.transpose(1, 2).flatten(2), first)
            return self.whole.output(self.whole.intermediate(attended), attended)

    layers[-1] = FirstToken().eval()
    try:
        yield
    finally:
        layers[-1] = whole


def best_device() -> str:
    """Return the device that torch would take: ``"cuda"``, ``"mps"`` ... or ``"cpu"``."""
    import torch

    accelerator = torch.accelerator.current_accelerator()
    return accelerator.type if accelerator is not None and torch.accelerator.is_available() else "cpu"


def half_precision(device: str) -> Any:
    """Return the cheapest type of number that an accelerator computes without harm: bfloat16, else float16."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


def _config(model: Any) -> Any:
    """Return the configuration of the transformer inside; None for a model without one, such as a static one."""
    return getattr(getattr(model[0], "auto_model", None), "config", None)
