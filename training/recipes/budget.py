"""How much of each stage fits into a number of minutes: measured once, at the first start, and then kept.

A run that stops when its time is up ends at another step each time. So the time is turned into numbers of steps before
anything trains; a run that is interrupted and resumed ends at the same steps and with the same figures.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer

#: Share of the time that is planned for; the rest is for loading, checkpoints and a machine that slows down.
PLANNED = 0.75


@dataclass(frozen=True)
class Speed:
    """How long a model takes.

    Attributes:
        train: Seconds a training step takes.
        read: Seconds a batch takes that is only read.
    """

    train: float
    read: float


def measure(name: str, inputs: Sequence[Sequence[Any]], max_length: int | None, rounds: int = 3) -> Speed:
    """Measure a language model on one batch.

    Args:
        name: Folder or hub id.
        inputs: The batch: for each side of the model (a bi-encoder has two, a cross-encoder one) its texts or pairs.
        max_length: Longest input in tokens; None for the model's own.
        rounds: How often it is measured; the fastest counts. Default 3.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModel.from_pretrained(name).to(device)
    own = model.config.max_position_embeddings - (model.config.pad_token_id or 0) - 1
    options = {"padding": True, "truncation": True, "max_length": min(max_length or own, own), "return_tensors": "pt"}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)

    def read() -> torch.Tensor:
        total = torch.zeros((), device=device)
        for texts in inputs:
            encoded = tokenizer(list(texts), **options)
            encoded.pop("token_type_ids", None)
            total = total + model(**encoded.to(device)).last_hidden_state.mean()
        return total

    def train() -> None:
        read().backward()
        optimizer.step()
        optimizer.zero_grad()

    def read_only() -> None:
        with torch.inference_mode():
            read().item()

    train()  # the first one is slow
    return Speed(min(_timed(train) for _ in range(rounds)), min(_timed(read_only) for _ in range(rounds)))


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def share_out(seconds: float, wanted: Sequence[float], shares: Sequence[float]) -> list[float]:
    """Divide time among stages; what one does not want is for the others.

    Args:
        seconds: The time.
        wanted: How long each stage would take without a limit.
        shares: How the time is divided where it does not suffice.

    Returns:
        Seconds for each stage, none more than wanted.
    """
    given = [0.0] * len(wanted)
    left = max(seconds, 0.0)
    hungry = list(range(len(wanted)))
    while hungry and left > 1e-9:
        total = sum(shares[stage] for stage in hungry)
        portions = {stage: left * shares[stage] / total for stage in hungry}
        for stage in hungry:
            portion = min(portions[stage], wanted[stage] - given[stage])
            given[stage] += portion
            left -= portion
        hungry = [stage for stage in hungry if wanted[stage] - given[stage] > 1e-9]
    return given
