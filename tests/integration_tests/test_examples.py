"""The examples run, with any chat model, and the answer's source is what was asked for."""

from __future__ import annotations

import difflib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from examples import evaluate_own_questions, run_notebook
from examples.chat_model import QuotingChatModel, chat_model
from examples.documents import sample_documents
from examples.swap_retriever import after
from langchain_klue_rerank import KlueEmbeddings, KlueRetriever

QUESTION = "주차 단속 알림 문자 서비스는 차량 한 대에 번호를 몇 개까지 등록할 수 있나요?"
ANSWER = "번호 두 개까지"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_contextual_compression_over_community_faiss() -> None:
    pytest.importorskip("langchain_community")
    from examples import rag_contextual_compression

    assert ANSWER in rag_contextual_compression.build_chain(QuotingChatModel()).invoke(QUESTION)


def test_any_chat_model_streams_through_the_chain() -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("두 개까지입니다 [1]")]))
    assert "".join(after.build_chain(model).stream(QUESTION)) == "두 개까지입니다 [1]"


def test_without_a_model_set_the_examples_quote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAT_MODEL", raising=False)
    assert isinstance(chat_model(), QuotingChatModel)
    assert QuotingChatModel().invoke("질문만 있고 자료는 없음").content == "문서에 없습니다."


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_swapping_the_retriever_of_an_app_is_a_few_lines() -> None:
    pytest.importorskip("langchain_community")
    from examples.swap_retriever import before

    assert "[1]" in before.build_chain(QuotingChatModel()).invoke(QUESTION)  # its vectors mean nothing: any source
    assert ANSWER in after.build_chain(QuotingChatModel()).invoke(QUESTION)

    def code(module: ModuleType) -> list[str]:
        return inspect.getsource(module).split('"""', 2)[2].splitlines()

    changed = [line for line in difflib.ndiff(code(before), code(after)) if line[0] in "+-" and line[2:].strip()]
    assert sum(line.startswith("+") for line in changed) == 2  # an import and the retriever
    assert len(changed) <= 10


def test_the_vector_store_example_with_cores_store(tmp_path: Path) -> None:
    from examples import vector_stores

    store = vector_stores.in_memory("passages", KlueEmbeddings(), tmp_path)
    documents = vector_stores.with_uuids(sample_documents()[:20])
    store.add_documents(documents)
    retriever = KlueRetriever.from_documents(documents, sources=[store], k=1)
    assert retriever.invoke("승강기에 갇혔어요")[0].metadata["title"] == "승강기에 갇혔을 때의 행동 요령"


def test_own_questions_are_evaluated_in_every_way(tmp_path: Path) -> None:
    report = evaluate_own_questions.compare(evaluate_own_questions.write_questions(tmp_path / "questions.csv"))
    assert (report.questions, report.passages) == (6, 6)
    assert {(row.search_type, row.reranked) for row in report.rows} == {
        (way, reranked) for way in ("lexical", "dense", "hybrid") for reranked in (False, True)
    }
    assert all(row.values["HitRate@10"] == 1 for row in report.rows)  # six passages fit into ten places


def test_the_notebook_prints_what_stands_in_it() -> None:
    """If new weights changed it for the better: python -m examples.run_notebook examples/quick_tour.ipynb."""
    outputs = run_notebook.run(Path(run_notebook.__file__).with_name("quick_tour.ipynb"))
    assert len(outputs) == 9
    for written, printed in outputs:
        figure = re.compile(r"\d\.\d\d")
        assert figure.sub("#", printed) == figure.sub("#", written)
        # another processor may round another way
        assert list(map(float, figure.findall(printed))) == pytest.approx(
            list(map(float, figure.findall(written))), abs=0.02
        )
