"""The page in headless Chromium: the server, the browser and a visitor for each test."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import unicodedata
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Milliseconds that reading files may take; the machine may be busy.
READING = 1_200_000

expect.set_options(timeout=60_000)


class Visitor:
    """Somebody at the page, in a browser session of their own."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.requested: list[str] = []
        page.on("request", lambda request: self.requested.append(request.url))
        page.goto(url)
        page.get_by_placeholder("올린 문서에 대해 물어보세요").wait_for(timeout=60_000)

    def upload(self, *files: tuple[str, bytes]) -> None:
        """Drop files in and wait until they are read."""
        self.drop(*files)
        self.page.get_by_text(re.compile(r"기다리는 중|글을 꺼내는 중|찾아보기를 만드는 중")).first.wait_for(
            state="hidden", timeout=READING
        )

    def drop(self, *files: tuple[str, bytes]) -> None:
        """Drop files in and wait until they are listed."""
        self.page.locator('input[type="file"]').set_input_files(
            [{"name": name, "mimeType": "application/octet-stream", "buffer": content} for name, content in files]
        )
        name = unicodedata.normalize("NFC", files[-1][0])
        self.page.locator(".qa-file", has_text=name).wait_for(timeout=60_000)

    def ask(self, question: str) -> Locator:
        """Ask and return the whole answer."""
        answers = self.page.locator(".qa")
        before = answers.count()
        field = self.page.get_by_placeholder("올린 문서에 대해 물어보세요")
        field.fill(question)
        field.press("Enter")
        answer = answers.nth(before)
        answer.locator(".qa-scores").wait_for(timeout=60_000)
        return answer


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running bot without a chat model."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CHAT_", "OPENAI_"))}
    command = [sys.executable, "-m", "streamlit", "run", "examples/qa_bot/app.py"]
    flags = ["--server.headless", "true", "--server.port", port]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as out:
        server = subprocess.Popen([*command, *flags], cwd=ROOT, env=environment, stdout=out, stderr=out)
        try:
            yield _wait_for(f"http://localhost:{port}", server)
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> str:
    for _ in range(240):
        assert server.poll() is None, "the page's server has stopped"
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5):
                return url
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the page's server does not answer")


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Callable[..., Visitor]]:
    """What opens the page for a new visitor; ``width`` in pixels."""
    contexts = []

    def open_page(width: int = 1100) -> Visitor:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, locale="ko-KR"))
        return Visitor(contexts[-1].new_page(), url)

    yield open_page
    for context in contexts:
        context.close()
