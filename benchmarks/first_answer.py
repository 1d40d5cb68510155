"""Seconds from a fresh clone to the bot's first answer with a source: ``python -m benchmarks.first_answer``.

Clones what is committed here into a temporary folder, runs ``make bot`` there, which installs everything, and asks the
page a question in headless Chromium as a visitor would. Needs playwright and Chromium, as ``make bot-test`` does.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser_tests.conftest import FLAGS, ROOT, Visitor

QUESTION = "모닥불은 어디에서 피울 수 있나요?"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8627, help="where the page is served (8627)")
    parser.add_argument("--minutes", type=float, default=15, help="give up after so many (15)")
    options = parser.parse_args()
    url = f"http://localhost:{options.port}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CHAT_", "OPENAI_"))}
    environment |= {"STREAMLIT_SERVER_PORT": str(options.port), "STREAMLIT_SERVER_HEADLESS": "true"}
    with tempfile.TemporaryDirectory(prefix="first-answer-") as folder:
        start = time.perf_counter()
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        print(f"{time.perf_counter() - start:6.1f} s  cloned", flush=True)
        # a group of its own: make, and the server that it starts, end together
        server = subprocess.Popen(["make", "bot"], cwd=clone, env=environment, start_new_session=True)
        try:
            wait_for(url, server, 60 * options.minutes)
            print(f"{time.perf_counter() - start:6.1f} s  installed, the page is there", flush=True)
            ask(url, start)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{used.ru_utime + used.ru_stime:6.1f} s  of processor time, the browser included; the rest is waiting")


def wait_for(url: str, server: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait until the page is served."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    sys.exit("make bot did not bring the page up")


def ask(url: str, start: float) -> None:
    """Put the sample files in, ask, and open the citation."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS
        )
        visitor = Visitor(browser.new_page(), url)
        visitor.page.get_by_role("button", name="예시 문서로 해 보기").click()
        visitor.page.locator(".qa-file", has_text="솔바람").filter(has_text="개 단락").wait_for(timeout=300_000)
        answer = visitor.ask(QUESTION)
        answer.locator("a.qa-cite").first.click()
        sentence = answer.locator("mark").first.inner_text()
        print(f"{time.perf_counter() - start:6.1f} s  answered: {sentence}")
        browser.close()


if __name__ == "__main__":
    main()
