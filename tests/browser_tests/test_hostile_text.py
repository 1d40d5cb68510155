"""Text of strangers in every field of an answer, in a real browser: it is shown, and does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from examples.qa_bot.answers import Answer, Candidate, Source
from examples.qa_bot.rendering import answer_html, file_html, notices_html
from examples.qa_bot.shelf import File, State
from tests.browser_tests.conftest import READING, Visitor

ELSEWHERE = "http://elsewhere.example/x"
TAGS = [
    f"<img src={ELSEWHERE}>",
    f"<img src=x onerror=window.hit=1 srcset={ELSEWHERE}>",
    "<script>window.hit=1</script>",
    f"<script src={ELSEWHERE}></script>",
    "<style>*{display:none!important}</style>",
    f"<style>@import '{ELSEWHERE}'</style>",
    f"<link rel=stylesheet href={ELSEWHERE}>",
    f"<iframe src={ELSEWHERE}></iframe>",
    f"<form action={ELSEWHERE}><input autofocus onfocus=window.hit=1></form>",
    f"<a href=javascript:window.hit=1 ping={ELSEWHERE}>여기</a>",
    "<svg onload=window.hit=1><use href=#a></svg>",
    f"<svg><image href={ELSEWHERE} /></svg>",
    f"<video poster={ELSEWHERE} src={ELSEWHERE} autoplay></video>",
    f"<object data={ELSEWHERE}></object>",
    f"<embed src={ELSEWHERE}>",
    f"<meta http-equiv=refresh content='0;url={ELSEWHERE}'>",
    f"<base href={ELSEWHERE}/>",
    f"<div style='position:fixed;inset:0;background:url({ELSEWHERE})'>덮기</div>",
    "<details open ontoggle=window.hit=1>",
    "<math><mi xlink:href='javascript:window.hit=1'>",
    "<template><script>window.hit=1</script></template>",
    f"![그림]({ELSEWHERE})",
    f"[여기](javascript:window.hit=1) <{ELSEWHERE}>",
    f"[1]: {ELSEWHERE} [1] [2]",
    "`코드` **굵게** <b>굵게</b>",
    "\u202e글꼬리\u2066 \u200b\ufeff \x1b]0;제목\x07 \x00",
]
WRAPPINGS = ["{}", '"{}', "'>{}", "</mark></blockquote></details>{}", "--><!--{}", "&lt;{}&#60;"]
HOSTILE = [wrapping.format(tag) for tag, wrapping in product(TAGS, WRAPPINGS)]
ALLOWED = {"BDI", "BLOCKQUOTE", "DETAILS", "DIV", "LI", "MARK", "P", "SPAN", "SUMMARY", "UL", "OL", "A", "B", "BR"}
ALLOWED |= {"CODE", "EM", "STRONG", "TABLE", "TBODY", "TD", "TH", "THEAD", "TR"}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def answer(text: str, *, markdown: bool) -> str:
    source = Source(1, text, text, f"앞 {text} 뒤", 2, 2 + len(text))  # type: ignore[arg-type]
    candidate = Candidate(text, 1, 0.5, 0.5, 0.5)
    return answer_html(
        Answer(f"{text} [1]", (source,), (text,), (candidate,), {}, found=True, markdown=markdown), turn=0
    )


def test_no_field_of_an_answer_or_a_file_does_anything(page: Page) -> None:
    assert len(HOSTILE) >= 150
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("dialog", lambda dialog: requested.append(dialog.message))
    for text in HOSTILE:
        parts = [answer(text, markdown=False), answer(text, markdown=True), notices_html([text])]
        parts += [file_html(File(text, "", state, text)) for state in (State.READY, State.FAILED)]
        page.set_content("<main>" + "".join(map(str, parts)) + "<i id=end>끝</i></main>")
        seen = page.evaluate(
            "() => ({tags: [...document.querySelectorAll('main *')].map(e => e.tagName),"
            " links: [...document.querySelectorAll('main a')].map(e => e.getAttribute('href')),"
            " handlers: [...document.querySelectorAll('main *')].flatMap(e => e.getAttributeNames())"
            ".filter(name => name.startsWith('on') || name == 'style'),"
            " hit: window.hit, end: document.querySelector('main > #end') !== null})"
        )
        assert set(seen["tags"]) - {"I"} <= ALLOWED, text
        assert set(seen["links"]) <= {"#qa-0-1"}, text
        assert (seen["handlers"], seen.get("hit"), seen["end"]) == ([], None, True), text
    expect(page.locator("#end")).to_be_visible()
    assert requested == []


def test_the_page_shows_hostile_files_and_asks_nothing_from_elsewhere(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    rows = [
        {"page_content": f"별빛 극장 {number}관 안내 {text}", "metadata": {"title": text, "page": text}}
        for number, text in enumerate(HOSTILE)
    ]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    name = f"{TAGS[0]}![그림]({ELSEWHERE}).jsonl".replace("/", "")
    visitor.drop((name, lines.encode("utf-8", "replace")))
    expect(visitor.page.locator(".qa-file")).to_contain_text("개 단락", timeout=READING)
    for number in (3, 40, 100, 150):
        shown = visitor.ask(f"별빛 극장 {number}관 안내")
        shown.locator("summary").first.click()
    visitor.page.get_by_role("button", name="지우기").last.hover()
    assert visitor.page.evaluate("window.hit") is None
    assert visitor.page.locator(".qa img, .qa script, .qa style, .qa iframe, .qa form").count() == 0
    hosts = {urlsplit(url).hostname for url in visitor.requested if url.startswith(("http", "ws"))}
    assert hosts == {"localhost"}
