"""Parts of the index against engines that exist: BM25 of tantivy, nearest vectors of usearch and LanceDB.

    pip install tantivy usearch lancedb
    python -m benchmarks.engines --raw ../shared/data/raw --passages 100000

Passages of about 300 characters are cut from the texts of a folder (one paragraph a line, ``.txt`` or ``.txt.xz``);
questions are words of theirs. Every engine gets the same: tantivy the words of `klue_tokens` in a field with its
white-space tokenizer, usearch and LanceDB the passages' vectors. Tokenizing and embedding count for nobody. Words are
compared with our own ten best, vectors with the ten nearest of all. An engine that is not installed is left out. Beside
the time that passed stands the processor's, which a busy machine hardly changes.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.growth import bytes_in, documents, make_questions
from benchmarks.raw_passages import raw_passages
from langchain_klue_rerank import KlueEmbeddings, KlueRetriever, klue_tokens
from langchain_klue_rerank.engine.arrays.unit_vectors import as_unit_vectors
from langchain_klue_rerank.engine.index.settings import VECTORS
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize

_BEST = 10
#: From the number of a question to the rows of the best passages.
Search = Callable[[int], Sequence[int]]


def main() -> None:
    """Print one row an engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="folder with texts, one paragraph a line")
    parser.add_argument("--passages", type=int, default=100_000, help="how many (100000)")
    parser.add_argument("--queries", type=int, default=100, help="how many questions (100)")
    options = parser.parse_args()
    passages = raw_passages(options.raw, options.passages)
    questions = make_questions(passages[:1000], options.queries)
    retriever = KlueRetriever()
    retriever.add_documents(documents(passages))
    with tempfile.TemporaryDirectory() as place:
        words(retriever, [one.text for one in passages], questions, Path(place))
        vectors(retriever, questions, Path(place))


def report(name: str, seconds: float, size: float, search: Search, truth: Sequence[Sequence[int]]) -> None:
    """Print what an engine costs and finds.

    Args:
        name: The engine.
        seconds: The processor's time that building took.
        size: Its bytes.
        search: The search.
        truth: The best rows for every question.
    """
    times, own, shared = [], [], []
    for number, best in enumerate(truth):
        start, processor = time.perf_counter(), time.process_time()
        found = search(number)
        own.append(1000 * (time.process_time() - processor))
        times.append(1000 * (time.perf_counter() - start))
        shared.append(len({*found} & {*best}) / max(1, len(best)))
    p50, p95 = np.percentile(times, (50, 95)).tolist()
    used = float(np.median(own))
    print(
        f"{name:38s} built in {seconds:6.1f} s of processor, {size / 2**20:7.1f} MiB, "
        f"p50 {p50:7.2f} p95 {p95:7.2f} ms, processor {used:7.2f} ms, "
        f"{np.mean(shared):.3f} of the ten best",
        flush=True,
    )


def words(retriever: KlueRetriever, texts: Sequence[str], questions: Sequence[str], place: Path) -> None:
    """Compare lexical searches."""
    index = retriever._index
    asked = [tokenize([question], shared_analyzer()) for question in questions]
    rows = {passage: row for row, passage in enumerate(index.find())}

    def own(number: int) -> list[int]:
        [found] = index.search(_BEST, tokens=asked[number])
        return [rows[passage.id] for passage in found.passages]

    truth = [own(number) for number in range(len(questions))]
    [view] = index._state.views
    sizes = [getattr(postings, part).nbytes for postings in view.segment.fields.values() for part in postings.__slots__]
    report("ours, MaxScore over two fields", np.nan, sum(sizes), own, truth)
    if not importlib.util.find_spec("tantivy"):
        return
    import tantivy

    tokens = [klue_tokens(text) for text in texts]
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("words", stored=False, tokenizer_name="whitespace")
    builder.add_unsigned_field("row", stored=True, indexed=False)
    schema = builder.build()
    folder = place / "tantivy"
    folder.mkdir()
    start = time.process_time()
    engine = tantivy.Index(schema, path=str(folder))
    writer = engine.writer(512 << 20, 1)
    for row, text in enumerate(tokens):
        writer.add_document(tantivy.Document(words=[text], row=row))
    writer.commit()
    writer.wait_merging_threads()
    seconds = time.process_time() - start
    engine.reload()
    searcher = engine.searcher()
    terms = [klue_tokens(question).split() for question in questions]

    def theirs(number: int) -> list[int]:
        parts = [(tantivy.Occur.Should, tantivy.Query.term_query(schema, "words", term)) for term in terms[number]]
        hits = searcher.search(tantivy.Query.boolean_query(parts), _BEST).hits
        return [searcher.doc(address)["row"][0] for _, address in hits]

    report("tantivy, klue_tokens at white space", seconds, bytes_in(folder), theirs, truth)


