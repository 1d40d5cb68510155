"""Make a transformer wider without changing what it computes, to time a larger shape with a trained model's scores.

    python -m benchmarks.widen NARROW_FOLDER WIDE_FOLDER --factor 3

The hidden state is repeated ``factor`` times side by side. A layer norm sees the same mean and variance; a linear layer
sees every input ``factor`` times, so its weights are divided by it and its outputs repeated; attention has ``factor``
copies of every head. A 6-layer model of 256 dimensions and 4 heads becomes one of 768 and 12, the shape of
klue/roberta-small, with the same scores but for rounding.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any


def widen(source: Path, target: Path, factor: int = 3) -> Path:
    """Write a wider model with the same outputs.

    Args:
        source: Folder of a cross-encoder with one output and a body as BERT's or RoBERTa's.
        target: Folder to write; must be missing or empty.
        factor: How many times as wide. Default 3.

    Returns:
        `target`.

    Raises:
        FileExistsError: If the target holds files.
        ValueError: If the factor is below 1.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    if factor < 1:
        raise ValueError(f"factor={factor} is below 1.")
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{str(target)!r} holds files already. Name a new folder.")
    narrow = AutoModelForSequenceClassification.from_pretrained(source).eval()
    config = AutoConfig.from_pretrained(source)
    for name in ("hidden_size", "num_attention_heads", "intermediate_size"):
        setattr(config, name, factor * getattr(config, name))
    wide = AutoModelForSequenceClassification.from_config(config).eval()
    modules = dict(wide.named_modules())
    with torch.no_grad():
        for name, module in narrow.named_modules():
            other: Any = modules[name]
            if isinstance(module, torch.nn.Embedding):
                other.weight.copy_(module.weight.repeat(1, factor))
            elif isinstance(module, torch.nn.LayerNorm):
                other.weight.copy_(module.weight.repeat(factor))
                other.bias.copy_(module.bias.repeat(factor))
            elif isinstance(module, torch.nn.Linear):
                rows = other.out_features // module.out_features  # the last layer has one output and keeps it
                other.weight.copy_(module.weight.repeat(rows, factor) / factor)
                other.bias.copy_(module.bias.repeat(rows))
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors", "*.bin", "onnx"))
    wide.save_pretrained(target)
    return target


def main() -> None:
    """Widen a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--factor", type=int, default=3)
    options = parser.parse_args()
    print(widen(options.source, options.target, options.factor))


if __name__ == "__main__":
    main()
