from __future__ import annotations

import copy
import pickle
import sys
import threading
from pathlib import Path

import pytest
from pytest_socket import SocketBlockedError

from langchain_klue_rerank.engine.models.names import PACKAGED, identity, resolve
from langchain_klue_rerank.engine.models.opening import load_bi_encoder, load_cross_encoder
from langchain_klue_rerank.engine.models.options import CrossEncoderOptions
from langchain_klue_rerank.engine.threads import Lazy
from langchain_klue_rerank.errors import KlueRerankError, MissingExtraError, ModelLoadError
from tests.parallel import in_threads

OPTIONS = CrossEncoderOptions(device="cpu")
LOADERS = pytest.mark.parametrize("load", [load_bi_encoder, load_cross_encoder])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "모델"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(300_000))
    return folder


def test_resolve(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(None) == PACKAGED
    assert resolve("packaged") == PACKAGED
    assert resolve(str(folder)) == folder
    for hub_id in ("BAAI/bge-m3", "klue/roberta-base", "gpt2", "a_b/c.d-e"):
        assert resolve(hub_id) == hub_id
    monkeypatch.setenv("HOME", str(folder.parent))
    assert resolve("~/모델") == folder
    monkeypatch.chdir(folder.parent)
    assert resolve("모델") == folder  # absolute: a later change of the working directory changes no model


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "./없음",
        "/no/such/folder",
        "a/b/c",
        "~/없음",
        "~nobody-of-this-name/x",
        "C:\\models\\x",
        "x" * 5000,
        "a\0b",
    ],
)
def test_a_nonsense_name_is_refused_and_named(name: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        resolve(name)
    assert repr(name) in str(caught.value)


def test_a_file_is_refused(folder: Path) -> None:
    with pytest.raises(ModelLoadError, match="is a file"):
        resolve(str(folder / "config.json"))


def test_unit_tests_have_no_network() -> None:
    import socket

    with pytest.warns(UserWarning, match="socket"), pytest.raises(SocketBlockedError):
        socket.socket(socket.AF_INET)


# Identity


def test_a_folder_is_known_by_its_content_and_not_its_place(folder: Path) -> None:
    before = identity(str(folder))
    moved = folder.rename(folder.parent / "다른 곳")
    assert identity(str(moved)) == before


@pytest.mark.parametrize("place", [0, 150_000, -1])
def test_a_folder_with_other_weights_is_another_model(folder: Path, place: int) -> None:
    before = identity(str(folder))
    content = bytearray(300_000)
    content[place] = 1
    (folder / "model.safetensors").write_bytes(content)
    assert identity(str(folder)) != before


def test_every_file_of_a_folder_counts_but_its_description(folder: Path) -> None:
    before = identity(str(folder))
    (folder / "README.md").write_text("설명")
    assert identity(str(folder)) == before
    (folder / "1_Pooling" / "config.json").write_text('{"a": 1}')
    changed = identity(str(folder))
    assert changed != before
    (folder / "1_Pooling").rename(folder / "2_Pooling")
    assert identity(str(folder)) not in (before, changed)


def test_a_hub_model_is_known_by_name_and_revision() -> None:
    assert identity("BAAI/bge-m3") == identity("BAAI/bge-m3", "main")
    assert len({identity("BAAI/bge-m3"), identity("BAAI/bge-m3", "v2"), identity("BAAI/bge-m4")}) == 3


def test_the_packaged_model_is_known_by_its_weights() -> None:
    assert identity(None) == identity("packaged")
    assert identity(None).startswith("packaged:")


# Lazy


def test_many_threads_make_a_lazy_value_once() -> None:
    made = []
    inside = threading.Event()

    def make() -> object:
        made.append(1)
        inside.wait(0.05)  # the others come while it is being made
        return object()

    lazy = Lazy(make)
    found: list[object] = []
    in_threads(lambda: found.append(lazy()), 8)
    assert len(made) == 1
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_a_failure_is_tried_again() -> None:
    outcomes = iter([ModelLoadError("erst nicht"), ModelLoadError("noch nicht"), "model"])

    def make() -> object:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    lazy = Lazy(make)
    for _ in range(2):
        with pytest.raises(ModelLoadError):
            lazy()
    assert lazy() == "model"
    assert lazy() == "model"


def test_copies_and_pickles_have_not_been_made_yet() -> None:
    lazy = Lazy(list)
    original = lazy()
    original.append(1)
    for other in (copy.deepcopy(lazy), copy.copy(lazy), pickle.loads(pickle.dumps(lazy))):  # noqa: S301
        assert other() == []
        assert other() is other()
    assert lazy() is original


def test_a_loaded_lazy_value_that_cannot_be_pickled_does_not_matter() -> None:
    lazy: Lazy[object] = Lazy(threading.Lock)
    lazy()
    assert pickle.loads(pickle.dumps(lazy))() is not lazy()  # noqa: S301
    assert copy.deepcopy(lazy)() is not lazy()


# Loading


@LOADERS
def test_without_sentence_transformers_the_extra_is_named(
    load: object, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError) as caught:
        load(str(folder), OPTIONS)  # type: ignore[operator]
    assert 'pip install "langchain-klue-rerank[torch]"' in str(caught.value)
    assert str(folder) in str(caught.value)
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value, KlueRerankError)


@LOADERS
def test_a_hub_model_without_a_network(load: object) -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(ModelLoadError, match="nobody/no-such-model") as caught:
        load("nobody/no-such-model", OPTIONS)  # type: ignore[operator]
    assert "connection" in str(caught.value)


@LOADERS
def test_a_folder_that_holds_no_model(load: object, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    (tmp_path / "글.txt").write_text("모델이 아니다")
    with pytest.raises(ModelLoadError) as caught:
        load(str(tmp_path), OPTIONS)  # type: ignore[operator]
    assert str(tmp_path) in str(caught.value)


@LOADERS
def test_a_nonsense_name_is_refused_before_anything_is_loaded(load: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModelLoadError):
        load("/no/such/folder", OPTIONS)  # type: ignore[operator]
