"""A child run in LangChain's traces for work that LangChain does not trace by itself, such as reranking."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager, Callbacks
from langchain_core.runnables.config import ensure_config


@contextmanager
def child_run(name: str, callbacks: Callbacks, inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Open a child run.

    Args:
        name: Its name.
        callbacks: What the caller was given; None takes those of the surrounding run, if there is one.
        inputs: What the run shows as its inputs.

    Yields:
        A dictionary to be filled with the run's outputs.
    """
    manager = CallbackManager.configure(inheritable_callbacks=callbacks or ensure_config().get("callbacks"))
    run = manager.on_chain_start({"name": name}, inputs, name=name)
    outputs: dict[str, Any] = {}
    try:
        yield outputs
    except BaseException as error:
        run.on_chain_error(error)
        raise
    run.on_chain_end(outputs)


@asynccontextmanager
async def async_child_run(name: str, callbacks: Callbacks, inputs: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Open a child run from async code; see `child_run`."""
    manager = AsyncCallbackManager.configure(inheritable_callbacks=callbacks or ensure_config().get("callbacks"))
    run = await manager.on_chain_start({"name": name}, inputs, name=name)
    outputs: dict[str, Any] = {}
    try:
        yield outputs
    except BaseException as error:
        await run.on_chain_error(error)
        raise
    await run.on_chain_end(outputs)
