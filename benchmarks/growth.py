r"""How an index grows: queries, filters, adding, opening, memory and disk from a thousand passages to a million.

    python -m benchmarks.growth --raw ../shared/data/raw --sizes 1000,10000,100000,1000000 --folder runs/million \
        --json growth.json --plot growth.png
    python -m benchmarks.growth --raw ../shared/data/raw --busy 20000
    python -m benchmarks.growth --json growth.json --plot docs/assets/growth.png
    python -m benchmarks.growth --raw ../shared/data/raw --sizes 200000 --index folder

Passages of about 300 characters are cut from the texts of a folder (one paragraph a line, ``.txt`` or ``.txt.xz``). An
index grows from size to size; at every size it is saved and opened by a process of its own, which is asked the same
questions. With ``--folder`` and ``--json`` the index is saved every 50,000 passages and every size is kept as it is
measured: the same command, given again after an interruption or with larger sizes, goes on from there. In the end a
table of every size is printed, and what came of the bars. ``--busy`` asks them while another thread adds, saves and
merges; ``--index`` asks those of an index that was saved before. Beside the time that passed stands the processor's
time, which a busy machine hardly changes.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from langchain_core.documents import Document

from benchmarks.growth_report import bars, plot, table
from benchmarks.raw_passages import raw_passages
from benchmarks.timing import timed
from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.engine.index import vectors
from langchain_klue_rerank.engine.index.passages import Passage

#: Documents handed to the retriever at a time while the index is built.
_AT_ONCE = 4096
_Figures = dict[str, Any]

# Peak memory is read from Linux's /proc: getrusage counts the parent's memory into that of a fresh child.
_SEARCHING = """
import json, re, sys, time
import langchain_klue_rerank.retriever
start = time.perf_counter()
retriever = langchain_klue_rerank.KlueRetriever.load(sys.argv[1])
figures = {"open_s": time.perf_counter() - start}
from benchmarks.growth import ask, kept
from benchmarks.timing import memory
questions = json.loads(sys.stdin.read())
start = time.perf_counter()
retriever.invoke(questions[0])
figures["first_query_s"] = time.perf_counter() - start
figures.update(ask(retriever, questions))
figures |= {"peak_mib": memory("VmHWM"), "anon_mib": memory("RssAnon")}  # what is no mapped file
figures.update(kept(retriever, questions))
print(json.dumps(figures))
"""


def main() -> None:
    """Run the measurements asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, help="folder with texts, one paragraph a line")
    parser.add_argument("--sizes", default="1000,5000,20000,100000", help="passages, rising, with commas between")
    parser.add_argument("--busy", type=int, default=0, help="measure queries beside writers at this size instead")
    parser.add_argument("--queries", type=int, default=100, help="questions asked of each kind (100)")
    parser.add_argument("--folder", type=Path, help="keep the saved index of the last size here")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--plot", type=Path, help="draw the figures; without --raw those that --json has")
    parser.add_argument("--index", type=Path, help="measure this saved index instead of building one")
    options = parser.parse_args()
    if options.raw is None and options.json:
        measured = json.loads(options.json.read_text(encoding="utf-8"))
        print(table(measured))
        print(bars(measured[-1]))
        if options.plot:
            plot(measured, options.plot)
        return
    if options.raw is None:
        parser.error("--raw is needed")
    sizes = [int(size) for size in options.sizes.split(",")] if not options.busy else [options.busy]
    passages = raw_passages(options.raw, 1000 if options.index else max(sizes) + 10_000)
    questions = make_questions(passages[:1000], options.queries)
    if options.index:
        figures = {
            "passages": sizes[0],
            "disk_bytes": bytes_in(options.index),
            **search_saved(options.index, questions),
        }
        print(json.dumps(figures, indent=1))
        print(bars(figures))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = options.folder or Path(place) / "index"
        if options.busy:
            busy(passages, options.busy, questions, folder)
            return
        every = grow(passages, sizes, questions, folder, options.json)
    print(table(every))
    print(bars(every[-1]))
    if options.plot:
        plot(every, options.plot)


def make_questions(passages: Sequence[Passage], count: int) -> list[str]:
    """Make queries of six to twelve words that follow one another in a passage, every second one left out."""
    generator = random.Random(1)
    questions: list[str] = []
    while len(questions) < count:
        words = generator.choice(passages).text.split()
        if len(words) >= 24:
            start, length = generator.randrange(len(words) - 23), generator.randrange(6, 13)
            questions.append(" ".join(words[start : start + 2 * length : 2]))
    return questions


