"""KlueVectorStore.from_community_folder: what langchain-community's FAISS saved is read, and nothing in it is run."""

from __future__ import annotations

import builtins
import datetime
import logging
import os
import pickle
import struct
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from langchain_klue_rerank import KlueEmbeddings, KlueRetriever, KlueVectorStore
from langchain_klue_rerank.errors import IndexFormatError, ModelMismatchError
from tests.unit_tests.fakes import HOSTILE, QUESTION, TEXTS, BigramEmbeddings, documents

faiss = pytest.importorskip("faiss")
pytest.importorskip("langchain_community")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # every import from langchain_community warns
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.vectorstores import FAISS
    from langchain_community.vectorstores.utils import DistanceStrategy


def saved(folder: Path, given: list[Document] | None = None, embeddings: Any = None, **options: Any) -> FAISS:
    given = documents(tags=["공지"]) if given is None else given
    store = FAISS.from_documents(given, embeddings or BigramEmbeddings(), ids=[str(one.id) for one in given], **options)
    store.save_local(str(folder))
    return store


def rewrite(folder: Path, content: Any, protocol: int | None = None) -> None:
    (folder / "index.pkl").write_bytes(pickle.dumps(content, protocol))


@pytest.mark.parametrize("strategy", [DistanceStrategy.EUCLIDEAN_DISTANCE, DistanceStrategy.MAX_INNER_PRODUCT])
def test_documents_ids_metadata_and_vectors_are_kept(tmp_path: Path, strategy: DistanceStrategy) -> None:
    before = saved(tmp_path, distance_strategy=strategy)
    store = KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())
    assert store.documents() == documents(tags=["공지"])
    for query in (QUESTION, *TEXTS):
        expected = [one.id for one in before.similarity_search(query, k=6)]
        assert [one.id for one in store.similarity_search(query, k=6)] == expected
    np.testing.assert_allclose(store._index.vectors(["d3"])[0], before.index.reconstruct(3), atol=1e-6)


def test_vectors_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    embedded: list[str] = []

    class Counting(BigramEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            embedded.extend(texts)
            return super().embed_documents(texts)

    KlueVectorStore.from_community_folder(tmp_path, Counting())
    assert len(embedded) == 1  # to see whether it is the same model


def test_re_embedding_needs_no_faiss_file(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "index.faiss").unlink()
    store = KlueVectorStore.from_community_folder(tmp_path, KlueEmbeddings(), re_embed=True)
    assert [one.id for one in store.documents()] == [one.id for one in documents()]
    assert store.similarity_search(QUESTION, k=1)[0].id == "d0"


def test_langchain_community_need_not_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    real = builtins.__import__

    def refusing(name: str, *rest: Any) -> Any:
        if name.startswith(("langchain_community", "langchain_classic")):
            raise ImportError(name)
        return real(name, *rest)

    for name in [name for name in sys.modules if name.startswith("langchain_community")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refusing)
    assert len(KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())) == 6


def test_from_the_folder_to_a_hybrid_retriever_and_back_to_disk(tmp_path: Path) -> None:
    saved(tmp_path / "old", embeddings=KlueEmbeddings())
    store = KlueVectorStore.from_community_folder(tmp_path / "old")
    retriever = KlueRetriever.from_documents(store.documents())
    assert retriever.invoke(QUESTION)[0].id == "d0"
    store.save(tmp_path / "new")
    assert KlueVectorStore.load(tmp_path / "new").documents() == store.documents()


def test_another_index_name_and_an_empty_folder(tmp_path: Path) -> None:
    store = saved(tmp_path)
    store.save_local(str(tmp_path), "seoul")
    (tmp_path / "index.pkl").unlink()
    assert len(KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings(), index_name="seoul")) == 6
    empty = FAISS(BigramEmbeddings(), faiss.IndexFlatL2(64), InMemoryDocstore(), {})
    empty.save_local(str(tmp_path))
    assert KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings()).documents() == []


def test_after_adding_and_deleting_in_the_old_store(tmp_path: Path) -> None:
    store = saved(tmp_path)
    store.delete(["d1", "d4"])
    store.add_documents([Document("소독은 매월 첫째 화요일입니다.", id="new")], ids=["new"])
    store.save_local(str(tmp_path))
    found = KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())
    assert [one.id for one in found.documents()] == ["d0", "d2", "d3", "d5", "new"]
    assert found.similarity_search("소독은 매월 언제?", k=1)[0].id == "new"


def test_hostile_texts_survive(tmp_path: Path) -> None:
    given = [Document(text, id=name) for name, text in HOSTILE.items()]
    rewrite(tmp_path, (InMemoryDocstore({str(one.id): one for one in given}), dict(enumerate(HOSTILE))))
    assert KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings(), re_embed=True).documents() == given


# --- files of earlier years ---------------------------------------------------------------------------------------


