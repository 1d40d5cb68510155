"""The documentation's own search, in a real browser: `make docs` first."""

from __future__ import annotations

import functools
import http.server
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.parallel import serving

SITE = Path(__file__).parents[2] / "site"
pytestmark = pytest.mark.skipif(not SITE.exists(), reason="make docs builds the site")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(SITE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("형태소", "ko/concepts.html"),
        ("임계값", "ko/recipes.html"),
        ("메타데이터", "ko/filters.html"),
        ("초성", "ko/troubleshooting.html"),
        ("threshold", "recipes.html"),
    ],
)
def test_the_search_finds_a_word_in_its_page(address: str, browser: Browser, word: str, page: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    visited = context.new_page()
    visited.goto(f"{address}/ko/index.html")
    field = visited.locator("input.md-search__input")
    if not field.is_visible():
        visited.locator("label.md-header__button[for=__search]").click()
    field.fill(word)
    field.press("End")
    visited.locator(f"a.md-search-result__link[href*='/{page}']").first.wait_for(state="attached", timeout=20_000)
    context.close()


@pytest.mark.parametrize(
    "page", ["results.html", "ko/cli.html", "api.html", "ko/training.html", "ko/benchmarks.html", "ko/langchain.html"]
)
def test_wide_tables_scroll_within_the_page(address: str, browser: Browser, page: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    visited = context.new_page()
    visited.goto(f"{address}/{page}")
    assert visited.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_the_menu_leads_to_the_same_page_in_the_other_language(address: str, browser: Browser) -> None:
    visited = browser.new_page()
    visited.goto(f"{address}/concepts.html")
    visited.locator(".md-header .md-select").hover()
    visited.locator(".md-header a[hreflang=ko]").click()
    visited.wait_for_url("**/ko/concepts.html")
    assert "바이인코더" in visited.locator("article").inner_text()
    titles = visited.locator(".md-nav--primary .md-nav__link").all_inner_texts()
    assert {"빠른 시작", "막힐 때", "명령줄"} <= {title.strip() for title in titles}
    visited.close()
