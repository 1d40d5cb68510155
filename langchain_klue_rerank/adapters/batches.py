"""A batch of queries: answered together, then handed to each query's own run, so that the trace is complete."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list, run_in_executor

from langchain_klue_rerank.adapters.first_stage import CandidateDocuments, FirstStage, Options
from langchain_klue_rerank.adapters.indexed import IndexedRetriever
from langchain_klue_rerank.adapters.second_stage import Answer, SecondStage

#: The argument by which a query of a batch gets its answer: a callback that asks the retriever, too, has none.
HANDED_OVER: Final = "_answer"


class BatchedRetriever(IndexedRetriever, ABC):
    """A retriever that answers the queries of a batch together."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        changed = vars(cls)
        if "_get_relevant_documents" in changed and "_aget_relevant_documents" not in changed:
            # as in LangChain's other retrievers: what a subclass changes holds here, too
            cls._aget_relevant_documents = _in_a_thread  # type: ignore[method-assign, assignment]

    @abstractmethod
    def _answer_together(self, queries: Sequence[str], arguments: dict[str, Any]) -> list[Answer] | None:
        """Answer queries together; None where that is not possible and each has to be asked by itself."""

    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[list[Document]]:
        """Answer several queries, tokenizing, embedding, searching and reranking them together.

        Args:
            inputs: The queries.
            config: One configuration for all, or one for each.
            return_exceptions: Whether a failing query gives its exception in place of its documents.
            **kwargs: As for ``invoke``: k, fetch_k, score_threshold, search_type, filter.

        Returns:
            For each query its documents.
        """
        inputs = list(inputs)
        answers = self._answer_together(inputs, kwargs)
        if answers is None:
            return super().batch(inputs, config, return_exceptions=return_exceptions, **kwargs)
        result: list[Any] = []
        for query, own_config, answer in zip(inputs, get_config_list(config, len(inputs)), answers, strict=True):
            with _errors_in(result if return_exceptions else None):
                result.append(self.invoke(query, own_config, **{**kwargs, HANDED_OVER: answer}))
        return result

    async def abatch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[list[Document]]:
        """Answer several queries together without blocking the event loop; see `batch`."""
        inputs = list(inputs)
        answers = await run_in_executor(None, self._answer_together, inputs, kwargs)
        if answers is None:
            return await super().abatch(inputs, config, return_exceptions=return_exceptions, **kwargs)
        result: list[Any] = []
        for query, own_config, answer in zip(inputs, get_config_list(config, len(inputs)), answers, strict=True):
            with _errors_in(result if return_exceptions else None):
                result.append(await self.ainvoke(query, own_config, **{**kwargs, HANDED_OVER: answer}))
        return result


def answer_together(
    first_stage: FirstStage, second_stage: SecondStage, queries: Sequence[str], options: Options
) -> list[Answer]:
    """Answer several queries. One that fails gets its own error and leaves the others as they are.

    Args:
        first_stage: Finds the candidates.
        second_stage: Orders them.
        queries: The queries; blank ones find nothing.
        options: What is asked for.
    """
    found = first_stage.find_each(queries, options)
    candidates = [one for one in found if isinstance(one, CandidateDocuments)]
    ordered = iter(second_stage.order_each(candidates, options))
    return [next(ordered) if isinstance(one, CandidateDocuments) else Answer(error=one) for one in found]


async def _in_a_thread(
    retriever: BaseRetriever, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **arguments: Any
) -> list[Document]:
    find = partial(retriever._get_relevant_documents, query, run_manager=run_manager.get_sync(), **arguments)
    return await run_in_executor(None, find)


@contextmanager
def _errors_in(results: list[Any] | None) -> Iterator[None]:
    """Append the error of a query to the results; None raises it."""
    try:
        yield
    except Exception as error:
        if results is None:
            raise
        results.append(error)
