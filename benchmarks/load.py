"""How many requests the server answers, and how long they take, beside the library called in the same process.

    python -m benchmarks.load
    python -m benchmarks.load --path /v1/search

A server (`klue-rerank serve`, a process of its own) serves the samples to 1, 16, 64 and 256 clients on the same
machine, which take a part of it. They ask in two ways: each as fast as answers come, and each once in five seconds, as
a person does. Answered requests a second, median and 99th percentile of their time, errors, and requests without an
answer. Then what the server costs: processor time of a request from the server and from the library in the same
process, in turns, which does not depend on what else the machine does; medians of five turns. From the library's the
least that 64 clients can wait who ask without a pause: on average the processor time of 64 requests, divided among the
cores, even if the server itself cost nothing. Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np

from langchain_klue_rerank import KlueReranker, KlueRetriever
from langchain_klue_rerank.evaluation.sets import SAMPLES, read_passages, read_sets

CLIENTS = (1, 16, 64, 256)
_TEXTS = 30
_TOGETHER = 64


@dataclass
class Outcome:
    """What became of the requests of one run."""

    seconds: list[float] = field(default_factory=list)
    sent: int = 0
    errors: int = 0
    duration: float = 0.0

    def row(self) -> str:
        """Return the cells of a table."""
        times = 1000 * np.array(self.seconds or [float("nan")])
        lost = self.sent - len(self.seconds) - self.errors
        return (
            f"{len(self.seconds) / self.duration:.0f} | {np.median(times):.0f} | {np.percentile(times, 99):.0f} "
            f"| {self.errors} | {lost}"
        )


def requests() -> list[tuple[str, list[str]]]:
    """Return queries, each with the texts to rerank."""
    [data] = read_sets("samples")
    texts = [document.page_content for document in data.documents]
    rng = random.Random(3)
    return [(query, rng.sample(texts, _TEXTS)) for query in data.questions]


def body(path: str, query: str, texts: list[str]) -> bytes:
    """Return a request as it is sent."""
    fields = {"query": query, "k": 4} if path == "/v1/search" else {"query": query, "documents": texts, "top_n": 4}
    content = json.dumps(fields, ensure_ascii=False).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    )
    return head.encode() + b"\r\n\r\n" + content


async def client(port: int, bodies: list[bytes], start: int, end: float, pause: float, outcome: Outcome) -> None:
    """Ask one question after the other until the end; with a pause, at most one in so many seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    if pause:
        await asyncio.sleep(random.Random(start).random() * pause)
    for number in cycle(range(len(bodies))):
        began = time.perf_counter()
        if began >= end:
            break
        outcome.sent += 1
        writer.write(bodies[(start + number) % len(bodies)])
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        await reader.readexactly(int(length))
        took = time.perf_counter() - began
        if head.startswith(b"HTTP/1.1 200"):
            outcome.seconds.append(took)
        else:
            outcome.errors += 1
        if pause:
            await asyncio.sleep(max(0.0, pause - took))
    writer.close()


async def load(port: int, bodies: list[bytes], clients: int, seconds: float, pause: float) -> Outcome:
    """Let clients ask for some seconds; answers that come later are waited for."""
    outcome = Outcome()
    start = time.perf_counter()
    step = max(1, len(bodies) // clients)
    jobs = (client(port, bodies, number * step, start + seconds, pause, outcome) for number in range(clients))
    await asyncio.gather(*jobs, return_exceptions=True)
    outcome.duration = time.perf_counter() - start
    return outcome


def in_process(path: str, retriever: KlueRetriever, asked: list[tuple[str, list[str]]], seconds: float) -> float:
    """Return the milliseconds of processor time of one request to the library itself."""
    reranker = KlueReranker()
    done, end, start = 0, time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < end:
        part = [asked[(done + number) % len(asked)] for number in range(_TOGETHER)]
        if path == "/v1/search":
            retriever.batch([query for query, _ in part], k=4)
        else:
            reranker.score([query for query, _ in part], [texts for _, texts in part])
        done += len(part)
    return 1000 * (time.process_time() - start) / done


def served(port: int, process: int, bodies: list[bytes], seconds: float) -> float:
    """Return the milliseconds of processor time that the server takes for one request of as many clients at once."""
    start = _processor_seconds(process)
    outcome = asyncio.run(load(port, bodies, _TOGETHER, seconds, 0))
    return 1000 * (_processor_seconds(process) - start) / len(outcome.seconds)


def _processor_seconds(process: int) -> float:
    times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", choices=("/v2/rerank", "/v1/search"), default="/v2/rerank")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long the clients of one row ask")
    options = parser.parse_args()
    asked = requests()
    bodies = [body(options.path, query, texts) for query, texts in asked]
    retriever = KlueRetriever.from_documents(read_passages(SAMPLES / "passages.jsonl"))
    with tempfile.TemporaryDirectory() as folder:
        retriever.save(Path(folder) / "samples")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = ["-m", "langchain_klue_rerank.cli.main", "serve", str(Path(folder) / "samples"), "--port", str(port)]
        server = subprocess.Popen([sys.executable, *command])
        try:
            _wait(port)
            asyncio.run(load(port, bodies, 16, 5, 0))  # the first requests fill caches
            print(f"{options.path}, {os.cpu_count()} cores")
            for title, pause in (("as fast as answers come", 0.0), ("each once in 5 s", 5.0)):
                print(f"\n| clients, {title} | requests/s | p50 ms | p99 ms | errors | lost |")
                print("|---|---:|---:|---:|---:|---:|")
                for clients in CLIENTS:
                    outcome = asyncio.run(load(port, bodies, clients, options.seconds, pause))
                    if clients == 1 and not pause:
                        alone = outcome
                    print(f"| {clients} | {outcome.row()} |", flush=True)
            turns = [
                (served(port, server.pid, bodies, 4), in_process(options.path, retriever, asked, 4)) for _ in range(5)
            ]
        finally:
            server.terminate()
            server.wait()
    there, here = np.median(turns, axis=0)
    print(f"\nprocessor time of a request: server {there:.1f} ms, library {here:.1f} ms, {there / here - 1:+.0%}")
    least, p50, p99 = _TOGETHER * here / (os.cpu_count() or 1), *np.percentile(1000 * np.array(alone.seconds), (50, 99))
    print(
        f"{_TOGETHER} clients without a pause wait at least {least:.0f} ms on average: "
        f"{least / p50:.1f} times one client's median, {least / p99:.1f} times its p99"
    )


def _wait(port: int) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("The server does not answer.")


if __name__ == "__main__":
    main()
