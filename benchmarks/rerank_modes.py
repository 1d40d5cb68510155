"""The ways to rerank that `benchmarks.rerank` compares, each measured in a process of its own.

Not to be called by itself: `benchmarks.rerank` starts ``python -m benchmarks.rerank_modes TASK.json RESULT.json``.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.timing import memory, timed

if TYPE_CHECKING:  # what another library needs of memory is measured without ours
    from langchain_klue_rerank.adapters.reranking import RankerCompressor
    from langchain_klue_rerank.engine.contracts import Evidence, ScoreRequest
    from langchain_klue_rerank.engine.models.transformer.cross_encoder import TransformerCrossEncoder

#: Options of `KlueReranker` by the name of the way. "cut" ways get passages cut to what A reads, so that their scores
#: can be A's; the others get whole passages. "first": what reads before, the packaged reranker or the folder of a
#: late-interaction model.
OURS: dict[str, dict[str, Any]] = {
    "exact, torch": {"backend": "torch", "cut": True},
    "exact, onnx": {"backend": "onnx", "cut": True},
    "exact, int8": {"backend": "onnx-int8", "cut": True},
    "1 x 128, int8": {"backend": "onnx-int8", "max_windows": 1, "window_length": 128},
    "1 x 64, int8": {"backend": "onnx-int8", "max_windows": 1, "window_length": 64},
    "1 x 128, int8, early stop": {"backend": "onnx-int8", "max_windows": 1, "window_length": 128},
    "packaged, then 5 of 1 x 128, int8": {
        "backend": "onnx-int8",
        "max_windows": 1,
        "window_length": 128,
        "first": "packaged",
        "read_n": 5,
    },
    "packaged, then 4 of 1 x 64, int8": {
        "backend": "onnx-int8",
        "max_windows": 1,
        "window_length": 64,
        "first": "packaged",
        "read_n": 4,
    },
}
PEERS = ("A the tutorial's loop", "B CrossEncoderReranker", "C sentence-transformers rank")
PACKAGED = "packaged"
#: Two more that are measured: a search with a transformer of a given shape, and the whole packaged default.
BI_ENCODER = "bi-encoder"
RETRIEVER = "KlueRetriever"
NO_RERANKING = "no reranking"
#: What A reads of a pair.
LENGTH = 512

#: A query and its passages into (score, read) for each.
Scorer = Callable[[str, list[str]], list[tuple[float, bool]]]


def make_reranker(way: str, model: str, options: dict[str, Any]) -> RankerCompressor:
    """Return our reranker of that way; one without a model is the packaged one."""
    from langchain_klue_rerank import KlueCascade, KlueReranker

    common: dict[str, Any] = {"top_n": None, "title_key": None}
    if way == PACKAGED:
        return KlueReranker(**common, **options)
    settings = {**OURS[way], **options}
    settings.pop("cut", None)
    windows = {key: settings.pop(key) for key in ("max_windows", "window_length") if key in settings}
    settings["model_kwargs"] = {"device": "cpu"}
    settings["encode_kwargs"] = {"max_length": LENGTH - 2, **windows, **settings.pop("encode_kwargs", {})}
    first = settings.pop("first", None)
    if first is None:
        return KlueReranker(model=model, **common, **settings)
    limit = {"max_latency_ms": settings.pop("max_latency_ms", None)}
    return KlueCascade(stages=[KlueReranker(model=first), KlueReranker(model=model, **settings)], **common, **limit)


class Asker:
    """Asks our reranker, and gives it the tokens that an index would keep for the packaged one, made beforehand.

    Args:
        reranker: The reranker.
    """

    def __init__(self, reranker: RankerCompressor) -> None:
        self.reranker = reranker
        self._tokens: dict[tuple[str, ...], Evidence] = {}

    def tokens(self, texts: list[str]) -> Evidence | None:
        """Return the passages' tokens, None where nobody reads them."""
        if not self.reranker._reads_tokens:
            return None
        from langchain_klue_rerank.engine.contracts import Evidence
        from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
        from langchain_klue_rerank.engine.text.tokenized import tokenize

        key = tuple(texts)
        if key not in self._tokens:
            self._tokens[key] = Evidence(tokenize(texts, shared_analyzer()))
        return self._tokens[key]

    def __call__(
        self, query: str, texts: list[str], first_stage: Sequence[float] | None = None
    ) -> list[tuple[float, bool]]:
        """Return each passage's score, and whether it was read; beside a first stage's scores, if they are given."""
        [scores] = self.reranker._score([self.request(query, texts, first_stage)])
        return list(zip(scores.values.tolist(), scores.is_read.tolist(), strict=True))

    def request(self, query: str, texts: list[str], first_stage: Sequence[float] | None = None) -> ScoreRequest:
        """Return what the reranker is asked."""
        from langchain_klue_rerank.engine.contracts import ScoreRequest

        if first_stage is None:
            return ScoreRequest(query, texts, self.tokens(texts))
        return ScoreRequest(query, texts, self.tokens(texts), np.asarray(first_stage, np.float32), 0.5)


