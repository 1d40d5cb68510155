"""The paths that Cohere, Jina, OpenAI and Text Embeddings Inference have, over `Services`."""

from __future__ import annotations

import base64
import math
import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import Body, FastAPI, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from langchain_klue_rerank import __version__
from langchain_klue_rerank.engine.text.words import encodable
from langchain_klue_rerank.server.batching import UnusableError
from langchain_klue_rerank.server.requests import (
    MAX_TEXTS,
    AnyRerankRequest,
    CohereEmbedRequest,
    EmbeddingsRequest,
    RerankRequest,
    TeiEmbedRequest,
    TeiRerankRequest,
    kind_of,
)
from langchain_klue_rerank.server.responses import (
    CohereEmbedResponse,
    Embedding,
    EmbeddingsResponse,
    ErrorBody,
    Model,
    ModelsResponse,
    RerankedText,
    RerankResponse,
    RerankResult,
    TeiInfo,
    TeiRank,
)
from langchain_klue_rerank.server.services import Services, count_words

#: Documents of one search unit, as Cohere counts.
_SEARCH_UNIT = 100
#: Tokens that a text may have, for clients that cut longer ones: none is refused for its length.
_MAX_TOKENS = 1_000_000
#: Bounds of a probability whose log odds are asked for.
_SMALLEST = 1e-7
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The body is no JSON."},
    401: {"model": ErrorBody, "description": "The API key is missing or wrong."},
    404: {"model": ErrorBody, "description": "There is no such index or model."},
    413: {"model": ErrorBody, "description": "The body is too large."},
    415: {"model": ErrorBody, "description": "The body is compressed."},
    422: {"model": ErrorBody, "description": "A field is missing or cannot be used."},
    429: {"model": ErrorBody, "description": "Too many requests wait; `Retry-After` says when to try again."},
    504: {"model": ErrorBody, "description": "The time limit was reached."},
}


def as_json(answer: BaseModel, *, exclude_none: bool = False) -> Response:
    """Write an answer as JSON, once: FastAPI would validate what it is given and turn it into JSON by itself again."""
    return Response(answer.model_dump_json(exclude_none=exclude_none), media_type="application/json")


def _usage(texts: list[str]) -> dict[str, int]:
    words = count_words(texts)
    return {"prompt_tokens": words, "total_tokens": words}


def _best(scores: Sequence[float]) -> list[int]:
    """Return places, best score first; equal ones in their order."""
    return sorted(range(len(scores)), key=lambda place: -scores[place])


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, _SMALLEST), 1 - _SMALLEST)
    return math.log(bounded / (1 - bounded))


def _base64(vector: list[float]) -> str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def _names(services: Services) -> tuple[str, str]:
    """Return the names of the reranker and of the embedding model."""
    return services.reranker.model_name or "packaged", services.embeddings.model_name or "packaged"


