"""A forked process, as of a server that loads before it forks, has none of its parent's threads."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from langchain_klue_rerank import KlueReranker
from langchain_klue_rerank.engine.text.kiwi import Analyzer
from tests.unit_tests.fakes import QUESTION, documents

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def succeeds_in_a_fork(check: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:  # pragma: no cover
        signal.alarm(30)  # ends a child that hangs
        os._exit(0 if check() else 1)
    return os.waitpid(child, 0)[1] == 0


def test_kiwi_analyses_new_words() -> None:
    analyzer = Analyzer()
    expected = Analyzer().morphemes(["구청장에게", "부탁했다"])
    analyzer.morphemes(["준비"])
    with analyzer._lock:  # as if another thread were just analysing
        assert succeeds_in_a_fork(lambda: analyzer.morphemes(["구청장에게", "부탁했다"]) == expected)


def test_async_reranking_goes_on() -> None:
    reranker = KlueReranker()
    found = asyncio.run(reranker.acompress_documents(documents(), QUESTION))
    assert succeeds_in_a_fork(lambda: asyncio.run(reranker.acompress_documents(documents(), QUESTION)) == found)
