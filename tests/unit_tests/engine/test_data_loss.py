"""An index that was saved is never lost: whatever ends, stops or hinders a writer, and whoever reads beside it."""

from __future__ import annotations

import copy
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langchain_klue_rerank import KlueBM25Retriever
from langchain_klue_rerank.engine.arrays import storage
from langchain_klue_rerank.engine.arrays.manifest import MANIFEST, checksum_of, parse
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import PassageTable
from langchain_klue_rerank.engine.index.segments.snapshot import View
from langchain_klue_rerank.errors import IndexChangedError, IndexFormatError, IndexLockedError
from tests.unit_tests.engine.helpers import add, passage, search, small_index

QUERY = "전입신고 체류기간"
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    small_index().save(folder)
    return folder


def leftovers(folder: Path) -> list[str]:
    """What lies in a folder beside an index: data that no manifest names."""
    own, files, _ = parse(folder)
    named = {own, *(file.data for file in files.values())}
    return sorted(path.name for path in folder.glob("data-*") if path.name not in named)


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run code in another process; it prints a line when it is ready."""
    head = (
        "import os, signal, sys, time\nfrom pathlib import Path\n"
        "from langchain_klue_rerank.engine.arrays import manifest, storage\n"
        "from langchain_klue_rerank.engine.index.passage_index import PassageIndex\n"
        "from tests.unit_tests.engine.helpers import add, passage, search, small_index\n"
        # a shell's background job ignores interrupts, and so would its children
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "folder = Path(sys.argv[1])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])},
    )


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


# --- a save that fails or is interrupted around its commit ------------------------------------------------------------


def failing_fsync(monkeypatch: pytest.MonkeyPatch, fails: Callable[[Path], bool], code: int) -> list[Path]:
    """Let the system's fsync fail for some paths; returns all that were asked for."""
    asked: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        asked.append(path)
        if fails(path):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return asked


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")


@needs_proc
@pytest.mark.parametrize(
    ("fails", "code", "saved"),
    [
        # the manifest names the new data by then, so that has to stay
        (lambda path, folder, committed: path == folder and committed, errno.EINVAL, True),
        (lambda path, folder, committed: path == folder and committed, errno.EIO, True),
        (lambda path, folder, committed: path.is_dir(), errno.EINVAL, True),  # a folder that can never be synchronised
        (lambda path, folder, committed: path == folder, errno.EIO, False),
    ],
    ids=["after the commit, unknown", "after the commit", "never", "before the commit"],
)
def test_a_folder_that_cannot_be_synchronised(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[[Path, Path, bool], bool], code: int, saved: bool
) -> None:
    index = PassageIndex.load(folder)
    add(index, passage("라", "운전면허 갱신"))
    before = (folder / MANIFEST).read_bytes()
    with monkeypatch.context() as patch:
        failing_fsync(patch, lambda path: fails(path, folder, (folder / MANIFEST).read_bytes() != before), code)
        with nullcontext() if saved else pytest.raises(OSError, match="Input/output"):
            index.save(folder)
    assert len(PassageIndex.load(folder)) == 3 + saved
    assert not leftovers(folder)
    index.save(folder)
    assert len(PassageIndex.load(folder)) == 4
    assert not leftovers(folder)


@needs_proc
def test_everything_is_on_the_disk_before_the_manifest_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = failing_fsync(monkeypatch, lambda path: False, 0)
    replaced: list[int] = []
    replace = os.replace

    def replace_and_note(source: Any, target: Any) -> None:
        replaced.append(len(asked))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_and_note)
    small_index().save(folder)
    [data] = folder.glob("data-*")
    before = set(asked[: replaced[0]])
    assert {data, folder, *data.rglob("*")} <= before


