"""The page, and nothing else: ``make bot``, or ``python -m streamlit run examples/qa_bot/app.py``.

What it shows comes from `Shelf` and `Bot`; each visitor has their own, kept by Streamlit in ``st.session_state``.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from examples.qa_bot.answers import Answer
from examples.qa_bot.bot import Bot
from examples.qa_bot.chat import Turn, chat_model
from examples.qa_bot.rendering import answer_html, file_html, notices_html
from examples.qa_bot.settings import ChatSettings, SettingsError, from_environment, from_form
from examples.qa_bot.shelf import File, Shelf, State

HERE = Path(__file__).parent
#: Seconds between two looks at files that are being read.
_REFRESH = 1.0


def main() -> None:
    """Draw the page once; Streamlit calls this after everything a visitor does."""
    st.set_page_config(page_title="내 문서에 묻기", page_icon=str(HERE / "icon.svg"))
    st.html(HERE / "style.css")
    state = st.session_state
    if "shelf" not in state:
        state.shelf, state.turns, state.upload, state.notices = Shelf(), [], 0, []
    settings = header()
    take_files(state.shelf)
    files(state.shelf)
    for number, (question, answer) in enumerate(state.turns):
        show_turn(question, answer, number)
    question = st.chat_input("올린 문서에 대해 물어보세요")
    if question is not None:
        ask(question, settings)


def header() -> ChatSettings:
    """Draw the title and the settings; return what is set."""
    line = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    line.title("내 문서에 묻기", anchor=False, width="content")
    with line.popover("설정", icon=":material/settings:"):
        server = from_environment()
        st.markdown("**대화 모델**")
        st.caption(
            "OpenAI와 같은 방식으로 통하는 서버라면 무엇이든 됩니다. 비워 두면 문서의 문장을 그대로 보여 드립니다."
        )
        model = st.text_input("모델 이름", server.model, placeholder="exaone3.5")
        base_url = st.text_input("주소", server.base_url, placeholder="http://localhost:11434/v1")
        api_key = st.text_input("키", type="password", placeholder="필요할 때만")
    st.markdown("문서를 올리고 물어보세요. 답에는 늘 근거가 붙고, 문서에 없으면 없다고 말합니다.")
    return from_form(model, base_url, api_key, server)


def take_files(shelf: Shelf) -> None:
    """Draw the upload field and put what was dropped in on the shelf."""
    state = st.session_state
    dropped = st.file_uploader(
        "문서 올리기 (txt, md, pdf, docx, hwpx, csv)", accept_multiple_files=True, key=f"upload-{state.upload}"
    )
    if dropped:
        notices = [shelf.put(file.name, file.getvalue()) for file in dropped]
        state.notices = [notice for notice in notices if notice]
        state.upload += 1  # a new, empty field: what was read need not be kept
        st.rerun()
    if not shelf.files and st.button("예시 문서로 해 보기", icon=":material/description:"):
        for path in sorted((HERE / "sample_files").iterdir()):
            shelf.put(path.name, path.read_bytes())
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

    failed = any(file.state == State.FAILED for file in shelf.files)
    # the key is a class of style.css
    with (
        st.container(key="files"),
        st.expander(f"내 문서 {len(shelf.files)}개", expanded=busy or failed or not st.session_state.turns),
    ):
        draw()


def file_line(shelf: Shelf, file: File) -> None:
    """Draw a file: name, state, and a button that takes it off the shelf."""
    line = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    line.html(file_html(file))
    if line.button("지우기", key=f"remove-{file.digest}-{file.name}", help=f"{file.name} 지우기", type="tertiary"):
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


def ask(question: str, settings: ChatSettings) -> None:
    """Answer a question while the visitor watches, and keep both."""
    state = st.session_state
    number = len(state.turns)
    earlier: list[Turn] = [(asked, answer.text) for asked, answer in state.turns if answer.found]
    with st.chat_message("user", avatar=":material/person:"):
        st.text(question)
    answer = Answer()
    with st.chat_message("assistant", avatar=":material/menu_book:"):
        place = st.empty()
        try:
            bot = Bot(state.shelf, chat_model(settings))
            for answer in bot.ask(question, earlier):
                place.html(answer_html(answer, number, writing=True))
        except SettingsError as error:
            answer = Answer(notes=(str(error),))
        place.html(answer_html(answer, number))
    state.turns.append((question, answer))


main()
