"""What holds of every index, whichever class has it, in memory and saved."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from langchain_klue_rerank.errors import IndexChangedError, IndexFormatError
from tests.unit_tests.fakes import HOSTILE, QUESTION, TEXTS, documents, same


def data_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in ("manifest.json", ".lock"))


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


class IndexTests:
    """Subclass it and say how to build, load and ask."""

    def build(self, given: list[Document]) -> Any:
        raise NotImplementedError

    def load(self, folder: Path) -> Any:
        raise NotImplementedError

    def ask(self, index: Any, query: str = QUESTION, **how: Any) -> list[Document]:
        raise NotImplementedError

    # --- in memory ----------------------------------------------------------------------------------------------------

    def test_a_query_without_a_word_finds_nothing(self) -> None:
        index = self.build(documents())
        assert [self.ask(index, query) for query in ("", "  ", "\t\n", "\u3000", "?!")] == [[]] * 5

    def test_what_is_no_text_is_refused(self) -> None:
        index = self.build(documents())
        query: Any
        for query in (None, 3, ["전입신고"]):
            with pytest.raises(TypeError, match="expected a string"):
                self.ask(index, query)
        for wrong in (None, 4, b"bytes"):
            with pytest.raises(TypeError, match="expected a string"):
                type(index).from_texts(["글", wrong])
            with pytest.raises(TypeError, match="expected Documents"):
                index.add_documents([Document("글"), wrong])
        assert len(index) == 6

    def test_hostile_texts(self) -> None:
        index = self.build([*documents(), *(Document(text, id=name) for name, text in HOSTILE.items())])
        assert self.ask(index)
        for text in HOSTILE.values():
            for one in self.ask(index, text, k=20):
                assert one.page_content == HOSTILE.get(str(one.id), one.page_content)
                assert 0 <= one.metadata.get("relevance_score", 0) <= 1
        assert [one.page_content for one in index.get_by_ids(list(HOSTILE))] == list(HOSTILE.values())

    def test_documents_are_not_changed_and_not_shared(self, tmp_path: Path) -> None:
        given = [Document("소독은 매월 첫째 화요일입니다.", id="new", metadata={"tags": ["소독"]})]
        before = copy.deepcopy(given)
        index = self.build(documents())
        index.add_documents(given)
        assert given == before
        given[0].metadata["tags"].append("later")
        index.save(tmp_path / "index")
        for one in (index, self.load(tmp_path / "index")):
            for _ in range(2):
                found = next(each for each in self.ask(one, "소독은 매월 첫째 화요일", k=7) if each.id == "new")
                assert (found.page_content, found.metadata["tags"]) == (given[0].page_content, ["소독"])
                found.metadata["tags"].append("by a reader")
                [got] = one.get_by_ids(["new"])
                assert got == before[0]
                got.metadata["tags"].append("by a reader")

    def test_documents_and_ids_may_come_one_by_one(self) -> None:
        index = self.build([])
        added = index.add_documents((one for one in documents()), ids=(f"n{place}" for place in range(6)))
        assert added == [one.id for one in index.documents()] == [f"n{place}" for place in range(6)]
        index.delete(np.array(["n0", "n1"]))
        index.delete(name for name in ["n2"])
        assert [one.id for one in index.documents()] == ["n3", "n4", "n5"]
        metadatas = ({"page": page} for page in range(2))
        made = type(index).from_texts((text for text in TEXTS[:2]), metadatas=metadatas, ids=(i for i in ("a", "b")))
        assert [(one.id, one.metadata) for one in made.documents()] == [("a", {"page": 0}), ("b", {"page": 1})]
        with pytest.raises(TypeError, match="one string"):
            type(index).from_texts(TEXTS[0])
        with pytest.raises(TypeError, match=r"ids=.*one string"):
            index.add_documents(documents()[:2], ids="ab")

    def test_deleting(self) -> None:
        index = self.build(documents())
        with pytest.raises(ValueError, match="ids or a filter"):
            index.delete()  # a forgotten argument empties nothing
        ids: Any
        for ids in ("d1", [1], [None]):
            with pytest.raises(TypeError, match="string"):
                index.delete(ids)
        with pytest.raises(TypeError, match=r"ids=.*one string"):
            index.get_by_ids("d0")
        assert len(index) == 6
        index.delete(["d0", "unknown"])
        index.delete([])
        index.delete(filter={"number": [1, 2]})
        assert [one.id for one in index.documents()] == ["d3", "d4", "d5"]
        assert [one.id for one in index.get_by_ids(["d5", "d0", "d3"])] == ["d5", "d3"]
        assert {one.id for one in self.ask(index, " ".join(TEXTS), k=6)} == {"d3", "d4", "d5"}
        index.delete(["d3", "d4", "d5"])
        assert self.ask(index) == []
        index.add_documents(documents()[:1])
        assert [one.id for one in self.ask(index)] == ["d0"]

    # --- saved --------------------------------------------------------------------------------------------------------

    def test_gives_the_same_answers(self, tmp_path: Path) -> None:
        index = self.build(documents(title="안내", nested={"쪽": [1, None, 2.5], "참": True}))
        index.save(tmp_path / "index")
        loaded = self.load(tmp_path / "index")
        assert len(loaded) == len(index) == 6
        assert self.ask(loaded)
        for query in [QUESTION, *TEXTS]:
            assert self.ask(loaded, query) == self.ask(index, query)

    def test_goes_on_after_loading(self, tmp_path: Path) -> None:
        """Adding, replacing, deleting and saving again to the same folder: as if never saved, as if built anew."""
        replaced = Document("전입신고 서식은 창구에 있습니다.", id="d1", metadata={"number": 7})
        anew = self.build([*documents()[2:], replaced])
        index = self.build(documents()[:3])
        index.save(tmp_path)
        loaded = self.load(tmp_path)
        for one in (index, loaded):
            one.add_documents(documents()[3:])
            one.add_documents([replaced])
            one.delete(["d0", "unknown"])
        loaded.save(tmp_path)
        again = self.load(tmp_path)
        assert len(index) == len(loaded) == len(again) == 5
        for query in [QUESTION, *TEXTS]:
            for one in (loaded, again, anew):
                same(self.ask(one, query), self.ask(index, query))

    def test_an_empty_index(self, tmp_path: Path) -> None:
        index = self.build([])
        index.save(tmp_path)
        loaded = self.load(tmp_path)
        for empty in (index, loaded):
            assert len(empty) == 0
            assert empty  # an empty index is an index
            assert self.ask(empty) == []
        loaded.add_documents(documents())
        assert self.ask(loaded) == self.ask(self.build(documents()))

    def test_saving_replaces_what_was_there(self, tmp_path: Path) -> None:
        self.build(documents()).save(tmp_path)
        before = len(content(tmp_path))
        self.build(documents()[:2]).save(tmp_path)
        assert len(self.load(tmp_path)) == 2
        assert len(content(tmp_path)) == before

    def test_metadata_that_cannot_be_saved_is_refused_when_it_is_added(self, tmp_path: Path) -> None:
        index = self.build(documents())
        for bad in ({"when": threading.Lock()}, {"data": b"bytes"}, {("a", 1): "number"}):
            with pytest.raises(ValueError, match=r"'guilty'.*cannot be"):
                index.add_documents([Document("새 글", id="d0"), Document("여권", id="guilty", metadata=bad)])
        assert index.documents() == documents()
        index.add_documents([Document("여권", id="guilty", metadata={"tags": {1, 2}, 7: "number"})])
        index.save(tmp_path)
        [found] = self.load(tmp_path)._index.get(["guilty"])
        assert found.metadata == {"tags": [1, 2], "7": "number"}

    def test_a_reader_sees_what_a_writer_saved(self, tmp_path: Path) -> None:
        given = documents()
        writer = self.build(given[:3])
        with pytest.raises(ValueError, match="neither loaded nor saved"):
            writer.refresh()
        writer.save(tmp_path / "index")
        readers = [self.load(tmp_path / "index") for _ in range(2)]
        assert [reader.refresh() for reader in [*readers, writer]] == [False, False, False]
        writer.add_documents(given[3:])
        assert [reader.refresh() for reader in readers] == [False, False]  # it is not saved yet
        writer.save(tmp_path / "index")
        assert [reader.refresh() for reader in [*readers, writer]] == [True, True, False]
        for reader in readers:
            assert not reader.refresh()
            assert [self.ask(reader, text) for text in TEXTS] == [self.ask(writer, text) for text in TEXTS]
        readers[0].delete([str(given[0].id)])
        readers[0].save(tmp_path / "index")  # of what it has read again it may be the next writer
        assert writer.refresh()
        assert len(writer) == len(readers[0]) == 5

    def test_a_link_that_leads_to_another_index_is_followed(self, tmp_path: Path) -> None:
        first, second, link = (tmp_path / name for name in ("first", "second", "current"))
        self.build(documents()[:2]).save(first)
        self.build(documents()[2:]).save(second)
        try:
            link.symlink_to(first, target_is_directory=True)
        except OSError:
            pytest.skip("this user may make no links")
        reader, writer = self.load(link), self.load(link)
        assert not reader.refresh()
        link.unlink()
        link.symlink_to(second, target_is_directory=True)  # as a deployment switches versions
        assert reader.refresh()
        assert [one.id for one in reader.documents()] == ["d2", "d3", "d4", "d5"]
        assert not reader.refresh()
        writer.delete(["d0"])
        with pytest.raises(IndexChangedError):
            writer.save(link)  # the second index is not what it has read
        writer.save(first)
        assert [len(self.load(folder)) for folder in (first, second)] == [1, 4]

    def test_refresh_loses_no_changes(self, tmp_path: Path) -> None:
        given = documents()
        writer = self.build(given[:3])
        writer.save(tmp_path / "index")
        reader = self.load(tmp_path / "index")
        reader.delete([str(given[0].id)])
        assert not reader.refresh()  # nobody has saved anything
        writer.add_documents(given[3:])
        writer.save(tmp_path / "index")
        with pytest.raises(IndexChangedError, match="not saved"):
            reader.refresh()
        assert len(reader) == 2
        reader.save(tmp_path / "other")
        assert not reader.refresh()

    def test_refresh_keeps_the_index_when_the_folder_is_damaged(self, tmp_path: Path) -> None:
        writer = self.build(documents()[:3])
        writer.save(tmp_path / "index")
        reader = self.load(tmp_path / "index")
        writer.add_documents(documents()[3:])
        writer.save(tmp_path / "index")
        next(path for path in data_files(tmp_path / "index") if path.suffix == ".npy").write_bytes(b"")
        with pytest.raises(IndexFormatError):
            reader.refresh()
        assert len(reader) == 3
        assert self.ask(reader)

    def test_stats_count_what_there_is(self, tmp_path: Path) -> None:
        index = self.build(documents())
        before = index.stats()
        assert (before.passages, before.removed, before.folder, before.disk) == (6, 0, None, {})
        assert sum(before.mapped.values()) == 0
        assert all(before.memory.values())
        index.save(tmp_path / "index")
        saved = index.stats()
        assert saved.folder == str((tmp_path / "index").resolve())
        assert sum(saved.disk.values()) == sum(
            path.stat().st_size for path in data_files(tmp_path / "index") if path.name != ".sources.json"
        )
        assert set(saved.disk) <= set(saved.memory)
        loaded = self.load(tmp_path / "index").stats()
        assert loaded.segments == 1
        assert loaded.models == saved.models
        assert sum(loaded.mapped.values()) == 0  # small files are read
        index.delete([str(documents()[0].id)])
        assert (index.stats().passages, index.stats().removed) == (5, 1)
