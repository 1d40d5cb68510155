"""What a visitor does at the bot's page, in a real browser. Run with ``make bot-test``."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect

from examples.qa_bot.bot import NO_FILES, NOT_IN_FILES, QUOTING
from langchain_klue_rerank.evaluation.sets import SAMPLES
from tests.browser_tests.conftest import READING, Visitor
from tests.fake_chat_server import answer_from_first_source, fake_chat_server

Visit = Callable[..., Visitor]

RULES = """휴가 안내

연차는 해마다 15일이고 사흘 전까지 신청합니다. 반차는 오전과 오후로 나눕니다.

재택근무는 하루 전 오후 여섯 시까지 신청합니다. 수요일에는 신청할 수 없습니다."""
QUESTION = "재택근무는 언제까지 신청하나요?"
SENTENCE = "재택근무는 하루 전 오후 여섯 시까지 신청합니다."


def fits(page: Page) -> bool:
    """Whether nothing is wider than the window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_a_file_is_dropped_in_and_a_citation_opens_at_the_marked_sentence(visit: Visit) -> None:
    visitor = visit()
    visitor.upload(("근무 규칙.txt", RULES.encode("cp949")))
    answer = visitor.ask(QUESTION)
    expect(answer.locator(".qa-text")).to_contain_text(SENTENCE)
    expect(answer).to_contain_text(QUOTING)
    mark = answer.locator("mark").first
    expect(mark).to_be_hidden()
    answer.locator("a.qa-cite").first.click()
    expect(mark).to_be_visible()
    expect(mark).to_have_text(SENTENCE)
    expect(mark).to_be_in_viewport()
    expect(answer.locator("summary").first).to_contain_text("근무 규칙")


def test_scores_before_and_after_and_times_are_shown_on_demand(visit: Visit) -> None:
    visitor = visit()
    visitor.upload(("근무 규칙.txt", RULES.encode()))
    answer = visitor.ask(QUESTION)
    expect(answer.locator("table")).to_be_hidden()
    answer.get_by_text("점수와 걸린 시간").click()
    expect(answer.locator("table")).to_be_visible()
    expect(answer.locator(".qa-times")).to_contain_text("다시 순위 매기기")
    expect(answer.locator(".qa-times")).to_contain_text("ms")


def test_what_the_files_do_not_say_is_not_answered(visit: Visit) -> None:
    visitor = visit()
    visitor.upload(("근무 규칙.txt", RULES.encode()))
    answer = visitor.ask("프랑스 혁명은 왜 일어났나요?")
    expect(answer.locator(".qa-text")).to_have_text(NOT_IN_FILES)
    expect(answer.locator("a.qa-cite")).to_have_count(0)


def test_an_empty_question_asks_nothing_and_a_question_without_files_asks_for_some(visit: Visit) -> None:
    visitor = visit()
    field = visitor.page.get_by_placeholder("올린 문서에 대해 물어보세요")
    for text in ("", "   "):
        field.fill(text)
        field.press("Enter")
    visitor.page.wait_for_timeout(1000)
    for answer in visitor.page.locator(".qa-text").all_inner_texts():
        assert answer == "질문을 적어 주세요."
    field.fill("연차는 며칠인가요?")
    field.press("Enter")
    expect(visitor.page.locator(".qa-text").last).to_have_text(NO_FILES)


def test_a_bad_file_is_named_and_the_good_one_is_read(visit: Visit) -> None:
    visitor = visit()
    name = unicodedata.normalize("NFD", "근무 규칙.txt")
    text = unicodedata.normalize("NFD", RULES)
    visitor.drop(("빈 파일.txt", b" "), ("망가진.pdf", b"%PDF nothing"), (name, text.encode()))
    lines = visitor.page.locator(".qa-file")
    expect(lines.filter(has_text="빈 파일.txt")).to_contain_text("빈 파일입니다", timeout=READING)
    expect(lines.filter(has_text="망가진.pdf")).to_contain_text("손상", timeout=READING)
    expect(lines.filter(has_text="근무 규칙.txt")).to_contain_text("개 단락", timeout=READING)
    expect(visitor.ask(QUESTION).locator(".qa-text")).to_contain_text(SENTENCE)


def test_equal_files_are_taken_once_and_a_file_can_be_taken_away(visit: Visit) -> None:
    visitor = visit()
    visitor.upload(("근무 규칙.txt", RULES.encode()))
    visitor.page.locator('input[type="file"]').set_input_files(
        {"name": "같은 글.txt", "mimeType": "text/plain", "buffer": RULES.encode()}
    )
    expect(visitor.page.get_by_text("내용이 같아 넣지 않았습니다")).to_be_visible()
    expect(visitor.page.locator(".qa-file")).to_have_count(1)
    visitor.page.get_by_role("button", name="지우기", exact=True).click()
    expect(visitor.page.locator(".qa-file")).to_have_count(0)


def test_two_visitors_keep_their_own_files_while_one_reads_20_megabytes(visit: Visit) -> None:
    big, other = visit(), visit()
    big.drop(("큰 글.txt", large_text()))
    expect(big.page.locator('[role="progressbar"]')).to_be_visible(timeout=READING)
    other.upload(("근무 규칙.txt", RULES.encode()))
    expect(other.ask(QUESTION).locator(".qa-text")).to_contain_text(SENTENCE)
    expect(other.page.locator(".qa-file")).to_have_count(1)
    assert big.page.locator('[role="progressbar"]').is_visible(), (
        "the large file was read before the other visitor asked"
    )
    expect(big.page.locator(".qa-file")).to_contain_text("개 단락", timeout=READING)
    expect(big.ask("모래고래 등대는 몇 년에 세워졌나요?").locator(".qa-text")).to_contain_text("1893년")
    expect(big.ask(QUESTION).locator(".qa-text")).not_to_contain_text(SENTENCE)


