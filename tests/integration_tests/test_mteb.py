"""MTEB measures a `KlueRetriever` through its search protocol, on a small task made here."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow  # mteb imports torch and much more
mteb = pytest.importorskip("mteb")

from datasets import Dataset  # noqa: E402
from mteb.abstasks.retrieval import AbsTaskRetrieval  # noqa: E402
from mteb.abstasks.task_metadata import TaskMetadata  # noqa: E402
from mteb.models.models_protocols import SearchProtocol  # noqa: E402

from benchmarks.mteb import TASKS, KlueSearch, evaluate  # noqa: E402
from tests.unit_tests.fakes import TEXTS  # noqa: E402

QUERIES = ["이사하고 며칠 안에 전입신고를 하나요?", "여권 신청은 어디서?", "책은 몇 권까지 빌려요?"]
ANSWERS = [0, 1, 3]


class SmallTask(AbsTaskRetrieval):
    ignore_identical_ids = False
    metadata = TaskMetadata(
        name="SmallKoreanRetrieval",
        description="Three questions about six notices.",
        reference=None,
        dataset={"path": "none/none", "revision": "1"},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["kor-Hang"],
        main_score="ndcg_at_10",
        date=None,
        domains=None,
        task_subtypes=None,
        license=None,
        annotations_creators=None,
        dialect=None,
        sample_creation=None,
        bibtex_citation=None,
    )

    def load_data(self, *arguments: Any, **options: Any) -> None:
        corpus = [{"id": f"d{place}", "text": text, "title": ""} for place, text in enumerate(TEXTS)]
        queries = [{"id": f"q{place}", "text": text} for place, text in enumerate(QUERIES)]
        split = {
            "corpus": Dataset.from_list(corpus),
            "queries": Dataset.from_list(queries),
            "relevant_docs": {f"q{place}": {f"d{answer}": 1} for place, answer in enumerate(ANSWERS)},
            "top_ranked": None,
        }
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


def test_a_task_is_measured():
    assert evaluate(SmallTask()) == {"ndcg_at_10": 1.0, "recall_at_10": 1.0}
    assert evaluate(SmallTask(), reranker=None)["recall_at_10"] == 1.0


def test_it_is_what_mteb_asks_for():
    search = KlueSearch()
    assert isinstance(search, SearchProtocol)
    search.index([{"id": f"d{place}", "text": text, "title": "안내"} for place, text in enumerate(TEXTS)])
    rows = [{"id": "q", "text": QUERIES[0]}]
    found = search.search(rows, top_k=2)["q"]
    assert len(found) == 2
    assert max(found, key=found.__getitem__) == "d0"
    assert set(search.search(rows, top_k=10, top_ranked={"q": ["d1", "d2"]})["q"]) <= {"d1", "d2"}


def test_the_tasks_are_mtebs():
    for name, subset in TASKS.items():
        task = mteb.get_task(name, hf_subsets=[subset])
        assert task.hf_subsets == [subset]
