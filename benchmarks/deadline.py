"""Does `max_latency_ms` hold beside a thread that indexes?

    python -m benchmarks.deadline --data ../shared/data/klue_mrc

Asks an index of half of the contexts, with and without another thread that adds 4,000 documents of new words, and
prints the milliseconds of a whole `invoke`.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from pathlib import Path

import numpy as np
from langchain_core.documents import Document

from langchain_klue_rerank import KlueReranker, KlueRetriever
from langchain_klue_rerank.evaluation.sets import read_sets


def main() -> None:
    """Print one line without and one beside indexing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with questions and contexts in jsonl files")
    parser.add_argument("--limit", type=float, default=100, help="max_latency_ms of the reranker (100)")
    parser.add_argument("--documents", type=int, default=4000, help="documents that are added meanwhile (4000)")
    arguments = parser.parse_args()

    data = read_sets(str(arguments.data))[-1]  # the questions over all contexts
    texts, questions = [document.page_content for document in data.documents], data.questions[:300]
    reranker = KlueReranker(max_latency_ms=arguments.limit)
    retriever = KlueRetriever.from_texts(texts[: len(texts) // 2], reranker=reranker)
    for question in questions:  # words of these questions are analysed once
        retriever.invoke(question)
    report("quiet", ask(retriever, questions, threading.Event(), 200))

    new = scrambled(texts, arguments.documents)
    done = threading.Event()

    def index() -> None:
        retriever.add_documents(new)
        done.set()

    thread = threading.Thread(target=index)
    start = time.perf_counter()
    thread.start()
    times = ask(retriever, questions, done)
    thread.join()
    report(f"beside {len(new)} new documents ({time.perf_counter() - start:.0f} s)", times)


def scrambled(texts: list[str], count: int) -> list[Document]:
    """Return documents of words that nobody has analysed: a fifth of them are written backwards."""
    chance = random.Random(42)
    documents = []
    for _ in range(count):
        words = chance.choice(texts).split()
        chance.shuffle(words)
        documents.append(Document(" ".join(word[::-1] if chance.random() < 0.2 else word for word in words)))
    return documents


def ask(retriever: KlueRetriever, questions: list[str], until: threading.Event, most: int | None = None) -> list[float]:
    """Ask one question after the other, at least one; return the milliseconds of each."""
    times: list[float] = []
    while not times or (not until.is_set() and (most is None or len(times) < most)):
        start = time.perf_counter()
        retriever.invoke(questions[len(times) % len(questions)])
        times.append((time.perf_counter() - start) * 1000)
        time.sleep(0.005)
    return times


def report(name: str, times: list[float]) -> None:
    """Print the distribution of some times."""
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    shown = f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms, max {max(times):.0f} ms"
    print(f"{name}: {len(times)} queries, {shown}")


if __name__ == "__main__":
    main()