def old_pickle(module: str, docstore_module: str, state: Any, protocol: int = 4) -> bytes:
    """A pickle of classes that live in other modules, with documents' state in an older shape."""

    class OldDocument:
        def __init__(self, text: str, metadata: dict[str, Any]) -> None:
            self.state = state(text, metadata)

        def __reduce__(self) -> Any:
            return (sys.modules["copyreg"].__newobj__, (OldDocument,), self.state)  # type: ignore[attr-defined]

    class OldDocstore:
        def __init__(self, content: Any) -> None:
            self._dict = content

    kinds = [(OldDocument, module, "Document"), (OldDocstore, docstore_module, "InMemoryDocstore")]
    stand_ins = {}
    for kind, home, name in kinds:
        kind.__module__, kind.__name__, kind.__qualname__ = home, name, name
        for parent in ("langchain", home):
            stand_ins.setdefault(parent, types.ModuleType(parent))
        stand_ins[home].__dict__[name] = kind
    kept = {home: sys.modules.get(home) for home in stand_ins}
    sys.modules.update(stand_ins)
    try:
        content = {f"d{n}": OldDocument(text, {"number": n}) for n, text in enumerate(TEXTS)}
        return pickle.dumps((OldDocstore(content), dict(enumerate(content))), protocol)
    finally:
        for home, module_ in kept.items():
            if module_ is None:
                del sys.modules[home]
            else:
                sys.modules[home] = module_


PYDANTIC_1 = {
    "pydantic 1": lambda text, metadata: {
        "__dict__": {"page_content": text, "metadata": metadata},
        "__fields_set__": {"page_content", "metadata"},
        "__private_attribute_values__": {},
    },
    "pydantic 1 with type": lambda text, metadata: {
        "__dict__": {"page_content": text, "metadata": metadata, "type": "Document"},
        "__fields_set__": {"page_content"},
        "__private_attribute_values__": {},
    },
    "plain": lambda text, metadata: {"page_content": text, "lookup_str": "", "metadata": metadata, "lookup_index": 0},
}


@pytest.mark.parametrize("state", PYDANTIC_1.values(), ids=PYDANTIC_1)
@pytest.mark.parametrize(
    ("module", "docstore"),
    [
        ("langchain.schema", "langchain.docstore.in_memory"),
        ("langchain.schema.document", "langchain.docstore.in_memory"),
        ("langchain.docstore.document", "langchain.docstore.in_memory"),
        ("langchain_core.documents.base", "langchain_community.docstore.in_memory"),
    ],
)
def test_files_of_earlier_years(tmp_path: Path, module: str, docstore: str, state: Any) -> None:
    (tmp_path / "index.pkl").write_bytes(old_pickle(module, docstore, state))
    found = KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings(), re_embed=True)
    assert found.documents() == documents()


# --- files that are not to be trusted -----------------------------------------------------------------------------


class RunsOnLoading:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call = call, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda path: RunsOnLoading(os.mkdir, str(path)), r"(posix|nt)\.mkdir"),
        (lambda path: RunsOnLoading(eval, f"__import__('os').mkdir({str(path)!r})"), "builtins.eval"),
        (lambda path: os.system, r"(posix|nt)\.system"),
        (lambda path: datetime.datetime(2026, 1, 1), "datetime.datetime"),
        (lambda path: np.float32(1), "numpy"),
        (lambda path: Path("a"), r"pathlib\.\w+"),
    ],
)
@pytest.mark.parametrize("place", ["metadata", "beside", "alone"])
@pytest.mark.parametrize("protocol", [4, 5])
def test_anything_else_is_refused_by_name_and_not_run(
    tmp_path: Path, make: Any, named: str, place: str, protocol: int
) -> None:
    saved(tmp_path)
    trace = tmp_path / "was run"
    value = make(trace)
    docstore, ids = InMemoryDocstore({"d0": Document(TEXTS[0])}), {0: "d0"}
    if place == "metadata":
        docstore = InMemoryDocstore({"d0": Document(TEXTS[0], metadata={"value": value})})
    rewrite(tmp_path, value if place == "alone" else (docstore, ids, value)[: 3 if place == "beside" else 2], protocol)
    with pytest.raises(IndexFormatError, match=named):
        KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())
    assert not trace.exists()


def test_one_file_leaves_nothing_behind_for_the_next(tmp_path: Path) -> None:
    """A pickle may set attributes of the classes that it names; they are this file's own."""
    saved(tmp_path)
    normal = (tmp_path / "index.pkl").read_bytes()
    # (None, {"__setstate__": Document}) as the state of the class Document itself
    name = b"\x8c\x1dlangchain_core.documents.base\x8c\x08Document\x93\x94"
    (tmp_path / "index.pkl").write_bytes(b"\x80\x04" + name + b"N}\x8c\x0c__setstate__h\x00s\x86b.")
    with pytest.raises(IndexFormatError):
        KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())
    (tmp_path / "index.pkl").write_bytes(normal)
    assert len(KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())) == 6


