"""Sentences are found where they stand, citations are kept honest, and HTML shows nothing unescaped."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document

pytest.importorskip("markupsafe")

from examples.qa_bot.answers import (
    Answer,
    Candidate,
    Source,
    candidates,
    cited_numbers,
    keep_known_citations,
    quote,
    source,
)
from examples.qa_bot.rendering import answer_html, file_html, plain_text, stages
from examples.qa_bot.shelf import File, State
from langchain_klue_rerank import KlueReranker

TEXT = "전입신고 안내\n이사한 날부터 14일 안에 신고합니다. 늦으면 과태료가 나옵니다.\n- 필요한 것: 신분증"


def test_a_source_marks_the_sentence_that_answers() -> None:
    document = Document(TEXT, metadata={"title": "전입신고", "page": 3})
    found = source(2, document, "늦게 신고하면 과태료를 내나요?", KlueReranker())
    assert (found.number, found.title, found.page) == (2, "전입신고", 3)
    assert found.sentence == "늦으면 과태료가 나옵니다."
    assert TEXT[found.start : found.end] == found.sentence


@pytest.mark.parametrize("text", ["", "   ", "...", "한 문장뿐이다"])
def test_a_source_of_one_sentence_or_none_is_the_whole_passage_or_sentence(text: str) -> None:
    found = source(1, Document(text, metadata={"title": "글"}), "질문", KlueReranker())
    assert found.sentence == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "kept", "numbers"),
    [
        ("그렇습니다 [1].", "그렇습니다 [1].", {1}),
        ("그렇습니다 [1, 3].", "그렇습니다 [1][3].", {1, 3}),
        ("그렇습니다 [9].", "그렇습니다.", set()),
        ("그렇습니다 [0][2].", "그렇습니다 [2].", {2}),
        ("[가]와 [2024년]은 번호가 아닙니다.", "[가]와 [2024년]은 번호가 아닙니다.", set()),
    ],
)
def test_only_numbers_of_sources_stay_in_a_text(text: str, kept: str, numbers: set[int]) -> None:
    assert keep_known_citations(text, 3) == kept
    assert cited_numbers(kept) == numbers


def test_candidates_tell_the_rank_before_reranking() -> None:
    documents = [
        Document("", metadata={"title": t, "first_stage_score": f, "rerank_score": 0.5, "relevance_score": 0.5})
        for t, f in (("가", 0.1), ("나", 0.3), ("다", 0.2))
    ]
    assert [(one.title, one.before) for one in candidates(documents)] == [("가", 3), ("나", 1), ("다", 2)]


ANSWER = Answer(
    text="<b>14일</b> 안입니다. [1] 그리고 [7]",
    sources=(Source(1, "<i>파일</i>", 3, "앞 <script> 문장. 뒤", 2, 13),),
    notes=("<img src=x>",),
    candidates=(Candidate("<u>", 2, 0.1, 0.9, 0.5),),
    milliseconds={"retriever": 30.0, "reranker": 20.0},
    found=True,
)


def test_html_escapes_files_questions_and_models() -> None:
    html = answer_html(ANSWER, 0)
    for unsafe in ("<b>14일", "<i>파일", "<script>", "<img", "<u>"):
        assert unsafe not in html


def test_a_citation_points_to_the_passage_with_its_sentence_marked() -> None:
    html = answer_html(ANSWER, 4)
    assert '<a class="qa-cite" href="#qa-4-1"' in html
    assert '<blockquote id="qa-4-1"><bdi>앞 <mark>&lt;script&gt; 문장</mark>. 뒤</bdi></blockquote>' in html
    assert "3쪽" in html
    assert "[7]" in html  # no source has that number, so it is no link


def test_what_looks_like_a_citation_in_a_document_is_none() -> None:
    text = "자세한 것은 [2]와 [1, 3]을 보십시오."
    sources = [Source(1, "글", None, text, 0, len(text)), Source(2, "다른 글", None, "다른 글입니다.", 0, 8)]
    assert quote(sources[:1]) == "자세한 것은 (2)와 (1, 3)을 보십시오. [1]"
    html = answer_html(Answer(quote(sources), tuple(sources), found=True), 0)
    assert html.count("qa-cite") == 2


def test_a_chat_models_bold_letters_and_lists_are_shown_and_its_links_and_pictures_are_not() -> None:
    text = "**이틀** 안에 합니다 [1].\n- <b>하나</b>\n- [눌러](http://elsewhere.example) ![](http://elsewhere.example/x.png)"
    html = answer_html(Answer(text, ANSWER.sources, found=True, markdown=True), 0)
    assert "<strong>이틀</strong>" in html
    assert html.count("<li>") >= 2
    assert "&lt;b&gt;하나&lt;/b&gt;" in html
    assert "<img" not in html
    assert 'href="http' not in html
    assert 'class="qa-cite"' in html


def test_a_page_of_a_documents_own_making_is_text() -> None:
    html = answer_html(Answer("글 [1]", (Source(1, "글", "<img src=x>", "글", 0, 1),), found=True), 0)  # type: ignore[arg-type]
    assert "<img" not in html
    assert "&lt;img src=x&gt;쪽" in html


def test_an_answer_is_copied_with_the_titles_of_its_sources() -> None:
    assert (
        plain_text(Answer("글입니다. [1]", (Source(1, "제목", 3, "글입니다.", 0, 5),)))
        == "글입니다. [1]\n[1] 제목 · 3쪽"
    )


def test_scores_are_shown_when_the_answer_is_whole() -> None:
    assert "qa-scores" in answer_html(ANSWER, 0)
    assert "qa-scores" not in answer_html(ANSWER, 0, writing=True)
    assert "qa-scores" not in answer_html(Answer("질문을 적어 주세요."), 0)


def test_the_times_of_search_and_reranking_are_told_apart() -> None:
    assert stages(ANSWER.milliseconds) == [("후보 찾기", 10.0), ("다시 순위 매기기", 20.0)]


def test_a_file_shows_its_name_once_and_its_reason() -> None:
    failed = File("<가>.pdf", "", State.FAILED, "<가>.pdf: 암호가 걸려 있습니다.")
    assert file_html(failed).count("&lt;가&gt;.pdf") == 1
    assert "암호가 걸려 있습니다." in file_html(failed)
    assert "64 / 128 단락" in file_html(File("나.txt", "", State.INDEXING, passages=128, indexed=64))
