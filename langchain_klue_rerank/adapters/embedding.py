"""LangChain embeddings for the index: vectors of passages, windows and queries as arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike, NDArray

from langchain_klue_rerank.adapters.documents import searchable_texts, title_of
from langchain_klue_rerank.engine.arrays.unit_vectors import as_unit_vectors
from langchain_klue_rerank.engine.contracts import BiEncoder
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.settings import SECOND_VECTORS, VECTORS, IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.models.packaged.blanks import ADDED, without_marks
from langchain_klue_rerank.engine.parallel import staged
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, count_words, parts_of, tokenize
from langchain_klue_rerank.engine.text.windows import WINDOW_WORDS, cut_texts, cut_tokens
from langchain_klue_rerank.engine.text.words import has_words
from langchain_klue_rerank.engine.threads import making_way
from langchain_klue_rerank.errors import ModelMismatchError, ModelOutputError

if TYPE_CHECKING:
    from langchain_klue_rerank.engine.contracts import BiEncoder

#: Words of the windows of a second bi-encoder, which reads every word in the light of the others.
SECOND_WINDOW_WORDS = 40
#: Words of the windows that have a vector each; None for one vector a passage; "auto" for what suits the model.
WindowWords = int | Literal["auto"] | None
#: Passages tokenized, and their vectors by field; None in an index without vectors.
WordsAndVectors = tuple[TokenizedTexts, dict[str, PassageVectors] | None]

#: Passages whose windows are vectors in float32 at a time, before they are rounded: some 50 MB.
_PASSAGES_AT_ONCE = 4096


class EncoderEmbeddings(Embeddings, ABC):
    """Embeddings that also give arrays: what `KlueEmbeddings` promises to the index."""

    show_progress: bool

    @property
    @abstractmethod
    def encoder(self) -> BiEncoder:
        """The loaded bi-encoder; loads it if need be."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Identity of the model: vectors of different models are not comparable."""

    @property
    @abstractmethod
    def reads_tokens(self) -> bool:
        """Whether the vectors are made of tokens, morphemes among them, and not of strings."""

    def read(self, query: str, passages: Sequence[str]) -> NDArray[np.float32] | None:
        """Read a query with passages, and return the log odds that each answers; None if the model cannot."""
        return None


def embed_passages(
    embedding: Embeddings, texts: Sequence[str], tokens: TokenizedTexts | None = None
) -> NDArray[np.floating]:
    """Embed passages into an (n, dim) array, directly as arrays where the model is a `KlueEmbeddings`.

    A passage without a word gets the zero vector, which is the last that a search finds. No foreign model is asked for
    it.

    Args:
        embedding: Any embeddings.
        texts: n passages; may be left out where the model reads tokens.
        tokens: The same tokenized, if the caller has them.
    """
    if isinstance(embedding, EncoderEmbeddings):
        return embedding.encoder.encode(texts, "passage", tokens, show_progress=embedding.show_progress)
    said = [number for number, text in enumerate(texts) if has_words(text)]
    if not said:  # the model tells the dimension, and nothing else
        return np.zeros_like(_table(embedding.embed_documents(list(texts))))
    vectors = _table(embedding.embed_documents([texts[number] for number in said]))
    if len(said) == len(texts) or len(vectors) != len(said):
        return vectors
    found = np.zeros((len(texts), vectors.shape[1]), vectors.dtype)
    found[said] = vectors
    return found


def index_vectors(embedding: Embeddings, vectors: ArrayLike) -> NDArray[np.floating]:
    """Turn vectors that the embeddings returned as lists into the index's form.

    Args:
        embedding: What made them.
        vectors: (n, dim).
    """
    table = _table(vectors)
    if not reads_tokens(embedding) or not isinstance(embedding, EncoderEmbeddings):
        return table
    own = len(embed_queries(embedding, [""])[0])
    return without_marks(table) if table.ndim == 2 and table.shape[1] == own + ADDED else table


def reads_tokens(embedding: Embeddings) -> bool:
    """Whether vectors are made of tokens, morphemes among them, and not of strings."""
    return isinstance(embedding, EncoderEmbeddings) and embedding.reads_tokens


def decide_window_words(embedding: Embeddings, words: WindowWords) -> int | None:
    """Decide how many words a window has: with "auto" some with models that read tokens, none with others.

    Raises:
        ValueError: If it is neither a whole number from 1 up, nor "auto", nor None.
    """
    if words == "auto":
        return WINDOW_WORDS if reads_tokens(embedding) else None
    if words is not None and (isinstance(words, bool) or not isinstance(words, int) or words < 1):
        raise ValueError(f'window_words={words!r} is not a whole number from 1 up, "auto" or None.')
    return words


