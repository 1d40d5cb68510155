"""The models that a command's options name."""

from __future__ import annotations

import argparse
from typing import Any


def retriever_fields(options: argparse.Namespace) -> dict[str, Any]:
    """Turn --embeddings, --reranker and --no-rerank into fields of the retriever."""
    from langchain_klue_rerank import KlueEmbeddings, KlueReranker

    fields: dict[str, Any] = {}
    if options.embeddings:
        fields["embeddings"] = KlueEmbeddings(model=options.embeddings)
    if getattr(options, "no_rerank", False):
        fields["reranker"] = None
    elif getattr(options, "reranker", None):
        fields["reranker"] = KlueReranker(model=options.reranker)
    return fields
