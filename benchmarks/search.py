"""Speed and memory of the default retriever: indexing, one query, a cold start, opening a large index.

    python -m benchmarks.search --data ../shared/data/klue_mrc
    python -m benchmarks.search --data samples

Every figure is a median of several runs with its range; the baseline (no reranking) stands beside it. Nothing else
should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from langchain_klue_rerank import KlueRetriever, KlueVectorStore
from langchain_klue_rerank.embeddings import KlueEmbeddings
from langchain_klue_rerank.engine.documents import Passage
from langchain_klue_rerank.engine.index import IndexSettings, PassageIndex
from langchain_klue_rerank.engine.models import WEIGHTS
from langchain_klue_rerank.evaluation import EvaluationSet, read_sets

# What a user's process does from its start to the first result. Peak memory is read from Linux's /proc: getrusage
# counts the parent's memory into that of a fresh child.
_COLD_START = """
import re, sys
from langchain_klue_rerank import KlueRetriever
found = KlueRetriever.load(sys.argv[1]).invoke(sys.argv[2])
assert found
loaded = [name for name in ("torch", "sentence_transformers", "transformers") if name in sys.modules]
assert not loaded, loaded
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples", help="as for klue-rerank evaluate; of several sets the last")
    parser.add_argument("--queries", type=int, default=200, help="how many questions to ask (200)")
    parser.add_argument("--runs", type=int, default=5, help="repetitions of indexing and cold start (5)")
    parser.add_argument("--large", type=int, default=100_000, help="passages of the large vector index (100,000)")
    options = parser.parse_args()
    data = read_sets(options.data)[-1]
    print(f"{data.name}: {len(data.documents)} passages, {sum(len(d.page_content) for d in data.documents)} characters")
    weights = sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file())
    print(f"{'packaged weights':58s} {weights / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        retriever = _indexing(data, options.data, options.runs, folder / "index")
        _queries(retriever, data, options.queries)
        _cold_start(folder / "index", data.questions[0], options.runs)
        _large(folder, data, options.large)


def _show(name: str, values: list[float], unit: str) -> None:
    low, high = min(values), max(values)
    print(f"{name:58s} median {statistics.median(values):9.1f} {unit:12s} ({low:.1f} to {high:.1f}, n={len(values)})")


def _indexing(data: EvaluationSet, source: str, runs: int, folder: Path) -> KlueRetriever:
    """Index the corpus in fresh processes: the analyser remembers words, so only the first time in a process counts."""
    program = (
        "import sys, time\n"
        "from langchain_klue_rerank import KlueRetriever\n"
        "from langchain_klue_rerank.evaluation import read_sets\n"
        "data = read_sets(sys.argv[1])[-1]\n"
        "start = time.perf_counter()\n"
        "retriever = KlueRetriever.from_documents(data.documents)\n"
        "print(len(data.documents) / (time.perf_counter() - start))\n"
    )
    speeds = [float(_python(program, source)) for _ in range(runs)]
    _show("indexing, Kiwi's start included", speeds, "passages/s")
    retriever = KlueRetriever.from_documents(data.documents)
    retriever.save(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{'saved index':58s} {size / 2**20:.1f} MiB, {size / len(data.documents):.0f} bytes a passage")
    return retriever


def _queries(retriever: KlueRetriever, data: EvaluationSet, count: int) -> None:
    questions = data.questions[:count]
    retriever.invoke(questions[0])
    kinds = {
        "lexical": (retriever.model_copy(update={"reranker": None}), {"search_type": "lexical"}),
        "hybrid": (retriever.model_copy(update={"reranker": None}), {}),
        "hybrid, 30 candidates reranked": (retriever, {}),
        "hybrid, 100 candidates reranked": (retriever, {"fetch_k": 100}),
    }
    for name, (asked, settings) in kinds.items():
        times = []
        for question in questions:
            start = time.perf_counter()
            asked.invoke(question, **settings)
            times.append(1000 * (time.perf_counter() - start))
        _show(f"one query, {name}", times, "ms")
        print(f"{'':58s} p95    {float(np.percentile(times, 95)):9.1f} ms")
    start = time.perf_counter()
    retriever.batch(questions)
    each = 1000 * (time.perf_counter() - start) / len(questions)
    print(f"{'one batch of ' + str(len(questions)) + ', reranked':58s} {each:16.1f} ms a query")


def _cold_start(folder: Path, question: str, runs: int) -> None:
    times, memory = [], []
    for _ in range(runs):
        start = time.perf_counter()
        memory.append(float(_python(_COLD_START, str(folder), question)))
        times.append(time.perf_counter() - start)
    _show("python's start to the first result of a saved index", times, "s")
    _show("peak memory of that process", memory, "MiB")


def _python(program: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    ).stdout


def _large(folder: Path, data: EvaluationSet, count: int) -> None:
    """Open an index with many passages: the set's texts again and again, vectors with a little noise."""
    embeddings = KlueEmbeddings()
    texts = [document.page_content for document in data.documents]
    vectors = embeddings.encoder.encode(texts, "passage")
    generator = np.random.default_rng(0)
    index = PassageIndex(IndexSettings(lexical=False, kiwi=False, title_key=None, model=embeddings.identity))
    for start in range(0, count, len(texts)):
        passages = [Passage(str(start + row), text, {}) for row, text in enumerate(texts[: count - start])]
        noise = 0.01 * generator.standard_normal((len(passages), vectors.shape[1]), np.float32)
        index.add(passages, vectors=vectors[: len(passages)] + noise)
    index.save(folder / "large")
    times = []
    for _ in range(5):
        start_time = time.perf_counter()
        opened = KlueVectorStore.load(folder / "large", embeddings)
        opened.similarity_search(data.questions[0])
        times.append(time.perf_counter() - start_time)
    _show(f"open {count} passages and search once", times, "s")
    shutil.rmtree(folder / "large")


if __name__ == "__main__":
    main()
