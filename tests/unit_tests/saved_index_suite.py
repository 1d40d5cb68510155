"""What holds of every saved index, whichever class wrote it."""

from __future__ import annotations

import builtins
import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from langchain_klue_rerank.engine.arrays.manifest import VERSION
from langchain_klue_rerank.errors import IndexChangedError, IndexFormatError
from tests.unit_tests.fakes import QUESTION, TEXTS, documents, same


def data_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in ("manifest.json", ".lock"))


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


class SavedIndexTests:
    """Subclass it and say how to build, load and ask."""

    def build(self, given: list[Document]) -> Any:
        raise NotImplementedError

    def load(self, folder: Path) -> Any:
        raise NotImplementedError

    def ask(self, index: Any, query: str = QUESTION) -> list[Document]:
        raise NotImplementedError

    def test_gives_the_same_answers(self, tmp_path: Path) -> None:
        index = self.build(documents(title="안내", nested={"쪽": [1, None, 2.5], "참": True}))
        index.save(tmp_path / "index")
        loaded = self.load(tmp_path / "index")
        assert len(loaded) == len(index) == 6
        assert self.ask(loaded)
        for query in [QUESTION, *TEXTS]:
            assert self.ask(loaded, query) == self.ask(index, query)

    def test_goes_on_after_loading(self, tmp_path: Path) -> None:
        """Adding, replacing, deleting and saving again to the same folder: as if never saved."""
        index = self.build(documents()[:3])
        index.save(tmp_path)
        loaded = self.load(tmp_path)
        for one in (index, loaded):
            one.add_documents(documents()[3:])
            one.add_documents([Document("전입신고 서식은 창구에 있습니다.", id="d1")])
            one.delete(["d0", "unknown"])
        loaded.save(tmp_path)
        again = self.load(tmp_path)
        assert len(index) == len(loaded) == len(again) == 5
        for query in [QUESTION, *TEXTS]:
            same(self.ask(loaded, query), self.ask(index, query))
            same(self.ask(again, query), self.ask(index, query))

    def test_an_empty_index(self, tmp_path: Path) -> None:
        self.build([]).save(tmp_path)
        loaded = self.load(tmp_path)
        assert len(loaded) == 0
        assert self.ask(loaded) == []
        loaded.add_documents(documents())
        assert self.ask(loaded) == self.ask(self.build(documents()))

    def test_saving_replaces_what_was_there(self, tmp_path: Path) -> None:
        self.build(documents()).save(tmp_path)
        before = len(content(tmp_path))
        self.build(documents()[:2]).save(tmp_path)
        assert len(self.load(tmp_path)) == 2
        assert len(content(tmp_path)) == before

    def test_saves_no_pickle(self, tmp_path: Path) -> None:
        self.build(documents()).save(tmp_path)
        assert {path.suffix for path in data_files(tmp_path)} <= {".json", ".jsonl", ".npy", ".txt"}
        for path in tmp_path.rglob("*.npy"):
            assert np.load(path, allow_pickle=False).dtype != object

    def test_hostile_texts_survive(self, tmp_path: Path) -> None:
        texts = ["", "줄\n바꿈\r\n과\u2028다른 줄", "반쪽 \ud83d 글자", "\x00제어\x1b", "🚚 이사", '{"text": "가짜"}']
        given = [Document(text, id=f"글\n{number}", metadata={"키\n": text}) for number, text in enumerate(texts)]
        index = self.build([*given, *documents()])
        index.save(tmp_path)
        loaded = self.load(tmp_path)
        assert self.ask(loaded) == self.ask(index)
        assert [(one.text, one.metadata) for one in loaded._index.get([one.id for one in given])] == [
            (one.page_content, one.metadata) for one in given
        ]

    # --- damage -----------------------------------------------------------------------------------------------------

    def test_what_is_no_index_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(IndexFormatError, match="no such folder"):
            self.load(tmp_path / "missing")
        with pytest.raises(IndexFormatError, match="not an index"):
            self.load(tmp_path)
        (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
        with pytest.raises(IndexFormatError, match="not an index"):
            self.load(tmp_path)
        (tmp_path / "manifest.json").write_text("<html>")
        with pytest.raises(IndexFormatError, match="damaged"):
            self.load(tmp_path)

    def test_every_truncated_edited_or_missing_file_is_noticed(self, tmp_path: Path) -> None:
        self.build(documents()).save(tmp_path)
        for path in data_files(tmp_path):
            original = path.read_bytes()
            damages = (
                [original[:-1], original + b" ", original[:-1] + bytes([original[-1] ^ 1])] if original else [b"x"]
            )
            for damaged in damages:
                path.write_bytes(damaged)
                with pytest.raises(IndexFormatError, match=path.name):
                    self.load(tmp_path)
            path.unlink()
            with pytest.raises(IndexFormatError, match=path.name):
                self.load(tmp_path)
            path.write_bytes(original)
        assert self.ask(self.load(tmp_path)) == self.ask(self.build(documents()))

    def test_an_edited_manifest_is_noticed(self, tmp_path: Path) -> None:
        self.build(documents()).save(tmp_path)
        manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
        manifest["config"]["title_key"] = "name"
        (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        with pytest.raises(IndexFormatError, match="edited"):
            self.load(tmp_path)

    @pytest.mark.parametrize("version", [VERSION + 1, 99, "1", None])
    def test_a_newer_version_is_refused(self, tmp_path: Path, version: Any) -> None:
        self.build(documents()).save(tmp_path)
        manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
        manifest["version"] = version
        (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        with pytest.raises(IndexFormatError, match="Upgrade"):
            self.load(tmp_path)

    # --- saving that fails ------------------------------------------------------------------------------------------

    def test_nothing_else_is_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(IndexFormatError, match=r"thesis\.txt"):
            self.build(documents()).save(tmp_path)
        assert content(tmp_path) == {"thesis.txt": b"mine"}
        with pytest.raises(IndexFormatError, match="is a file"):
            self.build(documents()).save(tmp_path / "thesis.txt")

    def test_metadata_that_cannot_be_saved_is_refused_when_it_is_added(self, tmp_path: Path) -> None:
        index = self.build(documents())
        for bad in ({"when": object()}, {"data": b"bytes"}, {("a", 1): "number"}):
            with pytest.raises(ValueError, match="guilty"):
                index.add_documents([Document("여권", id="guilty", metadata=bad)])
        index.add_documents([Document("여권", id="guilty", metadata={"tags": {1, 2}, 7: "number"})])
        index.save(tmp_path)
        [found] = self.load(tmp_path)._index.get(["guilty"])
        assert found.metadata == {"tags": [1, 2], "7": "number"}

    @pytest.mark.parametrize("call", ["save", "fsync", "replace"])
    def test_a_failing_disk_leaves_the_old_index(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        self.build(documents()).save(tmp_path)
        before = content(tmp_path)

        def full(*_: Any, **__: Any) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

        index = self.build(documents()[:2])
        with monkeypatch.context() as patch:
            if call == "save":
                patch.setattr(np, "save", full)
                patch.setattr(Path, "write_bytes", full)
                patch.setattr(Path, "write_text", full)
            else:
                patch.setattr(f"os.{call}", full)
            with pytest.raises(OSError, match="No space left"):
                index.save(tmp_path)
        assert content(tmp_path) == before
        assert len(self.load(tmp_path)) == 6
        index.save(tmp_path)
        assert len(self.load(tmp_path)) == 2

    def test_loading_runs_no_code(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.build(documents()).save(tmp_path)

        def forbidden(*_: Any, **__: Any) -> Any:
            raise AssertionError("loading an index must not unpickle or evaluate anything")

        monkeypatch.setattr("pickle.load", forbidden)
        monkeypatch.setattr("pickle.loads", forbidden)
        monkeypatch.setattr(builtins, "eval", forbidden)
        assert len(self.load(tmp_path)) == 6

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