def large_text() -> bytes:
    """20 MB of words of the samples in any order, with one sentence worth finding in the middle."""
    draw = random.Random(7)
    words = sorted(set((SAMPLES / "passages.jsonl").read_text(encoding="utf-8").split()))
    sentences = [" ".join(draw.choices(words, k=10)) + ".\n" for _ in range(20_000)]
    text, size = [], 0
    while size < 20 << 20:
        text.append(draw.choice(sentences))
        size += len(text[-1].encode())
    text.insert(len(text) // 2, "\n\n모래고래 등대는 1893년에 세워졌습니다.\n\n")
    return "".join(text).encode()


def test_a_chat_model_from_the_settings_streams_and_completes_a_follow_up(visit: Visit) -> None:
    with fake_chat_server(answer_from_first_source, pause=0.5) as server:
        visitor = visit()
        visitor.upload(("근무 규칙.txt", RULES.encode()))
        use_chat_model(visitor, server.base_url)
        field = visitor.page.get_by_placeholder("올린 문서에 대해 물어보세요")
        field.fill("재택근무 신청 기한을 알려 주세요")
        field.press("Enter")
        expect(visitor.page.locator(".qa-caret")).to_be_visible()  # it is being written
        expect(visitor.page.locator(".qa-scores")).to_have_count(1)
        expect(visitor.page.locator("a.qa-cite")).to_have_count(1)
        answer = visitor.ask("수요일에는요?")
        expect(answer).to_contain_text("이렇게 풀어서 찾았습니다: 재택근무 신청 기한을 알려 주세요 수요일에는요?")
        expect(answer).not_to_contain_text(QUOTING)


def use_chat_model(visitor: Visitor, base_url: str) -> None:
    """Set a chat model and see that it answers."""
    visitor.page.get_by_role("button", name="설정").click()
    visitor.page.get_by_text("대화 모델", exact=True).click()
    for label, value in (("모델 이름", "fake"), ("주소", base_url)):
        field = visitor.page.get_by_label(label)
        field.fill(value)
        field.press("Enter")
    visitor.page.get_by_role("button", name="연결 확인").click()
    expect(visitor.page.get_by_text("연결되었습니다.")).to_be_visible()
    visitor.page.keyboard.press("Escape")


def test_a_question_asked_while_another_is_answered_loses_neither(visit: Visit) -> None:
    with fake_chat_server(lambda _: "하루 전까지 " * 30 + "[1]", pause=0.5) as server:
        visitor = visit()
        visitor.upload(("근무 규칙.txt", RULES.encode()))
        use_chat_model(visitor, server.base_url)
        field = visitor.page.get_by_placeholder("올린 문서에 대해 물어보세요")
        for question in ("재택근무 신청 기한은?", "연차는 며칠인가요?"):
            field.fill(question)
            field.press("Enter")
            expect(visitor.page.locator(".qa-caret")).to_be_visible()
            expect(visitor.page.locator(".qa-text").last).to_contain_text("하루 전까지")
        for question in ("재택근무 신청 기한은?", "연차는 며칠인가요?"):
            expect(visitor.page.get_by_text(question)).to_be_visible()
        expect(visitor.page.locator(".qa-text")).to_have_count(2)
        expect(visitor.page.locator(".qa-text").first).to_contain_text("하루 전까지")


def test_the_page_fits_a_phone_and_loads_nothing_from_elsewhere(visit: Visit) -> None:
    visitor = visit(width=390)
    visitor.page.get_by_role("button", name="예시 문서로 해 보기").click()
    expect(visitor.page.locator(".qa-file", has_text="개 단락")).to_have_count(6, timeout=READING)
    answer = visitor.ask("모닥불은 어디에서 피울 수 있나요?")
    answer.get_by_text("점수와 걸린 시간").click()
    visitor.page.get_by_role("button", name="설정").click()
    visitor.page.get_by_text("대화 모델", exact=True).click()
    visitor.page.get_by_label("모델 이름").wait_for()
    assert fits(visitor.page)
    hosts = {urlsplit(url).hostname for url in visitor.requested if url.startswith(("http", "ws"))}
    assert hosts == {"localhost"}


def test_a_sample_question_is_a_click_and_a_conversation_is_copied_and_cleared(visit: Visit) -> None:
    visitor = visit()
    visitor.page.get_by_role("button", name="예시 문서로 해 보기").click()
    visitor.page.get_by_text("농약 써도 되나요?").click(timeout=READING)
    answer = visitor.page.locator(".qa")
    expect(answer).to_contain_text("농약")
    expect(visitor.page.get_by_text("이렇게 물어보세요")).to_be_hidden()
    visitor.page.get_by_role("button", name="복사").click()
    expect(visitor.page.locator("code")).to_contain_text("[1] 두루 마을 텃밭 규칙")
    visitor.page.keyboard.press("Escape")
    expect(visitor.ask(QUESTION)).not_to_contain_text(QUOTING)  # said once
    visitor.page.get_by_role("button", name="대화 지우기").click()
    expect(answer).to_have_count(0)
    expect(visitor.page.get_by_text("내 문서 6개")).to_be_visible()


def test_dark_where_the_device_is_dark(browser: Browser, url: str) -> None:
    with browser.new_context(color_scheme="dark") as context:
        page = Visitor(context.new_page(), url).page
        background = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    red, green, blue = (int(value) for value in re.findall(r"\d+", background)[:3])
    assert max(red, green, blue) < 64