def settings_for(
    settings: IndexSettings, embedding: Embeddings, window_words: WindowWords, second: Embeddings | None
) -> IndexSettings:
    """Return the settings of an index with the vectors of these models; without a second one, those of it stay."""
    words = decide_window_words(embedding, window_words)
    settings = replace(settings, model=model_identity(embedding), window_words=words)
    if second is None:
        return settings
    return replace(settings, second_model=model_identity(second), second_window_words=SECOND_WINDOW_WORDS)


def embed_for_index(
    embedding: Embeddings, settings: IndexSettings, passages: Sequence[Passage], tokens: TokenizedTexts | None = None
) -> NDArray[np.floating] | PassageVectors:
    """Embed passages for an index: one vector each, or one for each window.

    Args:
        embedding: Any embeddings.
        settings: The index's: windows, title.
        passages: The passages, at least one.
        tokens: Their titles and texts tokenized, if the caller has them.
    """
    key, words = settings.title_key, settings.window_words
    if words is None:
        return embed_passages(embedding, searchable_texts(passages, key), tokens)
    titles = [title_of(passage.metadata, key) for passage in passages]
    if reads_tokens(embedding):
        tokens = tokens if tokens is not None else tokenize(searchable_texts(passages, key), shared_analyzer())
        headings = count_words(titles, shared_analyzer())
        parts = []
        for start in range(0, len(passages), _PASSAGES_AT_ONCE):
            rows = np.arange(start, min(start + _PASSAGES_AT_ONCE, len(passages)))
            some = tokens if len(rows) == len(passages) else tokens.take(rows)
            windows, offsets = cut_tokens(some, headings[start : start + len(rows)], words)
            parts.append(PassageVectors.of_windows(embed_passages(embedding, [], windows), offsets))
        return PassageVectors.join(parts)
    cut, offsets = cut_texts([passage.text for passage in passages], titles, words)
    return PassageVectors.of_windows(embed_passages(embedding, cut), offsets)


def embed_fields(
    embedding: Embeddings,
    second: Embeddings | None,
    settings: IndexSettings,
    passages: Sequence[Passage],
    tokens: TokenizedTexts | None = None,
) -> dict[str, PassageVectors]:
    """Embed passages for every field of vectors of an index.

    Args:
        embedding: The bi-encoder.
        second: The second bi-encoder, of an index that keeps its vectors.
        settings: The index's.
        passages: The passages, at least one.
        tokens: Their titles and texts tokenized, if the caller has them.

    Raises:
        ModelMismatchError: If the index keeps vectors of a second bi-encoder and there is none.
    """
    if settings.second_model is not None and second is None:
        raise ModelMismatchError(f"To add documents, give second_embeddings: {settings.second_model!r}.")
    vectors = embed_for_index(embedding, settings, passages, tokens)
    fields = {VECTORS: vectors if isinstance(vectors, PassageVectors) else PassageVectors.checked(vectors)}
    return fields if second is None else {**fields, **embed_second(second, settings, passages)}


def read_in_parts(
    texts: Sequence[str],
    words_of: Callable[[Sequence[str]], TokenizedTexts],
    embed: Callable[[slice, TokenizedTexts], dict[str, PassageVectors]],
) -> tuple[TokenizedTexts, dict[str, PassageVectors]]:
    """Tokenize and embed many texts; while one part is embedded, the next is tokenized."""
    read = staged(parts_of(texts), lambda part: words_of(texts[part]), embed)
    vectors = {name: PassageVectors.join([fields[name] for _, fields in read]) for name in read[0][1]}
    return TokenizedTexts.join([tokens for tokens, _ in read]), vectors


def embed_second(
    embedding: Embeddings, settings: IndexSettings, passages: Sequence[Passage]
) -> dict[str, PassageVectors]:
    """Embed passages by an index's second bi-encoder.

    Args:
        embedding: The second bi-encoder.
        settings: The index's.
        passages: The passages, at least one.

    Returns:
        Their vectors as the field of an index.
    """
    words = settings.second_window_words or SECOND_WINDOW_WORDS
    titles = [title_of(passage.metadata, settings.title_key) for passage in passages]
    cut, offsets = cut_texts([passage.text for passage in passages], titles, words)
    return {SECOND_VECTORS: PassageVectors.of_windows(embed_passages(embedding, cut), offsets)}


def embed_queries(
    embedding: Embeddings, texts: Sequence[str], tokens: TokenizedTexts | None = None
) -> NDArray[np.floating]:
    """Embed queries into an (n, dim) array; see `embed_passages`."""
    if isinstance(embedding, EncoderEmbeddings):
        return embedding.encoder.encode(texts, "query", tokens)
    return _table([embedding.embed_query(text) for text in texts])


