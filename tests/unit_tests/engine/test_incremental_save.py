"""A save writes what is new: segments and terms that a folder has already stay as they are."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from langchain_klue_rerank.engine.arrays.manifest import MANIFEST
from langchain_klue_rerank.engine.index import saved
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.errors import IndexFormatError
from tests.unit_tests.engine.helpers import SETTINGS, add, passage, search, small_index

QUERY = "전입신고 체류기간"


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PassageIndex:
    """An index of 40 passages that was saved, and is not compacted when it is saved again."""
    monkeypatch.setattr(saved, "_FEW", 0)
    index = PassageIndex(SETTINGS)
    add(index, *(passage(f"글 {number}", f"전입신고 안내 {number} 번째 글", 쪽=number) for number in range(40)))
    index.save(tmp_path / "index")
    return index


def inodes(folder: Path) -> dict[int, Path]:
    """The files of an index by what the file system calls them."""
    return {path.stat().st_ino: path for path in folder.glob("data-*/**/*") if path.is_file()}


def new_bytes(before: dict[int, Path], folder: Path) -> int:
    return sum(path.stat().st_size for number, path in inodes(folder).items() if number not in before)


def test_what_was_saved_is_not_written_again(index: PassageIndex, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    for writer in (index, PassageIndex.load(folder)):
        writer.refresh()
        before = inodes(folder)
        whole = sum(path.stat().st_size for path in before.values())
        add(writer, passage(f"새 글 {id(writer)}", "체류기간 연장"))
        writer.delete(["글 1"])
        writer.save(folder)
        after = inodes(folder)
        assert len(before.keys() & after.keys()) > 12
        assert new_bytes(before, folder) < whole / 4
        loaded = PassageIndex.load(folder)
        assert loaded.find() == writer.find()
        assert search(loaded, QUERY, 50) == search(writer, QUERY, 50)
        assert loaded.stats().removed == 1


def test_a_reader_keeps_what_it_has_open(index: PassageIndex, tmp_path: Path) -> None:
    reader = PassageIndex.load(tmp_path / "index")
    before = search(reader, QUERY, 50)
    for number in range(3):
        add(index, passage(f"새 글 {number}", "체류기간 연장"))
        index.delete([f"글 {number}"])
        index.save(tmp_path / "index")
        assert search(reader, QUERY, 50) == before
    assert reader.refresh()
    assert reader.find() == index.find()


def test_the_parts_of_the_terms_stay_few(index: PassageIndex, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    for number in range(20):
        add(index, passage(f"새 글 {number}", f"낱말{number} 다른낱말{number}"))
        index.save(folder)
    assert len(list(folder.glob("data-*/terms/*"))) < 8
    assert len(list(folder.glob("data-*"))) < 12
    loaded = PassageIndex.load(folder)
    assert search(loaded, "다른낱말7", 50) == search(index, "다른낱말7", 50)
    assert [one.id for one in loaded.get(["새 글 7"])] == ["새 글 7"]


def test_an_index_without_any_word(tmp_path: Path) -> None:
    index = PassageIndex(SETTINGS)
    add(index, passage("가", "..."))
    index.save(tmp_path)
    add(index, passage("나", "!"))
    index.save(tmp_path)
    assert PassageIndex.load(tmp_path).find() == ["가", "나"]


def test_a_file_that_was_cut_is_written_again(index: PassageIndex, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    [path] = folder.glob("data-*/**/passages.jsonl")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(IndexFormatError):
        PassageIndex.load(folder)
    add(index, passage("새 글", "체류기간 연장"))
    index.save(folder)
    assert PassageIndex.load(folder).find() == index.find()


def test_no_file_is_left_that_no_manifest_names(index: PassageIndex, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    for number in range(5):
        add(index, passage(f"새 글 {number}", f"체류기간 연장 {number}"))
        index.delete([f"글 {number}"])
        (folder / "data-0123456789ab").mkdir()  # a killed save's
        (folder / "data-0123456789ab" / "passages.jsonl").write_text("{")
        index.save(folder)
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        assert {path.relative_to(folder).parts[1:] for path in inodes(folder).values()} == {
            tuple(name.split("/")) for name in files
        }
    index.save(folder, compact=True)
    assert len(list(folder.glob("data-*"))) == 1


def test_compact_leaves_nothing_of_removed_passages(index: PassageIndex, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    add(index, passage("비밀", "홍길동 주소"))
    index.save(folder)
    index.delete(["비밀"])

    def left() -> bool:
        return any(word.encode() in path.read_bytes() for path in inodes(folder).values() for word in ("비밀", "홍길"))

    index.save(folder)
    assert left()
    index.save(folder, compact=True)
    assert not left()
    assert PassageIndex.load(folder).stats().segments == 1


def test_two_indexes_that_grew_from_one_do_not_mix(index: PassageIndex, tmp_path: Path) -> None:
    """Both have the same first segment, and different words under the same numbers."""
    other = PassageIndex.load(tmp_path / "index")
    add(index, passage("왼쪽", "강물 바다"))
    add(other, passage("오른쪽", "산길 하늘"))
    index.save(tmp_path / "third")
    other.save(tmp_path / "third")
    loaded = PassageIndex.load(tmp_path / "third")
    assert loaded.find() == other.find()
    assert search(loaded, "산길 하늘", 50) == search(other, "산길 하늘", 50)


def test_an_index_of_version_2_is_read_and_saved_again(tmp_path: Path) -> None:
    """The archive was saved by the last release of that version: the passages of `small_index`."""
    with zipfile.ZipFile(Path(__file__).parent / "version_2.zip") as archive:
        archive.extractall(tmp_path)
    assert '"version": 2' in (tmp_path / MANIFEST).read_text(encoding="utf-8")
    index = PassageIndex.load(tmp_path)
    found = search(index, QUERY, 9)
    assert found == search(small_index(), QUERY, 9)
    index.save(tmp_path)
    assert '"version": 3' in (tmp_path / MANIFEST).read_text(encoding="utf-8")
    assert search(PassageIndex.load(tmp_path), QUERY, 9) == found
