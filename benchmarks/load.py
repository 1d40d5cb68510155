"""How many requests the server answers, and how long they take, beside the library called in the same process.

    python -m benchmarks.load
    python -m benchmarks.load --path /v1/search

A server (`klue-rerank serve`, a process of its own) serves the samples to 1, 16, 64 and 256 clients on the same
machine, which take a part of it. They ask in three ways: each as fast as answers come; each once in five seconds, as a
person does; and 64 of them at random moments, so many that the server is busy half or 70% of the time (of the requests
that it answers to 64 who ask without a pause). There times count from the moment at which a request was due, so that a
slow answer delays no question. Answered requests a second, median and 99th percentile of their time, errors, and
requests without an answer. Then what the server costs: processor time of a request from the server and from the library
in the same process, in turns, which does not depend on what else the machine does; medians of five turns. From the
library's the least that 64 clients can wait who ask without a pause: on average the processor time of 64 requests,
divided among the cores, even if the server itself cost nothing. Linux.
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
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np

from langchain_klue_rerank import KlueReranker, KlueRetriever
from langchain_klue_rerank.evaluation.sets import SAMPLES, read_passages, read_sets

CLIENTS = (1, 16, 64, 256)
#: Shares of the greatest throughput at which clients ask at random moments; how often each is measured, in turns.
LOADS = (0.5, 0.7)
_ROUNDS = 3
_TEXTS = 30
_TOGETHER = 64


@dataclass
class Outcome:
    """What became of the requests of one run."""

    seconds: list[float] = field(default_factory=list)
    sent: int = 0
    errors: int = 0
    duration: float = 0.0

    @property
    def rate(self) -> float:
        """Answered requests a second."""
        return len(self.seconds) / self.duration

    def p99(self) -> float:
        """Return the 99th percentile of the milliseconds."""
        return float(np.percentile(1000 * np.array(self.seconds), 99))

    def add(self, other: Outcome) -> None:
        """Add what became of the requests of another run."""
        self.seconds += other.seconds
        self.sent, self.errors = self.sent + other.sent, self.errors + other.errors
        self.duration += other.duration

    def row(self) -> str:
        """Return the cells of a table."""
        times = 1000 * np.array(self.seconds or [float("nan")])
        lost = self.sent - len(self.seconds) - self.errors
        return f"{self.rate:.0f} | {np.median(times):.0f} | {np.percentile(times, 99):.0f} | {self.errors} | {lost}"


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


def due(seed: int, begin: float, end: float, pause: float, at_random: bool) -> Iterator[float]:
    """Yield when a client asks, as values of time.perf_counter.

    Args:
        seed: The client's own.
        begin: The beginning.
        end: The end.
        pause: Seconds from question to question; 0 for at once.
        at_random: Whether the pauses are exponential with this mean.
    """
    rng = random.Random(seed)
    moment = begin + (rng.random() * pause)
    while (time.perf_counter() if not pause else moment) < end:
        yield moment
        moment += rng.expovariate(1 / pause) if at_random else pause


async def client(port: int, bodies: list[bytes], moments: Iterator[float], wait_for: bool, outcome: Outcome) -> None:
    """Ask one question after the other.

    Args:
        port: The server's.
        bodies: The questions, taken in turn.
        moments: When each is due. One that is due before the last one's answer is asked as soon as that has come.
        wait_for: Whether the time of an answer counts from the moment at which the question was due, even if it was
            asked later.
        outcome: Where to write what became of them.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for content, moment in zip(cycle(bodies), moments, strict=False):
        await asyncio.sleep(max(0.0, moment - time.perf_counter()))
        began = moment if wait_for else time.perf_counter()
        outcome.sent += 1
        writer.write(content)
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        await reader.readexactly(int(length))
        if head.startswith(b"HTTP/1.1 200"):
            outcome.seconds.append(time.perf_counter() - began)
        else:
            outcome.errors += 1
    writer.close()


async def load(
    port: int, bodies: list[bytes], clients: int, seconds: float, pause: float = 0.0, *, at_random: bool = False
) -> Outcome:
    """Let clients ask for some seconds; answers that come later are waited for."""
    outcome = Outcome()
    start = time.perf_counter()
    jobs = []
    for number in range(clients):
        first = number * max(1, len(bodies) // clients)
        moments = due(number, start, start + seconds, pause, at_random)
        jobs.append(client(port, bodies[first:] + bodies[:first], moments, at_random, outcome))
    await asyncio.gather(*jobs, return_exceptions=True)
    outcome.duration = time.perf_counter() - start
    return outcome


def paced(port: int, bodies: list[bytes], most: float, seconds: float) -> None:
    """Print what 64 clients wait who ask at random moments, beside one who asks without a pause.

    Args:
        port: The server's.
        bodies: The questions.
        most: Requests a second that the server answers at most.
        seconds: How long each is measured in each of `_ROUNDS` turns.
    """
    outcomes = {share: Outcome() for share in (0.0, *LOADS)}
    for _ in range(_ROUNDS):
        for share, outcome in outcomes.items():
            if share:
                pause = _TOGETHER / (share * most)
                outcome.add(asyncio.run(load(port, bodies, _TOGETHER, seconds, pause, at_random=True)))
            else:
                outcome.add(asyncio.run(load(port, bodies, 1, seconds)))
    alone = outcomes[0.0].p99()
    print("\n| load | requests/s | p50 ms | p99 ms | errors | lost | p99 / one client's |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for share, outcome in outcomes.items():
        name = f"{_TOGETHER} clients, {share:.0%} of {most:.0f} requests/s" if share else "one client"
        print(f"| {name} | {outcome.row()} | {outcome.p99() / alone:.1f} |", flush=True)


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
    outcome = asyncio.run(load(port, bodies, _TOGETHER, seconds))
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
        retriever = KlueRetriever.load(Path(folder) / "samples")  # as the server does: reading from disk costs more
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = ["-m", "langchain_klue_rerank.cli.main", "serve", str(Path(folder) / "samples"), "--port", str(port)]
        server = subprocess.Popen([sys.executable, *command])
        try:
            _wait(port)
            asyncio.run(load(port, bodies, 16, 5))  # the first requests fill caches
            print(f"{options.path}, {os.cpu_count()} cores")
            outcomes: dict[tuple[int, float], Outcome] = {}
            for title, pause in (("as fast as answers come", 0.0), ("each once in 5 s", 5.0)):
                print(f"\n| clients, {title} | requests/s | p50 ms | p99 ms | errors | lost |")
                print("|---|---:|---:|---:|---:|---:|")
                for clients in CLIENTS:
                    outcomes[clients, pause] = asyncio.run(load(port, bodies, clients, options.seconds, pause))
                    print(f"| {clients} | {outcomes[clients, pause].row()} |", flush=True)
            alone = outcomes[1, 0.0]
            paced(port, bodies, outcomes[_TOGETHER, 0.0].rate, options.seconds)
            turns = [
                (served(port, server.pid, bodies, 4), in_process(options.path, retriever, asked, 4)) for _ in range(5)
            ]
        finally:
            server.terminate()
            server.wait()
    there, here = np.median(turns, axis=0)
    print(f"\nprocessor time of a request: server {there:.1f} ms, library {here:.1f} ms, {there / here - 1:+.0%}")
    least = _TOGETHER * here / (os.cpu_count() or 1)
    p50, p99 = np.percentile(1000 * np.array(alone.seconds), (50, 99))
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
