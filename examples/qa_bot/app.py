"""The page, and nothing else: ``make bot``, or ``python -m streamlit run examples/qa_bot/app.py``.

What it shows comes from `Shelf` and `Bot`; each visitor has their own, kept by Streamlit in ``st.session_state``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from examples.qa_bot.answers import Answer
from examples.qa_bot.bot import QUOTING, Bot
from examples.qa_bot.chat import Turn, chat_model, check_connection
from examples.qa_bot.rendering import answer_html, file_html, notices_html, plain_text
from examples.qa_bot.settings import QUESTION_LENGTH, ChatSettings, SettingsError, from_environment, from_form
from examples.qa_bot.shelf import File, Shelf, State

HERE = Path(__file__).parent
#: Seconds between two looks at files that are being read.
_REFRESH = 1.0
#: Seconds after which a visitor whose connection is closed counts as having left.
_GONE = 60.0
#: What stands where an answer was not even begun.
STOPPED = "답을 찾기 전에 멈췄습니다. 다시 물어봐 주세요."
#: Questions that the sample files answer, but one.
_SAMPLES = (
    "모닥불은 어디에서 피울 수 있나요?",
    "배에 자전거를 실으려면 얼마예요?",
    "개 데려가도 되나요?",
    "농약 써도 되나요?",
    "와이파이 비밀번호가 뭐예요?",
)


def main() -> None:
    """Draw the page once; Streamlit calls this after everything a visitor does."""
    st.set_page_config(page_title="내 문서에 묻기", page_icon=str(HERE / "icon.svg"))
    st.html(HERE / "style.css")
    state = st.session_state
    if "shelf" not in state:
        state.shelf, state.turns, state.upload, state.notices = Shelf(visitor_left()), [], 0, []
        state.samples = False
    settings = header()
    take_files(state.shelf)
    files(state.shelf)
    for number, (question, answer) in enumerate(state.turns):
        show_turn(question, answer, number)
    question = st.chat_input("올린 문서에 대해 물어보세요", max_chars=QUESTION_LENGTH) or sample_question()
    if question is not None:
        ask(question, settings)


def header() -> ChatSettings:
    """Draw the title and the settings; return what is set."""
    line = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    line.title("내 문서에 묻기", anchor=False, width="content")
    buttons = line.container(
        horizontal=True, horizontal_alignment="right", vertical_alignment="center", width="content"
    )
    if st.session_state.shelf.files and buttons.button("대화 지우기", icon=":material/delete:", type="tertiary"):
        st.session_state.turns = []
        st.rerun()
    with buttons.popover("설정", icon=":material/settings:"):
        settings = chat_settings(from_environment())
    st.markdown("문서를 올리고 물어보세요. 답에는 늘 근거가 붙고, 찾지 못하면 찾지 못했다고 말합니다.")
    return settings


def chat_settings(server: ChatSettings) -> ChatSettings:
    """Draw the settings of the chat model; what the environment says stands there as a hint only."""
    st.caption("OpenAI와 같은 방식으로 통하는 서버라면 무엇이든 됩니다. 끄면 문서의 문장을 그대로 보여 드립니다.")
    if not st.toggle("대화 모델", value=server.configured):
        return ChatSettings()
    model = st.text_input("모델 이름", placeholder=server.model or "exaone3.5")
    base_url = st.text_input("주소", placeholder=server.shown_address or "http://localhost:11434/v1")
    api_key = st.text_input("키", type="password", placeholder="필요할 때만")
    settings = from_form(model, base_url, api_key, server)
    if st.button("연결 확인", icon=":material/lan:"):
        try:
            with st.spinner("묻고 있습니다"):
                st.text(check_connection(settings))
        except SettingsError as error:
            st.text(str(error))
    return settings


def visitor_left() -> Callable[[], bool]:
    """Return what tells whether this visitor's page has been closed for a while."""
    context = get_script_run_ctx()
    session = context.session_id if context else ""
    last_seen = time.monotonic()

    def left() -> bool:
        nonlocal last_seen
        if not runtime.exists() or runtime.get_instance().is_active_session(session):
            last_seen = time.monotonic()
        return time.monotonic() - last_seen > _GONE

    return left


