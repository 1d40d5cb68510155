from __future__ import annotations

import errno
import json
import os
import pickle
import re
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langchain_klue_rerank.engine.arrays import manifest, storage
from langchain_klue_rerank.engine.arrays.manifest import MANIFEST, VERSION, _sha256, checksum_of
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.errors import IndexFormatError
from tests.unit_tests.engine.helpers import SETTINGS, add, passage, search, small_index

QUERY = "전입신고 체류기간 연장 건강보험"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "색인 하나"
    small_index().save(folder)
    return folder


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != storage.LOCK
    }


def data_files(folder: Path) -> list[Path]:
    [data] = folder.glob("data-*")
    return sorted(path for path in data.rglob("*") if path.is_file())


def rewrite_manifest(folder: Path, **changes: Any) -> None:
    """Change a manifest and its checksum, as somebody would who means it."""
    path = folder / MANIFEST
    manifest = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    manifest = {key: value for key, value in manifest.items() if value is not None}
    manifest["checksum"] = checksum_of(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        replace(SETTINGS, dense=False, title_key=None),
        replace(SETTINGS, lexical=False, model="hub:BAAI/bge-m3@main"),
        replace(SETTINGS, window_words=2),
    ],
    ids=["both", "lexical", "dense", "windows"],
)
def test_round_trip(tmp_path: Path, settings: IndexSettings) -> None:
    index = small_index(settings)
    index.delete(["나"])
    index.save(tmp_path / "index")
    loaded = PassageIndex.load(tmp_path / "index")
    assert loaded.settings == settings
    assert len(loaded) == 2
    assert loaded.get(["가", "나", "다"]) == index.get(["가", "나", "다"])
    assert dict(search(loaded, QUERY)) == pytest.approx(dict(search(index, QUERY)))
    assert loaded.dimension == index.dimension


def test_the_folder_may_be_a_string_nested_and_moved(tmp_path: Path) -> None:
    small_index().save(str(tmp_path / "a" / "b"))  # type: ignore[arg-type]
    shutil.move(tmp_path / "a" / "b", tmp_path / "c")
    assert len(PassageIndex.load(str(tmp_path / "c"))) == 3  # type: ignore[arg-type]


def test_a_second_save_replaces_the_first(folder: Path) -> None:
    index = PassageIndex.load(folder)
    add(index, passage("라", "운전면허 갱신"))
    index.delete(["가"])
    index.save(folder)
    index.save(folder)
    assert len(list(folder.glob("[!.]*"))) == 3  # the manifest, the first save's data, the little that the second wrote
    for each in (index, PassageIndex.load(folder)):  # what was loaded from the old files still works
        assert [one.id for one in each.get(["가", "나", "다", "라"])] == ["나", "다", "라"]
        assert search(each, "운전면허", 1)[0][0] == "라"
        assert each.get(["나"])[0].metadata == {"title": "체류", "tags": ["비자"]}


def test_metadata_and_texts_survive_unchanged(tmp_path: Path) -> None:
    metadata = {
        "수": 1,
        "참": True,
        "없음": None,
        "실수": 0.1,
        "목록": [1, ["둘"]],
        "사전": {"a": "\u2028\n"},
        "": "빈 열쇠",
    }
    passages = [
        Passage("줄\n바꿈", "여러\n줄\r\n과 \u2028 \x00 문자", metadata),
        Passage("홀로", "반쪽 \ud83d 글자 \udc00", {"제목\ud800": "\udfff"}),
        Passage("나뉜", "\u1112\u1161\u11ab", {}),  # not normalised: given back as it came
        Passage("", "", {}),
        Passage("id\ud800", "\x1b그냥 🚚", {"키\n": '{"text": "가짜"}'}),
    ]
    index = PassageIndex(SETTINGS)
    add(index, *passages)
    index.save(tmp_path / "index")
    loaded = PassageIndex.load(tmp_path / "index")
    assert loaded.get([one.id for one in passages]) == passages
    loaded.save(tmp_path / "again")
    assert PassageIndex.load(tmp_path / "again").get([one.id for one in passages]) == passages


def test_rare_letters_can_be_saved_with_their_morphemes(tmp_path: Path) -> None:
    from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
    from langchain_klue_rerank.engine.text.tokenized import tokenize

    index = PassageIndex(replace(SETTINGS, kiwi=True, dense=False))
    texts = ["𠮷野家와 𝐀𝐁", "ㅋㅋ 漢字 ᄒ", "\ud83d 반쪽"]
    passages = [passage(str(number), text) for number, text in enumerate(texts)]
    index.add(passages, tokenize(texts, shared_analyzer()))
    index.save(tmp_path / "index")
    loaded = PassageIndex.load(tmp_path / "index")
    [found] = loaded.search(3, tokens=tokenize(["𠮷野家"], shared_analyzer()))
    assert [one.id for one in found.passages] == ["0"]


