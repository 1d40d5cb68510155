"""Synchronise an index with folders: only changed files are read and embedded, removed files leave the index.

What was read is kept beside the index in ``.sources.json``: for each file its size, times, hash of its content, number
of passages and, where there are some, problems, so that a damaged file is not tried again and again. The record counts
only for the very state of the index that it was written for; without it all files are read again, and passages that are
in the index already are still not embedded again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from langchain_klue_rerank.engine.arrays.storage import LOCK, SOURCES, replace_file, state_of, writer_lock
from langchain_klue_rerank.errors import MissingExtraError
from langchain_klue_rerank.files.encodings import readable_path
from langchain_klue_rerank.files.folders import find_files
from langchain_klue_rerank.files.isolated import IsolatedReader, Limits
from langchain_klue_rerank.files.loading import (
    READING_VERSION,
    FileDocuments,
    Reading,
    canonical,
    os_problem,
    read_file,
)
from langchain_klue_rerank.files.reasons import REASONS, Problem, UnreadableFileError

if TYPE_CHECKING:
    from langchain_klue_rerank.retriever import KlueRetriever

#: What becomes of the index's other files.
Mode = Literal["sync", "append", "replace"]
#: Nanoseconds within which a file may change again without another time, as on FAT.
_SAME_TIME = 2_000_000_000
#: Problems of one file that the record keeps.
_MOST_KEPT = 100
#: Reasons that may be gone the next time although the file is the same: it is tried again.
_PASSING = frozenset({"time", "memory", "crash", "output", "large", "system", "denied", "gone", "link", "extra"})


@dataclass
class SyncReport:
    """What a synchronisation did.

    Attributes:
        passages: Passages in the index afterwards.
        added: Passages that are new or changed, and were embedded.
        removed: Passages that went.
        read: Files that were read.
        unchanged: Files that were not, since they had not changed.
        gone: Files that are no longer there, or hold nothing any more.
        problems: What could not be read, and what was skipped, with reasons.
        columns: For files of rows, the detected columns.
        saved: Whether the index was written.
        seconds: How long it took.
    """

    passages: int = 0
    added: int = 0
    removed: int = 0
    read: int = 0
    unchanged: int = 0
    gone: int = 0
    problems: list[Problem] = field(default_factory=list)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    saved: bool = False
    seconds: float = 0.0


@dataclass
class Sources:
    """The record of what was read; see the module."""

    reading: dict[str, Any]
    files: dict[str, list[Any]]
    passages: int = 0

    @classmethod
    def load(cls, index: Path, reading: Reading) -> Sources:
        """Read the record of an index; an empty one if there is none for its state or for this way of reading."""
        empty = cls(_identity(reading), {})
        try:
            kept = json.loads((index / SOURCES).read_text(encoding="utf-8"))
            if kept["state"] != state_of(index) or kept["reading"] != empty.reading:
                return empty
            if any(len(entry) > 6 and not _are_problems(entry[6:]) for entry in kept["files"].values()):
                return empty
            return cls(kept["reading"], dict(kept["files"]), int(kept["passages"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return empty

    def save(self, index: Path) -> None:
        """Write the record for the index as it is now."""
        temporary = index / f"{SOURCES}.new"
        content = {"state": state_of(index), "reading": self.reading, "files": self.files, "passages": self.passages}
        temporary.write_text(json.dumps(content), encoding="utf-8")
        replace_file(temporary, index / SOURCES)


def _identity(reading: Reading) -> dict[str, Any]:
    return {**asdict(reading), "version": READING_VERSION}


def sync_folder(
    paths: Sequence[Path],
    index: Path,
    make: Callable[[Path | None], KlueRetriever],
    *,
    reading: Reading | None = None,
    exclude: Sequence[str] = (),
    limits: Limits | None = None,
    mode: Mode = "sync",
    progress: Callable[[int, int], None] | None = None,
) -> SyncReport:
    """Bring an index in step with files and folders.

    Args:
        paths: Files and folders. What the index has of files outside of them is left alone.
        index: The index's folder; made if it is missing.
        make: Makes the retriever: given the folder it loads the index, given None it makes an empty one. Not called if
            nothing has changed.
        reading: How files are read. Default: `Reading()`.
        exclude: Patterns as in ``.gitignore``.
        limits: What reading one file may take.
        mode: ``"sync"`` (default) also removes the passages of files that are no longer there, ``"append"`` leaves
            them, ``"replace"`` begins with an empty index.
        progress: Told how many passages of how many are indexed.

    Returns:
        What was done.

    Raises:
        FileNotFoundError: If one of the paths is missing.
        IndexLockedError: If another process is writing the index.
        IndexFormatError: If the index is damaged, or there is none to append to.
        ValueError: If there is no text in any file and no index yet.
    """
    start = time.perf_counter()
    reading = reading or Reading()
    found, problems = find_files(paths, exclude)
    report = SyncReport(problems=problems)
    was_there = index.exists()
    try:
        with writer_lock(index, timeout=0):
            _sync(found, [canonical(path) for path in paths], index, make, reading, limits, mode, progress, report)
    except BaseException:
        if not was_there:  # nothing half-made stays
            with suppress(OSError):
                (index / LOCK).unlink(missing_ok=True)
                index.rmdir()
        raise
    report.seconds = time.perf_counter() - start
    return report


def _sync(
    found: dict[str, Path],
    roots: list[str],
    index: Path,
    make: Callable[[Path | None], KlueRetriever],
    reading: Reading,
    limits: Limits | None,
    mode: Mode,
    progress: Callable[[int, int], None] | None,
    report: SyncReport,
) -> None:
    """`sync_folder`, holding the writer lock."""
    is_new = mode == "replace" or (mode == "sync" and state_of(index) is None)
    known = Sources(_identity(reading), {}) if is_new else Sources.load(index, reading)
    changed, files = _read_changed(found, known, reading, limits, report)
    missing = (
        {name for name in known.files if name not in files and _is_below(name, roots)} if mode == "sync" else set()
    )
    report.gone += len(missing)
    has_record = bool(known.files)
    if not is_new and has_record and not changed and not missing:
        report.passages = known.passages
        if files != {name: entry for name, entry in known.files.items() if name in files}:
            Sources(known.reading, {**known.files, **files}, known.passages).save(index)  # times, not contents
        return
    if is_new and not any(file.documents for file in changed):
        why = report.problems[0].sentence() if report.problems else "there are no files."
        more = f" And {len(report.problems) - 1} more." if len(report.problems) > 1 else ""
        raise ValueError(f"There is nothing to index: {why}{more}")
    retriever = make(None if is_new else index)
    documents = {file.path: file.documents for file in changed}
    documents.update({name: [] for name in missing})
    result = retriever.sync(documents, cleanup="incremental", progress=progress)
    report.added, report.removed = result.added, result.removed
    if mode == "sync" and not has_record and not is_new:  # what is gone is found out from the ids
        report.removed += retriever.delete(filter=lambda one: _is_stale(one.id or "", roots, files))
    if report.added or report.removed or is_new:
        retriever.save(index)
        report.saved = True
    kept = {name: entry for name, entry in known.files.items() if name not in missing and name not in documents}
    report.passages = len(retriever)
    Sources(known.reading, {**kept, **files}, report.passages).save(index)


def _is_stale(identifier: str, roots: Sequence[str], files: dict[str, list[Any]]) -> bool:
    """Return whether a passage is of a file that is no longer there, by its id: the file's path, a # and more."""
    places = [place for place, character in enumerate(identifier) if character == "#"]
    if any(identifier[:place] in files for place in places):
        return False
    return any(_is_below(identifier[:place], roots) for place in places)


