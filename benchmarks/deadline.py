"""Does `max_latency_ms` hold beside a thread that indexes?

    python -m benchmarks.deadline --data ../shared/data/klue_mrc

Asks an index of half of the contexts, with and without another thread that adds 4,000 documents of new words, and
prints the milliseconds of a whole `invoke`.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from langchain_core.documents import Document

from benchmarks.growth import beside, show
from benchmarks.timing import timed
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
    show("quiet", timed(retriever.invoke, questions[:200]), sys.stdout)
    new = scrambled(texts, arguments.documents)
    times = beside(lambda: retriever.add_documents(new), retriever, questions)
    show(f"beside {len(new)} new documents", times, sys.stdout)


def scrambled(texts: list[str], count: int) -> list[Document]:
    """Return documents of words that nobody has analysed: a fifth of them are written backwards."""
    chance = random.Random(42)
    documents = []
    for _ in range(count):
        words = chance.choice(texts).split()
        chance.shuffle(words)
        documents.append(Document(" ".join(word[::-1] if chance.random() < 0.2 else word for word in words)))
    return documents


if __name__ == "__main__":
    main()