FULL = """
import resource
import numpy as np
from langchain_klue_rerank.engine.arrays.files import write_array
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for size in (1, 100, 1000, 1023, 5000, 100_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100 + 2 * size, resource.RLIM_INFINITY))
    try:
        write_array(folder / "array", np.ones(size, np.float32))
    except OSError as error:
        print(size, error.errno)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of files are Linux's")
def test_an_array_that_does_not_fit_on_the_disk_is_an_error(tmp_path: Path) -> None:
    """NumPy's own writer leaves the end of a small one out and says nothing; its checksum would then be right."""
    output, error = start(FULL, tmp_path).communicate(timeout=60)
    assert output.split() == [
        word for size in (1, 100, 1000, 1023, 5000, 100_000) for word in (str(size), str(errno.EFBIG))
    ], error


def test_an_interrupt_just_after_the_commit_keeps_the_new_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = PassageIndex.load(folder)
    add(index, passage("라", "운전면허 갱신"))
    replace = os.replace

    def replace_and_interrupt(source: Any, target: Any) -> None:
        replace(source, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            index.save(folder)
    assert len(PassageIndex.load(folder)) == 4


# --- leftovers, and writers that are still there ----------------------------------------------------------------------

STAGE = """
write_manifest = manifest.write
def wait(*arguments):
    write_manifest(*arguments)
    print("staged", flush=True)
    {then}
manifest.write = wait
index = small_index()
add(index, passage("라", "운전면허 갱신"))
index.save(folder)
print("saved", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_what_a_killed_save_left_goes_at_the_next(folder: Path, processes: list[Any]) -> None:
    for _ in range(2):
        process = start(STAGE.format(then="os.kill(os.getpid(), signal.SIGKILL)"), folder)
        processes.append(process)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    assert leftovers(folder)  # of both the killed ones at most the last one's
    assert len({name.removesuffix(".json") for name in leftovers(folder)}) == 1
    assert len(PassageIndex.load(folder)) == 3
    small_index().save(folder)  # at once, however old they are
    assert not leftovers(folder)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_a_suspended_saver_loses_nothing(folder: Path, processes: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(STAGE.format(then="os.kill(os.getpid(), signal.SIGSTOP)"), folder)
    processes.append(process)
    assert process.stdout.readline() == "staged\n"  # type: ignore[union-attr]
    os.waitpid(process.pid, os.WUNTRACED)
    for path in folder.rglob("*"):
        os.utime(path, (0, 0))  # its clock is off, or it stopped long ago
    monkeypatch.setattr(storage, "_LOCK_TIMEOUT", 0.1)
    with pytest.raises(IndexLockedError, match="Another process"):
        PassageIndex.load(folder).save(folder)
    assert len(PassageIndex.load(folder)) == 3  # readers need no lock
    process.send_signal(signal.SIGCONT)
    output, error = process.communicate(timeout=60)
    assert output == "saved\n", error
    assert len(PassageIndex.load(folder)) == 4


def test_of_two_that_append_the_second_is_told(tmp_path: Path, processes: list[Any]) -> None:
    """Both used to exit with 0, and the passages of one were gone."""
    from langchain_klue_rerank.cli.main import main

    for name in ("하나", "둘", "셋"):
        (tmp_path / f"{name}.txt").write_text(
            f"{name} 번째 글입니다. 전입신고는 주민센터에서 합니다.", encoding="utf-8"
        )
    out = str(tmp_path / "index")
    assert main(["index", str(tmp_path / "하나.txt"), "--out", out, "--json"]) == 0
    code = """
from langchain_klue_rerank.cli.main import main
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
real = PassageIndex.add
def slow(*arguments, **options):
    print("appending", flush=True)
    sys.stdin.read()
    return real(*arguments, **options)
PassageIndex.add = slow
sys.exit(main(["index", sys.argv[2], "--out", sys.argv[1], "--append"]))
"""
    process = start(code, out, tmp_path / "둘.txt")
    processes.append(process)
    assert process.stdout.readline() == "appending\n"  # type: ignore[union-attr]
    assert main(["index", str(tmp_path / "셋.txt"), "--out", out, "--append", "--json"]) == 2
    _, error = process.communicate("", timeout=60)
    assert process.returncode == 0, error
    assert len(PassageIndex.load(Path(out))) == 2
    assert main(["index", str(tmp_path / "셋.txt"), "--out", out, "--append", "--json"]) == 0
    assert len(PassageIndex.load(Path(out))) == 3


def test_a_lock_is_held_by_one_thread_and_taken_again_by_it(folder: Path) -> None:
    refused: list[Exception] = []

    def other() -> None:
        try:
            with storage.writer_lock(folder, timeout=0):
                pass
        except IndexLockedError as error:
            refused.append(error)

    with storage.writer_lock(folder), storage.writer_lock(folder):
        small_index().save(folder)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    with storage.writer_lock(folder, timeout=0):
        pass


def test_a_save_undoes_nobody_elses(folder: Path, tmp_path: Path) -> None:
    """Two programs that each load, add and save: the second one's save would lose what the first one added."""
    mine, theirs = PassageIndex.load(folder), PassageIndex.load(folder)
    add(theirs, passage("라", "운전면허 갱신"))
    theirs.save(folder)
    add(mine, passage("마", "여권 재발급"))
    for stale in (mine, mine, copy.deepcopy(mine)):
        with pytest.raises(IndexChangedError, match="saved by somebody else"):
            stale.save(folder)
    assert len(PassageIndex.load(folder)) == 4
    mine.save(tmp_path / "elsewhere")  # a new folder, or one that it does not come from, may have it
    with pytest.raises(IndexChangedError):
        mine.save(folder)
    mine = PassageIndex.load(folder)
    add(mine, passage("마", "여권 재발급"))
    for _ in range(3):
        mine.save(folder)
    assert len(PassageIndex.load(folder)) == 5
    small_index().save(folder)  # an index that was made anew replaces what is there, as it always did
    assert len(PassageIndex.load(folder)) == 3


def test_an_index_is_saved_again_where_the_folder_was_removed_or_damaged(folder: Path) -> None:
    index = PassageIndex.load(folder)
    (folder / storage.manifest.MANIFEST).write_bytes(b"{")
    index.save(folder)
    shutil.rmtree(folder)
    index.save(folder)
    assert len(PassageIndex.load(folder)) == 3


EDIT = """
from langchain_core.documents import Document
from langchain_klue_rerank import KlueBM25Retriever
print("ready", flush=True)
for number in range(4):
    with KlueBM25Retriever.editing(folder) as retriever:
        retriever.add_documents([Document(f"글 {number}", id=f"{sys.argv[2]} {number}")])
"""


def test_programs_that_edit_the_same_index_lose_nothing(tmp_path: Path, processes: list[Any]) -> None:
    folder = tmp_path / "index"
    with pytest.raises(IndexFormatError, match="no such folder"), KlueBM25Retriever.editing(folder):
        pass
    assert not folder.exists()
    KlueBM25Retriever(kiwi=False).save(folder)
    processes += [start(EDIT, folder, name) for name in ("하나", "둘")]
    for process in processes:
        output, error = process.communicate(timeout=60)
        assert output == "ready\n", error
    with suppress(ZeroDivisionError), KlueBM25Retriever.editing(folder) as retriever:
        retriever.delete(["하나 0"])
        raise ZeroDivisionError
    assert len(KlueBM25Retriever.load(folder)) == 8


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_in_a_folder_lead_to_no_file_elsewhere(folder: Path, tmp_path: Path) -> None:
    """A folder that a stranger made is saved into: nothing outside of it is emptied or removed."""
    mine = tmp_path / "my file"
    mine.write_text("mine")
    (tmp_path / "my folder").mkdir()
    (tmp_path / "my folder" / "thesis").write_text("mine")
    index = PassageIndex.load(folder)
    (folder / storage.LOCK).unlink()
    (folder / storage.LOCK).symlink_to(mine)
    with pytest.raises(IndexFormatError, match="is a link"):
        index.save(folder)
    (folder / storage.LOCK).unlink()
    (folder / "data-0123456789ab").symlink_to(tmp_path / "my folder")
    (folder / "data-0123456789ac.json").symlink_to(mine)
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).symlink_to(mine)
    with pytest.raises(IndexFormatError, match="damaged"):
        PassageIndex.load(folder)
    index.save(folder)
    assert len(PassageIndex.load(folder)) == 3
    assert not leftovers(folder)
    assert mine.read_text() == "mine"
    assert (tmp_path / "my folder" / "thesis").read_text() == "mine"


