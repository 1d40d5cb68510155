"""The server's application: what every path has in common, health, metrics, and the search of indexes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from operator import attrgetter
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse

from langchain_klue_rerank import __version__
from langchain_klue_rerank.engine.text.words import encodable
from langchain_klue_rerank.server.batching import BusyError, UnusableError
from langchain_klue_rerank.server.guard import ASSETS, Guard, checked_key, error_response
from langchain_klue_rerank.server.protocols import ERRORS, add_embedding, add_models, add_reranking, as_json
from langchain_klue_rerank.server.requests import DEFAULT_K, OTHER_SPELLING, SearchRequest
from langchain_klue_rerank.server.responses import Health, SearchResponse, SearchResult
from langchain_klue_rerank.server.services import Services, plain


def create_app(
    services: Services,
    *,
    api_key: str | None = None,
    max_body: int = 8_000_000,
    timeout: float = 30.0,
    origins: Sequence[str] = (),
) -> FastAPI:
    """Make the application.

    Args:
        services: What it serves.
        api_key: The key that clients must send as ``Authorization: Bearer KEY``; None for no key.
        max_body: Most bytes of a request's body.
        timeout: Seconds after which a request is answered with 504.
        origins: Web pages' origins (``http://localhost:3000``, or ``*`` for all) whose scripts may ask. Default: none.

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
        title="klue-rerank",
        version=__version__,
        lifespan=life,
        redoc_url=None,
        redirect_slashes=False,
        static_url=ASSETS.rstrip("/"),
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
    if origins:  # outside the guard: a browser asks whether it may without a key
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["Retry-After"],
        )
    _explain_errors(app)
    add_reranking(app, services)
    add_embedding(app, services)
    add_models(app, services)
    _add_search(app, services)

    @app.head("/", include_in_schema=False)
    @app.head("/health", include_in_schema=False)  # as load balancers ask
    @app.get("/", include_in_schema=False)  # as TEI's clients ask
    @app.get("/health")
    async def health() -> Health:
        """Say that the server is up, and how many passages each index has."""
        sizes = {name: len(retriever) for name, retriever in services.indexes.items()}
        return Health(status="ok", version=__version__, indexes=sizes)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, 401: ERRORS[401]})
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
        if isinstance(error.body, bytes) or "json" not in request.headers.get("content-type", ""):
            return error_response(422, "Send JSON, with the header Content-Type: application/json.")
        # of two kinds of bodies, pydantic names the kind that it took first
        skipped = 2 if request.url.path.startswith("/rerank") else 1
        places = [
            problem["msg"]
            if problem["type"] == OTHER_SPELLING
            else f"{'.'.join(str(part) for part in problem['loc'][skipped:]) or 'body'}: {problem['msg']}"
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
        detail = str(error.detail)
        if error.status_code == 400:
            detail = "The body is no valid JSON in UTF-8."
        elif detail == "Not Found":
            detail = f"Nothing is served at {request.url.path}; there are: {', '.join(app.openapi()['paths'])}."
        elif error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "POST")
            detail = f"{request.method} is not answered at {request.url.path}; use {allowed}."
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


def _is_tokens(value: Any) -> bool:
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, int)


def _add_search(app: FastAPI, services: Services) -> None:
    @app.post("/v1/search", responses=ERRORS, response_model=SearchResponse)
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
        return as_json(SearchResponse(query=request.query, index=name, results=results))