def add_reranking(app: FastAPI, services: Services) -> None:
    """Add the paths that order documents."""
    name, _ = _names(services)

    async def score(query: str, texts: list[str]) -> list[float]:
        if not texts:
            return []
        scores: list[float] = await services.rerank.submit((query, texts), size=len(texts))
        return scores

    @app.post("/v1/rerank", responses=ERRORS, response_model=RerankResponse)
    @app.post("/v2/rerank", responses=ERRORS, response_model=RerankResponse)
    async def rerank(request: RerankRequest) -> Response:
        """Order documents by how well they answer a query, as Cohere's and Jina's services do."""
        texts = request.texts
        scores = await score(request.query, texts)
        results = [
            RerankResult(
                index=place,
                relevance_score=scores[place],
                document=RerankedText(text=texts[place]) if request.return_documents else None,
            )
            for place in _best(scores)[: request.top_n or request.top_k]
        ]
        answer = RerankResponse(
            id=str(uuid.uuid4()),
            model=name,
            results=results,
            meta={"api_version": {"version": "2"}, "billed_units": {"search_units": -(-len(texts) // _SEARCH_UNIT)}},
            usage=_usage([request.query, *texts]),
        )
        return as_json(answer, exclude_none=True)

    @app.post(
        "/rerank", responses=ERRORS, response_model=list[TeiRank] | RerankResponse, response_model_exclude_none=True
    )
    async def rank(request: Annotated[AnyRerankRequest, Body()]) -> Any:
        """Order texts as Text Embeddings Inference does; `documents` as `/v1/rerank` does."""
        if not isinstance(request, TeiRerankRequest):
            return await rerank(request)
        scores = await score(request.query, request.texts)
        return [
            TeiRank(
                index=place,
                score=_log_odds(scores[place]) if request.raw_scores else scores[place],
                text=request.texts[place] if request.return_text else None,
            )
            for place in _best(scores)
        ]


def add_embedding(app: FastAPI, services: Services) -> None:
    """Add the paths that make vectors."""
    _, name = _names(services)

    async def embed(texts: list[str], kind: str, dimensions: int | None) -> list[list[float]]:
        if not texts:
            return []
        vectors: list[list[float]] = await services.embed.submit(texts, key=kind, size=len(texts))
        if dimensions not in (None, len(vectors[0])):
            raise UnusableError(
                f"dimensions: {dimensions} are asked for, and this model's vectors have {len(vectors[0])}; "
                "leave the field out."
            )
        return vectors

    @app.post("/embeddings", include_in_schema=False)  # as TEI and Infinity also answer
    @app.post("/v1/embeddings", responses=ERRORS, response_model=EmbeddingsResponse)
    async def embeddings(request: EmbeddingsRequest) -> Response:
        """Make vectors, as OpenAI's service does."""
        vectors = await embed(request.texts, kind_of(request.task or request.input_type), request.dimensions)
        coded = request.encoding_format == "base64"
        data = [
            Embedding(index=place, embedding=_base64(vector) if coded else vector)
            for place, vector in enumerate(vectors)
        ]
        return as_json(EmbeddingsResponse(model=name, data=data, usage=_usage(request.texts)))

    @app.post("/", include_in_schema=False)  # the address alone, as TEI and huggingface_hub have it
    @app.post("/embed", responses=ERRORS)
    async def vectors(request: TeiEmbedRequest) -> list[list[float]]:
        """Make vectors, as Text Embeddings Inference does."""
        return await embed(request.texts, kind_of(request.prompt_name), request.dimensions)

    async def cohere(request: CohereEmbedRequest, forms: list[str] | None) -> Response:
        made = await embed(request.texts, kind_of(request.input_type), request.output_dimension)
        coded: dict[str, list[list[float] | str]] = {
            form: [_base64(one) if form == "base64" else one for one in made] for form in forms or ()
        }
        answer = CohereEmbedResponse(
            id=str(uuid.uuid4()),
            response_type="embeddings_by_type" if forms else "embeddings_floats",
            embeddings=coded if forms else made,
            texts=request.texts,
            meta={"api_version": {"version": "2"}, "billed_units": {"input_tokens": count_words(request.texts)}},
        )
        return as_json(answer)

    @app.post("/v1/embed", responses=ERRORS, response_model=CohereEmbedResponse)
    async def embed_floats(request: CohereEmbedRequest) -> Response:
        """Make vectors, as the first version of Cohere's service does."""
        return await cohere(request, [*request.embedding_types] if request.embedding_types else None)

    @app.post("/v2/embed", responses=ERRORS, response_model=CohereEmbedResponse)
    async def embed_by_type(request: CohereEmbedRequest) -> Response:
        """Make vectors, as Cohere's service does."""
        return await cohere(request, [*(request.embedding_types or ["float"])])


def add_models(app: FastAPI, services: Services) -> None:
    """Add the paths that say which models there are."""
    reranker, embeddings = _names(services)
    started = int(time.time())
    uses = {
        name: [use for use, of in (("embed", embeddings), ("rerank", reranker)) if of == name]
        for name in (embeddings, reranker)
    }
    cards = [
        Model(id=encodable(name), name=encodable(name), created=started, endpoints=endpoints)
        for name, endpoints in uses.items()
    ]

    @app.get("/models", include_in_schema=False)  # as Infinity also answers
    @app.get("/v1/models", responses={401: ERRORS[401]})
    async def models() -> ModelsResponse:
        """List the embedding model and the reranker, as OpenAI's and Cohere's services do."""
        return ModelsResponse(data=cards, models=cards)

    @app.get("/v1/models/{name:path}", responses={401: ERRORS[401], 404: ERRORS[404]})
    async def model(name: str) -> Model:
        """Describe one model."""
        for card in cards:
            if card.id.strip("/") == name:  # of a folder's name, the first slash is lost in the address
                return card
        raise HTTPException(404, f"There is no model {name}; there are: {', '.join(card.id for card in cards)}.")

    @app.get("/info", responses={401: ERRORS[401]})
    async def info() -> TeiInfo:
        """Describe the server, as Text Embeddings Inference does."""
        return TeiInfo(
            model_id=cards[0].id,
            model_type={"embedding": {"pooling": "mean"}, "reranker": {}},
            max_concurrent_requests=services.max_waiting,
            max_input_length=_MAX_TOKENS,
            max_batch_tokens=_MAX_TOKENS,
            max_client_batch_size=MAX_TEXTS,
            version=__version__,
        )
