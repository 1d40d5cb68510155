"""A saved index rebuilt from its documents: after new weights, another model, or a new version of the tokenization."""

from __future__ import annotations

import hashlib
import logging
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from tqdm import tqdm

from langchain_klue_rerank.adapters.documents import searchable_texts
from langchain_klue_rerank.adapters.embedding import (
    WindowWords,
    embed_for_index,
    embed_second,
    reads_tokens,
    settings_for,
)
from langchain_klue_rerank.engine.arrays.storage import editing
from langchain_klue_rerank.engine.arrays.unit_vectors import SmallVectors
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.settings import SECOND_VECTORS, VECTORS, IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.models.names import PACKAGED_ENCODER
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize
from langchain_klue_rerank.engine.text.words import ANALYSIS_VERSION
from langchain_klue_rerank.errors import ModelMismatchError

logger = logging.getLogger(__name__)

#: Fields of a retriever that an index decides.
_DECIDED = ("kiwi", "title_key", "window_words")
#: Passages whose second vectors are kept at a time while an index is built anew.
_PART = 256


def open_index(folder: Path, fields: dict[str, Any]) -> tuple[PassageIndex, dict[str, Any]]:
    """Open a saved index, and complete the fields of the retriever that searches it.

    Args:
        folder: The folder of the saved index.
        fields: Those that were given.

    Returns:
        The index; and the fields with those that it decides and, if it keeps vectors of the packaged encoder, that.

    Raises:
        IndexFormatError: If the folder is not an index or is damaged.
        ValueError: If one is given that the index decides.
    """
    for name in _DECIDED:
        if name in fields:
            raise ValueError(f"{name}={fields[name]!r}: this was decided when the index was built; leave it out.")
    index = PassageIndex.load(folder)
    settings = index.settings
    dense = settings.dense or fields.get("sources") is not None
    built = "hybrid" if settings.lexical and dense else "dense" if dense else "lexical"
    fields = {"search_type": built, **fields, **{name: getattr(settings, name) for name in _DECIDED}}
    if fields["search_type"] == "hybrid" and (settings.second_model or "").startswith(f"{PACKAGED_ENCODER}:"):
        fields.setdefault("second_embeddings", PACKAGED_ENCODER)
    return index, fields


def rebuild(
    folder: Path,
    embedding: Embeddings | None,
    window_words: WindowWords = "auto",
    second: Embeddings | None = None,
) -> PassageIndex:
    """Rebuild a saved index in memory.

    Documents, ids, metadata, title key and the kinds of search stay. Texts are tokenized again only if this version
    tokenizes differently. Token vectors of a late-interaction model are left out.

    Args:
        folder: The folder of the saved index.
        embedding: The embedding model, if the index has vectors.
        window_words: See `KlueRetriever`.
        second: A second bi-encoder, whose vectors the index is to keep, too; None for those that it has. Those that it
            has of this model stay, and what an interrupted call has embedded is not embedded again.

    Raises:
        IndexFormatError: If the folder is not an index or is damaged.
    """
    old = PassageIndex.load(folder, any_analysis=True)
    old.verify()
    settings = replace(old.settings, analysis=ANALYSIS_VERSION, token_vectors=None)
    if settings.dense and embedding is not None:
        settings = settings_for(settings, embedding, window_words, second)
    passages = old.get(old.find())
    index = PassageIndex(settings)
    if not passages:
        return index
    tokens = old.tokens(passages) if old.settings.analysis == ANALYSIS_VERSION else None
    if tokens is None and (settings.lexical or (embedding is not None and reads_tokens(embedding))):
        needs_kiwi = settings.kiwi or (settings.dense and embedding is not None and reads_tokens(embedding))
        texts = searchable_texts(passages, settings.title_key)
        tokens = tokenize(texts, shared_analyzer() if needs_kiwi else None)
    vectors = embed_for_index(embedding, settings, passages, tokens) if settings.dense and embedding else None
    fields = {} if vectors is None else {VECTORS: PassageVectors.checked(vectors)}
    if settings.second_model is not None:
        kept = old.passage_vectors(SECOND_VECTORS) if old.settings.second_model == settings.second_model else None
        if kept is None and second is not None:
            kept = _embed_in_parts(second, settings, passages, _parts_folder(folder))
        if kept is not None:
            fields[SECOND_VECTORS] = kept
    index.add(passages, tokens if settings.lexical else None, fields)
    return index


def rebuild_folder(
    folder: Path,
    embedding: Embeddings | None,
    window_words: WindowWords = "auto",
    second: Embeddings | None = None,
) -> None:
    """Rebuild a saved index, save it in its place, and remove what `rebuild` kept meanwhile; arguments as there.

    Raises:
        IndexLockedError: If another process or thread is writing it; nobody else does while it is rebuilt.
    """
    with editing(folder):
        rebuild(folder, embedding, window_words, second).save(folder)
    shutil.rmtree(_parts_folder(folder), ignore_errors=True)


def _parts_folder(folder: Path) -> Path:
    return folder.absolute().with_name(f"{folder.absolute().name}.second_vectors")


def _embed_in_parts(
    second: Embeddings, settings: IndexSettings, passages: Sequence[Passage], place: Path
) -> PassageVectors:
    """Embed passages by the second bi-encoder part by part, each kept on disk, with a progress bar on a terminal."""
    place.mkdir(exist_ok=True)
    parts: list[PassageVectors] = []
    with tqdm(total=len(passages), unit="passage", disable=None) as bar:
        for start in range(0, len(passages), _PART):
            some = passages[start : start + _PART]
            known = [[passage.text, passage.metadata.get(settings.title_key or "")] for passage in some]
            told = repr((settings.second_model, settings.second_window_words, known))
            digest = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()
            part = _read_part(place / f"{digest}.npz")
            if part is None:
                part = embed_second(second, settings, some)[SECOND_VECTORS]
                _write_part(place / f"{digest}.npz", part)
            parts.append(part)
            bar.update(len(some))
    return PassageVectors.join(parts)


def _read_part(path: Path) -> PassageVectors | None:
    """Return the vectors of a part; None if they are not there as a whole."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            windows = SmallVectors(saved["values"], saved["scales"], saved["offsets"])
            return PassageVectors(saved["wholes"], windows)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write_part(path: Path, vectors: PassageVectors) -> None:
    """Write the vectors of a part, as a whole or not at all."""
    windows = vectors.windows
    half = path.with_suffix(".half")
    with half.open("wb") as file:
        np.savez(file, wholes=vectors.wholes, values=windows.values, scales=windows.scales, offsets=windows.offsets)
    half.replace(path)


def check_token_vectors(settings: IndexSettings, model: str | None, folder: Path) -> None:
    """Make sure that an index keeps the token vectors of this late-interaction model, or none; None for no such model.

    Raises:
        ModelMismatchError: If it keeps those of another.
    """
    if settings.token_vectors is not None and model not in (None, settings.token_vectors):
        raise ModelMismatchError(
            f"The index at {str(folder)!r} keeps the token vectors of the model {settings.token_vectors!r}, not of "
            f"{model!r}. Load it with that model as its reranker, or build it again."
        )


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