DOCSTORE = InMemoryDocstore({f"d{n}": Document(text) for n, text in enumerate(TEXTS)})
IDS = {n: f"d{n}" for n in range(6)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2, 3], "docstore"),
        ((1, 2), "docstore"),
        ((DOCSTORE, ["d0"]), "docstore"),
        ((Document("글"), IDS), "docstore"),
        ((DOCSTORE, {**IDS, 9: "d9"}), "from 0 up"),
        ((DOCSTORE, {n: f"d{n}" for n in range(5)}), "6 documents for 5 ids"),
        ((DOCSTORE, dict.fromkeys(range(6), "d0")), "6 documents for 1 ids"),
        ((DOCSTORE, {n: n for n in range(6)}), "6 documents for 6 ids"),
        ((InMemoryDocstore({"d0": "글"}), {0: "d0"}), "'d0'"),  # type: ignore[dict-item]
        ((InMemoryDocstore({"d0": Document("글")}), {0: "d0"}), "6 vectors for 1 documents"),
        ((InMemoryDocstore({"d0": Document("글")}), {0: "d0", 1: "d0"}), "same id"),
    ],
    ids=[
        "list",
        "no docstore",
        "ids in a list",
        "a document",
        "a row left out",
        "too few ids",
        "one id for all",
        "numbers as ids",
        "a string as document",
        "too few documents",
        "an id twice",
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    saved(tmp_path)
    rewrite(tmp_path, content)
    with pytest.raises(IndexFormatError, match=message):
        KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())


@pytest.mark.parametrize("name", ["index.pkl", "index.faiss"])
def test_missing_and_damaged_files(tmp_path: Path, name: str) -> None:
    saved(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for size in (0, 3, 20, 45, len(whole) // 2, len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises(IndexFormatError, match=name):
            KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())
    (tmp_path / name).unlink()
    with pytest.raises(IndexFormatError, match=name):
        KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())


@pytest.mark.parametrize(("offset", "form", "value"), [(4, "<i", 2**31 - 1), (4, "<i", -64), (8, "<q", 2**60)])
def test_a_faiss_file_that_lies_about_its_size(tmp_path: Path, offset: int, form: str, value: int) -> None:
    saved(tmp_path)
    content = bytearray((tmp_path / "index.faiss").read_bytes())
    struct.pack_into(form, content, offset, value)
    (tmp_path / "index.faiss").write_bytes(content)
    with pytest.raises(IndexFormatError, match="damaged"):
        KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())


def test_an_index_that_is_not_flat_is_refused_with_the_way_out(tmp_path: Path) -> None:
    store = saved(tmp_path)
    graph = faiss.IndexHNSWFlat(64, 8)
    graph.add(np.asarray(BigramEmbeddings().embed_documents(TEXTS), np.float32))
    store.index = graph
    store.save_local(str(tmp_path))
    with pytest.raises(IndexFormatError, match="re_embed=True"):
        KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())
    assert len(KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings(), re_embed=True)) == 6


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
@pytest.mark.parametrize("name", ["index.pkl", "index.faiss"])
def test_a_pipe_does_not_hang(tmp_path: Path, name: str) -> None:
    saved(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(IndexFormatError, match=name):
        KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())


def test_vectors_that_are_no_numbers(tmp_path: Path) -> None:
    saved(tmp_path)
    content = bytearray((tmp_path / "index.faiss").read_bytes())
    struct.pack_into("<f", content, len(content) - 4, float("nan"))
    (tmp_path / "index.faiss").write_bytes(content)
    with pytest.raises(IndexFormatError, match="finite"):
        KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())


# --- another model ------------------------------------------------------------------------------------------------


def test_another_dimension_is_refused_with_both_numbers(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(ModelMismatchError, match=r"64 dimensions.* have 32\b.*re_embed=True"):
        KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings(32))


def test_another_model_of_the_same_dimension_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Reversed(BigramEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            return super().embed_query(text)[::-1]

    saved(tmp_path)
    with caplog.at_level(logging.WARNING):
        KlueVectorStore.from_community_folder(tmp_path, BigramEmbeddings())
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        KlueVectorStore.from_community_folder(tmp_path, Reversed())
    assert "re_embed=True" in caplog.text


def test_vectors_of_other_lengths_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Longer(BigramEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            return [len(text) * value for value in super().embed_query(text)]

    saved(tmp_path, embeddings=Longer())
    with caplog.at_level(logging.WARNING):
        store = KlueVectorStore.from_community_folder(tmp_path, Longer())
    assert "cosine" in caplog.text
    unit = KlueVectorStore.from_documents(documents(tags=["공지"]), BigramEmbeddings())
    assert store.similarity_search(QUESTION) == unit.similarity_search(QUESTION)
