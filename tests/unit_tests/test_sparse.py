"""Sparse vectors have the product that this package's own lexical search computes, and engines can read the words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank import KlueBM25Retriever, KlueSparseEmbeddings, klue_tokens
from langchain_klue_rerank.engine.arrays import manifest as manifests
from langchain_klue_rerank.errors import IndexFormatError
from tests.unit_tests.fakes import QUESTION, TEXTS

WORDS = ["전입신고", "여권은", "14일", "C++", "신고합니다", "구청에서", "만든다", "GPT-4", "의", "101동,", "👍"]


def products(sparse: KlueSparseEmbeddings, query: str, texts: list[str]) -> list[float]:
    asked = sparse.embed_query(query).to_dict()
    vectors = [vector.to_dict() for vector in sparse.embed_documents(texts)]
    return [sum(asked.get(index, 0.0) * value for index, value in vector.items()) for vector in vectors]


@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join), min_size=1, max_size=8),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join),
    st.booleans(),
)
def test_the_product_is_the_lexical_score(texts: list[str], query: str, kiwi: bool) -> None:
    retriever = KlueBM25Retriever.from_texts(texts, ids=[*map(str, range(len(texts)))], k=len(texts), kiwi=kiwi)
    own = {one.id: one.metadata["relevance_score"] for one in retriever.invoke(query)}
    expected = [own.get(str(number), 0.0) for number in range(len(texts))]
    assert products(KlueSparseEmbeddings.fit(texts, kiwi=kiwi), query, texts) == pytest.approx(expected, abs=1e-5)


def test_without_fit_terms_weigh_alike_and_the_engine_counts_them() -> None:
    vector = KlueSparseEmbeddings(kiwi=False).embed_query("구청 구청 여권")
    assert sorted(vector.values) == pytest.approx([1 / 3, 2 / 3])
    assert vector.indices == sorted(vector.indices)
    assert max(vector.indices) < KlueSparseEmbeddings.dimensions


@pytest.mark.parametrize("text", ["", " \n", "---", "👍"])
def test_nothing_finds_nothing(text: str) -> None:
    sparse = KlueSparseEmbeddings.fit([*TEXTS, text])
    assert sparse.embed_query(text).to_dict() == {}
    assert sparse.embed_documents([text])[0].to_dict() == {}
    assert sparse.embed_documents([]) == []


def test_a_collection_without_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="no text"):
        KlueSparseEmbeddings.fit(iter([]))


def test_what_is_no_list_of_texts_is_refused() -> None:
    wrong: Any
    for wrong in (TEXTS[0], [TEXTS[0], None], [7]):
        with pytest.raises(TypeError, match="string"):
            KlueSparseEmbeddings.fit(wrong)
        with pytest.raises(TypeError, match="string"):
            KlueSparseEmbeddings().embed_documents(wrong)
    with pytest.raises(TypeError, match="Text number 0 is None"):
        KlueSparseEmbeddings().embed_query(None)  # type: ignore[arg-type]
    one_by_one: Any = (text for text in TEXTS)
    assert len(KlueSparseEmbeddings().embed_documents(one_by_one)) == len(TEXTS)


def test_what_was_fitted_is_saved_and_loaded(tmp_path: Path) -> None:
    sparse = KlueSparseEmbeddings.fit(TEXTS)
    sparse.save(tmp_path / "sparse")
    loaded = KlueSparseEmbeddings.load(tmp_path / "sparse")
    assert loaded.embed_query(QUESTION) == sparse.embed_query(QUESTION)
    assert loaded.embed_documents(TEXTS) == sparse.embed_documents(TEXTS)
    with pytest.raises(ValueError, match="fit"):
        KlueSparseEmbeddings().save(tmp_path / "other")
    KlueBM25Retriever.from_texts(TEXTS).save(tmp_path / "index")
    with pytest.raises(IndexFormatError, match="no sparse embeddings"):
        KlueSparseEmbeddings.load(tmp_path / "index")


def test_vectors_of_other_words_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_klue_rerank import sparse as module

    KlueSparseEmbeddings.fit(TEXTS).save(tmp_path / "sparse")
    monkeypatch.setattr(module, "ANALYSIS_VERSION", 99)
    with pytest.raises(IndexFormatError, match="fit"):
        KlueSparseEmbeddings.load(tmp_path / "sparse")


@pytest.mark.parametrize(
    "change",
    [{"passages": 0}, {"passages": "many"}, {"mean_lengths": {}}, {"mean_lengths": {"morpheme": -1, "bigram": 1}}],
)
def test_damaged_statistics_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = tmp_path / "sparse"
    KlueSparseEmbeddings.fit(TEXTS).save(folder)
    path = folder / manifests.MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["config"].update(change)
    manifest.pop("checksum", None)
    manifest["checksum"] = manifests.checksum_of(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(IndexFormatError):
        KlueSparseEmbeddings.load(folder)


def test_a_value_for_postgresql() -> None:
    vector = KlueSparseEmbeddings(kiwi=False).embed_query("구청")
    assert vector.to_sparsevec() == f"{{{vector.indices[0] + 1}:1.0}}/{KlueSparseEmbeddings.dimensions}"


async def test_async_gives_the_same() -> None:
    sparse = KlueSparseEmbeddings.fit(TEXTS)
    assert await sparse.aembed_query(QUESTION) == sparse.embed_query(QUESTION)
    assert await sparse.aembed_documents(TEXTS) == sparse.embed_documents(TEXTS)


@given(st.text())
def test_tokens_hold_letters_and_digits_only(text: str) -> None:
    assert re.fullmatch(r"([0-9a-z\uac00-\ud7a3\u3131-\u318e\u4e00-\u9fff]+( |$))*", klue_tokens(text))


def test_tokens_tell_names_apart() -> None:
    assert len({klue_tokens(name) for name in ("C", "C++", "C#")}) == 3
    assert klue_tokens("전입신고를") == klue_tokens("전입신고를 ".strip())
    assert set(klue_tokens("신고합니다").split()) & set(klue_tokens("신고를 했다").split())
    assert klue_tokens("") == ""
    assert np.all([token.endswith("bi") for token in klue_tokens("전입신고", kiwi=False).split()])


def test_words_and_an_index_do_not_replace_each_other(tmp_path: Path) -> None:
    texts = ["전입신고는 14일 안에 합니다.", "여권은 구청에서 만듭니다."]
    sparse, retriever = KlueSparseEmbeddings.fit(texts), KlueBM25Retriever.from_texts(texts)
    retriever.save(tmp_path / "index")
    sparse.save(tmp_path / "words")
    with pytest.raises(IndexFormatError, match="holds an index"):
        sparse.save(tmp_path / "index")
    with pytest.raises(IndexFormatError, match="holds sparse embeddings"):
        retriever.save(tmp_path / "words")
    retriever.save(tmp_path / "index")  # of the same kind both are replaced as before
    sparse.save(tmp_path / "words")
    assert len(KlueBM25Retriever.load(tmp_path / "index")) == 2
    assert KlueSparseEmbeddings.load(tmp_path / "words").embed_query("여권") == sparse.embed_query("여권")
