"""Answers and files as HTML.

Everything that comes from files, visitors and models goes through `Markup.format`, which escapes what is no `Markup`.
Their names and passages stand in ``<bdi>``: characters that turn the direction of writing end with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from markdown_it import MarkdownIt
from markupsafe import Markup

from examples.qa_bot.answers import Answer, Candidate, Source
from examples.qa_bot.shelf import File, State

_NUMBER = re.compile(r"\[(\d+)\]")
#: Lines of the table of scores.
_SHOWN = 10
#: Longest page number, which a document of its own making may hold.
_PAGE_LENGTH = 20

_STAGES = {
    "rewrite": "질문 풀어 쓰기",
    "search": "후보 찾기",
    "reranker": "다시 순위 매기기",
    "sentences": "맞는 문장 고르기",
    "first token": "대화 모델의 첫 글자",
    "answer": "대화 모델의 답 전체",
}
_STATES = {
    State.WAITING: "기다리는 중",
    State.READING: "글을 꺼내는 중",
    State.INDEXING: "찾아보기를 만드는 중",
    State.READY: "준비됨",
    State.FAILED: "읽지 못함",
}
_NOTHING = Markup("")


def answer_html(answer: Answer, turn: int, *, writing: bool = False) -> Markup:
    """Return an answer as HTML: text, notes, sources that open, scores and times on demand.

    Args:
        answer: The answer.
        turn: Number of the question on the page; makes the sources' ids unique.
        writing: Whether more is to come.
    """
    caret = Markup("<span class=qa-caret></span>") if writing else _NOTHING
    parts = [Markup('<div class="qa-text">{}{}</div>').format(_text(answer, turn), caret)]
    if answer.notes:
        parts.append(_list("qa-notes", answer.notes))
    if answer.sources:
        parts.append(Markup('<div class="qa-label">{}</div>').format("근거" if answer.found else "가까운 단락"))
        parts += [_source(one, turn) for one in answer.sources]
    if answer.candidates and not writing:
        parts.append(_scores(answer))
    return Markup('<div class="qa" lang="ko">{}</div>').format(_NOTHING.join(parts))


def plain_text(answer: Answer) -> str:
    """Return an answer as text to copy: what it says, and the titles of its sources."""
    lines = [answer.text.strip(), *(f"[{one.number}] {one.title}{_page(one)}" for one in answer.sources)]
    return "\n".join(lines)


def _list(kind: str, items: Iterable[str]) -> Markup:
    lines = _NOTHING.join(Markup("<li>{}</li>").format(item) for item in items)
    return Markup('<ul class="{}" lang="ko">{}</ul>').format(kind, lines)


def _text(answer: Answer, turn: int) -> Markup:
    """Escape the text and turn [n] into a link that opens source n."""
    known = {one.number for one in answer.sources}

    def link(match: re.Match[str]) -> str:
        number = int(match[1])
        if number not in known:
            return match[0]
        html = '<a class="qa-cite" href="#{}" title="근거 {} 열기">{}</a>'
        return Markup(html).format(_anchor(turn, number), number, number)

    if answer.markdown:
        safe: str = _markdown().render(answer.text)
    else:
        paragraph = Markup("<p>{}</p>")
        safe = _NOTHING.join(paragraph.format(line) for line in answer.text.split("\n") if line.strip())
    return Markup(_NUMBER.sub(link, safe))  # safe is escaped by now, and so is a link


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    """Bold letters, lists and code of a chat model; no HTML, no links, no pictures."""
    return MarkdownIt("zero", {"breaks": True, "html": False}).enable(["emphasis", "list", "backticks", "newline"])


def _anchor(turn: int, number: int) -> str:
    return f"qa-{turn}-{number}"


def _page(source: Source) -> str:
    return f" · {str(source.page)[:_PAGE_LENGTH]}쪽" if source.page is not None and source.page != "" else ""


def _source(source: Source, turn: int) -> Markup:
    """Return a source that is shut until its number is clicked: a browser opens it to show what a link points to."""
    text, start, end = source.text, source.start, source.end
    return Markup(
        '<details class="qa-source"><summary><span class="qa-number">{}</span><bdi>{}{}</bdi></summary>'
        '<blockquote id="{}"><bdi>{}<mark>{}</mark>{}</bdi></blockquote></details>'
    ).format(
        source.number,
        source.title,
        _page(source),
        _anchor(turn, source.number),
        text[:start],
        text[start:end],
        text[end:],
    )


def _scores(answer: Answer) -> Markup:
    rows = _NOTHING.join(_row(rank, one) for rank, one in enumerate(answer.candidates[:_SHOWN], 1))
    time = Markup("<li>{} <b>{:,.0f} ms</b></li>")
    times = _NOTHING.join(time.format(name, value) for name, value in stages(answer.milliseconds))
    return Markup(
        '<details class="qa-scores"><summary>점수와 걸린 시간</summary><ul class="qa-times">{}</ul>'
        '<div class="qa-table"><table><thead><tr><th>순위</th><th>문서</th><th>관련도</th><th>첫 점수</th>'
        "<th>다시 매긴 점수</th><th>앞 순위</th></tr></thead><tbody>{}</tbody></table></div>"
        "<p>관련도는 첫 점수와 다시 매긴 점수의 가중 평균입니다. 모두 0과 1 사이이고 클수록 질문에 가깝습니다. "
        "앞 순위는 순위를 다시 매기기 전의 자리입니다.</p></details>"
    ).format(times, rows)


def _row(rank: int, one: Candidate) -> Markup:
    moved = "▲" if rank < one.before else "▼" if rank > one.before else ""
    return Markup(
        "<tr><td>{}</td><td><bdi>{}</bdi></td><td>{:.2f}</td><td>{:.2f}</td><td>{:.2f}</td><td>{} {}</td></tr>"
    ).format(rank, one.title, one.relevance_score, one.first_stage_score, one.rerank_score, moved, one.before)


def stages(milliseconds: dict[str, float]) -> list[tuple[str, float]]:
    """Return the stages' names, as a visitor knows them, and milliseconds, in the order of the work."""
    times = dict(milliseconds)
    if "retriever" in times:
        times["search"] = times.pop("retriever") - times.get("reranker", 0.0)
    return [(name, times[key]) for key, name in _STAGES.items() if key in times]


def file_html(file: File) -> Markup:
    """Return a line about a file: its name and what has become of it."""
    state = _STATES[file.state]
    if file.state == State.INDEXING:
        state = f"{state} ({file.indexed:,} / {file.passages:,} 단락)"
    elif file.state == State.READY:
        state = f"{file.passages:,}개 단락"
    elif file.state == State.FAILED:
        state = file.message.removeprefix(f"{file.name}: ")
    kind = " qa-failed" if file.state == State.FAILED else ""
    return Markup('<div class="qa-file{}" lang="ko"><bdi><b>{}</b></bdi><span>{}</span></div>').format(
        kind, file.name, state
    )


def notices_html(notices: Iterable[str]) -> Markup:
    """Return lines that tell a visitor what was done with the files just put in."""
    return _list("qa-notes", notices)