def vectors(retriever: KlueRetriever, questions: Sequence[str], place: Path) -> None:
    """Compare nearest vectors."""
    [view] = retriever._index._state.views
    wholes = np.ascontiguousarray(view.segment.vectors[VECTORS].wholes)
    assert isinstance(retriever.embeddings, KlueEmbeddings)
    asked = as_unit_vectors(retriever.embeddings.encoder.encode(questions, "query"))

    def brute(number: int) -> list[int]:
        return best(wholes @ asked[number], np.arange(len(wholes)))

    truth = [brute(number) for number in range(len(asked))]
    report("every vector, NumPy", 0, wholes.nbytes, brute, truth)
    own = PassageVectors.checked(wholes)
    start = time.process_time()
    own.prepare()
    seconds = time.process_time() - start

    def coarse(number: int) -> list[int]:
        rows, cosines = own.nearest(asked[number], _BEST, None)
        return best(cosines, rows)

    if own.large:
        report("ours, one bit a number, then bytes", seconds, own.coarse.nbytes, coarse, truth)
    if importlib.util.find_spec("lancedb"):
        lancedb(wholes, asked, truth, place / "lancedb")
    if importlib.util.find_spec("usearch"):
        for kind in ("i8", "f32"):
            usearch(kind, wholes, asked, truth)


def best(scores: NDArray[np.float32], rows: NDArray[np.int64]) -> list[int]:
    """Return the rows with the best scores."""
    places = np.argpartition(-scores, min(_BEST, len(scores) - 1))[:_BEST]
    return rows[places].tolist()


def usearch(kind: str, wholes: NDArray[np.float32], asked: NDArray[np.float32], truth: Sequence[Sequence[int]]) -> None:
    """Measure usearch's HNSW with its default settings."""
    from usearch.index import Index

    start = time.process_time()
    engine = Index(ndim=wholes.shape[1], metric="cos", dtype=kind)
    engine.add(np.arange(len(wholes)), wholes, threads=2)
    seconds = time.process_time() - start

    def search(number: int) -> list[int]:
        return engine.search(asked[number], _BEST).keys.tolist()

    report(f"usearch, HNSW, {kind}", seconds, engine.serialized_length, search, truth)


def lancedb(
    wholes: NDArray[np.float32], asked: NDArray[np.float32], truth: Sequence[Sequence[int]], folder: Path
) -> None:
    """Measure LanceDB's inverted lists with product quantization, and their sizes as on disk."""
    import lancedb as engine
    import lancedb.index
    import pyarrow as pa

    values = pa.FixedSizeListArray.from_arrays(pa.array(wholes.ravel()), wholes.shape[1])
    rows = pa.table({"row": np.arange(len(wholes)), "vector": values})
    table: Any = engine.connect(folder).create_table("passages", rows)
    before = bytes_in(folder)
    partitions = max(1, int(len(wholes) ** 0.5))
    start = time.process_time()
    kind = engine.index.IvfPq(distance_type="cosine", num_partitions=partitions, num_sub_vectors=wholes.shape[1] // 8)
    table.create_index("vector", config=kind)
    seconds = time.process_time() - start
    for probes, refine in ((20, None), (20, 10)):

        def search(number: int, probes: int = probes, refine: int | None = refine) -> list[int]:
            query = table.search(asked[number]).select(["row", "_distance"]).limit(_BEST).nprobes(probes)
            found = (query.refine_factor(refine) if refine else query).to_arrow()
            return found["row"].to_pylist()

        name = f"LanceDB, IVF_PQ, {probes} of {partitions}" + (", refined" if refine else "")
        report(name, seconds, bytes_in(folder) - before, search, truth)


if __name__ == "__main__":
    main()
