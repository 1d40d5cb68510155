"""A saved index rebuilt from its documents: after new weights, another model, or a new version of the tokenization."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from langchain_core.embeddings import Embeddings

from langchain_klue_rerank.adapters.documents import searchable_text
from langchain_klue_rerank.adapters.embedding import (
    WindowWords,
    decide_window_words,
    embed_for_index,
    model_identity,
    reads_tokens,
)
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize
from langchain_klue_rerank.engine.text.words import ANALYSIS_VERSION

logger = logging.getLogger(__name__)


def rebuild(folder: Path, embedding: Embeddings | None, window_words: WindowWords = "auto") -> PassageIndex:
    """Rebuild a saved index in memory.

    Documents, ids, metadata, title key and the kinds of search stay. Texts are tokenized again only if this version
    tokenizes differently. Token vectors of a late-interaction model are left out.

    Args:
        folder: The folder of the saved index.
        embedding: The embedding model, if the index has vectors.
        window_words: See `KlueRetriever`.

    Raises:
        IndexFormatError: If the folder is not an index or is damaged.
    """
    old = PassageIndex.load(folder, any_analysis=True)
    settings = replace(old.settings, analysis=ANALYSIS_VERSION, token_vectors=None)
    if settings.dense and embedding is not None:
        words = decide_window_words(embedding, window_words)
        settings = replace(settings, model=model_identity(embedding), window_words=words)
    passages = old.get(old.find())
    index = PassageIndex(settings)
    if not passages:
        return index
    tokens = old.tokens(passages) if old.settings.analysis == ANALYSIS_VERSION else None
    if tokens is None and (settings.lexical or (embedding is not None and reads_tokens(embedding))):
        needs_kiwi = settings.kiwi or (settings.dense and embedding is not None and reads_tokens(embedding))
        texts = [searchable_text(one.text, one.metadata, settings.title_key) for one in passages]
        tokens = tokenize(texts, shared_analyzer() if needs_kiwi else None)
    vectors = embed_for_index(embedding, settings, passages, tokens) if settings.dense and embedding else None
    index.add(passages, tokens if settings.lexical else None, vectors)
    return index


def warn_words_only(folder: Path, model: str | None, own: str) -> None:
    """Log a warning that only lexical search is possible, and the remedy."""
    logger.warning(
        "The vectors of the index at %r were made by the model %r, not by %r: only its words are searched. "
        "KlueRetriever.rebuild(%r) recomputes the vectors.",
        str(folder),
        model,
        own,
        str(folder),
    )