def peer(way: str, model: str) -> Scorer:
    """Return the function of another library."""
    names = {"model_input_names": ["input_ids", "attention_mask"]}  # without it KLUE's models crash on every pair
    if way.startswith("B"):
        warnings.simplefilter("ignore")
        from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
        from langchain_community.cross_encoders import HuggingFaceCrossEncoder
        from langchain_core.documents import Document

        inner = HuggingFaceCrossEncoder(
            model_name=model, model_kwargs={"device": "cpu", "processor_kwargs": names, "max_length": LENGTH - 2}
        )
        compressor = CrossEncoderReranker(model=inner, top_n=10_000)

        def compress(query: str, texts: list[str]) -> list[tuple[float, bool]]:
            found = compressor.compress_documents([Document(text, id=str(n)) for n, text in enumerate(texts)], query)
            places = {int(document.id or 0): rank for rank, document in enumerate(found)}
            return [(1 - places[number] / len(texts), True) for number in range(len(texts))]  # it tells an order only

        return compress
    from sentence_transformers import CrossEncoder

    encoder = CrossEncoder(model, device="cpu", processor_kwargs=names, max_length=LENGTH - 2)
    if way.startswith("C"):

        def rank(query: str, texts: list[str]) -> list[tuple[float, bool]]:
            found = {int(line["corpus_id"]): float(line["score"]) for line in encoder.rank(query, texts)}
            return [(found[number], True) for number in range(len(texts))]

        return rank
    return lambda query, texts: [(float(one), True) for one in encoder.predict([(query, text) for text in texts])]


def times_of(
    score: Scorer, queries: Sequence[tuple[str, list[str]]], heard: list[list[float]] | None = None
) -> list[float]:
    """Return the milliseconds of each query, asked one after the other; their scores go into `heard`."""
    times = []
    for query, texts in queries:
        if isinstance(score, Asker):
            score.tokens(texts)
        start = time.perf_counter()
        found = score(query, texts)
        times.append(1000 * (time.perf_counter() - start))
        if heard is not None:
            heard.append([one for one, _ in found])
    return times


