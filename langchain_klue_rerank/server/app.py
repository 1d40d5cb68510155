"""The server's application: the paths of each protocol over `Services`."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from langchain_klue_rerank import __version__
from langchain_klue_rerank.engine.text.words import encodable
from langchain_klue_rerank.server.batching import BusyError, UnusableError
from langchain_klue_rerank.server.guard import ASSETS, Guard, checked_key, error_response
from langchain_klue_rerank.server.requests import (
    DEFAULT_K,
    EmbeddingsRequest,
    RerankRequest,
    SearchRequest,
    TeiEmbedRequest,
    TeiRerankRequest,
)
from langchain_klue_rerank.server.responses import (
    Embedding,
    EmbeddingsResponse,
    ErrorBody,
    Health,
    RerankedText,
    RerankResponse,
    RerankResult,
    SearchResponse,
    SearchResult,
    TeiRank,
)
from langchain_klue_rerank.server.services import Services, count_words, plain

#: Documents of one search unit, as Cohere counts.
_SEARCH_UNIT = 100
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The body is no JSON."},
    401: {"model": ErrorBody, "description": "The API key is missing or wrong."},
    404: {"model": ErrorBody, "description": "There is no such index."},
    413: {"model": ErrorBody, "description": "The body is too large."},
    422: {"model": ErrorBody, "description": "A field is missing or cannot be used."},
    429: {"model": ErrorBody, "description": "Too many requests wait; `Retry-After` says when to try again."},
    504: {"model": ErrorBody, "description": "The time limit was reached."},
}


def create_app(
    services: Services,
    *,
    api_key: str | None = None,
    max_body: int = 8_000_000,
    timeout: float = 30.0,
) -> FastAPI:
    """Make the application.

    Args:
        services: What it serves.
        api_key: The key that clients must send as ``Authorization: Bearer KEY``; None for no key.
        max_body: Most bytes of a request's body.
        timeout: Seconds after which a request is answered with 504.

    Returns:
        An ASGI application, with its description at ``/docs`` and ``/openapi.json``.

    Raises:
        ValueError: If the key is blank.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        for batcher in services.batchers.values():
            batcher.start()
        yield
        for batcher in services.batchers.values():
            await batcher.stop()

    # the page at /docs with its scripts from here: FastAPI's own has a browser fetch them from another host
    app = FastAPIOffline(
        title="klue-rerank", version=__version__, lifespan=life, redoc_url=None, static_url=ASSETS.rstrip("/")
    )
    registry = CollectorRegistry()
    requests = Counter("klue_rerank_requests_total", "Requests", ["path", "status"], registry=registry)
    seconds = Histogram("klue_rerank_request_seconds", "Seconds of a request", ["path"], registry=registry)
    waiting = Gauge("klue_rerank_waiting", "Requests that wait", ["kind"], registry=registry)
    for kind, batcher in services.batchers.items():
        waiting.labels(kind).set_function(partial(attrgetter("waiting"), batcher))

    def observe(path: str, status: int, duration: float) -> None:
        requests.labels(path, str(status)).inc()
        seconds.labels(path).observe(duration)

    app.add_middleware(Guard, api_key=checked_key(api_key), max_body=max_body, timeout=timeout, observe=observe)
    _explain_errors(app)
    _add_reranking(app, services)
    _add_embedding(app, services)
    _add_search(app, services)

    @app.head("/health", include_in_schema=False)  # as load balancers ask
    @app.get("/health")
    async def health() -> Health:
        """Say that the server is up, and how many passages each index has."""
        sizes = {name: len(retriever) for name, retriever in services.indexes.items()}
        return Health(status="ok", version=__version__, indexes=sizes)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, 401: _ERRORS[401]})
    async def metrics() -> Response:
        """Count requests, seconds and what waits, for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _explain_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = error.errors()
        if any(problem["type"] == "json_invalid" for problem in problems):
            return error_response(400, "The body is no valid JSON.")
        if "json" not in request.headers.get("content-type", ""):
            return error_response(422, "Send JSON, with the header Content-Type: application/json.")
        places = [
            f"{'.'.join(str(part) for part in problem['loc'][1:]) or 'body'}: {problem['msg']}"
            for problem in problems[:5]
        ]
        message = encodable("; ".join(places))
        if isinstance(error.body, dict) and _is_tokens(error.body.get("input")):
            message = (
                "input: token numbers are another model's; send text "
                "(OpenAIEmbeddings(check_embedding_ctx_length=False) of langchain-openai)."
            )
        return error_response(422, message)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        detail = "The body is no valid JSON in UTF-8." if error.status_code == 400 else str(error.detail)
        return error_response(error.status_code, detail, headers=dict(error.headers or {}))

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> JSONResponse:
        return error_response(429, "Too many requests wait; try again.", "rate_limit_error", {"Retry-After": "1"})

    @app.exception_handler(UnusableError)
    async def unusable(request: Request, error: UnusableError) -> JSONResponse:
        return error_response(422, str(error))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return error_response(500, "The server failed; its log says why.", "server_error")


def _json(answer: BaseModel, *, exclude_none: bool = False) -> Response:
    """Write an answer as JSON, once: FastAPI would validate what it is given and turn it into JSON by itself again."""
    return Response(answer.model_dump_json(exclude_none=exclude_none), media_type="application/json")


def _usage(texts: list[str]) -> dict[str, int]:
    words = count_words(texts)
    return {"prompt_tokens": words, "total_tokens": words}


def _is_tokens(value: Any) -> bool:
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, int)


def _best(scores: Sequence[float]) -> list[int]:
    """Return places, best score first; equal ones in their order."""
    return sorted(range(len(scores)), key=lambda place: -scores[place])


def _add_reranking(app: FastAPI, services: Services) -> None:
    name = services.reranker.model_name or "packaged"

    async def score(query: str, texts: list[str]) -> list[float]:
        if not texts:
            return []
        scores: list[float] = await services.rerank.submit((query, texts), size=len(texts))
        return scores

    @app.post("/v1/rerank", responses=_ERRORS, response_model=RerankResponse)
    @app.post("/v2/rerank", responses=_ERRORS, response_model=RerankResponse)
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
            for place in _best(scores)[: request.top_n]
        ]
        answer = RerankResponse(
            id=str(uuid.uuid4()),
            model=name,
            results=results,
            meta={"api_version": {"version": "2"}, "billed_units": {"search_units": -(-len(texts) // _SEARCH_UNIT)}},
            usage=_usage([request.query, *texts]),
        )
        return _json(answer, exclude_none=True)

    @app.post("/rerank", responses=_ERRORS, response_model_exclude_none=True)
    async def rank(request: TeiRerankRequest) -> list[TeiRank]:
        """Order texts as Text Embeddings Inference does."""
        scores = await score(request.query, request.texts)
        return [
            TeiRank(index=place, score=scores[place], text=request.texts[place] if request.return_text else None)
            for place in _best(scores)
        ]


def _add_embedding(app: FastAPI, services: Services) -> None:
    name = services.embeddings.model_name or "packaged"

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

    @app.post("/v1/embeddings", responses=_ERRORS, response_model=EmbeddingsResponse)
    async def embeddings(request: EmbeddingsRequest) -> Response:
        """Make vectors, as OpenAI's service does."""
        vectors = await embed(request.texts, request.input_type or "document", request.dimensions)
        coded = request.encoding_format == "base64"
        data = [
            Embedding(index=place, embedding=_base64(vector) if coded else vector)
            for place, vector in enumerate(vectors)
        ]
        return _json(EmbeddingsResponse(model=name, data=data, usage=_usage(request.texts)))

    @app.post("/embed", responses=_ERRORS)
    async def vectors(request: TeiEmbedRequest) -> list[list[float]]:
        """Make vectors, as Text Embeddings Inference does."""
        kind = "query" if request.prompt_name == "query" else "document"
        return await embed(request.texts, kind, request.dimensions)


def _base64(vector: list[float]) -> str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def _add_search(app: FastAPI, services: Services) -> None:
    @app.post("/v1/search", responses=_ERRORS, response_model=SearchResponse)
    async def search(request: SearchRequest) -> Response:
        """Search an index."""
        name = request.index or next(iter(services.indexes), "")
        if name not in services.indexes:
            known = ", ".join(services.indexes) or "none"
            raise HTTPException(404, f"There is no such index; there are: {known}.")
        k = DEFAULT_K if request.k is None else request.k
        key = (name, k, json.dumps(request.filter), request.score_threshold, bool(request.explain))
        found = await services.search.submit(request.query, key=key)
        results = [
            SearchResult(
                rank=rank,
                id=document.id,
                score=document.metadata.get("relevance_score"),
                text=document.page_content,
                metadata=plain(document.metadata),
                explanation=explanation,
            )
            for rank, (document, explanation) in enumerate(found, 1)
        ]
        return _json(SearchResponse(query=request.query, index=name, results=results))
