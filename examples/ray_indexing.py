"""Index many documents on Ray Data: one actor a core makes vectors, an engine that people run keeps them.

    pip install langchain-klue-rerank "ray[data]" qdrant-client
    python -m examples.ray_indexing documents/*.jsonl --qdrant http://localhost:6333 --done runs/done

A line of a file is ``{"id": "...", "text": "..."}``. `Embed` makes the packaged bi-encoder's vector and the sparse
vector of the lexical search; Qdrant (a server, or a folder for its local mode) or PostgreSQL with pgvector keeps both.
Search it as docs/engines.md says.

Nothing is lost and nothing is written twice, whoever is killed. Ray starts a worker anew and gives it the same batch;
an id is made of the document's own, and written over what has it; and a file is noted in ``--done`` when all of it is
written, so that a run that is started again does only the rest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from langchain_klue_rerank import KlueEmbeddings, KlueSparseEmbeddings
from langchain_klue_rerank.sparse import SparseVector

#: A batch of Ray Data: columns by name.
Batch = dict[str, Any]
_NAME = "passages"


class Engine(Protocol):
    """Where vectors are kept. Workers write to it by themselves if they can; it is sent to them."""

    @property
    def shared(self) -> bool:
        """Whether several processes may write at once."""

    def prepare(self, dimension: int) -> None:
        """Make the collection unless it is there."""

    def write(self, batch: Batch) -> None:
        """Write documents; one with the id of another one takes its place."""


@dataclass(frozen=True)
class Qdrant:
    """Qdrant.

    Attributes:
        place: The address of a server, or a folder for the local mode, which one process may open.
    """

    place: str

    @property
    def shared(self) -> bool:
        """Whether it is a server."""
        return "://" in self.place

    def client(self) -> Any:
        """Open it."""
        from qdrant_client import QdrantClient

        return QdrantClient(url=self.place) if self.shared else QdrantClient(path=self.place)

    def prepare(self, dimension: int) -> None:
        """Make the collection unless it is there."""
        from qdrant_client import models

        client = self.client()
        if not client.collection_exists(_NAME):
            client.create_collection(
                _NAME,
                vectors_config={"dense": models.VectorParams(size=dimension, distance=models.Distance.COSINE)},
                sparse_vectors_config={"words": models.SparseVectorParams()},
            )
        client.close()

    def write(self, batch: Batch) -> None:
        """Write documents."""
        from qdrant_client import models

        client = self.client()
        points = [
            models.PointStruct(
                id=str(uuid.uuid5(uuid.NAMESPACE_OID, one["id"])),
                vector={
                    "dense": one["dense"].tolist(),
                    "words": models.SparseVector(indices=one["indices"].tolist(), values=one["values"].tolist()),
                },
                payload={"id": one["id"], "text": one["text"]},
            )
            for one in rows(batch)
        ]
        client.upsert(_NAME, points, wait=True)
        client.close()


@dataclass(frozen=True)
class Postgres:
    """PostgreSQL with pgvector.

    Attributes:
        address: ``postgresql://...``.
    """

    address: str
    shared = True

    def prepare(self, dimension: int) -> None:
        """Make the table unless it is there."""
        import psycopg

        with psycopg.connect(self.address) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {_NAME} (id text PRIMARY KEY, text text, dense vector({dimension}), "
                f"words sparsevec({KlueSparseEmbeddings.dimensions}))"
            )

    def write(self, batch: Batch) -> None:
        """Write documents."""
        import psycopg

        query = (
            f"INSERT INTO {_NAME} VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO UPDATE "
            "SET text = EXCLUDED.text, dense = EXCLUDED.dense, words = EXCLUDED.words"
        )
        with psycopg.connect(self.address) as connection, connection.cursor() as cursor:
            cursor.executemany(
                query,
                [
                    (
                        one["id"],
                        one["text"],
                        json.dumps(one["dense"].tolist()),
                        SparseVector(one["indices"].tolist(), one["values"].tolist()).to_sparsevec(),
                    )
                    # in one order everywhere: two workers that write the same documents do not wait for each other
                    for one in sorted(rows(batch), key=lambda one: str(one["id"]))
                ],
            )


def rows(batch: Batch) -> Iterator[dict[str, Any]]:
    """Yield the documents of a batch."""
    for place in range(len(batch["id"])):
        yield {name: column[place] for name, column in batch.items()}


class Embed:
    """Makes the vectors of batches, in a worker that loads its models once.

    Args:
        fitted: Where `KlueSparseEmbeddings.save` saved what it counted.
        engine: Where to write them; None to hand them on.
    """

    def __init__(self, fitted: str, engine: Engine | None) -> None:
        self._dense = KlueEmbeddings()
        self._sparse = KlueSparseEmbeddings.load(fitted)
        self._engine = engine

    def __call__(self, batch: Batch) -> Batch:
        """Embed a batch, and write it if the engine is shared."""
        texts = [str(text) for text in batch["text"]]
        sparse = self._sparse.embed_documents(texts)
        made = {
            "id": [str(one) for one in batch["id"]],
            "text": texts,
            "dense": np.asarray(self._dense.embed_documents(texts), np.float32),
            "indices": _ragged([np.asarray(one.indices, np.int64) for one in sparse]),
            "values": _ragged([np.asarray(one.values, np.float32) for one in sparse]),
        }
        if self._engine is None:
            return made
        self._engine.write(made)
        return {"written": np.asarray([len(texts)])}


def _ragged(arrays: Sequence[Any]) -> Any:
    column = np.empty(len(arrays), object)
    column[:] = arrays
    return column


def index(
    files: Sequence[Path],
    engine: Engine,
    done: Path,
    fitted: Path,
    *,
    workers: int,
    files_at_once: int = 64,
    batch_size: int = 256,
) -> int:
    """Index the files that are not done yet.

    Args:
        files: JSON Lines.
        engine: Where to.
        done: The folder of checkpoints: an empty file for each file that is written, named after its path and content's
            size.
        fitted: As of `Embed`.
        workers: How many actors, each with a core.
        files_at_once: How many files are noted together; what is killed does those again.
        batch_size: Documents that a worker takes at a time.

    Returns:
        How many documents were written.
    """
    import ray.data

    done.mkdir(parents=True, exist_ok=True)
    left = iter([file for file in files if not (done / _mark(file)).exists()])
    engine.prepare(len(KlueEmbeddings().embed_query("차원")))
    written = 0
    while some := list(islice(left, files_at_once)):
        dataset = ray.data.read_json([str(file.resolve()) for file in some], lines=True).map_batches(
            Embed,
            fn_constructor_args=(str(fitted), engine if engine.shared else None),
            batch_size=batch_size,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        )
        for batch in dataset.iter_batches(batch_size=None if engine.shared else batch_size):
            if engine.shared:
                written += int(batch["written"].sum())
            else:
                engine.write(batch)
                written += len(batch["id"])
        for file in some:
            (done / _mark(file)).touch()
    return written


def _mark(file: Path) -> str:
    return hashlib.sha256(f"{file.resolve()} {file.stat().st_size}".encode()).hexdigest()


def fit(files: Iterable[Path], folder: Path, sample: int = 20_000) -> None:
    """Count the terms of the first documents of every file, and save that; once, since all vectors depend on it.

    Args:
        files: JSON Lines.
        folder: Where to.
        sample: How many documents in all.
    """
    if folder.exists():
        return
    files = list(files)

    def texts() -> Iterator[str]:
        for file in files:
            with file.open(encoding="utf-8") as lines:
                for line in islice(lines, max(1, sample // len(files))):
                    yield json.loads(line)["text"]

    KlueSparseEmbeddings.fit(texts()).save(folder)


def main() -> None:
    """Index files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="JSON Lines with id and text")
    parser.add_argument("--qdrant", help="address of a server, or a folder")
    parser.add_argument("--postgres", help="address of a database")
    parser.add_argument("--done", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="actors (one a core)")
    options = parser.parse_args()
    if bool(options.qdrant) == bool(options.postgres):
        parser.error("name one of --qdrant and --postgres")
    engine: Engine = Qdrant(options.qdrant) if options.qdrant else Postgres(options.postgres)
    fit(options.files, options.done / "fitted")
    start = time.perf_counter()
    written = index(options.files, engine, options.done, options.done / "fitted", workers=options.workers)
    seconds = time.perf_counter() - start
    print(f"{written} documents in {seconds:.0f} s, {written / seconds:.0f} a second with {options.workers} workers")


if __name__ == "__main__":
    main()
