"""Agents search: the MCP server asked by the SDK's own client, and the tool used by LangChain's agent."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.agents import search_tool
from tests.unit_tests.fakes import QUESTION, TEXTS

ROOT = Path(__file__).parents[2]


def passages() -> list[Document]:
    return [
        Document(text, id=f"안내.pdf#{place}", metadata={"source": "안내.pdf", "title": f"{place}장", "page": place})
        for place, text in enumerate(TEXTS)
    ]


@pytest.fixture(scope="module")
def retriever() -> KlueRetriever:
    return KlueRetriever.from_documents(passages())


def text_of(result: Any) -> str:
    [content] = result.content
    return str(content.text)


async def check_tools(client: Any) -> None:
    assert sorted(tool.name for tool in (await client.list_tools()).tools) == ["read", "search"]
    found = await client.call_tool("search", {"query": QUESTION, "k": 2})
    assert not found.is_error
    assert text_of(found).startswith("[1] 0장 (안내.pdf, page 0) id=안내.pdf#0\n    전입신고는")
    assert "\n\n[2] " in text_of(found)
    assert "[3] " not in text_of(found)
    one = await client.call_tool("search", {"query": QUESTION, "filter": {"page": {"$gt": 3}}})
    assert "id=안내.pdf#0" not in text_of(one)
    read = await client.call_tool("read", {"id": "안내.pdf#1"})
    assert text_of(read).splitlines() == [
        "1장 (안내.pdf, page 1) id=안내.pdf#1",
        TEXTS[1],
        "before: id=안내.pdf#0",
        "after: id=안내.pdf#2",
    ]
    for tool, arguments, reason in (
        ("search", {"query": QUESTION, "filter": {"page": {"$near": 2}}}, r"$near"),
        ("search", {"query": QUESTION, "k": 1000}, "less than or equal to 20"),
        ("search", {"query": QUESTION, "index": "없음"}, "my-index"),
        ("read", {"id": "없음"}, "없음"),
    ):
        wrong = await client.call_tool(tool, arguments)
        assert wrong.is_error
        assert reason in text_of(wrong)


async def test_mcp_over_stdio(retriever, tmp_path):
    mcp = pytest.importorskip("mcp")
    from mcp.client.stdio import stdio_client

    retriever.save(tmp_path / "my-index")
    command = ["-m", "langchain_klue_rerank.cli.main", "mcp", str(tmp_path / "my-index")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = mcp.StdioServerParameters(command=sys.executable, args=command, env=environment)
    # the client's default is the stderr of the moment in which it was imported, which another test may have captured
    with (tmp_path / "errors").open("w") as errors:
        async with mcp.Client(stdio_client(server, errlog=errors)) as client:
            await check_tools(client)


@pytest.fixture
def address(retriever) -> Iterator[str]:
    pytest.importorskip("mcp")
    pytest.importorskip("fastapi")
    from langchain_klue_rerank.server.mcp_server import create_mcp, http_app
    from tests.integration_tests.test_server import serving

    with serving(http_app(create_mcp({"my-index": retriever}), host="127.0.0.1", api_key="key", timeout=30)) as address:
        yield f"{address}/mcp"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_mcp_over_http(address, mode):
    import httpx2
    import mcp
    from mcp.client.streamable_http import streamable_http_client

    async with (
        httpx2.AsyncClient(headers={"Authorization": "Bearer key"}, timeout=60) as http,
        mcp.Client(streamable_http_client(address, http_client=http), mode=mode) as client,
    ):
        await check_tools(client)


async def test_mcp_over_http_asks_for_the_key_and_knows_its_host(address):
    import httpx

    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream", "Authorization": "Bearer key"}
    async with httpx.AsyncClient(timeout=60) as client:
        assert (await client.post(address, json=body, headers=headers)).status_code == 200
        assert (await client.post(address, json=body, headers={**headers, "Host": "evil.example"})).status_code == 421
        assert (await client.post(address, json=body, headers={"Accept": headers["Accept"]})).status_code == 401
        assert (await client.post(f"{address}/", json=body, headers=headers)).status_code == 200
        stream = await client.get(address, headers=headers)  # as clients of the protocol's older versions open
        assert (stream.status_code, stream.headers["allow"]) == (405, "POST")


async def test_fastmcp_searches(address):
    fastmcp = pytest.importorskip("fastmcp")
    async with fastmcp.Client(address, auth="key") as client:
        found = await asyncio.gather(*(client.call_tool("search", {"query": QUESTION, "k": 1}) for _ in range(8)))
        assert {text_of(each).split(" id=")[1].splitlines()[0] for each in found} == {"안내.pdf#0"}
        with pytest.raises(fastmcp.exceptions.ToolError, match="less than or equal to 20"):
            await client.call_tool("search", {"query": QUESTION, "k": 99})


async def test_answers_are_bounded_and_long_passages_are_read_in_parts():
    mcp = pytest.importorskip("mcp")
    from langchain_klue_rerank.server.mcp_server import create_mcp

    text = TEXTS[0] + "가나다라마 " * 1000
    retriever = KlueRetriever.from_documents([Document(text, id="long"), Document(TEXTS[1], id="short")])
    async with mcp.Client(create_mcp({"i": retriever}, max_characters=1000)) as client:
        found = text_of(await client.call_tool("search", {"query": QUESTION}))
        assert TEXTS[1] in found  # what is short is shown in full
        assert len(found) < 1200
        start, parts = 0, []
        while True:
            _, part, *rest = text_of(await client.call_tool("read", {"id": "long", "start": start})).split("\n")
            parts.append(part)
            if not rest:
                break
            start = int(rest[0].rpartition("start=")[2].rstrip(")"))
        assert "".join(parts) == text


def test_a_langchain_agent_cites(retriever):
    agents = pytest.importorskip("langchain.agents")
    from langchain_core.language_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

    seen: list[list[BaseMessage]] = []

    class Model(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **options: Any) -> Any:
            assert [tool.name for tool in tools] == ["search_documents"]
            return self

        def _generate(self, messages: Any, *arguments: Any, **options: Any) -> Any:
            seen.append(messages)
            return super()._generate(messages, *arguments, **options)

    call = {"name": "search_documents", "args": {"query": QUESTION}, "id": "call-1"}
    model = Model(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("14일 안입니다 [1].")]))
    agent = agents.create_agent(model, [search_tool(retriever)])
    answer = agent.invoke({"messages": [("user", QUESTION)]})["messages"]
    [told] = [message for message in seen[-1] if isinstance(message, ToolMessage)]
    assert str(told.content).startswith("[1] 0장 (안내.pdf, page 0) id=안내.pdf#0\n    전입신고는")
    [kept] = [message for message in answer if isinstance(message, ToolMessage)]
    assert kept.artifact[0].id == "안내.pdf#0"
    assert answer[-1].content == "14일 안입니다 [1]."
