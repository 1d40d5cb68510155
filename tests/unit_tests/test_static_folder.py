"""A folder in the packaged format is a model like the packaged one: tokens in, vectors out, no torch."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langchain_klue_rerank import KlueEmbeddings, KlueRetriever, KlueVectorStore
from langchain_klue_rerank.engine.arrays.unit_vectors import from_four_bits
from langchain_klue_rerank.engine.models.packaged import static_files
from langchain_klue_rerank.engine.models.packaged.static_files import StaticConfig
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize
from langchain_klue_rerank.errors import ModelLoadError, ModelMismatchError
from tests.unit_tests.fakes import QUESTION, TEXTS, documents


def write_model(folder: Path, seed: int = 0) -> Path:
    """A model with random rows: the same words still give the same vectors."""
    folder.mkdir()
    config = StaticConfig(dimension=64, morphemes=2, unknown_rows=500, ngram_rows=5000, repeat_power=0.75)
    vectors = np.random.default_rng(seed).standard_normal((config.rows, config.dimension), np.float32)
    static_files.save(folder, config, ["이사/NNG", "여권/NNG"], vectors, {})
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "내 모델")


def test_it_embeds(model: Path) -> None:
    embeddings = KlueEmbeddings(model=str(model))
    assert embeddings.reads_tokens
    assert len(embeddings.embed_query(QUESTION)) == 66  # two of them tell text from none
    vectors = embeddings.encoder.encode(TEXTS, "passage")
    tokens = tokenize(TEXTS, shared_analyzer())
    np.testing.assert_array_equal(embeddings.encoder.encode(TEXTS, "passage", tokens), vectors)
    assert embeddings.identity != KlueEmbeddings().identity


def test_other_folders_and_names_do_not_read_tokens(tmp_path: Path) -> None:
    assert KlueEmbeddings().reads_tokens
    assert not KlueEmbeddings(model="BAAI/bge-m3").reads_tokens
    assert not KlueEmbeddings(model=str(tmp_path)).reads_tokens


@pytest.mark.parametrize("kiwi", [True, False])
def test_a_retriever_searches_saves_and_loads_with_it(model: Path, tmp_path: Path, kiwi: bool) -> None:
    embeddings = KlueEmbeddings(model=str(model))
    retriever = KlueRetriever.from_documents(documents(), embeddings=embeddings, k=1, kiwi=kiwi)
    for search_type in ("dense", "hybrid"):
        [found] = retriever.invoke(QUESTION, search_type=search_type)
        assert found.id == "d0"
    # The vectors of an index are those of the text alone, whichever tokens lexical search reads.
    stored = retriever._index.vectors(["d0"])[0]
    np.testing.assert_allclose(stored, embeddings.encoder.encode(TEXTS[:1], "passage")[0], atol=1e-6)
    retriever.save(tmp_path / "index")
    again = KlueRetriever.load(tmp_path / "index", embeddings=KlueEmbeddings(model=str(model)))
    assert again.invoke(QUESTION)[0].id == "d0"
    with pytest.raises(ModelMismatchError):
        KlueRetriever.load(tmp_path / "index")


def test_a_moved_model_opens_its_index_and_a_changed_one_does_not(model: Path, tmp_path: Path) -> None:
    store = KlueVectorStore.from_documents(documents(), KlueEmbeddings(model=str(model)))
    store.save(tmp_path / "index")
    moved = model.rename(tmp_path / "moved")
    again = KlueVectorStore.load(tmp_path / "index", KlueEmbeddings(model=str(moved)))
    assert again.similarity_search(QUESTION, k=1)[0].id == "d0"
    # one number of one row, far from any sample that a fingerprint could take of a large file
    packed = np.load(moved / "vectors.npy")
    vectors = from_four_bits(packed, np.load(moved / "scales.npy"))
    vectors[1234, 5] *= -1
    shutil.rmtree(moved)
    moved.mkdir()
    config = StaticConfig(dimension=64, morphemes=2, unknown_rows=500, ngram_rows=5000, repeat_power=0.75)
    static_files.save(moved, config, ["이사/NNG", "여권/NNG"], vectors, {})
    with pytest.raises(ModelMismatchError):
        KlueVectorStore.load(tmp_path / "index", KlueEmbeddings(model=str(moved)))


@pytest.mark.slow
def test_it_runs_without_torch(model: Path) -> None:
    code = (
        "import sys; from langchain_klue_rerank import KlueEmbeddings;"
        f"KlueEmbeddings(model={str(model)!r}).embed_query('이사');"
        "assert not {'torch', 'sentence_transformers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=dict(os.environ))


@pytest.mark.parametrize("name", ["config.json", "vocabulary.txt", "vectors.npy", "scales.npy"])
@pytest.mark.parametrize("damage", ["missing", "cut", "edited"])
def test_a_damaged_folder_is_refused_by_name(model: Path, name: str, damage: str) -> None:
    path = model / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        changed = bytearray(content)
        place = content.index(b'"dimension"') if name == "config.json" else len(content) - 2
        changed[place + 1] ^= 1
        path.write_bytes(bytes(changed))
    with pytest.raises(ModelLoadError, match="내 모델"):
        KlueEmbeddings(model=str(model)).embed_query("이사")


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": None},
        {"sha256": {}},
        {"sha256": {"vectors.npy": "0"}},
        {"sha256": ["vectors.npy"]},
        {"dimension": 0},
        {"dimension": -64},
        {"dimension": 64.0},
        {"dimension": True},
        {"dimension": 10**30},
        {"unknown_rows": 0},
        {"ngram_rows": 0},
        {"morphemes": "2"},
        {"repeat_power": float("nan")},
        {"repeat_power": 2},
        {"repeat_power": "1"},
        {"format_version": 99},
        {"about": [[]] * 10},
    ],
    ids=str,
)
def test_a_folder_with_impossible_numbers_or_without_checksums_is_refused(model: Path, change: dict[str, Any]) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    embeddings = KlueEmbeddings(model=str(model))
    if "about" in change:  # for people to read
        assert len(embeddings.embed_query("이사")) == 66
        return
    with pytest.raises(ModelLoadError, match="내 모델"):
        embeddings.embed_query("이사")


@pytest.mark.parametrize(
    "content", ["[" * 200_000, "{" + " " * (1 << 21) + "}", "\udcff"], ids=["deep", "long", "bytes"]
)
def test_a_configuration_that_is_no_ordinary_json_is_refused(model: Path, content: str) -> None:
    (model / "config.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ModelLoadError, match="내 모델"):
        KlueEmbeddings(model=str(model)).embed_query("이사")


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_scales_that_are_not_finite_are_refused(model: Path, bad: float) -> None:
    scales = np.load(model / "scales.npy")
    scales[7] = bad
    np.save(model / "scales.npy", scales)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["sha256"]["scales.npy"] = hashlib.sha256((model / "scales.npy").read_bytes()).hexdigest()
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelLoadError, match="finite"):
        KlueEmbeddings(model=str(model)).embed_query("이사")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
@pytest.mark.parametrize("name", ["config.json", "vectors.npy"])
def test_a_pipe_in_a_models_place_does_not_hang(model: Path, name: str) -> None:
    (model / name).unlink()
    os.mkfifo(model / name)
    with pytest.raises(ModelLoadError):
        KlueEmbeddings(model=str(model)).embed_query("이사")
