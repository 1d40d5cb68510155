"""Why a passage was found: the sentence that answers, the words that it shares with the question, and the scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings

from langchain_klue_rerank.adapters.batches import BatchedRetriever
from langchain_klue_rerank.adapters.documents import check_query, title_of, with_metadata
from langchain_klue_rerank.adapters.reranking import RankerCompressor
from langchain_klue_rerank.engine.models.opening import packaged_bi_encoder
from langchain_klue_rerank.engine.models.packaged.sentence_match import rank_sentences, sentence_features
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.sentences import Span, marked_words, sentence_spans, subjects
from langchain_klue_rerank.engine.text.tokenized import tokenize
from langchain_klue_rerank.reranker import KlueReranker

#: Most sentences of a passage that are read.
_MOST_SENTENCES = 200
#: Options of a reranker that leave texts unread.
_SHORTCUTS = {"max_latency_ms", "early_stop", "read_n"}


@dataclass(frozen=True, slots=True)
class Highlight:
    """A part of a passage to mark.

    Attributes:
        start: Its first character in ``page_content``.
        end: The character after its last.
        kind: ``"sentence"`` for the sentence that answers best, ``"word"`` for a word of the question.
    """

    start: int
    end: int
    kind: Literal["sentence", "word"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a passage was found for a question.

    Attributes:
        sentence: The sentence of the passage that answers the question best; "" for a passage without one.
        start: Its first character in ``page_content``.
        end: The character after its last.
        sentence_score: The reranker's score of this sentence alone, 0..1.
        matched: Morphemes of the question that stand in the passage or its title, in the question's order.
        missing: Those that do not.
        words: Where matched ones stand in ``page_content``, in order.
        first_stage_score: The first stage's score, 0..1; None if it is not known.
        rerank_score: The reranker's score; None without a reranker.
        relevance_score: The score by which the passage was ranked; None if it is not known.
    """

    sentence: str
    start: int
    end: int
    sentence_score: float
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    words: tuple[Span, ...]
    first_stage_score: float | None = None
    rerank_score: float | None = None
    relevance_score: float | None = None

    def describe(self, language: Literal["en", "ko"] = "en") -> str:
        """Say it in plain words.

        Args:
            language: ``"en"`` or ``"ko"``.

        Returns:
            Some short lines.
        """
        korean = language == "ko"
        lines = [("가장 가까운 문장: {}" if korean else "Best sentence: {}").format(" ".join(self.sentence.split()))]
        if self.matched:
            lines.append(
                ("질문과 같은 말: {}" if korean else "Shared with the question: {}").format(_said(self.matched))
            )
        if self.missing:
            lines.append(("본문에 없는 말: {}" if korean else "Not in the passage: {}").format(_said(self.missing)))
        names = (
            ("검색 점수(낱말과 뜻)" if korean else "first stage (words and meaning)", self.first_stage_score),
            ("재정렬 점수" if korean else "reranker", self.rerank_score),
            ("최종 점수" if korean else "together", self.relevance_score),
        )
        scores = ", ".join(f"{name} {score:.2f}" for name, score in names if score is not None)
        return "\n".join([*lines, *([f"{'점수' if korean else 'Scores'}: {scores}"] if scores else [])])

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return {
            **asdict(self),
            "matched": [*self.matched],
            "missing": [*self.missing],
            "words": [*map(list, self.words)],
        }


def _said(morphemes: Sequence[str]) -> str:
    return ", ".join(unit.rpartition("/")[0] or unit for unit in morphemes)


def explain_match(
    query: str,
    text: str,
    *,
    title: str = "",
    reranker: RankerCompressor | None = None,
    encoder: Embeddings | None = None,
) -> Explanation:
    """Explain a passage by its text alone, without the scores of a search.

    Args:
        query: The question.
        text: The passage.
        title: Its title, which is read with every sentence.
        reranker: What scores sentences. Default: the packaged reranker, whose score is one sign of several.
        encoder: An encoder of sentences that has a say beside the packaged reranker, such as
            ``KlueEmbeddings(model="packaged-encoder")``; None for none.
    """
    query = check_query(query)
    analyzer = shared_analyzer()
    asked = tokenize([query], analyzer)
    wanted = subjects(asked.words_of(0), [asked.morphemes[number] for number in asked.word_ids.tolist()])
    marks = list(marked_words(text, wanted, analyzer))
    found = {unit for _, unit in marks} | {unit for _, unit in marked_words(title, wanted, analyzer)}
    spans = sentence_spans(text, analyzer)[:_MOST_SENTENCES]
    start, end, score = 0, 0, 0.0
    if spans and query:
        start, end, score = _best_sentence(query, text, title, spans, reranker, encoder)
    return Explanation(
        sentence=text[start:end],
        start=start,
        end=end,
        sentence_score=score,
        matched=tuple(unit for unit in wanted if unit in found),
        missing=tuple(unit for unit in wanted if unit not in found),
        words=tuple(sorted({span for span, _ in marks})),
    )


