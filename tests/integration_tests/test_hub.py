"""Models and data from the hub: the real clients against a stand-in that speaks the hub's protocol (`tests.hub`)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Hub, serve
from tests.unit_tests.fakes import QUESTION, TEXTS

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def hub(
    tmp_path_factory: pytest.TempPathFactory,
    klue_cross_encoder_folder: Path,
    klue_bi_encoder_folder: Path,
    late_interaction_folder: Path,
) -> Iterator[Hub]:
    """A hub with a model of each kind."""
    root = tmp_path_factory.mktemp("hub")
    for name, folder in (
        ("team/cross-encoder", klue_cross_encoder_folder),
        ("team/bi-encoder", klue_bi_encoder_folder),
        ("team/late-interaction", late_interaction_folder),
    ):
        shutil.copytree(folder, root / "models" / name)
    with serve(root) as hub:
        yield hub


def run(hub: Hub, cache: Path, code: str, **environment: str) -> str:
    """Run a program that knows the hub's address from its environment, as a user's would."""
    program = f"QUESTION, TEXTS = {QUESTION!r}, {TEXTS!r}\n{code}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=hub.environment(cache, **environment),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_models_of_every_kind_come_from_the_hub_by_name(hub: Hub, tmp_path: Path) -> None:
    printed = run(
        hub,
        tmp_path,
        """
import asyncio, threading
from langchain_core.documents import Document
from langchain_klue_rerank import KlueEmbeddings, KlueReranker, KlueRetriever

documents = [Document(text, id=str(n)) for n, text in enumerate(TEXTS)]
late = KlueReranker(model="team/late-interaction")
for reranker in (KlueReranker(model="team/cross-encoder"), late):
    assert len(reranker.rerank(TEXTS, QUESTION)) == 3
retriever = KlueRetriever.from_documents(
    documents, embeddings=KlueEmbeddings(model="team/bi-encoder"), reranker=late
)
assert retriever.token_vector_bytes > 0
print(len(asyncio.run(retriever.ainvoke(QUESTION))))
""",
    )
    assert printed.split() == ["4"]


def test_a_model_of_another_kind_is_refused_before_its_weights_are_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.requests.clear()
    printed = run(
        hub,
        tmp_path,
        """
from langchain_klue_rerank import KlueEmbeddings, KlueReranker
from langchain_klue_rerank.errors import ModelLoadError
for use in (
    lambda: KlueReranker(model="team/bi-encoder").rerank(TEXTS, QUESTION),
    lambda: KlueEmbeddings(model="team/cross-encoder").embed_query(QUESTION),
    lambda: KlueEmbeddings(model="team/late-interaction").embed_query(QUESTION),
):
    try:
        use()
    except ModelLoadError as error:
        print(str(error).split(":")[0])
""",
    )
    assert len(printed.splitlines()) == 3
    assert not [request for request in hub.requests if "safetensors" in request]


def test_a_hub_that_is_away_for_a_moment_does_not_change_what_a_model_is(hub: Hub, tmp_path: Path) -> None:
    hub.failing = 403  # a status that the client does not try again by itself
    hub.requests.clear()
    flag = tmp_path / "failed"
    code = f"""
import pathlib, time
from langchain_klue_rerank import KlueReranker
late = KlueReranker(model="team/late-interaction")
assert late._token_vectors is None
pathlib.Path({str(flag)!r}).touch()
for _ in range(100):
    if late._token_vectors is not None:
        print("known")
        break
    time.sleep(0.1)
"""

    def back() -> None:
        for _ in range(1200):
            if flag.exists():
                break
            time.sleep(0.1)
        hub.failing = None

    watcher = threading.Thread(target=back)
    watcher.start()
    try:
        assert run(hub, tmp_path / "cache", code).split() == ["known"]
    finally:
        hub.failing = None
        watcher.join(5)
