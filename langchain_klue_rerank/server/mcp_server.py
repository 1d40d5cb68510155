"""An MCP server: agents of other programs search indexes and read passages, over stdio or HTTP."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from langchain_klue_rerank import __version__
from langchain_klue_rerank.agents import found_sources, heading
from langchain_klue_rerank.engine.text.words import clean, encodable
from langchain_klue_rerank.errors import KlueRerankError
from langchain_klue_rerank.retriever import KlueRetriever
from langchain_klue_rerank.server.guard import Guard, error_response
from langchain_klue_rerank.server.run import KEEP_ALIVE, api_key, check_port, chosen_models, open_indexes

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_INSTRUCTIONS = (
    "Searches Korean documents. Call search with a whole question, not with single words; call read for a passage that "
    "was cut or for the passages before and after it. Cite sources as [number] and title."
)


def create_mcp(indexes: Mapping[str, KlueRetriever], *, max_characters: int = 8000) -> MCPServer[Any]:
    """Make the MCP server with its two tools, ``search`` and ``read``.

    Args:
        indexes: Retrievers by name; the first is the default.
        max_characters: Maximum number of characters of passages that a call returns. Default 8000.

    Raises:
        ValueError: If there is no index.
    """
    if not indexes:
        raise ValueError("There is no index to search; give at least one.")
    server: MCPServer[Any] = MCPServer(
        "klue-rerank", version=__version__, instructions=_INSTRUCTIONS, log_level="WARNING"
    )
    known = ", ".join(f"{name} ({len(retriever)} passages)" for name, retriever in indexes.items())

    def chosen(index: str | None) -> KlueRetriever:
        name = index or next(iter(indexes))
        if name not in indexes:
            raise ToolError(f"There is no index {name!r}; there are: {known}.")
        return indexes[name]

    @server.tool(
        title="Search documents",
        description=f"Search documents with a question. Returns numbered sources. Indexes, the default first: {known}.",
        annotations=_READ_ONLY,
        structured_output=False,
    )
    async def search(
        query: Annotated[str, Field(description="The question, as a person would ask it.")],
        k: Annotated[int, Field(ge=1, le=20, description="How many passages to return.")] = 5,
        filter: Annotated[
            dict[str, Any] | None,
            Field(description='Condition on metadata, such as {"page": 3} or {"source": {"$in": ["a.pdf"]}}.'),
        ] = None,
        index: Annotated[str | None, Field(description="Name of the index; the first if left out.")] = None,
    ) -> str:
        retriever = chosen(index)
        try:
            documents = await retriever.ainvoke(query, k=k, filter=filter)
        except (ValueError, TypeError, KlueRerankError) as error:
            raise ToolError(str(error)) from error
        return found_sources(retriever, documents, max_characters=max_characters)

    @server.tool(
        title="Read a passage",
        description="Read one passage in full, by the id that search shows, and learn which stand before and after it.",
        annotations=_READ_ONLY,
        structured_output=False,
    )
    def read(
        id: Annotated[str, Field(description="The passage's id.")],
        start: Annotated[int, Field(ge=0, description="The character to begin with, for a long passage.")] = 0,
        index: Annotated[str | None, Field(description="Name of the index; the first if left out.")] = None,
    ) -> str:
        retriever = chosen(index)
        documents = retriever.get_by_ids([id])
        if not documents:
            raise ToolError(f"There is no passage with the id {id!r}; take one that search has shown.")
        [document] = documents
        text = clean(document.page_content)
        end = start + max_characters
        lines = [heading(document), text[start:end]]
        if end < len(text):
            lines.append(f"({len(text) - end} more characters; read on with start={end})")
        return "\n".join([*lines, *_neighbours(retriever, id, document.metadata.get("source"))])

    return server


def _neighbours(retriever: KlueRetriever, identifier: str, source: Any) -> list[str]:
    """Say which passages of the same source stand before and after one."""
    if not isinstance(source, str):
        return []
    identifiers = retriever.find_ids({"source": source})
    place = identifiers.index(identifier)
    lines = [f"before: id={encodable(identifiers[place - 1])}"] if place else []
    return [*lines, f"after: id={encodable(identifiers[place + 1])}"] if place + 1 < len(identifiers) else lines


def serve_mcp(options: argparse.Namespace, started: Callable[[], None]) -> None:
    """Serve indexes to MCP clients until the client, or the user, ends it.

    Over HTTP the key of the environment is asked for, as ``klue-rerank serve`` does.

    Args:
        options: Those of the command line.
        started: Called when requests over HTTP are about to be answered.

    Raises:
        OSError: If the port is taken, or the address is none of this machine.
        ValueError: If two folders have one name.
    """
    models = chosen_models(options)
    if options.http:
        check_port(options.host, options.port)
    indexes = open_indexes(options.dirs, **models)
    server = create_mcp(indexes, max_characters=options.max_characters)
    # clients give up on a server that is silent at first: the models load while they say hello
    threading.Thread(target=_warm_up, args=(indexes,), daemon=True).start()
    if not options.http:
        server.run("stdio")
        return
    import uvicorn

    app = http_app(server, host=options.host, api_key=api_key(), timeout=options.timeout)
    started()
    uvicorn.run(
        app, host=options.host, port=options.port, log_level="warning", access_log=False, timeout_keep_alive=KEEP_ALIVE
    )


def http_app(server: MCPServer[Any], *, host: str, api_key: str | None, timeout: float) -> Guard:
    """Return the ASGI application that serves MCP at ``/mcp``, streamable HTTP.

    Every request is answered by itself, so that nothing is kept of a client and several servers can share the work.

    Args:
        server: The server.
        host: The address that it listens on: on this machine's own, requests that name another host are refused, as
            pages of a browser send them by DNS rebinding.
        api_key: The key that clients must send as ``Authorization: Bearer KEY``; None for no key.
        timeout: Seconds after which a request is answered with 504.
    """
    mcp = server.streamable_http_app(host=host, stateless_http=True, json_response=True)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # no client is told anything unasked: the stream that some open for that would only be cut at the time limit
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("GET", "/mcp"):
            refusal = error_response(405, "There is no stream to read; send POST.", headers={"Allow": "POST"})
            await refusal(scope, receive, send)
        else:
            await mcp(scope, receive, send)

    return Guard(app, api_key=api_key, max_body=1_000_000, timeout=timeout, observe=lambda *_: None)


def _warm_up(indexes: Mapping[str, KlueRetriever]) -> None:
    for retriever in indexes.values():
        retriever.invoke("전입신고는 언제까지 하나요?")