def sample_question() -> str | None:
    """Draw questions to click on, as long as there are only the sample files and nothing was asked."""
    state = st.session_state
    if not state.samples or state.turns or state.shelf.busy:
        return None
    place = st.empty()
    chosen = place.pills("이렇게 물어보세요", _SAMPLES, key="sample-question")
    if chosen is None:
        return None
    place.empty()
    return str(chosen)


def take_files(shelf: Shelf) -> None:
    """Draw the upload field and put what was dropped in on the shelf."""
    state = st.session_state
    dropped = st.file_uploader(
        "문서 올리기 (txt, md, pdf, hwp, hwpx, docx, xlsx, pptx, csv, html, json)",
        accept_multiple_files=True,
        key=f"upload-{state.upload}",
    )
    if dropped:
        notices = [shelf.put(file.name, file.getvalue()) for file in dropped]
        state.notices = [notice for notice in notices if notice]
        state.upload += 1  # a new, empty field: what was read need not be kept
        st.rerun()
    if not shelf.files and st.button("예시 문서로 해 보기", icon=":material/description:"):
        for path in sorted((HERE / "sample_files").iterdir()):
            shelf.put(path.name, path.read_bytes())
        state.samples = True
        st.rerun()
    if state.notices:
        st.html(notices_html(state.notices))


def files(shelf: Shelf) -> None:
    """Draw the files; while some are read, look again every now and then."""
    if not shelf.files:
        return
    busy = shelf.busy

    @st.fragment(run_every=_REFRESH if busy else None)
    def draw() -> None:
        for file in shelf.files:
            file_line(shelf, file)
        if busy and not shelf.busy:
            st.rerun()

    failed = sum(file.state == State.FAILED for file in shelf.files)
    label = f"내 문서 {len(shelf.files)}개" + (f" · 읽지 못함 {failed}개" if failed else "")
    # the key is a class of style.css
    with (
        st.container(key="files"),
        st.expander(label, expanded=busy or failed > 0 or not (st.session_state.turns or st.session_state.samples)),
    ):
        draw()


def file_line(shelf: Shelf, file: File) -> None:
    """Draw a file: name, state, and a button that takes it off the shelf."""
    line = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    line.html(file_html(file))
    key = hashlib.sha256(file.name.encode()).hexdigest()
    if line.button("지우기", key=f"remove-{key}", type="tertiary"):
        shelf.remove(file.name)
        st.rerun()
    if file.state == State.INDEXING:
        st.progress(file.indexed / max(1, file.passages))


def show_turn(question: str, answer: Answer, number: int) -> None:
    """Draw a question and its answer."""
    with st.chat_message("user", avatar=":material/person:"):
        st.text(question)
    with st.chat_message("assistant", avatar=":material/menu_book:"):
        st.html(answer_html(answer, number))
        copy(answer)


def copy(answer: Answer) -> None:
    """Draw what opens the answer as text, with a button that copies it."""
    if not answer.text:
        return
    with st.popover("복사", icon=":material/content_copy:", type="tertiary"):
        st.code(plain_text(answer), language=None, wrap_lines=True)


def ask(question: str, settings: ChatSettings) -> None:
    """Answer a question while the visitor watches, and keep both.

    Streamlit stops this wherever it is when the visitor does something else, so what there is of the answer is kept as
    it grows.
    """
    state = st.session_state
    number = len(state.turns)
    may_quote = not any(QUOTING in before.notes for _, before in state.turns)
    earlier: list[Turn] = [(asked, answer.text) for asked, answer in state.turns if answer.found]
    with st.chat_message("user", avatar=":material/person:"):
        st.text(question)
    answer = Answer(notes=(STOPPED,))
    state.turns.append((question, answer))
    with st.chat_message("assistant", avatar=":material/menu_book:"):
        place = st.empty()
        try:
            bot = Bot(state.shelf, chat_model(settings))
            for answer in bot.ask(question, earlier):
                if not may_quote:  # said once in a conversation
                    answer = replace(answer, notes=tuple(note for note in answer.notes if note != QUOTING))
                state.turns[number] = (question, answer)
                place.html(answer_html(answer, number, writing=True))
        except SettingsError as error:
            answer = Answer(notes=(str(error),))
        state.turns[number] = (question, answer)
        place.html(answer_html(answer, number))
        copy(answer)


main()