def embed_each(
    embedding: Embeddings, texts: Sequence[str], tokens: TokenizedTexts | None = None, dimension: int | None = None
) -> list[NDArray[np.float32] | Exception]:
    """Embed queries, each with its own error.

    Args:
        embedding: Any embeddings.
        texts: The queries.
        tokens: The same tokenized, if the caller has them.
        dimension: The dimension that the vectors must have; None for any.

    Returns:
        For each query its unit vector, or what was raised for it.
    """
    if isinstance(embedding, EncoderEmbeddings):
        try:
            return list(embedding.encoder.encode(texts, "query", tokens))
        except Exception as error:
            if len(texts) == 1:
                return [error]
    found: list[NDArray[np.float32] | Exception] = []
    for number, text in enumerate(texts):
        try:
            own = tokens.take(np.asarray([number])) if tokens is not None else None
            with making_way():  # it may wait for a service, and indexing need not meanwhile
                vectors = embed_queries(embedding, [text], own)
            found.append(as_unit_vectors(vectors, dimension)[0])
        except Exception as error:
            found.append(error)
    return found


def embed_by_all(
    models: Sequence[tuple[Embeddings, int | None]], texts: Sequence[str], tokens: TokenizedTexts | None = None
) -> tuple[dict[int, Exception], list[NDArray[np.float32]]]:
    """Embed queries by several models.

    Args:
        models: The models, and the dimension that the vectors of each must have; None for any.
        texts: The queries.
        tokens: The same tokenized, if the caller has them.

    Returns:
        The first error of each query that a model failed at; and for each model the unit vectors of the others.
    """
    table = [embed_each(model, texts, tokens, dimension) for model, dimension in models]
    failed: dict[int, Exception] = {}
    for vectors in table:
        for row, vector in enumerate(vectors):
            if isinstance(vector, Exception):
                failed.setdefault(row, vector)
    kept = [
        [vector for row, vector in enumerate(vectors) if row not in failed and not isinstance(vector, Exception)]
        for vectors in table
    ]
    return failed, [np.stack(vectors) if vectors else np.zeros((0, 0), np.float32) for vectors in kept]


def _table(vectors: ArrayLike) -> NDArray[np.floating]:
    try:
        # float64 until they have length 1: float32 makes nothing of 1e-30 and infinity of 1e39
        return np.asarray(vectors) if isinstance(vectors, np.ndarray) else np.asarray(vectors, np.float64)
    except (TypeError, ValueError) as error:
        raise ModelOutputError(
            f"The embedding model returned no table of numbers of one dimension ({error})."
        ) from error


def model_identity(embedding: Embeddings) -> str:
    """Return the model's identity, for other libraries' embeddings the class and the model's name."""
    if isinstance(embedding, EncoderEmbeddings):
        return embedding.identity
    kind = type(embedding)
    # some keep the loaded model itself under one of these names
    names = [getattr(embedding, name, None) for name in ("model", "model_name")]
    name = next((name for name in names if isinstance(name, str) and name), None)
    return f"{kind.__module__}.{kind.__qualname__}" + (f":{name}" if name is not None else "")


def check_second(settings: IndexSettings, second: Embeddings | None, folder: Path | None = None) -> None:
    """Make sure that an index keeps the vectors of this second bi-encoder.

    Args:
        settings: The index's.
        second: The second bi-encoder; None searches without.
        folder: Where the index lies.

    Raises:
        ModelMismatchError: If it does not.
    """
    if second is not None and settings.second_model != model_identity(second):
        where = f" at {str(folder)!r}" if folder is not None else ""
        raise ModelMismatchError(
            f"The index{where} keeps second vectors of {settings.second_model!r}, not of {model_identity(second)!r}. "
            "Make them with KlueRetriever.rebuild(folder, second_embeddings=...), or leave second_embeddings out."
        )


def check_model(index: PassageIndex, embedding: Embeddings, folder: Path | None = None) -> None:
    """Check that an index was written with this model.

    Raises:
        ModelMismatchError: If it was not.
    """
    own = model_identity(embedding)
    if index.settings.model not in (None, own):
        where = f" at {str(folder)!r}" if folder is not None else ""
        raise ModelMismatchError(
            f"The index{where} was written with the model {index.settings.model!r}, not with {own!r}. "
            "Load it with that model, recompute its vectors with rebuild(), or search its words alone with "
            'KlueRetriever.load(folder, search_type="lexical") or KlueBM25Retriever.load(folder).'
        )
