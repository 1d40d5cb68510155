"""MTEB's Korean retrieval tasks, asked of a `KlueRetriever` through MTEB's own search protocol.

    python -m benchmarks.mteb                          # all tasks but the two that need some 30 GB of memory
    python -m benchmarks.mteb --tasks AutoRAGRetrieval PublicHealthQA --no-rerank

MTEB fetches the tasks from a hub. Printed is nDCG@10 and recall@10 of every task's Korean subset, as on MTEB's
leaderboard. ``*``: other parts of the task's data trained the packaged models, so that its figure is no measure of
new data. The best 30 passages are ranked, as the retriever does by default: recall at more than 30 means nothing here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

import mteb
from langchain_core.documents import Document
from mteb.models.model_meta import ModelMeta

from langchain_klue_rerank import KlueRetriever, __version__

#: MTEB's Korean retrieval tasks, and their Korean-to-Korean subsets.
TASKS = {
    "AutoRAGRetrieval": "default",
    "Ko-StrategyQA": "default",
    "PublicHealthQA": "korean",
    "BelebeleRetrieval": "kor_Hang-kor_Hang",
    "XPQARetrieval": "kor-kor",
    "MultiLongDocRetrieval": "ko",
    "MIRACLRetrieval": "ko",
    "MrTidyRetrieval": "korean",
}
#: A million and a half passages each.
LARGE = ("MIRACLRetrieval", "MrTidyRetrieval")
#: Tasks whose kind of data trained the packaged models: StrategyQA's translated facts, and the questions of TyDi QA,
#: of which MIRACL and Mr. TyDi are made.
TRAINED_ON = ("Ko-StrategyQA", "MIRACLRetrieval", "MrTidyRetrieval")
#: Documents indexed and queries asked at a time.
_AT_ONCE = 512


class KlueSearch:
    """A `KlueRetriever` as MTEB's ``SearchProtocol``: a new index for every task.

    Args:
        **fields: The retriever's fields: ``embeddings``, ``reranker``, ``fetch_k`` and so on.
    """

    def __init__(self, **fields: Any) -> None:
        self._fields = fields
        self._retriever = KlueRetriever(**fields)

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What MTEB keeps of a model."""
        name = "langchain-klue-rerank/KlueRetriever"
        fields = {"name": name, "revision": __version__, "license": "apache-2.0", "languages": ["kor-Hang"]}
        return ModelMeta.create_empty({**fields, "open_weights": True, "training_datasets": {"Ko-StrategyQA"}})

    def index(self, corpus: Iterable[Mapping[str, Any]], **options: Any) -> None:
        """Index a task's passages, with their titles, under MTEB's ids."""
        self._retriever = KlueRetriever(**self._fields)
        part: list[Document] = []
        for row in corpus:
            metadata = {"title": row["title"]} if row.get("title") else {}
            part.append(Document(row["text"], id=row["id"], metadata=metadata))
            if len(part) == _AT_ONCE:
                self._retriever.add_documents(part)
                part = []
        self._retriever.add_documents(part)

    def search(
        self,
        queries: Iterable[Mapping[str, Any]],
        *,
        top_k: int,
        top_ranked: Mapping[str, list[str]] | None = None,
        **options: Any,
    ) -> dict[str, dict[str, float]]:
        """Search; where MTEB names candidates, among those only.

        Returns:
            For each query the ids of at most ``fetch_k`` passages and their scores.
        """
        rows = list(queries)
        k = min(top_k, self._retriever.fetch_k)
        results: dict[str, dict[str, float]] = {}
        if top_ranked is not None:
            for row in rows:
                allowed = frozenset(top_ranked[row["id"]])
                found = self._retriever.invoke(row["text"], k=k, filter=lambda one, ids=allowed: one.id in ids)
                results[row["id"]] = _scores(found)
            return results
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            answers = self._retriever.batch([row["text"] for row in part], k=k)
            results |= {row["id"]: _scores(found) for row, found in zip(part, answers, strict=True)}
        return results


def _scores(documents: Iterable[Document]) -> dict[str, float]:
    return {str(document.id): document.metadata["relevance_score"] for document in documents}


def evaluate(task: Any, **fields: Any) -> dict[str, float]:
    """Run one of MTEB's tasks.

    Args:
        task: The task, limited to the subsets that count.
        **fields: Fields of the `KlueRetriever`.

    Returns:
        ``ndcg_at_10`` and ``recall_at_10``, the means over its splits and subsets.
    """
    result = mteb.evaluate(KlueSearch(**fields), task, cache=None, show_progress_bar=False)
    scores = [row for split in result.task_results[0].scores.values() for row in split]
    return {name: sum(row[name] for row in scores) / len(scores) for name in ("ndcg_at_10", "recall_at_10")}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    small = [name for name in TASKS if name not in LARGE]
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=small)
    parser.add_argument("--no-rerank", action="store_true", help="the first stage alone")
    options = parser.parse_args()
    fields: dict[str, Any] = {"reranker": None} if options.no_rerank else {}
    print("| task | nDCG@10 | recall@10 |\n|---|---:|---:|")
    for name in options.tasks:
        scores = evaluate(mteb.get_task(name, hf_subsets=[TASKS[name]]), **fields)
        mark = " *" if name in TRAINED_ON else ""
        print(f"| {name}{mark} | {scores['ndcg_at_10']:.4f} | {scores['recall_at_10']:.4f} |", flush=True)


if __name__ == "__main__":
    main()
