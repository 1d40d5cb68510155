"""Opening a cross-encoder that is a transformer: with torch or with ONNX Runtime, whichever is asked for or best."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.options import Backend, CrossEncoderOptions
from langchain_klue_rerank.engine.models.transformer import onnx_export, torch_loading
from langchain_klue_rerank.engine.models.transformer.batches import Batch
from langchain_klue_rerank.engine.models.transformer.tokenizer import (
    PairTokenizer,
    pair_tokenizer,
)
from langchain_klue_rerank.engine.parallel import cores
from langchain_klue_rerank.errors import ExportRefusedError, MissingExtraError, ModelLoadError

logger = logging.getLogger(__name__)

#: Most tokens of a batch. A CPU gains nothing from larger ones, and smaller ones hold less padding.
_TOKENS_ON_CPU = 1024
_TOKENS_ON_GPU = 65_536


@dataclass(frozen=True)
class TransformerModel:
    """A cross-encoder ready to compute.

    Attributes:
        backend: What computes, such as ``"onnx-int8"``.
        compute: A batch into a logit for each pair.
        tokenizer: Texts into tokens.
        max_length: Longest pair in tokens.
        workers: How many threads may call `compute` at the same time.
        batch_tokens: Most tokens of a batch.
    """

    backend: str
    compute: Callable[[Batch], NDArray[np.float32]]
    tokenizer: PairTokenizer
    max_length: int
    workers: int
    batch_tokens: int


def open_transformer(name: str, options: CrossEncoderOptions) -> TransformerModel:
    """Open a cross-encoder.

    ``backend="torch"`` computes in the numbers that the weights are saved in. ``"onnx"`` and ``"onnx-int8"`` run on the
    CPU, without torch once the model has been exported. ``"auto"`` takes, on a GPU, torch in half precision; on a CPU
    the first that is installed and passes its check against torch of onnx-int8, onnx and torch. What it took is logged.

    Args:
        name: Folder or hub id.
        options: How.

    Raises:
        ModelLoadError: If it cannot be loaded, has several outputs, or fails the check of its export.
        MissingExtraError: If something is not installed.
        ValueError: If ``max_length`` is more than the model can read, or ONNX is asked for on a GPU.
    """
    if options.backend == "torch":
        return _open_torch(name, options)
    if options.backend != "auto":
        return _open_onnx(name, options, options.backend)
    device = options.device or (torch_loading.best_device() if _may_have_gpu() else "cpu")
    if device != "cpu":
        model = _open_torch(name, options, torch_loading.half_precision(device))
        logger.info("backend='auto' took torch in half precision on %s for %s", device, name)
        return model
    choices: tuple[Backend, ...] = ("onnx-int8", "onnx")
    for backend in choices:
        try:
            model = _open_onnx(name, options, backend)
        except (MissingExtraError, ExportRefusedError) as error:
            logger.info("backend='auto' cannot take %s: %s", backend, error)
        else:
            logger.info("backend='auto' took %s for %s", backend, name)
            return model
    logger.info("backend='auto' took torch for %s", name)
    return _open_torch(name, options)


def _may_have_gpu() -> bool:
    """Whether it is worth importing torch to ask for a GPU."""
    if importlib.util.find_spec("torch") is None:
        return False
    return not sys.platform.startswith("linux") or any(
        Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/dri")
    )


def _open_onnx(name: str, options: CrossEncoderOptions, backend: str) -> TransformerModel:
    if options.device not in (None, "cpu"):
        raise ValueError(
            f"backend={backend!r} computes on the CPU, and device={options.device!r} is asked for. "
            "Leave the device out, or take backend='torch'."
        )
    opened = onnx_export.open_cached(name, options, backend == "onnx-int8", lambda: _load_torch(name, options))
    max_length = torch_loading.check_length(opened.positions, opened.max_length, name, options.max_length)
    return TransformerModel(backend, opened.compute, opened.tokenizer, max_length, cores(), _TOKENS_ON_CPU)


def _open_torch(name: str, options: CrossEncoderOptions, dtype: Any = None) -> TransformerModel:
    model = _load_torch(name, options, dtype)
    max_length = torch_loading.input_length(model, name, options.max_length)
    on_cpu = model.device.type == "cpu"
    # torch divides a batch among its own threads, so one worker is enough
    return TransformerModel(
        "torch" if dtype is None else f"torch, {dtype}".replace("torch.", ""),
        torch_loading.TorchCompute(model),
        pair_tokenizer(model, name),
        max_length,
        1,
        _TOKENS_ON_CPU if on_cpu else _TOKENS_ON_GPU,
    )


def _load_torch(name: str, options: CrossEncoderOptions, dtype: Any = None) -> Any:
    torch_loading.require_cross_encoder(name, options)
    settings = {} if dtype is None else {"model_kwargs": {"dtype": dtype}}
    model = torch_loading.load("CrossEncoder", name, options, **settings)
    if model.num_labels != 1:
        raise ModelLoadError(
            f"The model {name!r} has {model.num_labels} outputs; a reranker has one. Name a cross-encoder "
            "trained for reranking, not a classifier."
        )
    torch_loading.repair_tokenizer(model)
    return model
