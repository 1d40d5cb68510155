"""The ways to rerank that `benchmarks.rerank` compares, each measured in a process of its own.

Not to be called by itself: `benchmarks.rerank` starts ``python -m benchmarks.rerank_modes TASK.json RESULT.json``.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Scorer = Callable[[str, list[str]], list[float]]

#: Options of `KlueReranker` by the name of the way. "cut" ways get passages cut to what A reads, so that their scores
#: can be A's; the others get whole passages.
OURS: dict[str, dict[str, Any]] = {
    "D exact, torch": {"backend": "torch", "cut": True},
    "D exact, onnx": {"backend": "onnx", "cut": True},
    "D exact, int8": {"backend": "onnx-int8", "cut": True},
    "D all windows, int8": {"backend": "onnx-int8"},
    "D 1 x 128, torch": {"backend": "torch", "max_windows": 1, "window_length": 128},
    "D 1 x 128, onnx": {"backend": "onnx", "max_windows": 1, "window_length": 128},
    "D 1 x 128, int8": {"backend": "onnx-int8", "max_windows": 1, "window_length": 128},
    "D 2 x 96, int8": {"backend": "onnx-int8", "max_windows": 2, "window_length": 96},
    "D 1 x 64, int8": {"backend": "onnx-int8", "max_windows": 1, "window_length": 64},
    "D 1 x 128, int8, early stop": {"backend": "onnx-int8", "max_windows": 1, "window_length": 128},
}
PEERS = ("A the seed's loop", "B CrossEncoderReranker", "C sentence-transformers rank")
#: What A reads of a pair.
LENGTH = 512


def scorer(way: str, model: str, options: dict[str, Any]) -> tuple[Scorer, Any]:
    """Return the function that scores one query's passages, and our reranker, if it is ours."""
    if way in PEERS:
        return _peer(way, model), None
    from langchain_klue_rerank import KlueReranker

    settings = {"device": "cpu", "max_length": LENGTH - 2, **OURS[way], **options} if model else dict(options)
    settings.pop("cut", None)
    reranker = KlueReranker(model=model or None, top_n=None, title_key=None, **settings)
    if not model:
        return _with_tokens(reranker), reranker
    return lambda query, texts: reranker.score([query], [texts])[0], reranker


def _with_tokens(reranker: Any) -> Scorer:
    """Return the packaged model's scorer; an index keeps its passages' tokens, so they are made beforehand."""
    from langchain_klue_rerank.engine.text import shared_analyzer, tokenize

    kept: dict[tuple[str, ...], Any] = {}

    def score(query: str, texts: list[str]) -> list[float]:
        key = tuple(texts)
        if key not in kept:
            kept[key] = tokenize(texts, shared_analyzer())
        scores: list[list[float]] = reranker.score([query], [texts], [kept[key]])
        return scores[0]

    return score


def _peer(way: str, model: str) -> Scorer:
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

        def compress(query: str, texts: list[str]) -> list[float]:
            found = compressor.compress_documents([Document(text, id=str(n)) for n, text in enumerate(texts)], query)
            scores = [0.0] * len(texts)
            for rank, document in enumerate(found):  # it tells an order, no scores
                scores[int(document.id or 0)] = 1 - rank / len(texts)
            return scores

        return compress
    from sentence_transformers import CrossEncoder

    encoder = CrossEncoder(model, device="cpu", processor_kwargs=names, max_length=LENGTH - 2)
    if way.startswith("C"):

        def rank(query: str, texts: list[str]) -> list[float]:
            scores = [0.0] * len(texts)
            for line in encoder.rank(query, texts):
                scores[int(line["corpus_id"])] = float(line["score"])
            return scores

        return rank
    return lambda query, texts: encoder.predict([(query, text) for text in texts]).tolist()


