"""What the packaged models cost: size, loading, indexing; and the machine that they were measured on."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from langchain_klue_rerank import __version__

#: Loading in a fresh process, imports done; processor milliseconds.
LOAD = """
import time
from langchain_klue_rerank.engine.models import opening
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize
start = time.process_time()
{what}
print(1000 * (time.process_time() - start))
"""
LOADED = {
    "bi_encoder": "opening.packaged_bi_encoder()",
    "reranker": "opening.packaged_pair_scorer()",
    "kiwi": "shared_analyzer().kiwi",
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
    "bigrams": "search_type='lexical', kiwi=False",
    "lexical": "search_type='lexical'",
    "dense": "search_type='dense'",
    "hybrid": "",
}


def python(program: str, *arguments: str) -> str:
    """Run a program in a fresh process and return what it printed."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def megabytes(folder: Path) -> float:
    """Return the size of a folder's files, in millions of bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def loading(repeats: int = 3) -> dict[str, float]:
    """Return the milliseconds of processor time that loading takes in a fresh process.

    Args:
        repeats: Each is the median of so many. Default 3.
    """
    return {
        name: statistics.median(float(python(LOAD.format(what=what))) for _ in range(repeats))
        for name, what in LOADED.items()
    }


def indexing(source: str) -> dict[str, float]:
    """Return passages per second of processor time, Kiwi's start included.

    Args:
        source: As for ``klue-rerank evaluate``; of several sets the last.
    """
    return {kind: float(python(_INDEX.format(fields=fields), source)) for kind, fields in _INDEXED.items()}


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
