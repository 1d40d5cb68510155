"""What Windows does not have, and does not allow, as far as another system can tell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from langchain_klue_rerank.engine.arrays import manifest, storage
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from tests.unit_tests.engine.helpers import add, passage, small_index

#: The life of an index in a Python without what POSIX alone has.
WITHOUT_POSIX = """
import mmap, os, sys, warnings
for name in ("fcntl", "resource", "pwd", "grp", "termios", "pty"):
    sys.modules[name] = None
for name in ("fork", "register_at_fork", "sched_getaffinity", "getuid", "O_NONBLOCK", "posix_fallocate"):
    if hasattr(os, name):
        delattr(os, name)
for name in [name for name in dir(mmap) if name.startswith("MADV_")]:
    delattr(mmap, name)
real = open
def without_proc(file, *arguments, **options):
    if str(file).startswith("/proc"):
        raise FileNotFoundError(file)
    return real(file, *arguments, **options)
import builtins
builtins.open = without_proc
warnings.simplefilter("ignore")  # filelock tells that its locks are weaker
from pathlib import Path
import langchain_klue_rerank
from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.engine.index import vectors
vectors.LARGE = 2  # as a large index is searched
import langchain_klue_rerank.cli.main
folder = Path(sys.argv[1]) / "index"
texts = ["전입신고는 이사한 날부터 14일 안에 합니다.", "여권은 구청에서 신청합니다.", "쓰레기는 저녁에 내놓습니다."]
KlueRetriever.from_texts(texts, ids=["가", "나", "다"]).save(folder)
retriever = KlueRetriever.load(folder)
other = KlueRetriever.load(folder)
from langchain_core.documents import Document
retriever.add_documents([Document("자동차 등록은 구청에서 합니다.", id="라")])
retriever.delete(["다"])
retriever.save(folder)
other.refresh()
assert [one.id for one in other.invoke("이사하면 전입신고를 언제 하나요?", k=1)] == ["가"]
with KlueRetriever.editing(folder) as edited:
    edited.delete(["나"])
assert len(KlueRetriever.load(folder)) == 2
documents = Path(sys.argv[1]) / "글.txt"
documents.write_text("민원 상담은 평일에 합니다.", encoding="utf-8")
langchain_klue_rerank.cli.main.main(["index", str(documents), "--out", str(Path(sys.argv[1]) / "made")])
"""


@pytest.mark.slow
def test_an_index_lives_without_what_posix_alone_has(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def refused(number: int) -> PermissionError:
    error = PermissionError(13, "another process has it open")
    error.winerror = number  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize("number", [5, 32])
def test_a_manifest_that_somebody_has_open_is_replaced_when_he_closes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    index = small_index()
    index.save(tmp_path)
    real, tries = os.replace, []

    def replace(new: Any, old: Any) -> None:
        tries.append(old)
        if len(tries) < 4:
            raise refused(number)
        real(new, old)

    add(index, passage("새", "운전면허 갱신"))
    monkeypatch.setattr(os, "replace", replace)
    index.save(tmp_path)
    assert len(tries) == 4
    assert len(PassageIndex.load(tmp_path)) == len(index)


def test_a_manifest_that_stays_open_is_an_error_and_the_old_index_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = small_index()
    index.save(tmp_path)
    before = len(index)

    def replace(new: Any, old: Any) -> None:
        raise refused(32)

    add(index, passage("새", "운전면허 갱신"))
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(storage, "_PAUSES", (0.0, 0.0))
    with pytest.raises(PermissionError):
        index.save(tmp_path)
    assert len(PassageIndex.load(tmp_path)) == before
    assert len([*tmp_path.glob("data-*")]) == 1


def unnamed(folder: Path) -> set[Path]:
    """The files that the manifest does not name."""
    _, files, _ = manifest.parse(folder)
    named = {folder / file.data / name for name, file in files.items()}
    return {path for path in folder.glob("data-*/**/*") if path.is_file()} - named


def test_files_that_somebody_has_mapped_go_after_a_later_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = small_index()
    index.save(tmp_path)
    add(index, passage("새", "운전면허 갱신"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", lambda *_, **__: raised(refused(5)))
        index.save(tmp_path)
    assert unnamed(tmp_path)
    assert len(PassageIndex.load(tmp_path)) == len(index)
    add(index, passage("다시", "주민등록 등본"))
    index.save(tmp_path)
    assert not unnamed(tmp_path)
    assert len(PassageIndex.load(tmp_path)) == len(index)


def raised(error: Exception) -> None:
    raise error
