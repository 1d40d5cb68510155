"""What a hundred million passages take on engines that people run: bytes, core hours, machines, from measured rates.

    python -m benchmarks.scale --raw ../shared/data/raw --passages 100000000

Measures the processor's time of every stage of `examples.ray_indexing` and the sizes of what it makes on a sample of
passages of about 300 characters, cut from the texts of a folder (one paragraph a line, ``.txt`` or ``.txt.xz``), and
multiplies. Words that were seen before are not analysed again, so a sample counts more of that than a large run has.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.raw_passages import raw_passages
from langchain_klue_rerank import KlueEmbeddings, KlueSparseEmbeddings
from langchain_klue_rerank.sparse import SparseVector

#: Passages at the beginning that do not count: models load, frequent words are analysed.
_WARM = 500
#: Passages of a call, as a worker of `examples.ray_indexing` takes them.
_BATCH = 256
#: Links of a node of an HNSW graph with m = 16, of four bytes each, and of the levels above.
_LINKS = 2 * 16 * 4 * 1.1


def main() -> None:
    """Print rates, sizes and the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="folder with texts, one paragraph a line")
    parser.add_argument("--sample", type=int, default=4000, help="passages that are measured (4000)")
    parser.add_argument("--passages", type=int, default=100_000_000, help="passages that are planned (100000000)")
    parser.add_argument("--cores", type=int, default=64, help="cores that index (64)")
    parser.add_argument("--memory", type=int, default=256, help="GiB of a machine that searches (256)")
    options = parser.parse_args()
    texts = [one.text for one in raw_passages(options.raw, options.sample + _WARM)]
    sparse = KlueSparseEmbeddings.fit(texts[:_WARM])
    dense = KlueEmbeddings()
    stages: dict[str, Callable[[list[str]], Any]] = {
        "dense vectors, with tokens": dense.embed_documents,
        "sparse vectors": sparse.embed_documents,
    }
    seconds, made = {}, {}
    for name, call in stages.items():
        call(texts[:_WARM])
        seconds[name], made[name] = timed(call, texts[_WARM:])
    print(f"\nprocessor time of {options.sample} passages of {np.mean([*map(len, texts)]):.0f} characters")
    for name, spent in seconds.items():
        rate = options.sample / spent
        hours = options.passages / rate / 3600
        print(f"  {name:28s} {rate:8.0f} a second and core, {hours:8.1f} core hours")
    total = sum(seconds.values()) / options.sample * options.passages / 3600
    print(f"  {'together':28s} {total:.1f} core hours, {total / options.cores:.1f} hours with {options.cores} cores")
    sizes(options.passages, texts[_WARM:], made["dense vectors, with tokens"], made["sparse vectors"], options.memory)


def timed(call: Callable[[list[str]], Any], texts: list[str]) -> tuple[float, list[Any]]:
    """Return the processor's seconds of a call over all texts, some at a time, and what it made."""
    made: list[Any] = []
    start = time.process_time()
    for place in range(0, len(texts), _BATCH):
        made += call(texts[place : place + _BATCH])
    return time.process_time() - start, made


def sizes(passages: int, texts: list[str], dense: list[list[float]], sparse: list[SparseVector], memory: int) -> None:
    """Print bytes a passage and in all."""
    dimension = len(dense[0])
    terms = float(np.mean([len(vector.indices) for vector in sparse]))
    parts = {
        "texts": float(np.mean([len(text.encode()) for text in texts])),
        f"dense vectors, {dimension} numbers of 4 bytes": 4.0 * dimension,
        "the same in bytes": 1.0 * dimension,
        "HNSW links, m = 16": _LINKS,
        f"sparse vectors, {terms:.0f} terms of 8 bytes": 8 * terms,
    }
    print(f"\nbytes of {passages:,} passages")
    for name, size in parts.items():
        print(f"  {name:44s} {size:7.0f} a passage, {size * passages / 2**30:9.0f} GiB")
    kept = parts["the same in bytes"] + _LINKS + 8 * terms
    print(
        f"  in memory (bytes, links, sparse)             {kept:7.0f} a passage, {kept * passages / 2**30:9.0f} GiB: "
        f"{np.ceil(kept * passages / 2**30 / (0.8 * memory)):.0f} machines of {memory} GiB, each four fifths full"
    )
    disk = sum(parts.values())
    print(f"  on disk (all)                                {disk:7.0f} a passage, {disk * passages / 2**30:9.0f} GiB")


if __name__ == "__main__":
    main()
