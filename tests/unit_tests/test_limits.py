"""What a user sees of deadlines, early stop and the choice of windows: order, marks, scores, nothing lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from pydantic import ValidationError

from langchain_klue_rerank import KlueReranker, KlueRetriever
from langchain_klue_rerank.engine.contracts import ScoreRequest
from langchain_klue_rerank.engine.threads import Lazy
from tests.unit_tests.fakes import QUESTION, TEXTS, FakeCrossEncoder, documents, same

HOUR = 3_600_000


def reranker(reads: int = 2, **options: Any) -> tuple[KlueReranker, FakeCrossEncoder]:
    encoder = FakeCrossEncoder([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], reads)
    made = KlueReranker(**{"top_n": None, "max_latency_ms": 1000, **options})
    made._encoder = Lazy(lambda: encoder)
    return made, encoder


def ids(found: Sequence[Document]) -> list[str | None]:
    return [one.id for one in found]


async def test_what_was_not_read_in_time_follows_in_the_first_stages_order() -> None:
    limited, _ = reranker(2)
    for result in (
        limited.compress_documents(documents(), QUESTION),
        await limited.acompress_documents(documents(), QUESTION),
    ):
        assert ids(result) == ["d1", "d0", "d2", "d3", "d4", "d5"]
        assert [one.metadata["reranked"] for one in result] == [True, True, False, False, False, False]
        assert [one.metadata["relevance_score"] for one in result] == pytest.approx([0.2, 0.1, 0, 0, 0, 0])
    ranked = limited.rerank(TEXTS, QUESTION, top_n=3)
    assert [line["index"] for line in ranked] == [1, 0, 2]
    assert [line["reranked"] for line in ranked] == [True, True, False]


def test_a_threshold_cannot_tell_about_what_was_not_read() -> None:
    limited, _ = reranker(3, score_threshold=0.25, top_n=3)
    assert ids(limited.compress_documents(documents(), QUESTION)) == ["d2", "d3", "d4"]


def test_without_a_limit_nothing_is_marked_and_nothing_is_hurried() -> None:
    plain, encoder = reranker(6, max_latency_ms=None)
    assert all("reranked" not in one.metadata for one in plain.compress_documents(documents(), QUESTION))
    assert encoder.deadlines == [None]


def test_a_batch_has_as_many_times_as_long_as_it_has_queries() -> None:
    limited, encoder = reranker(6)
    start = time.monotonic()
    limited.score([QUESTION] * 3, [TEXTS] * 3)
    [deadline] = encoder.deadlines
    assert deadline is not None
    assert 3 <= deadline - start < 4


async def test_callers_beyond_all_threads_get_the_first_stages_order(monkeypatch: pytest.MonkeyPatch) -> None:
    limited, encoder = reranker(6, max_latency_ms=20)
    limited.compress_documents(documents(), QUESTION)
    encoder.go.clear()  # nobody gets through
    results = await asyncio.gather(*(limited.acompress_documents(documents(), QUESTION) for _ in range(200)))
    encoder.go.set()
    assert all(ids(result) == [f"d{number}" for number in range(6)] for result in results)
    assert not any(one.metadata["reranked"] for result in results for one in result)


async def test_loading_does_not_count() -> None:
    limited, encoder = reranker(6, max_latency_ms=1)
    limited.max_latency_ms = HOUR

    def load() -> FakeCrossEncoder:
        time.sleep(0.05)
        return encoder

    limited._encoder = Lazy(load)
    start = time.monotonic()
    await limited.acompress_documents(documents(), QUESTION)
    limited._encoder = Lazy(load)
    later = time.monotonic()
    limited.compress_documents(documents(), QUESTION)
    for deadline, began in zip(encoder.deadlines, (start, later), strict=True):
        assert deadline is not None
        assert deadline > began + HOUR / 1000 + 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_latency_ms": 0},
        {"encode_kwargs": {"max_windows": 0}, "model": "a/b"},
        {"encode_kwargs": {"window_length": 1}, "model": "a/b"},
        {"backend": "tf"},
        {"encode_kwargs": {"max_windows": 1}},  # the packaged weights cannot use these
        {"model_kwargs": {"device": "cpu"}},
        {"backend": "onnx"},
        {"cache_folder": "/tmp"},
    ],
)
def test_wrong_limits_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        KlueReranker(**wrong)


# The packaged model


def test_the_packaged_model_keeps_its_scores_under_a_deadline() -> None:
    expected = KlueReranker(top_n=None).score([QUESTION, "여권"], [TEXTS, TEXTS * 3])
    found = KlueReranker(top_n=None, max_latency_ms=HOUR).score([QUESTION, "여권"], [TEXTS, TEXTS * 3])
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    [over] = KlueReranker()._score([ScoreRequest(QUESTION, TEXTS)], deadline=time.monotonic() - 1)
    assert over.is_late.all()


def test_a_single_pause_of_the_machine_is_no_reason_to_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = KlueReranker(top_n=None, max_latency_ms=100)
    limited.compress_documents(documents(), QUESTION)
    model: Any = limited.encoder
    score = model._model.score

    def pause(*arguments: Any, **others: Any) -> Any:
        time.sleep(0.4)
        return score(*arguments, **others)

    monkeypatch.setattr(model._model, "score", pause)
    limited.compress_documents(documents(), QUESTION)
    monkeypatch.setattr(model._model, "score", score)
    assert any(one.metadata["reranked"] for one in limited.compress_documents(documents(), QUESTION))


async def test_many_callers_of_the_packaged_model_all_get_all_documents() -> None:
    limited = KlueReranker(top_n=None, max_latency_ms=30)
    results = await asyncio.gather(*(limited.acompress_documents(documents(), QUESTION) for _ in range(40)))
    assert all(sorted(map(str, ids(result))) == [f"d{number}" for number in range(6)] for result in results)


def test_an_early_stop_skips_and_a_threshold_drops_what_was_skipped() -> None:
    many = [Document(TEXTS[0], id="answer"), *(Document(text * 2, id=str(n)) for n, text in enumerate(TEXTS[1:] * 4))]
    stopped = KlueReranker(top_n=None, early_stop=0.0).compress_documents(many, QUESTION)
    assert len(stopped) == len(many)
    assert [one.metadata["reranked"] for one in stopped] == [True] * 5 + [False] * (len(many) - 5)
    assert ids(stopped)[5:] == ids(many)[5:]
    kept = KlueReranker(top_n=None, early_stop=0.0, score_threshold=1e-9).compress_documents(many, QUESTION)
    assert len(kept) <= 5
    never = KlueReranker(top_n=None, early_stop=2.0).compress_documents(many, QUESTION)
    plain = KlueReranker(top_n=None).compress_documents(many, QUESTION)
    assert {one.id: one.metadata["relevance_score"] for one in never} == pytest.approx(
        {one.id: one.metadata["relevance_score"] for one in plain}, abs=1e-6
    )


# In a retriever


async def test_a_retriever_under_overload_gives_the_first_stages_order() -> None:
    limited, _ = reranker(0)
    retriever = KlueRetriever.from_documents(documents(), k=3, reranker=limited, score_threshold=0.99)
    first = retriever.model_copy(update={"reranker": None, "score_threshold": None})
    for query in (QUESTION, "여권 사진"):
        expected = ids(first.invoke(query))
        for answer in (
            retriever.invoke(query),
            await retriever.ainvoke(query),
            retriever.batch([query, query])[1],
            (await retriever.abatch([query]))[0],
        ):
            assert ids(answer) == expected
            assert not any(one.metadata["reranked"] for one in answer)
            assert all(one.metadata["rerank_score"] == 0 for one in answer)


async def test_concurrent_calls_of_a_transformer_get_what_single_ones_get(klue_cross_encoder_folder: Path) -> None:
    pytest.importorskip("torch")
    hub = KlueReranker(
        model=str(klue_cross_encoder_folder),
        model_kwargs={"device": "cpu"},
        encode_kwargs={"max_windows": 1, "window_length": 16},
    )
    retriever = KlueRetriever.from_documents(documents(), k=6, reranker=hub)
    queries = [QUESTION, "여권 사진", "책 대출", "세탁기 탈수"] * 4
    expected = [retriever.invoke(query) for query in queries]
    results = await asyncio.gather(*(retriever.ainvoke(query) for query in queries))
    for answer, one in zip(results, expected, strict=True):
        same(answer, one)
    for answer, one in zip(retriever.batch(queries), expected, strict=True):
        same(answer, one)
