"""What saving an index costs: seconds, bytes written, peak memory, after a few more documents and to a new folder.

    python -m benchmarks.saves --raw ../shared/data/raw --sizes 20000,100000

Passages of about 300 characters are cut from the texts of a folder (one paragraph a line, ``.txt`` or ``.txt.xz``).
Every save is of an index that was saved before and got so many documents more. Bytes and memory are Linux's own counts
(``/proc/self/io``, and the peak of ``/proc/self/status``, set back before the save). Beside the time that passed stands
the processor's, which a busy machine hardly changes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from langchain_core.documents import Document

from benchmarks.growth import documents
from benchmarks.raw_passages import raw_passages
from benchmarks.timing import memory, timed
from langchain_klue_rerank import KlueRetriever

#: Documents handed to the retriever at a time while the index is built.
_AT_ONCE = 4096
#: How many documents are added before a save, and how often.
_ADDED = {1: 11, 10: 7, 100: 5}


def main() -> None:
    """Measure saving at every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="folder with texts, one paragraph a line")
    parser.add_argument("--sizes", default="20000,100000", help="passages, rising, with commas between")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    passages = raw_passages(options.raw, max(sizes) + 5000)
    more = iter(documents(passages[max(sizes) :]))
    retriever = KlueRetriever()
    done = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "index"
        for size in sizes:
            for first in range(done, size, _AT_ONCE):
                retriever.add_documents(documents(passages[first : min(first + _AT_ONCE, size)]))
            done = size
            print(f"{size} passages")
            show("first save", [measured(partial(retriever.save, folder))])
            measure(retriever, folder, more)
            show("to another folder", [measured(partial(retriever.save, Path(place) / f"other {size}"))])
            opened = KlueRetriever.load(folder)
            show("the same, loaded", [measured(partial(opened.save, Path(place) / f"third {size}"))])


def measure(retriever: KlueRetriever, folder: Path, more: Iterator[Document]) -> None:
    """Add documents and save, again and again."""
    for count, times in _ADDED.items():
        saves, adds = [], list[float]()
        for _ in range(times):
            some = [next(more) for _ in range(count)]
            adds += timed(retriever.add_documents, [some])
            saves.append(measured(partial(retriever.save, folder)))
        show(f"after adding {count} ({np.median(adds):.1f} ms)", saves)


def measured(save: Callable[[], None]) -> tuple[float, float, float, float]:
    """Return what a save cost.

    Returns:
        Its milliseconds, those of the processor, the MiB that it wrote and by how many MiB the memory rose meanwhile.
    """
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, written = memory("VmRSS"), _written()
    start, processor = time.perf_counter(), time.process_time()
    save()
    passed, used = 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - processor)
    return passed, used, (_written() - written) / 2**20, memory("VmHWM") - before


def show(name: str, saves: list[tuple[float, float, float, float]]) -> None:
    """Print the medians."""
    times, used, written, memory = np.median(np.asarray(saves), axis=0).tolist()
    fastest = min(time for time, *_ in saves)
    print(
        f"  {name:28s} {times:8.1f} ms (fastest {fastest:.0f}, processor {used:.0f}), {written:8.2f} MiB written, "
        f"memory + {memory:7.1f} MiB",
        flush=True,
    )


def _written() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


if __name__ == "__main__":
    main()
