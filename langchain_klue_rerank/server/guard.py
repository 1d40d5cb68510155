"""What every request passes first: the key, the size of its body, and the time it may take."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Paths that are read without a key, and where the scripts of the page at ``/docs`` lie.
OPEN = frozenset({"/", "/health", "/docs", "/openapi.json"})
ASSETS = "/docs/assets/"


def error_body(message: str, kind: str) -> dict[str, Any]:
    """Return an error as every protocol's clients can read it."""
    detail = {"message": message, "type": kind, "param": None, "code": None}
    return {"message": message, "detail": message, "error": detail}


def error_response(
    status: int, message: str, kind: str = "invalid_request_error", headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return a response with `error_body`."""
    return JSONResponse(error_body(message, kind), status, headers=headers)


def checked_key(key: str | None) -> str | None:
    """Return an API key without the white space around it, such as the line feed that a file of secrets ends with.

    Raises:
        ValueError: If nothing is left: a server that was to have a key must not be open.
    """
    if key is not None and not key.strip():
        raise ValueError(f"The API key is blank ({key!r}): name one, or none at all.")
    return None if key is None else key.strip()


class Guard:
    """ASGI middleware.

    Args:
        app: What is guarded.
        api_key: The key that a request must bring as ``Authorization: Bearer KEY``; None for no key.
        max_body: Most bytes of a body.
        timeout: Seconds after which a request is answered with 504.
        observe: Called with the path's route, the status and the seconds of every request.

    Raises:
        ValueError: If the key is blank.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        api_key: str | None,
        max_body: int,
        timeout: float,
        observe: Callable[[str, int, float], None],
    ) -> None:
        key = checked_key(api_key)
        self._app = app
        self._key = None if key is None else sha256(key.encode()).digest()
        self._max_body = max_body
        self._timeout = timeout
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 0
        # one slash too many, where addresses were put together: not every client follows a redirection
        scope["path"] = "/" + "/".join(filter(None, scope["path"].split("/")))

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._guarded(scope, receive, watched, lambda: bool(status))
        finally:
            route = scope.get("route")
            self._observe(getattr(route, "path", "other"), status or 499, time.perf_counter() - start)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send, answered: Callable[[], bool]) -> None:
        headers = dict(scope["headers"])
        if not self._is_open(scope) and not self._allowed(headers.get(b"authorization", b"")):
            refusal = error_response(
                401, "The API key is missing or wrong.", "authentication_error", {"WWW-Authenticate": "Bearer"}
            )
            await refusal(scope, receive, send)
            return
        coding = headers.get(b"content-encoding", b"identity")
        if coding.lower() != b"identity":
            refusal = error_response(415, f"Content-Encoding: {coding.decode('latin-1')} is not read; send plain JSON.")
            await refusal(scope, receive, send)
            return
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body:
            await self._too_large()(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._timeout):
                body = await _body(receive, self._max_body)
                if body is None:
                    await self._too_large()(scope, receive, send)
                else:
                    await self._app(scope, _replay(body, receive), send)
        except TimeoutError:
            if not answered():
                late = error_response(504, f"Not answered within {self._timeout:g} s; try again.", "timeout_error")
                await late(scope, receive, send)

    def _too_large(self) -> JSONResponse:
        return error_response(413, f"The body is larger than {self._max_body} bytes; send fewer texts at a time.")

    @staticmethod
    def _is_open(scope: Scope) -> bool:
        path: str = scope["path"]
        return scope["method"] in ("GET", "HEAD") and (path in OPEN or path.startswith(ASSETS))

    def _allowed(self, authorization: bytes) -> bool:
        if self._key is None:
            return True
        scheme, _, key = authorization.partition(b" ")
        same = hmac.compare_digest(sha256(key.strip()).digest(), self._key)  # as long for every key
        return same and scheme.lower() == b"bearer"


async def _body(receive: Receive, limit: int) -> bytes | None:
    """Read a body; None if it is larger than the limit."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
        if not message.get("more_body", False):  # also of a client that has gone
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read, and then what comes after it."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
