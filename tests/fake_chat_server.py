"""A chat server on localhost that speaks as much of OpenAI's protocol as a streaming client needs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.parallel import serving

#: Messages of a request in, the answer out.
Answering = Callable[[list[dict[str, Any]]], str]


class FakeChatServer(ThreadingHTTPServer):
    """Answers what `answering` says, streamed word by word where asked to.

    Attributes:
        requests: The bodies of the requests, with the key that came along as ``key``, all headers as ``headers``.
        pause: Seconds between two words.
    """

    daemon_threads = True

    def __init__(self, answering: Answering, pause: float = 0.0, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answering = answering
        self.pause = pause
        self.status = status
        self.requests: list[dict[str, Any]] = []

    @property
    def base_url(self) -> str:
        """The address for a client."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: FakeChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = dict(self.headers)
        key = headers.get("Authorization", "").removeprefix("Bearer ")
        self.server.requests.append({**body, "key": key, "headers": headers})
        if self.path != "/v1/chat/completions" or self.server.status != 200:
            self._send(self.server.status if self.server.status != 200 else 404, "application/json")
            self.wfile.write(b'{"error": {"message": "no"}}')
            return
        text = self.server.answering(body["messages"])
        if body.get("stream"):
            self._send(200, "text/event-stream")
            for word in text.split(" "):
                self._event({"role": "assistant", "content": f"{word} "}, None)
                time.sleep(self.server.pause)
            self._event({}, "stop")
            self.wfile.write(b"data: [DONE]\n\n")
        else:
            self._send(200, "application/json")
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            self.wfile.write(json.dumps(_envelope("chat.completion", choice)).encode())

    def _send(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def _event(self, delta: dict[str, Any], finish: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        self.wfile.write(f"data: {json.dumps(_envelope('chat.completion.chunk', choice))}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *arguments: Any) -> None:
        """Keep quiet."""


def _envelope(kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "1", "object": kind, "created": 0, "model": "fake", "choices": [choice]}


@contextmanager
def fake_chat_server(answering: Answering, pause: float = 0.0, status: int = 200) -> Iterator[FakeChatServer]:
    """Run a server while the context lasts."""
    server = FakeChatServer(answering, pause, status)
    with serving(server):
        yield server


def answer_from_first_source(messages: list[dict[str, Any]]) -> str:
    """Answer as a model would: a sentence of the first source with its number, or a follow-up completed."""
    last = messages[-1]["content"]
    if last.startswith("마지막 질문:"):
        return f"{messages[1]['content']} {last.removeprefix('마지막 질문: ')}"
    lines = last.splitlines()
    if not any(line.startswith("[1] ") for line in lines):
        return "네."
    first = lines.index(next(line for line in lines if line.startswith("[1] ")))
    return f"{lines[first + 1].split('. ')[0].rstrip('.')}. [1]"
