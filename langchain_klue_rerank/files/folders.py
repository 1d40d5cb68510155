"""The files of a folder, and what is not read of it, with the reason."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathspec import GitIgnoreSpec

from langchain_klue_rerank.engine.arrays.storage import is_index
from langchain_klue_rerank.errors import MissingExtraError
from langchain_klue_rerank.files.encodings import readable_path
from langchain_klue_rerank.files.isolated import IsolatedReader, Limits
from langchain_klue_rerank.files.loading import ENDINGS, UNREAD, Reading, canonical, os_problem, read_file
from langchain_klue_rerank.files.reasons import Problem, UnreadableFileError

if TYPE_CHECKING:
    from langchain_core.documents import Document

#: Files of patterns that are honoured, each for its folder and those below.
IGNORE_FILES = (".gitignore", ".klueignore")
#: Folders that programs make; hidden ones beside these.
_TOOLS = frozenset({"__MACOSX", "__pycache__", "node_modules", "$RECYCLE.BIN", "System Volume Information"})
#: Files that programs make.
_TOOL_FILES = frozenset({"Thumbs.db", "desktop.ini"})


def load_folder(
    folder: str | Path, *, exclude: Sequence[str] = (), limits: Limits | None = None, **options: Any
) -> tuple[list[Document], list[Problem]]:
    """Read a folder and the folders in it.

    Args:
        folder: The folder.
        exclude: Patterns as in ``.gitignore``.
        limits: What reading one file may take. Default: `Limits()`.
        **options: chunk_size, chunk_overlap, text_column and title_column, as for `load_documents`.

    Returns:
        The passages, and everything that was not read, with its reason.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    reading = Reading(**options)
    found, problems = find_files([Path(folder)], exclude)
    documents: list[Document] = []
    with IsolatedReader(limits) as isolated:
        for path in found.values():
            try:
                file = read_file(path, reading, isolated)
            except UnreadableFileError as error:
                problems.append(error.problem)
                continue
            except MissingExtraError as error:
                problems.append(Problem(readable_path(path), "extra", 0, error.package))
                continue
            documents += file.documents
            problems += file.problems
            if not file.documents:
                problems.append(Problem(readable_path(path), "no text" if path.stat().st_size else "empty"))
    return documents, problems


def find_files(paths: Sequence[Path], exclude: Iterable[str] = ()) -> tuple[dict[str, Path], list[Problem]]:
    """Find the files to read.

    Args:
        paths: Files, which are taken whatever they are, and folders, of which everything readable is.
        exclude: Patterns as in ``.gitignore``, for all folders.

    Returns:
        The files by their canonical paths, in order, each once however it is spelled, and what was skipped.

    Raises:
        FileNotFoundError: If one of the paths is missing.
    """
    found: dict[str, Path] = {}
    skipped: list[Problem] = []
    patterns = GitIgnoreSpec.from_lines(exclude)
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"There is no file or folder {str(path)!r}.")
        if path.is_dir():
            _walk(Path(os.path.realpath(path)), [(Path(os.path.realpath(path)), patterns)], found, skipped)
        else:
            found.setdefault(canonical(path), path)
    return found, skipped


def _walk(
    folder: Path, rules: list[tuple[Path, GitIgnoreSpec]], found: dict[str, Path], skipped: list[Problem]
) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        skipped.append(os_problem(readable_path(folder), error))
        return
    own = [entry for entry in entries if entry.name in IGNORE_FILES and entry.is_file()]
    for entry in own:
        try:
            lines = Path(entry.path).read_text(encoding="utf-8", errors="replace").splitlines()
            rules = [*rules, (folder, GitIgnoreSpec.from_lines(lines))]
        except (OSError, ValueError):
            skipped.append(Problem(readable_path(Path(entry.path)), "damaged"))
    for entry in entries:
        path = Path(entry.path)
        try:
            is_folder = entry.is_dir(follow_symlinks=False)
            reason = _reason(entry, is_folder, path, rules)
        except OSError as error:
            skipped.append(os_problem(readable_path(path), error))
            continue
        if reason:
            if entry.name not in IGNORE_FILES:
                ending = path.suffix if reason in ("kind", "other office", "archive") else ""
                skipped.append(Problem(readable_path(path), reason, 0, ending))
        elif is_folder:
            _walk(path, rules, found, skipped)
        else:
            name = canonical(path) if entry.is_symlink() else readable_path(path)
            if name in found and not os.path.samefile(found[name], path):
                skipped.append(Problem(readable_path(path), "same"))
            found.setdefault(name, path)


def _reason(
    entry: os.DirEntry[str], is_folder: bool, path: Path, rules: Sequence[tuple[Path, GitIgnoreSpec]]
) -> str | None:
    """Return why an entry is skipped; None if it is read."""
    if entry.name in (_TOOLS if is_folder else _TOOL_FILES) or (not is_folder and entry.name.startswith("~$")):
        return "tool"
    if entry.name.startswith("."):
        return "hidden"
    if _is_excluded(path, is_folder, rules):
        return "excluded"
    if is_folder:
        return "index" if is_index(path) else None
    if entry.is_symlink():
        if not path.exists():
            return "link"
        if path.is_dir():
            return "folder link"
    if path.suffix.lower() not in ENDINGS:
        return UNREAD.get(path.suffix.lower(), "kind")
    return None if stat.S_ISREG(entry.stat().st_mode) else "special"


def _is_excluded(path: Path, is_folder: bool, rules: Sequence[tuple[Path, GitIgnoreSpec]]) -> bool:
    """Return whether the nearest rule that speaks of a path excludes it."""
    for folder, patterns in reversed(rules):
        name = path.relative_to(folder).as_posix() + ("/" if is_folder else "")
        include = patterns.check_file(name).include
        if include is not None:
            return include
    return False
