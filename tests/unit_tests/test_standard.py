"""LangChain's own standard suites, without a single expected failure."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_klue_rerank import KlueBM25Retriever, KlueEmbeddings, KlueRetriever, KlueVectorStore
from tests.unit_tests.fakes import QUESTION, BigramEmbeddings, documents


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return KlueEmbeddings


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return KlueEmbeddings


class TestHubStyleEmbeddings(EmbeddingsIntegrationTests):
    @pytest.fixture(autouse=True)
    def _folder(self, klue_bi_encoder_folder: Any) -> None:
        self.folder = str(klue_bi_encoder_folder)

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return KlueEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": self.folder, "model_kwargs": {"device": "cpu"}}


class _WithDocuments(RetrieversIntegrationTests):
    """The suite constructs an empty retriever; what is searched is added here, as a user would add it."""

    @property
    def retriever_query_example(self) -> str:
        return f"{QUESTION} 신청하고 가져가야 합니다. 주십시오. 다섯 번 빌릴 수 있습니다."

    def _construct(self, **fields: Any) -> BaseRetriever:
        raise NotImplementedError

    @property
    def retriever_constructor(self) -> Any:
        return self._construct

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {}


class TestKlueRetriever(_WithDocuments):
    def _construct(self, **fields: Any) -> BaseRetriever:
        return KlueRetriever.from_documents(documents(), **fields)


class TestKlueRetrieverOverForeignSource(_WithDocuments):
    def _construct(self, **fields: Any) -> BaseRetriever:
        store = KlueVectorStore.from_documents(documents(), BigramEmbeddings())
        return KlueRetriever(sources=[store], **fields)


class TestKlueBM25Retriever(_WithDocuments):
    def _construct(self, **fields: Any) -> BaseRetriever:
        return KlueBM25Retriever.from_documents(documents(), **fields)


class TestKlueVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return KlueVectorStore(self.get_embeddings())


class TestKlueVectorStoreWithPackagedEmbeddings(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return KlueVectorStore()
