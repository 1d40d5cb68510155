"""What the vectors of windows bring and cost: long passages in windows of several lengths against one vector a passage.

    python -m benchmarks.windows --data ../shared/data/klue_mrc --limit 240     # KLUE-MRC validation

For each length: vectors and bytes a passage, hit rates of dense and of hybrid search, with and without reranking, and
the processor time of a query. "every window" reads the windows of all passages instead of those of the best as wholes:
what that shortcut loses.
"""

from __future__ import annotations

import argparse
import statistics
from unittest import mock

from benchmarks.figures.printed import with_interval
from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.adapters.embedding import WindowWords
from langchain_klue_rerank.engine.index import search
from langchain_klue_rerank.engine.text.windows import WINDOW_WORDS
from langchain_klue_rerank.evaluation import ask
from langchain_klue_rerank.evaluation.metrics import METRICS
from langchain_klue_rerank.evaluation.sets import EvaluationSet, read_sets


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples", help="as for klue-rerank evaluate; of several sets the last")
    parser.add_argument("--limit", type=int, help="ask the first questions only")
    parser.add_argument("--words", type=int, nargs="+", default=[100, WINDOW_WORDS], help="words in a window")
    options = parser.parse_args()
    data = read_sets(options.data)[-1].first(options.limit)
    print(f"{data.name}: {len(data.questions)} questions over {len(data.documents)} passages")
    for words in (None, *options.words):
        retriever = KlueRetriever.from_documents(data.documents, window_words=words)
        print(f"{_name(words)}: {_size(retriever)}")
        _show(retriever, data, "dense")
        _show(retriever, data, "hybrid")
        if words is not None:
            with mock.patch.object(search, "_READ", len(data.documents)):
                _show(retriever, data, "dense", "every window, ")


def _name(words: WindowWords) -> str:
    return "one vector a passage" if words is None else f"windows of {words} words"


def _size(retriever: KlueRetriever) -> str:
    vectors, size = retriever._index.vectors_of_passage
    return f"{vectors:.1f} vectors a passage, {size:.0f} bytes"


def _show(retriever: KlueRetriever, data: EvaluationSet, search_type: str, how: str = "") -> None:
    for reranker in (None, retriever.reranker):
        asked = retriever.model_copy(update={"reranker": reranker})
        answers = ask(asked, data, "", show_progress=False, k=10, search_type=search_type)
        judged = answers.judge(data)
        cells = [f"{metric} {with_interval(METRICS[metric](judged))}" for metric in ("HitRate@1", "HitRate@10")]
        time = statistics.median(answers.processor_milliseconds)
        name = f"{how}{search_type}{', reranked' if reranker is not None else ''}"
        print(f"  {name:32s} {'  '.join(cells)}  {time:5.1f} ms", flush=True)


if __name__ == "__main__":
    main()
