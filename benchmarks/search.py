"""Speed and memory of the default retriever: indexing, one query, a cold start, opening a large index.

    python -m benchmarks.search --data ../shared/data/klue_mrc
    python -m benchmarks.search --data samples

Every figure is a median of several runs with its range; the baseline (no reranking) stands beside it. Queries are timed
as in `benchmarks.picture`: Kiwi is up, but has not seen their words. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.price import python
from benchmarks.timing import timed
from langchain_klue_rerank import KlueRetriever, KlueVectorStore
from langchain_klue_rerank.adapters.documents import to_passages
from langchain_klue_rerank.adapters.embedding import embed_for_index
from langchain_klue_rerank.embeddings import KlueEmbeddings
from langchain_klue_rerank.engine.arrays.unit_vectors import as_unit_vectors
from langchain_klue_rerank.engine.index.fusion import top
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.evaluation.sets import EvaluationSet, read_sets

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


@dataclass(frozen=True)
class Measured:
    """What a command like this finds.

    Attributes:
        median: The median.
        unit: Its unit.
        low: The least value.
        high: The greatest.
        runs: How many values there were.
    """

    median: float
    unit: str
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: list[float], unit: str) -> Measured:
        """Summarise values."""
        return cls(statistics.median(values), unit, min(values), max(values), len(values))

    def __str__(self) -> str:
        return f"median {self.median:9.1f} {self.unit:12s} ({self.low:.1f} to {self.high:.1f}, n={self.runs})"


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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        show({INDEXING: indexing(options.data, options.runs)})
        retriever = _save(data, folder / "index")
        _queries(retriever, data, options.queries)
        show(cold_start(folder / "index", data.questions[0], options.runs))
        vectors, opening, asking = large(folder, data, options.large)
        print(f"{options.large} passages, {vectors:.1f} vectors each:")
        show({"opening them, and one search": opening, "one dense search of these": asking})
    for count in (len(data.documents), options.large):
        _exact(count)


INDEXING = "indexing, Kiwi's start included"
START = "python's start to the first result of a saved index"
MEMORY = "peak memory of that process"


def show(measured: dict[str, Measured]) -> None:
    """Print what was measured, a line each."""
    for name, one in measured.items():
        print(f"{name:58s} {one}")


def indexing(source: str, runs: int) -> Measured:
    """Index a corpus in fresh processes: the analyser remembers words, so only the first time in a process counts.

    Args:
        source: As for ``klue-rerank evaluate``; of several sets the last.
        runs: How many processes.
    """
    program = (
        "import sys, time\n"
        "from langchain_klue_rerank import KlueRetriever\n"
        "from langchain_klue_rerank.evaluation import read_sets\n"
        "data = read_sets(sys.argv[1])[-1]\n"
        "start = time.perf_counter()\n"
        "retriever = KlueRetriever.from_documents(data.documents)\n"
        "print(len(data.documents) / (time.perf_counter() - start))\n"
    )
    return Measured.of([float(python(program, source)) for _ in range(runs)], "passages/s")


def _save(data: EvaluationSet, folder: Path) -> KlueRetriever:
    """Index a corpus, save it and print its size."""
    retriever = KlueRetriever.from_documents(data.documents)
    retriever.save(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{'saved index':58s} {size / 2**20:.1f} MiB, {size / len(data.documents):.0f} bytes a passage")
    each, of_vectors = retriever._index.vectors_of_passage
    print(f"{'of these vectors':58s} {each:.1f} a passage, {of_vectors:.0f} bytes a passage")
    return retriever


def _queries(retriever: KlueRetriever, data: EvaluationSet, count: int) -> None:
    questions = data.questions[:count]
    bare = retriever.model_copy(update={"reranker": None})
    kinds: dict[str, tuple[KlueRetriever, dict[str, Any]]] = {
        "lexical": (bare, {"search_type": "lexical"}),
        "dense": (bare, {"search_type": "dense"}),
        "hybrid": (bare, {}),
        "hybrid, 30 candidates reranked": (retriever, {}),
        "hybrid, 100 candidates reranked": (retriever, {"fetch_k": 100}),
    }
    for name, (asked, settings) in kinds.items():
        shared_analyzer.cache_clear()  # what a way before it asked is not known to this one
        asked.invoke("준비", **settings)
        times = timed(partial(asked.invoke, **settings), questions)
        show({f"one query, {name}": Measured.of(times, "ms")})
        print(f"{'':58s} p95    {float(np.percentile(times, 95)):9.1f} ms")
    start = time.perf_counter()
    retriever.batch(questions)
    each = 1000 * (time.perf_counter() - start) / len(questions)
    print(f"{'one batch of ' + str(len(questions)) + ', reranked':58s} {each:16.1f} ms a query")


def cold_start(folder: Path, question: str, runs: int) -> dict[str, Measured]:
    """Open a saved index in fresh processes and ask one question.

    Args:
        folder: The index.
        question: The question.
        runs: How many processes.

    Returns:
        `START` and `MEMORY`.
    """
    times, memory = [], []
    for _ in range(runs):
        start = time.perf_counter()
        memory.append(float(python(_COLD_START, str(folder), question)))
        times.append(time.perf_counter() - start)
    return {START: Measured.of(times, "s"), MEMORY: Measured.of(memory, "MiB")}


def large(folder: Path, data: EvaluationSet, count: int) -> tuple[float, Measured, Measured]:
    """Open an index with many passages: the set's texts again and again, vectors with a little noise.

    Args:
        folder: Where the index may lie meanwhile.
        data: The set.
        count: How many passages.

    Returns:
        Vectors of a passage, seconds to open the index and search it once, milliseconds of a further dense search.
    """
    embeddings = KlueEmbeddings()
    store = KlueVectorStore(embeddings)
    settings = store._index.settings
    passages = to_passages(data.documents)
    vectors = PassageVectors.checked(embed_for_index(embeddings, settings, passages))
    generator = np.random.default_rng(0)
    index = PassageIndex(settings)
    for start in range(0, count, len(passages)):
        rows = np.arange(min(len(passages), count - start))
        some = vectors.take(rows)
        noise = 0.01 * generator.standard_normal(some.wholes.shape, np.float32)
        renamed = [passages[row]._replace(id=str(start + row)) for row in rows.tolist()]
        index.add(renamed, vectors=PassageVectors(as_unit_vectors(some.wholes + noise), some.windows))
    each, _ = index.vectors_of_passage
    index.save(folder / "large")

    def opened(question: str) -> KlueVectorStore:
        store = KlueVectorStore.load(folder / "large", embeddings)
        store.similarity_search(question)
        return store

    opening = [one / 1000 for one in timed(opened, data.questions[:1] * 5)]
    vectors_asked = [embeddings.embed_query(question) for question in data.questions[:50]]
    asking = timed(opened(data.questions[0]).similarity_search_by_vector, vectors_asked)
    shutil.rmtree(folder / "large")
    return each, Measured.of(opening, "s"), Measured.of(asking, "ms")


def _exact(count: int, dimension: int = 512) -> None:
    """Compare every vector with one query: by NumPy, as we do, and by FAISS's flat index, where that is installed."""
    generator = np.random.default_rng(0)
    vectors = as_unit_vectors(generator.standard_normal((count, dimension), np.float32))
    queries = as_unit_vectors(generator.standard_normal((50, dimension), np.float32))

    ways: dict[str, Callable[[NDArray[np.float32]], object]] = {
        "NumPy": lambda query: top(vectors @ query, 30, above=-1)
    }
    try:
        import faiss
    except ImportError:
        pass
    else:
        flat = faiss.IndexFlatIP(dimension)
        flat.add(vectors)
        ways["FAISS"] = lambda query: flat.search(query[None], 30)
    for name, search in ways.items():
        show({f"the 30 nearest of {count} vectors, {name}": Measured.of(timed(search, queries), "ms")})


if __name__ == "__main__":
    main()