def _read_changed(
    found: dict[str, Path], known: Sources, reading: Reading, limits: Limits | None, report: SyncReport
) -> tuple[list[FileDocuments], dict[str, list[Any]]]:
    """Read the files that changed; returns them and the new record of all files that are there."""
    changed: list[FileDocuments] = []
    files: dict[str, list[Any]] = {}
    with IsolatedReader(limits) as isolated:
        for name, path in found.items():
            old = known.files.get(name)
            try:
                status = path.stat()
                stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
                is_settled = time.time_ns() - status.st_mtime_ns > _SAME_TIME
                if old is not None and old[:3] == stamp and is_settled and old[5]:
                    files[name] = old
                    report.unchanged += 1
                    report.problems += _known_problems(path, old)
                    continue
                digest = _digest(path)
            except OSError as error:
                report.problems.append(os_problem(readable_path(path), error))
                changed.append(FileDocuments(name, []))
                continue
            if old is not None and old[3] == digest:
                files[name] = [*stamp, digest, old[4], is_settled, *old[6:]]
                report.unchanged += 1
                report.problems += _known_problems(path, old)
                continue
            report.read += 1
            try:
                file = read_file(path, reading, isolated)
            except (UnreadableFileError, MissingExtraError) as error:
                if isinstance(error, UnreadableFileError):
                    report.problems.append(error.problem)
                    if error.problem.reason not in _PASSING:
                        files[name] = [*stamp, digest, 0, is_settled, _kept([error.problem])]
                else:
                    report.problems.append(Problem(readable_path(path), "extra", 0, error.package))
                changed.append(FileDocuments(name, []))  # its earlier content is no longer true
                continue
            if file.notes:
                report.columns[name] = file.notes
            if not file.documents:
                file.problems.append(Problem(readable_path(path), "no text" if status.st_size else "empty"))
                report.gone += old is not None and bool(old[4])
            report.problems += file.problems
            kept = [_kept(file.problems)] if file.problems else []
            files[name] = [*stamp, digest, len(file.documents), is_settled, *kept]
            changed.append(FileDocuments(name, file.documents))
    return changed, files


def _kept(problems: Sequence[Problem]) -> list[list[Any]]:
    """Return what the record keeps of a file's problems."""
    return [[problem.reason, problem.line, problem.detail] for problem in problems[:_MOST_KEPT]]


def _are_problems(values: Sequence[Any]) -> bool:
    """Return whether values of the record are what `_kept` writes."""
    return len(values) == 1 and all(
        reason in REASONS and isinstance(line, int) and isinstance(detail, str) for reason, line, detail in values[0]
    )


def _known_problems(path: Path, entry: Sequence[Any]) -> list[Problem]:
    """Return the problems that a file had when it was read, from its entry in the record."""
    return [Problem(readable_path(path), *problem) for problems in entry[6:] for problem in problems]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_below(name: str, roots: Sequence[str]) -> bool:
    return any(name == root or name.startswith(root.rstrip("/") + "/") for root in roots)


def watch(step: Callable[[], None], seconds: float) -> None:
    """Call a function again and again until the process is interrupted."""
    with suppress(KeyboardInterrupt):
        while True:
            step()
            time.sleep(seconds)