# --- readers beside writers -------------------------------------------------------------------------------------------


def test_files_that_the_manifest_does_not_name_are_not_read(folder: Path) -> None:
    """Whether an index has vectors is not for the existence of a file to say."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    [name] = [name for name in manifest["files"] if name.endswith("/vectors.npy")]
    del manifest["files"][name]
    manifest["checksum"] = checksum_of(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(IndexFormatError, match=r"does not name.*vectors\.npy"):
        PassageIndex.load(folder)


# --- changes in memory ------------------------------------------------------------------------------------------------


class Interrupt:
    """Raises an error at the n-th line that runs in the package."""

    def __init__(self, line: int, error: type[BaseException]) -> None:
        self.left, self.error = line, error

    def __enter__(self) -> Interrupt:
        self.before = sys.gettrace()
        sys.settrace(self.trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)

    def trace(self, frame: Any, event: str, _: object) -> Any:
        if "langchain_klue_rerank" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                raise self.error
        return self.trace


def state(index: PassageIndex) -> tuple[Any, ...]:
    found = [(identifier, round(score, 5)) for identifier, score in search(index, QUERY)]
    return len(index), found, index.get([identifier for identifier, _ in found])


CHANGES: dict[str, Callable[[PassageIndex], object]] = {
    "add": lambda index: add(index, passage("마", "운전면허 갱신 전입신고"), passage("가", "바뀐 글")),
    "delete": lambda index: index.delete(["나", "다"]),
    "compact": lambda index: index._compact(),
}


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_interrupted_anywhere_happens_or_does_not(
    folder: Path, change: str, error: type[BaseException]
) -> None:
    index = small_index()
    add(index, passage("라", "체류기간 연장"))
    index.delete(["라"])  # leaves a gap
    before = state(index)
    other = small_index()
    add(other, passage("라", "체류기간 연장"))
    other.delete(["라"])
    CHANGES[change](other)
    after = state(other)
    line, interrupted = 0, True
    while interrupted:
        line += 7
        try:
            with Interrupt(line, error):
                CHANGES[change](index)
            interrupted = False
        except error:
            found = state(index)
            assert found in (before, after), line
            if found == after and found != before:
                break
    assert line > 20
    assert state(index) == after
    index.save(folder)
    assert len(PassageIndex.load(folder)) == after[0]


def test_parts_that_do_not_fit_are_never_saved(folder: Path) -> None:
    index = PassageIndex.load(folder)
    [view] = index._state.views
    alone = replace(view.segment, passages=PassageTable.of([passage("라", "홀로")]))
    with pytest.raises(IndexFormatError, match="of 3 passages but holds 1"):
        index._replace(index._state.with_views([View.of(alone)]), removed=0)
    index.save(folder)
    assert len(PassageIndex.load(folder)) == 3


# --- texts that are no Unicode ----------------------------------------------------------------------------------------


def test_neighbouring_halves_of_characters_stay_apart(tmp_path: Path) -> None:
    """Written with escapes, two halves come back as one character: two identifiers become one."""
    halves, whole = "\ud83d\ude9a", "\U0001f69a"
    assert halves != whole
    index = small_index()
    passages = [
        passage(identifier, f"{identifier} 전입신고", **{identifier: identifier}) for identifier in (halves, whole)
    ]
    add(index, *passages)
    for _ in range(2):
        index.save(tmp_path / "index")
        index = PassageIndex.load(tmp_path / "index")
        assert len(index) == 5
        assert index.get([halves, whole]) == passages
    assert np.isfinite(index.vectors([halves, whole])).all()
