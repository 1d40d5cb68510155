"""What the server answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator

from langchain_klue_rerank.engine.text.words import encodable

#: A string of clients or of documents, which may hold what JSON cannot.
Text = Annotated[str, BeforeValidator(lambda value: encodable(value) if isinstance(value, str) else value)]


class ErrorDetail(BaseModel):
    """What OpenAI's clients read of an error."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """An error: ``message`` for Cohere's clients, ``detail`` for Jina's and Voyage's, ``error`` for OpenAI's."""

    message: str
    detail: str
    error: ErrorDetail


class RerankedText(BaseModel):
    """A document that was asked back."""

    text: Text


class RerankResult(BaseModel):
    """A document's place in the request and its score."""

    index: int
    relevance_score: float
    document: RerankedText | None = None


class RerankResponse(BaseModel):
    """The answer of Cohere's and of Jina's service."""

    id: str
    model: str
    results: list[RerankResult]
    meta: dict[str, Any]
    usage: dict[str, int]


class TeiRank(BaseModel):
    """One line of Text Embeddings Inference's answer."""

    index: int
    score: float
    text: Text | None = None


class Embedding(BaseModel):
    """One vector, as numbers or as base64 of little-endian float32."""

    object: str = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsResponse(BaseModel):
    """OpenAI's answer."""

    object: str = "list"
    model: str
    data: list[Embedding]
    usage: dict[str, int]


class CohereEmbedResponse(BaseModel):
    """Cohere's answer: vectors by form, or the bare list of its first version."""

    id: str
    response_type: Literal["embeddings_by_type", "embeddings_floats"]
    embeddings: dict[str, list[list[float] | str]] | list[list[float]]
    texts: list[Text]
    meta: dict[str, Any]


class Model(BaseModel):
    """A model that is served, in OpenAI's words and in Cohere's (``name``, ``endpoints``)."""

    id: Text
    object: str = "model"
    created: int
    owned_by: str = "klue-rerank"
    name: Text
    endpoints: list[str]


class ModelsResponse(BaseModel):
    """The models as OpenAI (``data``) and Cohere (``models``) list them."""

    object: str = "list"
    data: list[Model]
    models: list[Model]


class TeiInfo(BaseModel):
    """What TEI says of itself. Two models are served, so there are two in ``model_type``."""

    model_id: Text
    model_dtype: str = "float32"
    model_type: dict[str, dict[str, str]]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_client_batch_size: int
    auto_truncate: bool = True
    version: str


class SearchExplanation(BaseModel):
    """Why a passage was found; see `Explanation`. Places are characters of ``text``."""

    sentence: Text
    start: int
    end: int
    sentence_score: float
    matched: list[Text]
    missing: list[Text]
    words: list[tuple[int, int]]
    first_stage_score: float | None
    rerank_score: float | None
    relevance_score: float | None
    description: Text
    description_ko: Text


class SearchResult(BaseModel):
    """A passage that was found."""

    rank: int
    id: Text | None
    score: float | None
    text: Text
    metadata: dict[str, Any]
    explanation: SearchExplanation | None = None


class SearchResponse(BaseModel):
    """What a search found, best first."""

    query: Text
    index: str
    results: list[SearchResult]


class Health(BaseModel):
    """Health: that the server is up, and what it serves."""

    status: str
    version: str
    indexes: dict[str, int]
