"""How many of the package's files a query and a document pass, and how often the way changes from file to file.

    python -m benchmarks.path
    python -m benchmarks.path --trace invoke  # or add_documents: every change of file, with the call that made it

Counts calls of functions of the package by `sys.setprofile` on a small corpus, after a first call that loads all of it:
what a reader of the code has to open to follow ``KlueRetriever.invoke`` and ``add_documents``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import langchain_klue_rerank
from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.evaluation import SAMPLES, read_passages

PACKAGE = str(Path(langchain_klue_rerank.__file__).parent)


def walk(call: Callable[[], Any]) -> list[tuple[str, str, str]]:
    """Return of every call of a function of the package, in order, its file, its name, and who called it."""
    calls: list[tuple[str, str, str]] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        code, caller = frame.f_code, frame.f_back
        if event == "call" and code.co_filename.startswith(PACKAGE):
            line = f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno}" if caller is not None else ""
            calls.append((code.co_filename.removeprefix(PACKAGE + "/"), code.co_qualname, line))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return calls


def ways() -> dict[str, Callable[[], Any]]:
    """Return the calls that are followed, each made once before."""
    documents = read_passages(SAMPLES / "passages.jsonl")
    retriever = KlueRetriever.from_documents(documents[:50])
    question = "전입신고는 언제까지 해야 하나요?"
    retriever.invoke(question)
    return {
        "invoke": lambda: retriever.invoke(question),
        "add_documents": lambda: retriever.add_documents(documents[50:52]),
    }


def main() -> None:
    """Print files and changes of file of both ways, or every change of one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", choices=("invoke", "add_documents"), help="print every change of file of one way")
    traced = parser.parse_args().trace
    if traced is not None:
        for file, calls in groupby(walk(ways()[traced]), key=lambda call: call[0]):
            names = dict.fromkeys(f"{name} ({caller})" for _, name, caller in calls)
            print(f"{file:45} {', '.join(names)}")
        return
    for name, call in ways().items():
        files = [file for file, _, _ in walk(call)]
        print(f"{name}: {len(set(files))} files, {len([*groupby(files)]) - 1} changes of file")
        print("  " + ", ".join(dict.fromkeys(files)))


if __name__ == "__main__":
    main()
