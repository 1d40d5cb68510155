"""What numbers a model computes in."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from training.settings import SettingsError


def decide_precision(wanted: str, on_cuda: bool) -> str:
    """Return the numbers to compute in: ``"bfloat16"``, ``"float16"`` or ``"float32"``.

    A GPU that only emulates bfloat16, such as a T4, computes in float16.

    Raises:
        SettingsError: If float16 is asked for without a GPU.
    """
    if wanted == "auto":
        if not on_cuda:
            return "float32"
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if wanted == "fp16" and not on_cuda:
        raise SettingsError("--precision fp16 needs a GPU; take bf16 or fp32")
    return {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}[wanted]


def computing_in(wanted: str, device: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a model computes with autocast; one that does nothing for float32.

    Args:
        wanted: auto, bf16, fp16 or fp32.
        device: Type of the model's device, ``"cuda"`` or ``"cpu"`` say.
    """
    name = decide_precision(wanted, device == "cuda")
    if name == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device, getattr(torch, name))