def peak_memory() -> float:
    """Return the highest memory of this process so far, in MiB; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1024 if status.exists() else 0.0  # type: ignore[index]


def times_of(score: Scorer, queries: Sequence[tuple[str, list[str]]], twice: bool = False) -> list[float]:
    """Return the milliseconds of each query, asked one after the other; with `twice` those of the second time."""
    times = []
    for query, texts in queries:
        if twice:
            score(query, texts)
        start = time.perf_counter()
        score(query, texts)
        times.append(1000 * (time.perf_counter() - start))
    return times


def callers(ask: Callable[[int], Any], count: int, calls: int) -> tuple[list[float], float]:
    """Let `count` callers each ask `calls` times; returns the milliseconds of every call and the seconds of all."""
    gate = threading.Barrier(count)

    def work(caller: int) -> list[float]:
        gate.wait()
        times = []
        for call in range(calls):
            start = time.perf_counter()
            ask(caller * calls + call)
            times.append(1000 * (time.perf_counter() - start))
        return times

    start = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        times = [one for own in pool.map(work, range(count)) for one in own]
    return times, time.perf_counter() - start


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Measure one way: its quality with the narrow model, its price with the wide one."""
    texts_key = "cut_texts" if OURS.get(task["way"], {}).get("cut") else "texts"
    queries: list[tuple[str, list[str]]] = [(line["query"], line[texts_key]) for line in task["queries"]]
    candidates = task["candidates"]
    result: dict[str, Any] = {"way": task["way"]}
    if task.get("only_open"):
        for model in (task["model"], task["narrow"]):
            _, ours = scorer(task["way"], model, task["options"])
            assert ours.encoder
        return result
    score, ours = scorer(task["way"], task["model"], task["options"])
    twice = not task["model"]  # the first time makes the tokens that an index keeps
    timed = [(query, texts[:candidates]) for query, texts in queries[: task["timed"]]]
    score(*timed[-1])  # loads and warms up
    if ours is not None and task["model"]:
        from langchain_klue_rerank.engine.pair_batches import Workload

        ours.encoder.workload = Workload()
    result["milliseconds"] = times_of(score, timed, twice)
    if ours is not None and task["model"]:
        work = ours.encoder.workload
        result.update(tokens=work.tokens / len(timed), padding_share=work.padding_share, backend=ours.encoder.backend)
    result["growth_candidates"] = {
        str(count): _median(
            times_of(score, [(query, texts[:count]) for query, texts in queries[: task["growing"]]], twice)
        )
        for count in task["counts"]
    }
    result["growth_characters"] = {
        str(size): _median(
            times_of(
                score,
                [(query, _resize(texts[:candidates], size)) for query, texts in queries[: task["growing"]]],
                twice,
            )
        )
        for size in task["sizes"]
    }
    if ours is not None and task["crowds"]:
        result.update(_crowds(ours, queries, candidates, task))
    result["peak_memory"] = peak_memory()
    if task["narrow"] and task["narrow"] != task["model"]:
        score, _ = scorer(task["way"], task["narrow"], task["options"])
    result["scores"] = [score(query, texts[:candidates]) for query, texts in queries[: task["judged"]]]
    return result


def _crowds(ours: Any, queries: list[tuple[str, list[str]]], candidates: int, task: dict[str, Any]) -> dict[str, Any]:
    """Measure many callers at once, a batch against single calls, and a deadline."""
    tokens: list[Any] | None = None
    if not task["model"]:
        from langchain_klue_rerank.engine.text import shared_analyzer, tokenize

        tokens = [tokenize(texts[:candidates], shared_analyzer()) for _, texts in queries]

    def ask(reranker: Any) -> Callable[[int], list[list[float]]]:
        def one(number: int) -> list[list[float]]:
            query, texts = queries[number % len(queries)]
            own = texts[:candidates]
            scores: list[list[float]] = reranker.score([query], [own], tokens and [tokens[number % len(queries)]])
            return scores

        return one

    result: dict[str, Any] = {"callers": {}}
    for count in task["crowds"]:
        calls = max(1, task["calls"] // count)
        times, seconds = callers(ask(ours), count, calls)
        result["callers"][str(count)] = {"median": _median(times), "per_second": count * calls / seconds}
    many = [queries[number % len(queries)] for number in range(task["batch"])]
    start = time.perf_counter()
    for number in range(len(many)):
        ask(ours)(number)
    single = 1000 * (time.perf_counter() - start)
    start = time.perf_counter()
    ours.score(
        [query for query, _ in many],
        [texts[:candidates] for _, texts in many],
        tokens and [tokens[number % len(queries)] for number in range(len(many))],
    )
    result["batch"] = {"single_ms": single, "batch_ms": 1000 * (time.perf_counter() - start), "queries": len(many)}
    limited = ours.model_copy(update={"max_latency_ms": task["deadline"]})
    read: list[float] = []

    def in_time(number: int) -> None:
        [scores] = ask(limited)(number)
        if len(scores) != min(candidates, len(queries[number % len(queries)][1])):
            raise AssertionError("a result was lost")
        read.append(sum(score == score for score in scores) / len(scores))

    callers(in_time, 16, 2)  # the cost of a token becomes known
    read.clear()
    times, _ = callers(in_time, 16, task["deadline_calls"])
    times.sort()
    result["deadline"] = {
        "milliseconds": task["deadline"],
        "callers": 16,
        "calls": len(times),
        "answered": len(read),
        "median": _median(times),
        "p99": times[int(0.99 * (len(times) - 1))],
        "most": times[-1],
        "share_read": sum(read) / len(read),
    }
    return result


def _median(values: Sequence[float]) -> float:
    import statistics

    return statistics.median(values) if values else float("nan")


def _resize(texts: list[str], size: int) -> list[str]:
    """Return texts of about `size` characters: cut, or joined with their neighbours."""
    whole = " ".join(texts)
    return [(text + " " + whole)[:size] for text in texts]


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(measure(json.loads(Path(sys.argv[1]).read_text()))))
