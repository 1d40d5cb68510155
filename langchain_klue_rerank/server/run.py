"""Opening the indexes and running the server until it is told to stop."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_klue_rerank.embeddings import KlueEmbeddings
from langchain_klue_rerank.errors import MissingExtraError
from langchain_klue_rerank.files.encodings import readable_path
from langchain_klue_rerank.reranker import KlueReranker
from langchain_klue_rerank.retriever import KlueRetriever

#: The environment variable of the API key, which then stands in no list of processes.
KEY_VARIABLE = "KLUE_RERANK_API_KEY"
#: Seconds for which an idle connection is kept: longer than clients and proxies use one (mostly 60), so that no request
#: arrives while it is being closed.
KEEP_ALIVE = 75
_LOCAL = ("127.0.0.1", "localhost", "::1")


def serve(options: argparse.Namespace, started: Callable[[], None]) -> None:
    """Serve indexes over HTTP until somebody stops it.

    Args:
        options: Those of the command line.
        started: Called when the indexes are open and requests are about to be answered.

    Raises:
        MissingExtraError: If the ``server`` extra is not installed.
        OSError: If the port is taken, or the address is none of this machine.
        ValueError: If two folders have one name.
    """
    try:
        import uvicorn

        from langchain_klue_rerank.server.app import create_app
        from langchain_klue_rerank.server.services import Services
    except ImportError as error:
        raise MissingExtraError(error.name or "fastapi", "server", "Serving over HTTP") from error
    models = chosen_models(options)
    check_port(options.host, options.port)
    services = Services(open_indexes(options.dirs, **models), max_waiting=options.max_waiting, **models)
    services.warm_up()
    app = create_app(
        services,
        api_key=api_key(),
        max_body=options.max_body,
        timeout=options.timeout,
        origins=options.allow_origin,
    )
    started()
    # what runs when the signal to stop comes is answered first
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=int(options.timeout) + 1,
        timeout_keep_alive=KEEP_ALIVE,
    )


def api_key() -> str | None:
    """Return the key of the environment; None for none."""
    return os.environ.get(KEY_VARIABLE) or None


def is_open_to_strangers(host: str) -> bool:
    """Return whether a server at an address can be reached from other machines, and asks for no key."""
    return api_key() is None and host not in _LOCAL


def check_port(host: str, port: int) -> None:
    """Raise what the system says if a port cannot be listened on: before the models load, which takes seconds.

    Raises:
        OSError: With the address as its file name.
    """
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family, kind, protocol) as listener:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            listener.bind(address)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, f"{host}:{port}") from error


def chosen_models(options: argparse.Namespace) -> dict[str, Any]:
    """Turn ``--embeddings`` and ``--reranker`` into fields of retrievers; what is not given is left out."""
    models: dict[str, Any] = {}
    if options.embeddings:
        models["embeddings"] = KlueEmbeddings(model=options.embeddings)
    if options.reranker:
        models["reranker"] = KlueReranker(model=options.reranker)
    return models


def open_indexes(folders: list[Path], **fields: Any) -> dict[str, KlueRetriever]:
    """Open indexes, each under its folder's name.

    Args:
        folders: Their folders.
        **fields: Fields of the retrievers; see `KlueRetriever.load`.

    Raises:
        ValueError: If two folders have one name.
    """
    indexes: dict[str, KlueRetriever] = {}
    for folder in folders:
        name = readable_path(folder.resolve().name)
        if name in indexes:
            raise ValueError(f"Two indexes are called {name!r}; rename one of the folders.")
        indexes[name] = KlueRetriever.load(folder, **fields)
    return indexes