def _best_sentence(
    query: str,
    text: str,
    title: str,
    spans: list[Span],
    reranker: RankerCompressor | None,
    encoder: Embeddings | None,
) -> tuple[int, int, float]:
    """Return the best sentence's place and its score by the reranker."""
    chosen = reranker or KlueReranker()
    sentences = [text[start:end] for start, end in spans]
    read = [f"{title}\n{sentence}" if title else sentence for sentence in sentences]
    unhurried = dict.fromkeys(_SHORTCUTS & type(chosen).model_fields.keys())
    [listed] = chosen.model_copy(update=unhurried).score([query], [read])
    scores = np.asarray(listed)
    ranked = scores
    if chosen._reads_tokens:  # the packaged scorer is made for passages: of sentences its score is one sign of several
        tokens = tokenize([query, title, *sentences], shared_analyzer())
        features = sentence_features(query, sentences, tokens, scores, packaged_bi_encoder())
        cosines = None
        if encoder is not None:
            cosines = np.asarray(encoder.embed_documents(read)) @ np.asarray(encoder.embed_query(query))
        ranked = rank_sentences(features, cosines)
    best = int(ranked.argmax())
    return *spans[best], float(scores[best])


class ExplainingRetriever(BatchedRetriever, ABC):
    """A retriever that explains its results; a `KlueReranker` or `KlueCascade` also scores sentences."""

    reranker: BaseDocumentCompressor | None = None

    @property
    @abstractmethod
    def _second(self) -> Embeddings | None:
        """The second bi-encoder, if there is one: it has a say in which sentence is the best."""

    def explain(self, query: str, document: Document | str) -> Explanation:
        """Say why a document fits a question: its best sentence, the words that both share, and the scores.

        Args:
            query: The question.
            document: A result of ``invoke``, whose scores are taken as they are; another document, or the id of one in
                this index, for which the search is done again.

        Raises:
            KeyError: If there is no document with this id.

        Examples:
            >>> from langchain_core.documents import Document
            >>> from langchain_klue_rerank import KlueRetriever
            >>> text = "여권은 구청에서 만듭니다. 전입신고는 이사한 날부터 14일 안에 합니다."
            >>> retriever = KlueRetriever.from_documents([Document(text)])
            >>> retriever.explain("이사하면 언제까지 신고해요?", retriever.documents()[0]).sentence
            '전입신고는 이사한 날부터 14일 안에 합니다.'
        """
        if isinstance(document, str):
            found = self.get_by_ids([document])
            if not found:
                raise KeyError(f"There is no document with the id {document!r}.")
            document = found[0]
        explanation = explain_match(
            query,
            document.page_content,
            title=title_of(document.metadata, self.title_key),
            reranker=self.reranker if isinstance(self.reranker, RankerCompressor) else None,
            encoder=self._second,
        )
        first_stage, reranked, relevance = self._scores_of(query, document)
        return replace(explanation, first_stage_score=first_stage, rerank_score=reranked, relevance_score=relevance)

    def highlight(self, query: str, document: Document | str) -> list[Highlight]:
        """Return what to mark in a document's text: the sentence that answers best, and the question's words.

        Args:
            query: The question.
            document: A document, or the id of one in this index.

        Returns:
            The parts by where they begin. Words inside the sentence are parts of their own.
        """
        explanation = self.explain(query, document)
        parts = [Highlight(start, end, "word") for start, end in explanation.words]
        if explanation.sentence:
            parts.append(Highlight(explanation.start, explanation.end, "sentence"))
        return sorted(parts, key=lambda part: (part.start, -part.end))

    def explained(self, query: str, documents: Sequence[Document]) -> list[Document]:
        """Return copies of what was found, each with ``metadata["explanation"]``: the values of an `Explanation`.

        Args:
            query: The question.
            documents: Results of ``invoke``.
        """
        return [with_metadata(document, explanation=self.explain(query, document).to_dict()) for document in documents]

    def _scores_of(self, query: str, document: Document) -> tuple[float | None, float | None, float | None]:
        """Return a document's scores of the first stage, of the reranker, and of both together."""
        metadata = document.metadata
        if not isinstance(metadata.get("relevance_score"), int | float) and document.id is not None:
            scoring = self.model_copy(update={"scores_in_metadata": True, "score_threshold": None})
            found = scoring.invoke(query, k=1, filter=lambda one: one.id == document.id)
            metadata = found[0].metadata if found else {}
        names = ("first_stage_score", "rerank_score", "relevance_score")
        first_stage, reranked, relevance = (_number(metadata.get(name)) for name in names)
        if first_stage is None and reranked is None:  # there is no reranker
            first_stage = relevance
        return first_stage, reranked, relevance


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
