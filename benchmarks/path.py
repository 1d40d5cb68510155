"""How many of the package's files a query and a document pass, and how often the way changes from file to file.

    python -m benchmarks.path

Counts calls of functions of the package by `sys.setprofile` on a small corpus, after a first call that loads all of it:
what a reader of the code has to open to follow ``KlueRetriever.invoke`` and ``add_documents``.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import langchain_klue_rerank
from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.evaluation import SAMPLES, read_passages

PACKAGE = str(Path(langchain_klue_rerank.__file__).parent)


def walk(call: Callable[[], Any]) -> list[str]:
    """Return the file of every call of a function of the package, in order."""
    files: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            files.append(frame.f_code.co_filename.removeprefix(PACKAGE + "/"))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return files


def main() -> None:
    """Print files and changes of file of both ways."""
    documents = read_passages(SAMPLES / "passages.jsonl")
    retriever = KlueRetriever.from_documents(documents[:50])
    question = "전입신고는 언제까지 해야 하나요?"
    retriever.invoke(question)
    ways = {
        "invoke": lambda: retriever.invoke(question),
        "add_documents": lambda: retriever.add_documents(documents[50:52]),
    }
    for name, call in ways.items():
        files = walk(call)
        changes = sum(one != other for one, other in itertools.pairwise(files))
        print(f"{name}: {len(set(files))} files, {changes} changes of file")
        print("  " + ", ".join(dict.fromkeys(files)))


if __name__ == "__main__":
    main()
