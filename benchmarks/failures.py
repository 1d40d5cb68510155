"""Print the questions that the default retriever answers worst, to be read by eye (docs/failures.md).

python -m benchmarks.failures --data samples --worst 20
python -m benchmarks.failures --data ../shared/data/klue_mrc --limit 240 --worst 20     # validation comes first
"""

from __future__ import annotations

import argparse

from langchain_core.documents import Document

from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.evaluation import ask
from langchain_klue_rerank.evaluation.sets import EvaluationSet, read_sets


def worst(data: EvaluationSet, count: int) -> list[tuple[int, int, list[Document]]]:
    """Return the questions whose passage came last.

    Args:
        data: The set.
        count: How many questions.

    Returns:
        Number of the question, rank of its passage from 1 (0 if it was not among the candidates) and all candidates;
        questions whose passage was not found first, then by falling rank. Questions answered at rank 1 are left out.
    """
    retriever = KlueRetriever.from_documents(data.documents)
    answers = ask(retriever, data, data.name, k=retriever.fetch_k)
    found = []
    for number, (documents, relevant) in enumerate(zip(answers.found, data.relevant, strict=True)):
        rank = next((rank for rank, document in enumerate(documents, 1) if document.id in relevant), 0)
        if rank != 1:
            found.append((number, rank, documents))
    return sorted(found, key=lambda one: (one[1] > 0, -one[1]))[:count]


def show(name: str, document: Document, characters: int) -> None:
    """Print a passage with its scores."""
    scores = ", ".join(
        f"{key.removesuffix('_score')} {document.metadata[key]:.2f}"
        for key in ("relevance_score", "rerank_score", "first_stage_score")
        if key in document.metadata
    )
    text = " ".join(document.page_content.split())[:characters]
    print(f"  {name} [{scores}] {document.metadata.get('title', '')}: {text}")


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples", help="as for klue-rerank evaluate; of several sets the last")
    parser.add_argument("--limit", type=int, help="ask the first questions only")
    parser.add_argument("--worst", type=int, default=20, help="how many (20)")
    parser.add_argument("--characters", type=int, default=300, help="how much of a passage to print (300)")
    options = parser.parse_args()
    data = read_sets(options.data)[-1].first(options.limit)
    by_id = {document.id: document for document in data.documents}
    for number, rank, documents in worst(data, options.worst):
        print(f"\n{number}. {data.questions[number]}  -> rank {rank or 'none'}")
        for identifier in data.relevant[number]:
            right = next((document for document in documents if document.id == identifier), by_id[identifier])
            show("right", right, options.characters)
        if documents:
            show("first", documents[0], options.characters)


if __name__ == "__main__":
    main()