def callers(ask: Callable[[int], Any], count: int, calls: int) -> tuple[list[float], float]:
    """Let `count` callers each ask `calls` times; returns the milliseconds of every call and the seconds of all."""
    gate = threading.Barrier(count)

    def work(caller: int) -> list[float]:
        gate.wait()
        return timed(ask, range(caller * calls, (caller + 1) * calls))

    start = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        times = [one for own in pool.map(work, range(count)) for one in own]
    return times, time.perf_counter() - start


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Measure the price of one way, or its scores."""
    way = task["way"]
    if way == BI_ENCODER:
        return _search_price(task)
    if way == RETRIEVER:
        return _retriever(task)
    texts_key = "cut_texts" if OURS.get(way, {}).get("cut") else "texts"
    queries: list[tuple[str, list[str]]] = [(line["query"], line[texts_key]) for line in task["queries"]]
    candidates = task["candidates"]
    if task["part"] == "scores":
        return _scores(way, task, queries)
    ours = None if way in PEERS else make_reranker(way, task["model"], task["options"])
    if ours is not None and task.get("only_open"):
        ours._ranker.load()
        return {}
    score: Scorer = peer(way, task["model"]) if ours is None else Asker(ours)
    asked = [(query, texts[:candidates]) for query, texts in queries[: task["timed"]]]
    score(asked[-1][0], asked[-1][1][:2])  # loads and warms up
    transformer = None if ours is None or way == PACKAGED else _transformer(ours)
    if transformer is not None:
        from langchain_klue_rerank.engine.models.transformer.batches import Workload

        transformer.workload = Workload()
    heard: list[list[float]] = []
    result: dict[str, Any] = {"way": way, "milliseconds": times_of(score, asked, heard), "timed_scores": heard}
    if transformer is not None:
        work = transformer.workload
        result.update(tokens=work.tokens / len(asked), padding_share=work.padding_share, backend=transformer.backend)
    few = queries[: task["growing"]]
    result["growth_candidates"] = {
        str(count): median(times_of(score, [(query, texts[:count]) for query, texts in few]))
        for count in task["counts"]
    }
    result["growth_characters"] = {
        str(size): median(times_of(score, [(query, _resize(texts[:candidates], size)) for query, texts in few]))
        for size in task["sizes"]
    }
    if ours is not None and task["crowds"]:
        result.update(_crowds(Asker(ours), queries, candidates, task))
    result["peak_memory"] = memory("VmHWM")
    return result


def _transformer(reranker: RankerCompressor) -> TransformerCrossEncoder:
    """Return the transformer that reads last."""
    from langchain_klue_rerank.engine.models.transformer.cross_encoder import TransformerCrossEncoder

    encoder = reranker._ranker.stages[-1].encoder()
    assert isinstance(encoder, TransformerCrossEncoder)
    return encoder


def _scores(way: str, task: dict[str, Any], queries: list[tuple[str, list[str]]]) -> dict[str, Any]:
    """Return the scores of the judged queries, alone and blended with the first stage's, and what was read."""
    asker = Asker(make_reranker(way, task["model"], task["options"]))
    alone, blended, read = [], [], []
    for number in range(len(queries)):
        query, texts = queries[number][0], queries[number][1][: task["candidates"]]
        stage = task["queries"][number]["scores"][: len(texts)]
        found = asker(query, texts)
        alone.append([score for score, _ in found])
        read.append([is_read for _, is_read in found])
        if way == PACKAGED or "first" in OURS[way]:  # they take the first stage into account
            found = asker(query, texts, stage)
        blended.append([(score + one) / 2 for (score, _), one in zip(found, stage, strict=True)])
    return {"scores": alone, "blended_scores": blended, "read": read}


def _search_price(task: dict[str, Any]) -> dict[str, Any]:
    """Measure a search with a bi-encoder of a given shape, random weights, over random vectors."""
    import numpy as np

    from langchain_klue_rerank import KlueEmbeddings
    from langchain_klue_rerank.engine.arrays.unit_vectors import as_unit_vectors
    from langchain_klue_rerank.engine.index.fusion import top

    embeddings = KlueEmbeddings(model=task["model"], model_kwargs={"device": "cpu"})
    generator = np.random.default_rng(0)
    dimension = len(embeddings.embed_query("가"))
    vectors = as_unit_vectors(generator.standard_normal((task["passages"], dimension)))

    def search(line: dict[str, Any]) -> None:
        [scores] = as_unit_vectors([embeddings.embed_query(line["query"])]) @ vectors.T
        top(scores, task["candidates"], above=-1)

    times = timed(search, task["queries"][: task["timed"]])
    return {"way": task["way"], "milliseconds": times, "peak_memory": memory("VmHWM")}


