"""What the packaged models cost: size, loading, indexing; and the machine that they were measured on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from langchain_klue_rerank import __version__
from langchain_klue_rerank.engine.models.names import WEIGHTS

#: Loading in a fresh process, imports done; processor milliseconds.
_LOAD = """
import time
from langchain_klue_rerank.engine.models import opening
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize
start = time.process_time()
{what}
print(1000 * (time.process_time() - start))
"""
_LOADED = {
    "bi-encoder": "models.packaged_bi_encoder()",
    "reranker": "models.packaged_pair_scorer()",
    "Kiwi": "shared_analyzer().kiwi",
}
#: Indexing in a fresh process, by processor time: the analyser remembers words, so only the first time counts.
_INDEX = """
import sys, time
from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.evaluation.sets import read_sets
data = read_sets(sys.argv[1])[-1]
start = time.process_time()
KlueRetriever.from_documents(data.documents, reranker=None, {fields})
print(len(data.documents) / (time.process_time() - start))
"""
_INDEXED = {
    "lexical, bigrams": "search_type='lexical', kiwi=False",
    "lexical": "search_type='lexical'",
    "dense": "search_type='dense'",
    "hybrid": "",
}


def python(program: str, *arguments: str) -> str:
    """Run a program in a fresh process and return what it printed."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def prices(data: Path, runs: Path, repeats: int = 3) -> dict[str, str]:
    """Measure sizes, loading and indexing, or take them from the runs folder.

    Args:
        data: The data folder; without KLUE-MRC the samples are indexed.
        runs: Where they are kept.
        repeats: Loading is the median of so many. Default 3.

    Returns:
        Name -> value, for people to read.
    """
    path = runs / "price.json"
    if path.exists():
        stored: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return stored
    found = {"packaged weights, MB": f"{_megabytes(WEIGHTS):.1f}"}
    found |= {f"of these the {name}": f"{_megabytes(WEIGHTS / name):.1f}" for name in ("bi_encoder", "reranker")}
    for name, what in _LOADED.items():
        times = [float(python(_LOAD.format(what=what))) for _ in range(repeats)]
        found[f"loading: {name}, ms"] = f"{statistics.median(times):.0f}"
    source = data / "klue_mrc"
    where, name = (str(source), "KLUE-MRC contexts") if source.exists() else ("samples", "sample passages")
    for kind, fields in _INDEXED.items():
        speed = float(python(_INDEX.format(fields=fields), where))
        found[f"indexing {name}, Kiwi's start included, {kind}: passages per second of processor time"] = f"{speed:.0f}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, ensure_ascii=False, indent=2), encoding="utf-8")
    return found


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def machine() -> str:
    """Return the machine, the versions and the date, in words."""
    names = ("numpy", "kiwipiepy", "langchain-core")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({_processor()}), load {os.getloadavg()[0]:.0f}, "
        f"Python {platform.python_version()}, "
        f"langchain-klue-rerank {__version__}, {packages}"
    )


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