def documents(passages: Sequence[Passage]) -> list[Document]:
    """Return passages as LangChain's documents."""
    return [Document(one.text, id=one.id, metadata=one.metadata) for one in passages]


def show(name: str, times: Sequence[float], file: TextIO | None = None) -> _Figures:
    """Print percentiles, to standard error unless a file is given, and return them."""
    p50, p95, p99 = (float(value) for value in np.percentile(times, (50, 95, 99)))
    line = f"  {name:44s} p50 {p50:9.2f}  p95 {p95:9.2f}  p99 {p99:9.2f} ms (n={len(times)})"
    print(line, file=file or sys.stderr, flush=True)
    return {name: {"p50": p50, "p95": p95, "p99": p99}}


def kept(retriever: KlueRetriever, questions: Sequence[str]) -> _Figures:
    """Return the share of the ten best of a search that scores every passage that the search of a large index finds."""
    shares: _Figures = {}
    questions = questions[:30]
    if len(retriever) >= vectors.LARGE:
        for name in ("lexical", "dense", "hybrid"):
            asked, settings = kinds(retriever)[name]
            found = [[{one.id for one in asked.invoke(question, k=10, **settings)} for question in questions]]
            least, vectors.LARGE = vectors.LARGE, sys.maxsize
            found.append([{one.id for one in asked.invoke(question, k=10, **settings)} for question in questions])
            vectors.LARGE = least
            shares[f"kept, {name}"] = float(
                np.mean([len(own & all_) / len(all_) for own, all_ in zip(*found, strict=True)])
            )
    return shares


def kinds(retriever: KlueRetriever) -> dict[str, tuple[KlueRetriever, dict[str, Any]]]:
    """Return the kinds of queries: what is asked, and with which options."""
    bare = retriever.model_copy(update={"reranker": None})
    return {
        "lexical": (bare, {"search_type": "lexical"}),
        "dense": (bare, {"search_type": "dense"}),
        "hybrid": (bare, {}),
        "hybrid, dictionary filter": (bare, {"filter": {"year": 2003}}),
        "hybrid, function filter": (bare, {"filter": lambda document: document.metadata["year"] == 2003}),
        "hybrid, reranked": (retriever, {}),
    }