def _retriever(task: dict[str, Any]) -> dict[str, Any]:
    """Measure the packaged default, a whole search: without reranking, and with so many candidates reranked."""
    from langchain_klue_rerank import KlueReranker, KlueRetriever

    retriever = KlueRetriever.load(task["index"], k=10)
    points: dict[str, Any] = {}
    for name, search_type, reranker, count in (
        (NO_RERANKING, task["search_type"], None, task["candidates"]),
        ("hybrid", "hybrid", None, 30),
        *((f"hybrid + packaged, {count} candidates", "hybrid", KlueReranker(), count) for count in (10, 30, 100)),
    ):
        asked = retriever.model_copy(update={"reranker": reranker, "fetch_k": count, "search_type": search_type})
        asked.invoke(task["queries"][0]["query"])
        queries = [line["query"] for line in task["queries"]]
        points[name] = {
            "milliseconds": timed(asked.invoke, queries),
            "found": [[str(one.id) for one in asked.invoke(query)] for query in queries],
        }
    return {"way": task["way"], "points": points, "peak_memory": memory("VmHWM")}


def _crowds(ask: Asker, queries: list[tuple[str, list[str]]], candidates: int, task: dict[str, Any]) -> dict[str, Any]:
    """Measure many callers at once, a batch against single calls, and a deadline."""
    lists = [(query, texts[:candidates]) for query, texts in queries[: task["batch"]]]
    for _, texts in lists:
        ask.tokens(texts)

    def one(number: int) -> list[tuple[float, bool]]:
        return ask(*lists[number % len(lists)])

    result: dict[str, Any] = {"callers": {}}
    for count in task["crowds"]:
        calls = max(1, task["calls"] // count)
        times, seconds = callers(one, count, calls)
        result["callers"][str(count)] = {"median": median(times), "per_second": count * calls / seconds}
    result["batches"] = {}
    for few in task["batch_candidates"]:
        parts = [(query, texts[:few]) for query, texts in lists]
        start = time.perf_counter()
        for query, texts in parts:
            ask(query, texts)
        single = 1000 * (time.perf_counter() - start)
        start = time.perf_counter()
        ask.reranker._score([ask.request(query, texts) for query, texts in parts])
        together = 1000 * (time.perf_counter() - start)
        result["batches"][str(few)] = {"queries": len(parts), "single_ms": single, "batch_ms": together}
    limited = Asker(ask.reranker.model_copy(update={"max_latency_ms": task["deadline"]}))
    limited._tokens = ask._tokens
    read: list[float] = []

    def in_time(number: int) -> None:
        query, texts = lists[number % len(lists)]
        found = limited(query, texts)
        if len(found) != len(texts):
            raise AssertionError("a result was lost")
        read.append(sum(is_read for _, is_read in found) / len(found))

    callers(in_time, 16, 2)  # the cost of a token becomes known
    read.clear()
    times, _ = callers(in_time, 16, task["deadline_calls"])
    times.sort()
    result["deadline"] = {
        "milliseconds": task["deadline"],
        "callers": 16,
        "calls": len(times),
        "answered": len(read),
        "median": median(times),
        "p99": times[int(0.99 * (len(times) - 1))],
        "most": times[-1],
        "share_read": sum(read) / len(read),
    }
    return result


def median(values: Sequence[float]) -> float:
    """Return the median, NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def _resize(texts: list[str], size: int) -> list[str]:
    """Return texts of about `size` characters: cut, or joined with their neighbours."""
    whole = " ".join(texts)
    return [(text + " " + whole)[:size] for text in texts]


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(measure(json.loads(Path(sys.argv[1]).read_text()))))