@pytest.mark.parametrize("value", [{1: "하나"}, (1, 2), {1}, np.float32(1)], ids=str)
def test_metadata_is_the_same_before_and_after_saving(tmp_path: Path, value: Any) -> None:
    index = PassageIndex(SETTINGS)
    add(index, Passage("가", "글", {"값": value}))
    index.save(tmp_path / "index")
    assert PassageIndex.load(tmp_path / "index").get(["가"]) == index.get(["가"])


# What is no index


def test_what_is_no_index_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(IndexFormatError, match="no such folder"):
        PassageIndex.load(tmp_path / "없음")
    file = tmp_path / "index"
    file.write_text("글")
    with pytest.raises(IndexFormatError, match="index"):
        PassageIndex.load(file)
    with pytest.raises(IndexFormatError, match="is a file"):
        small_index().save(file)
    assert file.read_text() == "글"
    for content in (None, '{"name": "web app"}', "[]", "3"):
        if content is not None:
            (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(IndexFormatError, match="not an index"):
            PassageIndex.load(tmp_path)


@pytest.mark.parametrize(
    "others",
    [
        {"노트.txt": "글"},
        {"manifest.json": '{"name": "web app"}', "index.html": ""},
        {"manifest.json": '{"name": "web app"}'},
        {"data-raw/표.csv": "1,2"},
        {"manifest.json": "{}", "data-raw/표.csv": "1,2"},
        {"data-2024.json": "{}"},
        {".git/config": ""},
    ],
    ids=lambda others: "+".join(others),
)
def test_a_folder_with_other_things_is_not_written_to(tmp_path: Path, others: dict[str, str]) -> None:
    for name, content in others.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    before = everything_in(tmp_path)
    with pytest.raises(IndexFormatError, match="other files"):
        small_index().save(tmp_path)
    assert everything_in(tmp_path) == before


def test_things_put_beside_an_index_are_left_alone(folder: Path) -> None:
    (folder / "data-raw").mkdir()
    (folder / "data-raw" / "원본.csv").write_text("1,2")
    small_index().save(folder)
    assert (folder / "data-raw" / "원본.csv").read_text() == "1,2"


# Several at once


def test_a_save_within_a_save_harms_neither(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a signal handler that saves before the process ends."""
    other = small_index()
    other.delete(["나"])
    write_manifest = manifest.write

    def write_and_let_another_save(*arguments: Any) -> None:
        write_manifest(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr(manifest, "write", write_manifest)
            other.save(folder)
        assert len(PassageIndex.load(folder)) == 2

    monkeypatch.setattr(manifest, "write", write_and_let_another_save)
    small_index().save(folder)
    assert len(PassageIndex.load(folder)) == 3


# Damage


def refused(folder: Path) -> str:
    with pytest.raises(IndexFormatError) as caught:
        PassageIndex.load(folder)
    return str(caught.value)


def test_every_file_is_guarded_against_truncation_edits_and_loss(folder: Path) -> None:
    files = data_files(folder)
    assert len(files) > 10
    for path in files:
        content = path.read_bytes()
        name = path.relative_to(next(folder.glob("data-*"))).as_posix()
        if content:
            path.write_bytes(content[:-1])
            message = refused(folder)
            assert name in message
            assert f"{len(content) - 1} bytes instead of {len(content)}" in message
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
            assert name in refused(folder)
        path.write_bytes(content + b"\n")
        assert name in refused(folder)
        path.unlink()
        assert name in refused(folder)
        path.write_bytes(content)
    assert len(PassageIndex.load(folder)) == 3


def test_a_damaged_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    content = path.read_text(encoding="utf-8")
    edited = content.replace('"title"', '"title2"')
    assert edited != content
    for damaged in (content[: len(content) // 2], content[:-2], "", "\xff", edited):
        path.write_text(damaged, encoding="latin-1" if damaged == "\xff" else "utf-8")
        assert "manifest.json" in refused(folder)
    path.write_text(content, encoding="utf-8")
    assert len(PassageIndex.load(folder)) == 3


def test_a_newer_version(folder: Path) -> None:
    rewrite_manifest(folder, version=VERSION + 1)
    message = refused(folder)
    assert f"version {VERSION + 1}" in message
    assert "Upgrade" in message


def test_an_index_of_the_first_version_has_one_vector_a_passage(folder: Path) -> None:
    """Version 1 knew nothing of windows."""
    expected = search(PassageIndex.load(folder), QUERY)
    config = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["config"]
    del config["window_words"]
    rewrite_manifest(folder, version=1, config=config)
    loaded = PassageIndex.load(folder)
    assert loaded.settings.window_words is None
    assert search(loaded, QUERY) == expected
    add(loaded, passage("라", "운전면허 갱신은 경찰서에서 한다 그리고 또"))
    loaded.save(folder)
    assert search(PassageIndex.load(folder), "운전면허")[0][0] == "라"


def test_files_that_contradict_each_other(folder: Path) -> None:
    """Checksums that are right do not make an index out of files that do not fit together."""
    for name, content in {
        "ids.json": b'["a"]',
        "words.txt": "전입신고\n".encode(),
        "passages.jsonl": b"",
        "segments.json": b'{"segments": ["../../outside"], "terms": []}',
        "bigram_terms.npy": npy([3, 3, 5]),
        "lexical/bigram_terms.npy": npy([0]),
    }.items():
        [path] = folder.glob(f"data-*/**/{name}")
        kept = path.read_bytes()
        manifest = (folder / "manifest.json").read_bytes()
        path.write_bytes(content)
        sign(folder)
        refused(folder)
        path.write_bytes(kept)
        (folder / "manifest.json").write_bytes(manifest)
    assert len(PassageIndex.load(folder)) == 3


def npy(numbers: list[int]) -> bytes:
    file = BytesIO()
    np.save(file, np.asarray(numbers, np.int32))
    return file.getvalue()


def sign(folder: Path) -> None:
    """Make the manifest say what the files are now."""
    [data] = folder.glob("data-*")
    files = {
        path.relative_to(data).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in data_files(folder)
    }
    rewrite_manifest(folder, files=files)


sprung: list[str] = []


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return spring, ("sprung",)


def spring(word: str) -> None:
    sprung.append(word)


def test_the_trap_springs() -> None:
    sprung.clear()
    pickle.loads(pickle.dumps(Trap()))  # noqa: S301
    assert sprung == ["sprung"]
    sprung.clear()


def test_nothing_is_ever_unpickled(folder: Path) -> None:
    arrays = [path for path in data_files(folder) if path.suffix == ".npy"]
    assert arrays
    for path in arrays:
        content = path.read_bytes()
        np.save(path, np.asarray([Trap()], object), allow_pickle=True)
        sign(folder)
        assert path.stem in refused(folder)
        path.write_bytes(content)
    assert sprung == []
    assert not [path for path in data_files(folder) if path.suffix not in {".npy", ".txt", ".json", ".jsonl"}]


@pytest.mark.parametrize(
    "array", [np.zeros(3, np.float64), np.zeros((1, 1, 3), np.float32), np.zeros((2, 3), np.float32)], ids=str
)
def test_an_array_of_another_kind(folder: Path, array: np.ndarray) -> None:
    [path] = [path for path in data_files(folder) if path.name == "vectors.npy"]
    np.save(path, array)
    sign(folder)
    assert "vectors" in refused(folder)


# A full disk


def full_disk(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> list[int]:
    """Let the call with that number, counted from 0, find the disk full."""
    original = getattr(owner, name)
    calls = [0]

    def fail(*arguments: Any, **settings: Any) -> Any:
        calls[0] += 1
        if calls[0] > call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments, **settings)

    monkeypatch.setattr(owner, name, fail)
    return calls


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        *[(manifest, "_sha256", call) for call in range(3)],
        *[(storage, "_fsync", call) for call in range(3)],
        (manifest, "write", 0),
        *[(os, "replace", 0), (np.lib.format, "write_array_header_1_0", 0)],
        *[(Path, "write_bytes", 0), (Path, "write_text", 0)],
    ],
)
def test_a_full_disk_leaves_the_old_index(
    folder: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int
) -> None:
    before = everything_in(folder)
    index = PassageIndex.load(folder)
    add(index, passage("라", "운전면허 갱신"))
    with monkeypatch.context() as patch:
        calls = full_disk(patch, owner, name, call)
        with pytest.raises(OSError, match="No space left"):
            index.save(folder)
        assert calls[0] >= call + 1  # files are synchronised several at a time
    assert everything_in(folder) == before
    assert {path.name.split("-")[0] for path in folder.glob("[!.]*")} == {"data", "manifest.json"}
    assert len(list(folder.glob("[!.]*"))) == 2
    assert len(PassageIndex.load(folder)) == 3
    index.save(folder)  # and when there is space again
    assert len(PassageIndex.load(folder)) == 4


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_a_folder_that_cannot_be_read_while_saving_is_an_error_and_the_old_index_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    index = PassageIndex.load(folder)
    add(index, passage("라", "운전면허 갱신"))
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if not isinstance(path, int) and Path(path).parent.name in ("segments", "terms"):
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        with pytest.raises(OSError, match=re.escape(os.strerror(number))):
            index.save(folder)
    assert len(PassageIndex.load(folder)) == 3
    index.save(folder)
    assert len(PassageIndex.load(folder)) == 4


def test_a_first_save_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        full_disk(patch, manifest, "write", 0)
        with pytest.raises(OSError, match="No space left"):
            small_index().save(tmp_path / "index")
    assert everything_in(tmp_path) == {}
    assert not list((tmp_path / "index").glob("[!.]*"))
    small_index().save(tmp_path / "index")
    assert len(PassageIndex.load(tmp_path / "index")) == 3


def test_an_interrupt_while_saving_leaves_the_old_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything_in(folder)

    def interrupt(path: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest, "_sha256", interrupt)
    with pytest.raises(KeyboardInterrupt):
        small_index().save(folder)
    assert everything_in(folder) == before
