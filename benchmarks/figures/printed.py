"""How figures are printed."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from langchain_klue_rerank.evaluation.metrics import interval


def p_text(value: float) -> str:
    """Return a p-value with as many digits as are read."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def with_interval(values: NDArray[Any]) -> str:
    """Return the mean of one value per question, with its 95% bootstrap interval."""
    low, high = interval(values)
    return f"{values.mean():.3f} ({low:.3f}-{high:.3f})"
