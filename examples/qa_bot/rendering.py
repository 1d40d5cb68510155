"""Answers and files as HTML. Everything that comes from files, visitors and models is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from examples.qa_bot.answers import Answer, Candidate, Source
from examples.qa_bot.shelf import File, State

_NUMBER = re.compile(r"\[(\d+)\]")
#: Lines of the table of scores.
_SHOWN = 10

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


def answer_html(answer: Answer, turn: int, *, writing: bool = False) -> str:
    """Return an answer as HTML: text, notes, sources that open, scores and times on demand.

    Args:
        answer: The answer.
        turn: Number of the question on the page; makes the sources' ids unique.
        writing: Whether more is to come.
    """
    parts = [f'<div class="qa-text">{_text(answer, turn)}{"<span class=qa-caret></span>" if writing else ""}</div>']
    if answer.notes:
        parts.append(f'<ul class="qa-notes">{"".join(f"<li>{escape(note)}</li>" for note in answer.notes)}</ul>')
    if answer.sources:
        parts.append(f'<div class="qa-label">{"근거" if answer.found else "가까운 단락"}</div>')
        parts += [_source(one, turn) for one in answer.sources]
    if answer.candidates and not writing:
        parts.append(_scores(answer))
    return f'<div class="qa" lang="ko">{"".join(parts)}</div>'


def _text(answer: Answer, turn: int) -> str:
    """Escape the text and turn [n] into a link that opens source n."""
    known = {one.number for one in answer.sources}

    def link(match: re.Match[str]) -> str:
        number = int(match[1])
        if number not in known:
            return match[0]
        return f'<a class="qa-cite" href="#{_anchor(turn, number)}" title="근거 {number} 열기">{number}</a>'

    lines = escape(answer.text).split("\n")
    return "".join(f"<p>{_NUMBER.sub(link, line)}</p>" for line in lines if line.strip())


def _anchor(turn: int, number: int) -> str:
    return f"qa-{turn}-{number}"


def _source(source: Source, turn: int) -> str:
    """Return a source that is shut until its number is clicked: a browser opens it to show what a link points to."""
    before, sentence, after = (
        escape(part)
        for part in (source.text[: source.start], source.text[source.start : source.end], source.text[source.end :])
    )
    page = f" · {source.page}쪽" if source.page else ""
    return (
        f'<details class="qa-source"><summary><span class="qa-number">{source.number}</span>'
        f"<span>{escape(source.title)}{page}</span></summary>"
        f'<blockquote id="{_anchor(turn, source.number)}">{before}<mark>{sentence}</mark>{after}</blockquote></details>'
    )


def _scores(answer: Answer) -> str:
    rows = "".join(_row(rank, one) for rank, one in enumerate(answer.candidates[:_SHOWN], 1))
    times = "".join(f"<li>{name} <b>{value:,.0f} ms</b></li>" for name, value in stages(answer.milliseconds))
    return (
        '<details class="qa-scores"><summary>점수와 걸린 시간</summary>'
        f'<ul class="qa-times">{times}</ul>'
        '<div class="qa-table"><table><thead><tr><th>순위</th><th>문서</th><th>관련도</th><th>첫 점수</th>'
        f"<th>다시 매긴 점수</th><th>앞 순위</th></tr></thead><tbody>{rows}</tbody></table></div>"
        "<p>관련도는 첫 점수와 다시 매긴 점수의 가중 평균입니다. 모두 0과 1 사이이고 클수록 질문에 가깝습니다. "
        "앞 순위는 순위를 다시 매기기 전의 자리입니다.</p></details>"
    )


def _row(rank: int, one: Candidate) -> str:
    moved = "▲" if rank < one.before else "▼" if rank > one.before else ""
    return (
        f"<tr><td>{rank}</td><td>{escape(one.title)}</td><td>{one.relevance_score:.2f}</td>"
        f"<td>{one.first_stage_score:.2f}</td><td>{one.rerank_score:.2f}</td><td>{moved} {one.before}</td></tr>"
    )


def stages(milliseconds: dict[str, float]) -> list[tuple[str, float]]:
    """Return the stages' names, as a visitor knows them, and milliseconds, in the order of the work."""
    times = dict(milliseconds)
    if "retriever" in times:
        times["search"] = times.pop("retriever") - times.get("reranker", 0.0)
    return [(name, times[key]) for key, name in _STAGES.items() if key in times]


def file_html(file: File) -> str:
    """Return a line about a file: its name and what has become of it."""
    state = _STATES[file.state]
    if file.state == State.INDEXING:
        state = f"{state} ({file.indexed:,} / {file.passages:,} 단락)"
    elif file.state == State.READY:
        state = f"{file.passages:,}개 단락"
    elif file.state == State.FAILED:
        state = file.message.removeprefix(f"{file.name}: ")
    kind = " qa-failed" if file.state == State.FAILED else ""
    return f'<div class="qa-file{kind}" lang="ko"><b>{escape(file.name)}</b><span>{escape(state)}</span></div>'


def notices_html(notices: Iterable[str]) -> str:
    """Return lines that tell a visitor what was done with the files just put in."""
    return f'<ul class="qa-notes" lang="ko">{"".join(f"<li>{escape(notice)}</li>" for notice in notices)}</ul>'
