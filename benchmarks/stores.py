"""The same questions and vectors through every vector store: is the top 10 that of our own store?

    pip install "langchain-klue-rerank[stores]"
    python -m benchmarks.stores --data ../shared/data/klue_mrc
    python -m benchmarks.stores --beside --data ../shared/data    # our words beside a store, beside either alone

Where a top 10 differs, the exact cosines say why: the same ten scores to six decimals are ties and rounding; lower ones
mean that the store's index is approximate and passed a nearer passage over.

With ``--beside`` the sets of `benchmarks.encoder` are asked of `KlueRetriever` with an index of its own, over a store
alone, and with its words beside the store, all reranked. The store has whole passages' vectors: the packaged ones, the
packaged encoder's (``--encoder``, slow), or hashed bigrams that know next to nothing; or two stores are asked.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
import zlib
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.encoder import NAMES, ranks, read_all
from benchmarks.timing import timed
from examples.vector_stores import Opener, openers, with_uuids
from langchain_klue_rerank import KlueEmbeddings, KlueRetriever, KlueVectorStore
from langchain_klue_rerank.evaluation.sets import read_sets

K = 10


class Ready(Embeddings):
    """Gives every store the same vectors, made once."""

    def __init__(self, texts: list[str], questions: list[str]) -> None:
        packaged = KlueEmbeddings()
        self._vectors = dict(zip(texts, packaged.embed_documents(texts), strict=True))
        self._queries = {question: packaged.embed_query(question) for question in questions}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of passages; any other text is asked for its dimension only."""
        other = next(iter(self._vectors.values()))
        return [self._vectors.get(text, other) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return a question's vector; see `embed_documents`."""
        return self._queries.get(text, next(iter(self._queries.values())))


def main() -> None:
    """Print for every store on how many questions it agrees with ours, why it does not on the others, and the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples", help="as for klue-rerank evaluate; of several sets the largest")
    parser.add_argument("--questions", type=int, default=200, help="how many, drawn at random (seed 42)")
    parser.add_argument("--beside", action="store_true", help="hit rates of words beside a store; --data: the folder")
    parser.add_argument("--encoder", action="store_true", help="with --beside: also the packaged encoder's vectors")
    options = parser.parse_args()
    if options.beside:
        _beside(Path(options.data) if options.data != "samples" else None, options.encoder)
        return
    data = max(read_sets(options.data), key=lambda one: len(one.documents))
    questions = random.Random(42).sample(data.questions, min(options.questions, len(data.questions)))
    documents = with_uuids([Document(one.page_content, id=one.id) for one in data.documents])
    embeddings = Ready([one.page_content for one in documents], questions)
    exact = _cosines(embeddings, documents, questions)
    print(f"{data.name}: {len(questions)} questions over {len(documents)} passages, top {K}")

    def own(name: str, embeddings: Embeddings, folder: Path) -> KlueVectorStore:
        return KlueVectorStore(embeddings, window_words=None, title_key=None)  # as the others: the text alone

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stores: dict[str, Opener] = {"ours": own, **openers(stack, folder)}
        expected: list[list[str]] = []
        print(f"{'store':18s} {'same 10':>8s} {'ties':>6s} {'approximate':>12s} {'indexing':>9s} {'a query':>8s}")
        for name, opener in stores.items():
            start = time.perf_counter()
            store = opener("passages", embeddings, folder)
            for first in tqdm(range(0, len(documents), 500), desc=name, leave=False):
                some = documents[first : first + 500]
                store.add_documents(some, ids=[str(one.id) for one in some])
            seconds = time.perf_counter() - start
            retriever = KlueRetriever(sources=[store], reranker=None, k=K, fetch_k=K)
            found, milliseconds = _ask(retriever, questions)
            expected = expected or found
            verdicts = [_compare(*pair) for pair in zip(found, expected, exact, strict=True)]
            counts = [verdicts.count(verdict) for verdict in ("same", "ties", "approximate")]
            print(f"{name:18s} {counts[0]:8d} {counts[1]:6d} {counts[2]:12d} {seconds:7.1f} s {milliseconds:5.1f} ms")


class Hashed(Embeddings):
    """Embeddings that know next to nothing: signs of hashed bigrams, added up in 64 dimensions."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of texts."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a text."""
        vector = np.zeros(64)
        for pair in pairwise(text):
            number = zlib.crc32("".join(pair).encode())
            vector[number % 64] += 1 if number & 64 else -1
        return [*map(float, vector)]


def _beside(data: Path | None, encoder: bool) -> None:
    """Print the hit rates of every set in an index of its own, over stores alone, and with words beside them."""
    models: dict[str, Embeddings] = {"packaged": KlueEmbeddings(), "hashed": Hashed()}
    if encoder:
        models["encoder"] = KlueEmbeddings(model="packaged-encoder")
    print("| questions | vectors of the store | searched | @1 | @3 | @5 | @10 |\n| --- | --- | --- |" + " ---: |" * 4)
    for name, sets, chosen in read_all(data, set(NAMES) - {"KorQuAD dev", "KLUE-MRC, own contexts"}):
        places: dict[tuple[str, str], list[NDArray[np.int64]]] = {}
        for one, rows in zip(sets, chosen, strict=True):
            plain = [Document(document.page_content, id=document.id) for document in one.documents]
            stores = {}
            for model, embeddings in models.items():
                stores[model] = KlueVectorStore(embeddings, window_words=None, title_key=None)
                stores[model].add_documents(plain)
            words = KlueRetriever.from_documents(one.documents)
            places.setdefault(("", "an index of its own"), []).append(ranks(words, one, rows))
            asked: dict[str, list[Any]] = {model: [store] for model, store in stores.items()}
            asked["packaged, hashed"] = [stores["packaged"], stores["hashed"]]
            for label, sources in asked.items():
                alone = KlueRetriever(sources=sources)
                beside = KlueRetriever(sources=sources)
                beside.add_documents(one.documents)
                places.setdefault((label, "alone"), []).append(ranks(alone, one, rows))
                places.setdefault((label, "words beside it"), []).append(ranks(beside, one, rows))
        for (label, how), found in places.items():
            rates = [f"{(np.concatenate(found) < depth).mean():.3f}" for depth in (1, 3, 5, 10)]
            print(f"| {name} | {label} | {how} | {' | '.join(rates)} |", flush=True)


def _cosines(embeddings: Ready, documents: list[Document], questions: list[str]) -> list[dict[str, float]]:
    """Return for each question every passage's cosine, in double precision."""
    passages = _unit(embeddings.embed_documents([one.page_content for one in documents]))
    asked = _unit([embeddings.embed_query(question) for question in questions])
    names = [str(one.id) for one in documents]
    return [dict(zip(names, row, strict=True)) for row in (asked @ passages.T).tolist()]


def _unit(vectors: list[list[float]]) -> NDArray[np.float64]:
    table = np.asarray(vectors, np.float64)
    return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)


def _ask(retriever: KlueRetriever, questions: list[str]) -> tuple[list[list[str]], float]:
    """Return the ids found for each question and the median of the milliseconds."""
    found: list[list[Document]] = []
    times = timed(lambda question: found.append(retriever.invoke(question)), questions)
    return [[str(one.id) for one in documents] for documents in found], float(np.median(times))


def _compare(found: list[str], expected: list[str], exact: dict[str, float]) -> str:
    if found == expected:
        return "same"
    ours, theirs = (sorted((exact[one] for one in ids), reverse=True) for ids in (found, expected))
    same = len(found) == len(expected) and np.allclose(ours, theirs, atol=1e-6)
    return "ties" if same else "approximate"


if __name__ == "__main__":
    main()
