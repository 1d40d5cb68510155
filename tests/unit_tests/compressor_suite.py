"""A conformance suite for LangChain document compressors that rerank; langchain-tests has none.

Subclass `CompressorTests`, say how to construct the compressor, and pytest runs the suite::

    class TestMyReranker(CompressorTests):
        def construct(self, **options):
            return MyReranker(**options)
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManager
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.load import dumps
from langchain_core.runnables import RunnableLambda
from pydantic import ValidationError

from tests.unit_tests.fakes import HOSTILE, QUESTION, TEXTS, Recorder, documents, loaded_once, same


def scores(result: Sequence[Document]) -> list[float]:
    return [document.metadata["relevance_score"] for document in result]


def state(result: Sequence[Document]) -> list[dict[str, Any]]:
    return [document.model_dump() for document in result]


class CompressorTests:
    """What a user may rely on of a reranking document compressor."""

    #: Name of the child run in a trace.
    run_name = "KlueReranker"

    def construct(self, **options: Any) -> BaseDocumentCompressor:
        raise NotImplementedError

    def loader(self, reranker: BaseDocumentCompressor) -> Any:
        """The object whose attribute ``_make``, a function, loads the model on first use."""
        return reranker._encoder  # type: ignore[attr-defined]

    @pytest.fixture
    def reranker(self) -> BaseDocumentCompressor:
        return self.construct(top_n=None)

    # --- order, number and scores -----------------------------------------------------------------------------------

    def test_returns_every_document_best_first(self, reranker: BaseDocumentCompressor) -> None:
        result = reranker.compress_documents(documents(), QUESTION)
        assert sorted(one.id for one in result) == sorted(one.id for one in documents())
        assert scores(result) == sorted(scores(result), reverse=True)
        assert all(type(score) is float and 0 <= score <= 1 for score in scores(result))
        assert state(reranker.compress_documents(tuple(documents()), QUESTION)) == state(result)

    @pytest.mark.parametrize(
        ("options", "count"),
        [
            ({}, 3),
            *(({"top_n": top_n}, count) for top_n, count in ((None, 6), (0, 0), (1, 1), (4, 4), (6, 6), (100, 6))),
        ],
        ids=str,
    )
    def test_top_n_keeps_the_best(self, reranker: BaseDocumentCompressor, options: dict[str, Any], count: int) -> None:
        everything = reranker.compress_documents(documents(), QUESTION)
        kept = self.construct(**options).compress_documents(documents(), QUESTION)
        assert state(kept) == state(everything[:count])

    def test_score_threshold_keeps_what_reaches_it(self, reranker: BaseDocumentCompressor) -> None:
        everything = reranker.compress_documents(documents(), QUESTION)
        threshold = scores(everything)[2]
        kept = self.construct(top_n=None, score_threshold=threshold).compress_documents(documents(), QUESTION)
        assert state(kept) == [one for one in state(everything) if one["metadata"]["relevance_score"] >= threshold]
        assert len(kept) >= 3
        both = self.construct(top_n=1, score_threshold=threshold)
        assert state(both.compress_documents(documents(), QUESTION)) == state(everything[:1])

    def test_a_score_does_not_depend_on_the_other_documents_nor_on_their_order(
        self, reranker: BaseDocumentCompressor
    ) -> None:
        def scored(given: list[Document]) -> dict[str | None, float]:
            result = reranker.compress_documents(given, QUESTION)
            return {one.id: one.metadata["relevance_score"] for one in result}

        together = scored(documents())
        assert scored(documents()[::-1]) == pytest.approx(together, abs=1e-5)
        for document in documents():
            assert scored([document]) == pytest.approx({document.id: together[document.id]}, abs=1e-5)

    def test_equal_documents_keep_their_order(self, reranker: BaseDocumentCompressor) -> None:
        same = [Document(TEXTS[0], id=str(number)) for number in range(5)]
        result = reranker.compress_documents(same, QUESTION)
        assert [one.id for one in result] == ["0", "1", "2", "3", "4"]
        assert len(set(scores(result))) == 1
        twice = [*documents(), *documents()]
        result = reranker.compress_documents(twice, QUESTION)
        assert sorted(one.id or "" for one in result) == sorted(one.id or "" for one in twice)

    # --- documents --------------------------------------------------------------------------------------------------

    def test_ids_texts_and_metadata_stay(self, reranker: BaseDocumentCompressor) -> None:
        given = {one.id: one for one in documents(source="안내문.txt", nested={"쪽": [1, 2]})}
        for one in reranker.compress_documents(list(given.values()), QUESTION):
            assert one.page_content == given[one.id].page_content
            metadata = dict(one.metadata)
            assert isinstance(metadata.pop("relevance_score"), float)
            assert metadata == given[one.id].metadata
        result = reranker.compress_documents([Document(text) for text in TEXTS], QUESTION)
        assert {one.id for one in result} == {None}

    def test_inputs_are_not_changed(self, reranker: BaseDocumentCompressor) -> None:
        given = documents(nested={"쪽": [1, 2]}, relevance_score="어제의 점수")
        before = copy.deepcopy(given)
        result = reranker.compress_documents(given, QUESTION)
        assert state(given) == state(before)
        assert not {id(one) for one in result} & {id(one) for one in given}

    def test_results_serialize(self, reranker: BaseDocumentCompressor) -> None:
        result = reranker.compress_documents(documents(), QUESTION)
        for one in result:
            assert json.loads(one.model_dump_json())["metadata"]["relevance_score"] == one.metadata["relevance_score"]
        assert json.loads(dumps(result))[0]["kwargs"]["page_content"] == result[0].page_content

    # --- odd input --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("query", ["", "   ", "\n\t", "\u3000"])
    def test_a_blank_query_scores_0_and_keeps_the_order(self, reranker: BaseDocumentCompressor, query: str) -> None:
        result = reranker.compress_documents(documents(), query)
        assert [one.id for one in result] == [one.id for one in documents()]
        assert scores(result) == [0.0] * 6
        assert reranker.compress_documents([], query) == reranker.compress_documents([], QUESTION) == []

    def test_a_query_that_is_no_string_is_refused(self, reranker: BaseDocumentCompressor) -> None:
        with pytest.raises(TypeError, match="query is None"):
            reranker.compress_documents(documents(), None)  # type: ignore[arg-type]

    async def test_what_is_no_document_is_refused(self, reranker: BaseDocumentCompressor) -> None:
        wrong: Any
        for wrong in (TEXTS, [documents()[0], {"page_content": TEXTS[0]}], TEXTS[0]):
            with pytest.raises(TypeError, match=r"expected (a list of )?Documents"):
                reranker.compress_documents(wrong, QUESTION)
            with pytest.raises(TypeError, match=r"expected (a list of )?Documents"):
                await reranker.acompress_documents(wrong, QUESTION)

    @pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
    def test_hostile_documents_and_queries(self, reranker: BaseDocumentCompressor, text: str) -> None:
        result = reranker.compress_documents([Document(text, id="hostile"), *documents()], QUESTION)
        assert {one.id: one.page_content for one in result}["hostile"] == text
        assert all(0 <= score <= 1 for score in scores(result))
        assert len(reranker.compress_documents(documents(), text)) == 6

    # --- options ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "wrong",
        [{"topn": 3}, {"top_k": 3}, {"threshold": 0.5}, {"top_n": -1}, {"score_threshold": 1.5}, {"batch_size": 0}],
        ids=str,
    )
    def test_wrong_options_are_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            self.construct(**wrong)

    # --- async, threads, chains, traces -----------------------------------------------------------------------------

    async def test_async_gives_the_same(self, reranker: BaseDocumentCompressor) -> None:
        expected = reranker.compress_documents(documents(), QUESTION)
        assert state(await reranker.acompress_documents(documents(), QUESTION)) == state(expected)

    def test_threads_give_the_same(self, reranker: BaseDocumentCompressor) -> None:
        queries = [QUESTION, "여권을 만들려면 무엇이 필요한가요?", "책은 몇 권까지 빌려 주나요?"] * 4
        expected = [reranker.compress_documents(documents(), query) for query in queries]
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda query: reranker.compress_documents(documents(), query), queries))
        for one, other in zip(found, expected, strict=True):
            same(one, other)

    async def test_concurrent_tasks_load_once_and_leave_the_loop_free(
        self, reranker: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        results = await loaded_once(
            self.loader(reranker), monkeypatch, lambda: reranker.acompress_documents(documents(), QUESTION)
        )
        for result in results:
            same(result, results[0])

    async def test_leaves_a_child_run_in_a_trace(self, reranker: BaseDocumentCompressor) -> None:
        for call in ("sync", "async"):
            recorder = Recorder()
            parent = CallbackManager.configure(inheritable_callbacks=[recorder]).on_chain_start({"name": "outer"}, {})
            given: Any = (documents(), QUESTION, parent.get_child())
            if call == "sync":
                result = reranker.compress_documents(*given)
            else:
                result = await reranker.acompress_documents(*given)
            run = recorder.run(self.run_name)
            assert recorder.started[run]["parent"] == parent.run_id
            assert recorder.started[run]["inputs"]["query"] == QUESTION
            assert recorder.started[run]["inputs"]["documents"] == 6
            assert recorder.ended[run]["documents"] == result

    def test_finds_the_surrounding_run_by_itself(self, reranker: BaseDocumentCompressor) -> None:
        """In a chain of functions nobody passes callbacks on; the child run belongs under the function's run."""
        recorder = Recorder()
        step = RunnableLambda(lambda query: reranker.compress_documents(documents(), query)).with_config(
            run_name="my step"
        )
        step.invoke(QUESTION, {"callbacks": [recorder]})
        assert recorder.started[recorder.run(self.run_name)]["parent"] == recorder.run("my step")

    async def test_a_failure_is_an_error_in_the_trace(self, reranker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> Any:
            raise OSError("the disk is gone")

        monkeypatch.setattr(self.loader(reranker), "_make", fail)
        recorder = Recorder()
        with pytest.raises(OSError, match="the disk is gone"):
            reranker.compress_documents(documents(), QUESTION, [recorder])
        with pytest.raises(OSError, match="the disk is gone"):
            await reranker.acompress_documents(documents(), QUESTION, [recorder])
        assert [run["name"] for run in recorder.started.values()] == [self.run_name, self.run_name]
        assert [str(error) for error in recorder.failed.values()] == ["the disk is gone", "the disk is gone"]
        assert not recorder.ended
