"""``klue-rerank serve`` and ``klue-rerank mcp``: what they say while they start."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from langchain_klue_rerank.cli.messages import say
from langchain_klue_rerank.errors import MissingExtraError


def serve(options: argparse.Namespace) -> None:
    """Serve indexes over HTTP."""
    from langchain_klue_rerank.server.run import serve

    _warn_of_strangers(options.host)
    serve(options, started=partial(_started, options.host, options.port, "/docs"))


def mcp(options: argparse.Namespace) -> None:
    """Serve indexes over MCP, whose standard output belongs to the client."""
    try:
        from langchain_klue_rerank.server.mcp_server import serve_mcp
    except ImportError as error:
        raise MissingExtraError(error.name or "mcp", "mcp", "Serving over MCP") from error
    if options.http:
        _warn_of_strangers(options.host)
    serve_mcp(options, started=partial(_started, options.host, options.port, "/mcp"))


def _started(host: str, port: int, path: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    print(say("serving at http://{host}:{port}{path}; Ctrl-C ends", host=shown, port=port, path=path), file=sys.stderr)


def _warn_of_strangers(host: str) -> None:
    from langchain_klue_rerank.server.run import KEY_VARIABLE, is_open_to_strangers

    if is_open_to_strangers(host):
        warning = "{host} can be reached from other machines and {key} is not set: anybody there can search."
        print(f"klue-rerank: {say(warning, host=host, key=KEY_VARIABLE)}", file=sys.stderr)