def ask(retriever: KlueRetriever, questions: Sequence[str]) -> _Figures:
    """Ask the questions in every kind of search."""
    figures: _Figures = {}
    for name, (asked, settings) in kinds(retriever).items():
        some = (
            questions[: max(2, min(len(questions), 1_000_000 // len(retriever)))] if "function" in name else questions
        )
        for question in some[:2]:
            asked.invoke(question, **settings)
        figures |= show(name, timed(partial(asked.invoke, **settings), some))
        figures |= show(f"{name}, processor", timed(partial(asked.invoke, **settings), some, time.process_time))
    return figures


class Building:
    """An index that is being built, saved from time to time, and how far it is.

    Args:
        folder: Where it is saved; what is there is gone on with.
        progress: A file that says how far the saved index is; None to begin anew and save at the end alone.
        every: Passages after which it is saved, and read again: what is mapped needs no memory.
    """

    def __init__(self, folder: Path, progress: Path | None, every: int = 50_000) -> None:
        self.folder, self.progress, self.every = folder, progress, every
        self.done, self.seconds, self.since = 0, 0.0, 0  # passages; seconds that adding those after `since` took
        if progress is not None and progress.exists() and (folder / "manifest.json").exists():
            self.done, self.seconds, self.since = json.loads(progress.read_text(encoding="utf-8"))
        self.retriever = KlueRetriever.load(folder) if self.done else KlueRetriever()

    def clear(self, passages: Sequence[Passage]) -> None:
        """Remove what was added after the last save, and load Kiwi, whose start does not count."""
        self.retriever.delete([one.id for one in passages[self.done :]])
        self.retriever.add_documents([Document("준비", id="준비")])
        self.retriever.delete(["준비"])

    def add(self, passages: Sequence[Passage], size: int) -> float:
        """Add passages up to a size, and return how many a second were added since the last size, without saving."""
        while self.done < size:
            until = min(size, (self.done // self.every + 1) * self.every)
            start = time.perf_counter()
            for first in range(self.done, until, _AT_ONCE):
                self.retriever.add_documents(documents(passages[first : min(first + _AT_ONCE, until)]))
            self.retriever._index.wait_for_merges()
            self.seconds += time.perf_counter() - start
            self.done = until
            if self.progress is not None and until < size:
                self.save()
                self.retriever = KlueRetriever.load(self.folder)
                rate = (until - self.since) / self.seconds
                print(f"  {until} passages saved, {rate:.0f} passages/s", file=sys.stderr, flush=True)
        rate = (self.done - self.since) / max(self.seconds, 1e-9)
        self.seconds, self.since = 0.0, self.done
        return rate

    def save(self) -> None:
        """Save the index, and say how far it is."""
        self.retriever.save(self.folder)
        if self.progress is not None:
            self.progress.write_text(json.dumps([self.done, self.seconds, self.since]), encoding="utf-8")


def grow(
    passages: Sequence[Passage], sizes: Sequence[int], questions: Sequence[str], folder: Path, kept_in: Path | None
) -> list[_Figures]:
    """Measure an index at every size.

    Args:
        passages: At least as many as the largest size, and some to add at every size.
        sizes: Rising.
        questions: What is asked.
        folder: Where the index is saved; what is there is gone on with.
        kept_in: A file with the figures of the sizes that are measured, brought up to date after every size; beside it
            lies one that says how far the index is.

    Returns:
        The figures of every size.
    """
    building = Building(folder, kept_in.with_suffix(".progress") if kept_in is not None else None)
    every: list[_Figures] = []
    if kept_in is not None and kept_in.exists() and building.done:
        every = json.loads(kept_in.read_text(encoding="utf-8"))
    building.clear(passages)
    extra = iter(passages[max(sizes) :])
    for size in sizes:
        if every and size <= every[-1]["passages"]:
            continue
        figures: _Figures = {"passages": size, "passages_per_s": building.add(passages, size)}
        print(f"{size} passages, {figures['passages_per_s']:.0f} passages/s", file=sys.stderr, flush=True)
        figures["save_s"] = timed(lambda _: building.save(), [None])[0] / 1000
        retriever, some = building.retriever, [next(extra) for _ in range(60)]
        figures |= show("add one document", timed(retriever.add_documents, [documents([one]) for one in some]))
        figures |= show(
            "query after adding one document", timed(partial(_add_and_ask, retriever, some), questions[:30])
        )
        figures["save_again_s"] = timed(retriever.save, [folder])[0] / 1000
        retriever.delete([one.id for one in some])
        figures["disk_bytes"] = bytes_in(folder)
        figures |= search_saved(folder, questions)
        print("  " + ", ".join(f"{k} {v:.3g}" for k, v in figures.items() if isinstance(v, float)), file=sys.stderr)
        every.append(figures)
        if kept_in is not None:
            kept_in.write_text(json.dumps(every, indent=1), encoding="utf-8")
    return every


def bytes_in(folder: Path) -> int:
    """Return how large the files of a folder are together."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def search_saved(folder: Path, questions: Sequence[str]) -> _Figures:
    """Open a saved index in a process of its own and ask the questions."""
    found = subprocess.run(
        [sys.executable, "-c", _SEARCHING, str(folder)],
        input=json.dumps(questions),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(found.stdout)


def _add_and_ask(retriever: KlueRetriever, some: Sequence[Passage], question: str) -> None:
    retriever.add_documents(documents([random.choice(some)]))
    retriever.invoke(question)


def busy(passages: Sequence[Passage], size: int, questions: Sequence[str], folder: Path) -> None:
    """Ask questions while another thread writes."""
    retriever = KlueRetriever.from_documents(documents(passages[:size]))
    bare = retriever.model_copy(update={"reranker": None})
    retriever.invoke(questions[0])
    more = documents(passages[size : size + 4000])
    for name, asked in (("hybrid", bare), ("hybrid, reranked", retriever)):
        show(f"{name}, quiet", timed(asked.invoke, [*questions] * 5))
        writers: dict[str, Callable[[], Any]] = {
            "save": lambda: retriever.save(folder),
            "add of 4,000 documents": lambda: retriever.add_documents(more),
            "function filters": lambda: bare.invoke(questions[0], filter=lambda one: one.metadata["year"] == 2003),
            "delete of 4,000 documents": lambda: retriever.delete([one.id or "" for one in more]),
        }
        for what, write in writers.items():
            show(f"{name}, beside {what}", beside(write, asked, questions))


def beside(write: Callable[[], Any], asked: KlueRetriever, questions: Sequence[str]) -> list[float]:
    """Return the milliseconds of queries asked while another thread writes, for at least two seconds."""
    times: list[float] = []
    until = time.perf_counter() + 2

    def again() -> None:
        write()
        while time.perf_counter() < until:
            write()

    thread = threading.Thread(target=again)
    thread.start()
    while thread.is_alive():
        times += timed(asked.invoke, [questions[len(times) % len(questions)]])
    thread.join()
    return times


if __name__ == "__main__":
    main()
