"""``klue-rerank index`` and ``sync``: files and folders into an index."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from langchain_klue_rerank.cli.display import ProgressBar, flat, to_json
from langchain_klue_rerank.cli.errors import explained
from langchain_klue_rerank.cli.messages import is_korean, say, text
from langchain_klue_rerank.cli.models import retriever_fields
from langchain_klue_rerank.errors import KlueRerankError

if TYPE_CHECKING:
    from langchain_klue_rerank.files.reasons import Problem
    from langchain_klue_rerank.files.sync import Mode, SyncReport
    from langchain_klue_rerank.retriever import KlueRetriever

#: Files that were not read and are named without ``--verbose``.
_NAMED = 10
#: Reasons for skipping files that are never wanted; shown with ``--verbose`` only, and never a failure.
_QUIET = frozenset({"hidden", "tool", "index", "excluded"})
#: Reasons that are no failure of a file that should be read.
_HARMLESS = _QUIET | {"kind", "other office", "archive", "empty", "hidden sheet"}


def index(options: argparse.Namespace) -> int:
    """Index files and folders, in place of an index or added to one."""
    report = _synchronise(options, "append" if options.append else "replace")
    seconds = max(report.seconds, 1e-6)
    if options.json:
        result = {"passages": report.passages, "added": report.added, "seconds": round(seconds, 3)}
        print(to_json({**result, "dir": str(options.out), **_report_json(report)}))
    else:
        message = "{added} passages in {seconds:.1f} s ({speed:.0f}/s) -> {dir} ({passages} in all)"
        speed = report.added / seconds
        print(
            say(
                message,
                added=report.added,
                seconds=seconds,
                speed=speed,
                dir=flat(str(options.out)),
                passages=report.passages,
            )
        )
        _tell(report, options.verbose)
    return int(options.strict and any(problem.reason not in _HARMLESS for problem in report.problems))


def sync(options: argparse.Namespace) -> int:
    """Bring an index in step with files and folders, once or again and again."""
    from langchain_klue_rerank.files.sync import watch

    status = 0
    last: list[Problem] | None = None

    def step() -> None:
        nonlocal status, last
        report = _synchronise(options, "sync")
        failed = [problem for problem in report.problems if problem.reason not in _HARMLESS]
        status = int(options.strict and bool(failed))
        if options.watch and last is not None and not report.saved and report.problems == last:
            return  # nothing new
        is_new, last = report.problems != last, report.problems
        if options.json:
            counts = {name: getattr(report, name) for name in ("passages", "added", "removed", "read", "unchanged")}
            counts |= {"gone": report.gone, "seconds": round(report.seconds, 3), "dir": str(options.out)}
            print(to_json({**counts, **_report_json(report)}), flush=True)
            return
        message = (
            "{read} files read, {unchanged} unchanged, {gone} gone: {added} passages added, {removed} removed, "
            "{passages} in all ({seconds:.1f} s)"
        )
        print(say(message, **asdict(report)), flush=True)
        _tell(report, options.verbose, repeated=not is_new)

    step()
    told = ""

    def step_again() -> None:
        nonlocal told
        try:
            step()
            told = ""
        except (OSError, ValueError, KlueRerankError) as error:  # a folder that is away, another writer: try again
            if str(error) != told:
                told = str(error)
                print(f"klue-rerank: {flat(explained(error))}", file=sys.stderr, flush=True)

    if options.watch:
        folders = ", ".join(flat(str(path)) for path in options.files)
        print(say("watching {folders}; Ctrl-C ends", folders=folders), file=sys.stderr)
        watch(step_again, options.watch)
    return status


def _synchronise(options: argparse.Namespace, mode: Mode) -> SyncReport:
    from langchain_klue_rerank.engine.arrays.storage import check_target
    from langchain_klue_rerank.files.loading import Reading
    from langchain_klue_rerank.files.sync import sync_folder

    if not 0 <= options.chunk_overlap < options.chunk_size:
        raise ValueError(f"--chunk-overlap {options.chunk_overlap} must be from 0 to below --chunk-size.")
    check_target(options.out)
    reading = Reading(options.chunk_size, options.chunk_overlap, options.text_column, options.title_column)

    def make(folder: Path | None) -> KlueRetriever:
        from langchain_klue_rerank.retriever import KlueRetriever

        fields = retriever_fields(options)
        return KlueRetriever(**fields) if folder is None else KlueRetriever.load(folder, **fields)

    bar = ProgressBar("indexing", "passage", quiet=options.json)
    try:
        return sync_folder(
            options.files, options.out, make, reading=reading, exclude=options.exclude, mode=mode, progress=bar
        )
    finally:
        bar.close()


def _report_json(report: SyncReport) -> dict[str, Any]:
    return {
        "problems": [
            {
                "path": problem.path,
                "line": problem.line or None,
                "reason": problem.reason,
                "message": problem.sentence(with_path=False),
            }
            for problem in report.problems
        ],
        "columns": report.columns,
    }


def _tell(report: SyncReport, verbose: bool, *, repeated: bool = False) -> None:
    """Print the detected columns and, unless repeated, the files that were not read."""
    for file, columns in list(report.columns.items())[: None if verbose else _NAMED]:
        shown = ", ".join(f"{text(role)} = {column}" for role, column in columns.items())
        print(say("columns of {file}: {columns}", file=flat(PurePosixPath(file).name), columns=flat(shown)))
    problems = [problem for problem in report.problems if verbose or problem.reason not in _QUIET]
    if not problems or repeated:
        return
    print(say("Not read ({count}):", count=len(problems)), file=sys.stderr)
    kinds = Counter(problem.reason for problem in problems)
    problems.sort(key=lambda one: one.reason in _HARMLESS)  # failures first
    for problem in problems[: None if verbose else max(_NAMED, sum(kinds[k] for k in kinds if k not in _HARMLESS))]:
        print(f"  {flat(problem.sentence(is_korean()))}", file=sys.stderr)
    if not verbose and len(problems) > _NAMED:
        left = problems[max(_NAMED, sum(kinds[k] for k in kinds if k not in _HARMLESS)) :]
        if left:
            print("  " + say("and {count} more; --verbose names all", count=len(left)), file=sys.stderr)
