"""What `benchmarks.growth` has measured, as a table, beside its bars, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: Kinds of queries in the order of the table; figures without percentiles with their scale and decimals.
_KINDS = {
    "lexical": "lexical, p50 / p95 (ms)",
    "dense": "dense",
    "hybrid": "hybrid",
    "hybrid, dictionary filter": "hybrid with a dictionary filter",
    "hybrid, function filter": "hybrid with a function as filter",
    "hybrid, reranked": "hybrid, reranked",
    "add one document": "adding one document",
}
_PLAIN = {
    "passages_per_s": ("indexed a second", 1, 0),
    "open_s": ("opening (s)", 1, 1),
    "first_query_s": ("first query (s)", 1, 1),
    "anon_mib": ("memory without mapped files (MiB)", 1, 0),
    "peak_mib": ("peak memory with mapped files (MiB)", 1, 0),
    "disk_bytes": ("disk (MiB)", 2**-20, 0),
    "kept, hybrid": ("of the ten best of a hybrid search (%)", 100, 1),
    "kept, dense": ("of the ten best of a dense search (%)", 100, 1),
}


def table(every: Sequence[dict[str, Any]]) -> str:
    """Return the figures of every size as the table of ``docs/growth.md``."""
    lines = [
        "| passages | " + " | ".join(f"{one['passages']:,}" for one in every) + " |",
        "|---|" + "--:|" * len(every),
    ]
    for name, label in _KINDS.items():
        cells = [f"{one[name]['p50']:,.1f} / {one[name]['p95']:,.1f}" if name in one else "–" for one in every]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    for name, (label, scale, decimals) in _PLAIN.items():
        if any(name in one for one in every):
            cells = [f"{one[name] * scale:,.{decimals}f}" if name in one else "–" for one in every]
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bars(figures: dict[str, Any]) -> str:
    """Return what is wanted of a million passages beside what was measured of the largest index."""
    reranking = figures["hybrid, reranked"]["p50"] - figures["hybrid"]["p50"]
    wanted = [
        ("hybrid, p50 (ms)", figures["hybrid"]["p50"], 20, True),
        ("hybrid, p95 (ms)", figures["hybrid"]["p95"], 40, True),
        ("reranking beside it, p50 (ms)", reranking, 20, True),
        ("opening (s)", figures["open_s"], 2, True),
        ("peak memory (MB)", figures["peak_mib"] * 2**20 / 1e6, 1500, True),
        ("indexed a second", figures.get("passages_per_s"), 2500, False),
    ]
    lines = [f"{figures['passages']:,} passages; the bars are those of a million:"]
    for name, measured, bar, most in wanted:
        if measured is None:
            lines.append(f"  {name:32s} not measured, {'at most' if most else 'at least'} {bar:,}")
        else:
            met = measured <= bar if most else measured >= bar
            least = "at most" if most else "at least"
            lines.append(f"  {name:32s} {measured:10,.1f}, {least} {bar:,}: {'met' if met else 'NOT MET'}")
    return "\n".join(lines)


def plot(every: Sequence[dict[str, Any]], picture: Path) -> None:
    """Draw latency, memory and time to open over the number of passages."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    sizes = [one["passages"] for one in every]
    left, right = plt.subplots(1, 2, figsize=(11, 4.2))[1]
    for name in ("lexical", "dense", "hybrid", "hybrid, dictionary filter", "hybrid, reranked", "add one document"):
        measured = [one.get(name, {}).get("p50", np.nan) for one in every]  # `--index` adds nothing
        left.plot(sizes, measured, marker="o", label=f"{name}, p50")
    left.plot(sizes, [one["hybrid"]["p95"] for one in every], linestyle=":", marker=".", label="hybrid, p95")
    left.set(xscale="log", yscale="log", xlabel="passages", ylabel="milliseconds", title="One query, one document")
    for name, unit, scale in (
        ("peak_mib", "peak memory with mapped files, MiB", 1),
        ("anon_mib", "memory without them, MiB", 1),
        ("disk_bytes", "disk, MiB", 2**-20),
    ):
        right.plot(sizes, [one[name] * scale for one in every], marker="o", label=unit)
    right.plot(sizes, [1000 * one["open_s"] for one in every], marker="o", label="open, ms")
    right.set(xscale="log", yscale="log", xlabel="passages", title="Memory, disk, opening")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    plt.tight_layout()
    plt.savefig(picture, dpi=110)
