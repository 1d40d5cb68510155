"""An index of another model, or of another way to split words: searched by its words, and built anew in one call."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from langchain_klue_rerank import KlueBM25Retriever, KlueEmbeddings, KlueRetriever, KlueVectorStore
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.errors import IndexFormatError, ModelMismatchError
from tests.unit_tests.fakes import QUESTION, BigramEmbeddings, documents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index with vectors of another model."""
    retriever = KlueRetriever.from_documents(documents(title="안내"), embeddings=BigramEmbeddings(model="old"), k=3)
    retriever.save(tmp_path / "index")
    return tmp_path / "index"


def test_words_of_an_index_of_another_model_are_searched(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ModelMismatchError, match=r"rebuild.*lexical"):
        KlueRetriever.load(folder)
    with caplog.at_level(logging.WARNING):
        retriever = KlueRetriever.load(folder, search_type="lexical", k=3)
    assert "'bigrams" in caplog.text or "old" in caplog.text
    assert "KlueRetriever.rebuild" in caplog.text
    assert retriever.invoke(QUESTION)[0].id == "d0"
    assert retriever.batch([QUESTION])[0][0].id == "d0"
    assert KlueBM25Retriever.load(folder).invoke(QUESTION)[0].id == "d0"
    for search_type in ("hybrid", "dense"):
        with pytest.raises(ModelMismatchError):
            retriever.invoke(QUESTION, search_type=search_type)
    with pytest.raises(ModelMismatchError):
        retriever.add_documents([Document("새 글")])
    assert len(retriever) == 6


@pytest.mark.parametrize("embeddings", [KlueEmbeddings(), BigramEmbeddings(model="new")], ids=["packaged", "foreign"])
def test_one_call_makes_the_vectors_anew(folder: Path, embeddings: Any) -> None:
    rebuilt = KlueRetriever.rebuild(folder, embeddings=embeddings, k=3)
    fresh = KlueRetriever.from_documents(documents(title="안내"), embeddings=embeddings, k=3)
    for one in (rebuilt, KlueRetriever.load(folder, embeddings=embeddings, k=3)):
        assert len(one) == 6
        for search_type in ("hybrid", "dense", "lexical"):
            found, expected = (each.invoke(QUESTION, search_type=search_type) for each in (one, fresh))
            assert found == expected
            assert [x.metadata["relevance_score"] for x in found] == pytest.approx(
                [x.metadata["relevance_score"] for x in expected], abs=1e-5
            )


def test_a_store_and_a_bm25_retriever_are_built_anew(tmp_path: Path, folder: Path) -> None:
    KlueVectorStore.from_documents(documents(), BigramEmbeddings(model="old")).save(tmp_path / "store")
    with pytest.raises(ModelMismatchError):
        KlueVectorStore.load(tmp_path / "store")
    assert KlueVectorStore.rebuild(tmp_path / "store").similarity_search(QUESTION)[0].id == "d0"
    KlueBM25Retriever.from_documents(documents(), kiwi=False).save(tmp_path / "words")
    assert KlueBM25Retriever.rebuild(tmp_path / "words").invoke(QUESTION)[0].id == "d0"
    with pytest.raises(ValueError, match=r"KlueRetriever\.rebuild"):
        KlueBM25Retriever.rebuild(folder)


def test_words_that_were_split_in_another_way_are_split_again(tmp_path: Path) -> None:
    index = KlueBM25Retriever.from_documents(documents())._index
    old = PassageIndex(replace(index.settings, analysis=1))
    passages = index.get([f"d{number}" for number in range(6)])
    old.add(passages, index.tokens(passages))
    old.save(tmp_path)
    with pytest.raises(IndexFormatError, match="rebuild"):
        KlueBM25Retriever.load(tmp_path)
    assert KlueBM25Retriever.rebuild(tmp_path).invoke(QUESTION)[0].id == "d0"
    assert KlueBM25Retriever.load(tmp_path).invoke(QUESTION)[0].id == "d0"


def test_an_empty_index_is_built_anew(tmp_path: Path) -> None:
    KlueRetriever(embeddings=BigramEmbeddings(model="old")).save(tmp_path)
    assert len(KlueRetriever.rebuild(tmp_path)) == 0


LITTER = [".DS_Store", "._vectors.npy", "Thumbs.db", "desktop.ini", ".git/config", "__pycache__/x.pyc"]


def test_what_file_managers_leave_behind_changes_no_model_and_no_target(
    klue_bi_encoder_folder: Path, tmp_path: Path
) -> None:
    import shutil

    model = shutil.copytree(klue_bi_encoder_folder, tmp_path / "model")
    before = KlueEmbeddings(model=str(model)).identity
    target = tmp_path / "target"
    for name in LITTER:
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(b"litter")
    assert KlueEmbeddings(model=str(model)).identity == before
    (model / "modules.json").write_text("[]")
    assert KlueEmbeddings(model=str(model)).identity != before
    target.mkdir()
    (target / ".DS_Store").write_bytes(b"litter")
    for _ in range(2):
        KlueBM25Retriever.from_documents(documents(), kiwi=False).save(target)
    assert len(KlueBM25Retriever.load(target)) == 6


NO_KIWI = """
import sys
from langchain_core.documents import Document
from langchain_klue_rerank import KlueBM25Retriever, KlueRetriever, KlueVectorStore
from tests.unit_tests.fakes import BigramEmbeddings, LengthReranker
documents = [Document("전입신고 기한"), Document("여권 신청")]
for reranker in (None, LengthReranker()):
    for fields in (
        {"search_type": "lexical", "kiwi": False},
        {"search_type": "dense", "embeddings": BigramEmbeddings()},
        {"search_type": "dense", "embeddings": BigramEmbeddings(), "kiwi": False},
        {"search_type": "hybrid", "embeddings": BigramEmbeddings(), "kiwi": False},
    ):
        retriever = KlueRetriever.from_documents(documents, reranker=reranker, **fields)
        assert retriever.invoke("전입신고") and retriever.batch(["여권"])[0]
assert KlueVectorStore.from_documents(documents, BigramEmbeddings()).similarity_search("여권")
assert KlueBM25Retriever.from_documents(documents, kiwi=False).invoke("여권")
assert "kiwipiepy" not in sys.modules
"""


@pytest.mark.slow
def test_kiwi_is_loaded_by_nothing_that_does_not_need_it() -> None:
    subprocess.run([sys.executable, "-c", NO_KIWI], check=True, timeout=120)
