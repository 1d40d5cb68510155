"""The lexical search of this package in other engines: sparse vectors, and words for white-space analyzers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from langchain_core.runnables.config import run_in_executor

from langchain_klue_rerank.adapters.documents import check_texts
from langchain_klue_rerank.engine.arrays.files import SavedFiles, write_array
from langchain_klue_rerank.engine.arrays.storage import read_folder, save_folder
from langchain_klue_rerank.engine.index.sparse_vectors import (
    DIMENSIONS,
    TermStatistics,
    count_terms,
    passage_vector,
    query_vector,
    statistics,
)
from langchain_klue_rerank.engine.text.kiwi import Analyzer, shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize
from langchain_klue_rerank.engine.text.words import ANALYSIS_VERSION, bigrams
from langchain_klue_rerank.errors import IndexFormatError

#: Passages whose terms are counted at a time.
_AT_ONCE = 1024
#: Mean number of terms of a passage of some 400 characters, where nothing is known of the collection.
_MEAN_LENGTHS = {"morpheme": 85.0, "bigram": 210.0}
_KIND = "sparse embeddings"
_ODD = re.compile(r"[^0-9a-z\uac00-\ud7a3\u3131-\u318e\u4e00-\u9fff]")


@dataclass(frozen=True, slots=True)
class SparseVector:
    """A sparse vector, with the attributes that langchain-qdrant reads.

    Attributes:
        indices: Its dimensions, rising, 0 to `KlueSparseEmbeddings.dimensions` - 1.
        values: Its value in each.
    """

    indices: list[int]
    values: list[float]

    def to_dict(self) -> dict[int, float]:
        """Return the values by dimension, as Milvus takes them."""
        return dict(zip(self.indices, self.values, strict=True))

    def to_sparsevec(self) -> str:
        """Return the text of a value of pgvector's type ``sparsevec``, whose dimensions begin with 1."""
        values = ",".join(f"{index + 1}:{value!r}" for index, value in zip(self.indices, self.values, strict=True))
        return f"{{{values}}}/{DIMENSIONS}"


class KlueSparseEmbeddings:
    """Turns texts into sparse vectors whose product is the lexical score of this package's own search.

    Terms are Kiwi's content morphemes and the character bigrams of words, weighted by BM25 (Robertson and Zaragoza,
    2009). Qdrant, Milvus and PostgreSQL (pgvector's ``sparsevec``) can keep and search such vectors, alone or beside
    dense ones. Its methods are those of langchain-qdrant's ``SparseEmbeddings``; `for_milvus` has those of
    langchain-milvus.

    Without `fit` a query's vector holds no inverse document frequency: use it where the engine counts that itself
    (Qdrant with ``Modifier.IDF``). With `fit` the query's vector holds it, and any engine that has inner products will
    do; fit anew when the collection has changed much, the passages' vectors stay valid.

    Args:
        kiwi: Whether to use morphemes beside bigrams. Default True.

    Examples:
        >>> from langchain_klue_rerank import KlueSparseEmbeddings
        >>> texts = ["전입신고는 14일 안에 합니다.", "여권은 구청에서 만듭니다."]
        >>> sparse = KlueSparseEmbeddings.fit(texts)
        >>> query = sparse.embed_query("전입신고 기한").to_dict()
        >>> [sum(query.get(n, 0) * v for n, v in one.to_dict().items()) > 0 for one in sparse.embed_documents(texts)]
        [True, False]
    """

    #: Dimensions of a vector.
    dimensions: int = DIMENSIONS

    def __init__(self, *, kiwi: bool = True) -> None:
        self._kiwi = kiwi
        self._known: TermStatistics | None = None

    @classmethod
    def fit(cls, texts: Iterable[str], *, kiwi: bool = True) -> Self:
        """Count in how many passages each term occurs, and how long passages are.

        Args:
            texts: The passages, all or a good sample of them, each as it is embedded; read once.
            kiwi: As of the class.

        Raises:
            TypeError: If one is no string, or if they are one string.
            ValueError: If there is none.
        """
        made = cls(kiwi=kiwi)
        rest = iter(check_texts(texts) if isinstance(texts, str) else texts)
        parts = iter(lambda: check_texts(islice(rest, _AT_ONCE)), [])
        known = statistics(counts for part in parts for counts in count_terms(part, made._analyzer))
        if not known.passages:
            raise ValueError("There is no text to fit to; give the passages of the collection.")
        made._known = known
        return made

    @property
    def _analyzer(self) -> Analyzer | None:
        return shared_analyzer() if self._kiwi else None

    def embed_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        """Return the vectors of passages.

        Args:
            texts: The passages. One without words has an empty vector.

        Raises:
            TypeError: If one is no string, or if they are one string.
        """
        lengths = self._known.mean_lengths if self._known is not None else _MEAN_LENGTHS
        return [_vector(*passage_vector(own, lengths)) for own in count_terms(check_texts(texts), self._analyzer)]

    def embed_query(self, text: str) -> SparseVector:
        """Return the vector of a query.

        Args:
            text: The query. Without words its vector is empty, and finds nothing.
        """
        [counts] = count_terms(check_texts([text]), self._analyzer)
        return _vector(*query_vector(counts, self._known))

    async def aembed_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        """`embed_documents` in a thread."""
        return await run_in_executor(None, self.embed_documents, texts)

    async def aembed_query(self, text: str) -> SparseVector:
        """`embed_query` in a thread."""
        return await run_in_executor(None, self.embed_query, text)

    def for_milvus(self) -> Any:
        """Return the same as an embedding function of langchain-milvus, whose vectors are dictionaries.

        Raises:
            ImportError: If langchain-milvus is not installed.
        """
        from langchain_milvus.utils.sparse import BaseSparseEmbedding

        methods = {
            "embed_query": lambda _, query: self.embed_query(query).to_dict(),
            "embed_documents": lambda _, texts: [vector.to_dict() for vector in self.embed_documents(texts)],
        }
        return type("KlueSparseEmbeddingsForMilvus", (BaseSparseEmbedding,), methods)()

    def save(self, folder: str | Path) -> None:
        """Save what `fit` counted, whole or not at all.

        Args:
            folder: A new or empty folder, or one that this method wrote.

        Raises:
            ValueError: If there is nothing to save.
            FileExistsError: If the folder holds other things.
        """
        known = self._known
        if known is None:
            raise ValueError("There is nothing to save without fit().")

        def write(data: Path, _: object) -> None:
            write_array(data / "terms.npy", known.terms)
            write_array(data / "frequencies.npy", known.frequencies)

        config = {
            "kind": _KIND,
            "analysis": ANALYSIS_VERSION,
            "kiwi": self._kiwi,
            "passages": known.passages,
            "mean_lengths": known.mean_lengths,
        }
        save_folder(Path(folder), config, write)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Load what `save` wrote.

        Args:
            folder: The folder.

        Raises:
            IndexFormatError: If it holds something else, is damaged, or was written by a version that splits words in
                another way: call `fit` again, and embed the passages again.
        """
        made = cls()
        made._known, made._kiwi = read_folder(Path(folder), lambda files, config: _read(files, config, str(folder)))
        return made


def _read(files: SavedFiles, config: dict[str, Any], folder: str) -> tuple[TermStatistics, bool]:
    if config.get("kind") != _KIND:
        raise IndexFormatError(
            f"{folder} holds no sparse embeddings; name a folder that KlueSparseEmbeddings.save wrote."
        )
    if config.get("analysis") != ANALYSIS_VERSION:
        raise IndexFormatError(
            f"The sparse embeddings in {folder} split words as version {config.get('analysis')}, this is version "
            f"{ANALYSIS_VERSION}. Call fit() again, and embed the passages again."
        )
    passages, lengths = config.get("passages"), config.get("mean_lengths")
    terms, frequencies = files.array("terms", np.int64), files.array("frequencies", np.int64)
    if (
        not isinstance(passages, int)
        or not isinstance(lengths, dict)
        or set(lengths) != set(_MEAN_LENGTHS)
        or not all(isinstance(value, int | float) and 0 <= value < 1e12 for value in lengths.values())
        or len(terms) != len(frequencies)
        or (np.diff(terms) <= 0).any()
        or ((frequencies < 1) | (frequencies > passages)).any()
    ):
        raise IndexFormatError(f"The sparse embeddings in {folder} are damaged; call fit() again.")
    return TermStatistics(passages, lengths, terms, frequencies), bool(config.get("kiwi"))


def _vector(terms: Any, weights: Any) -> SparseVector:
    return SparseVector(terms.tolist(), weights.astype(np.float32).tolist())


def klue_tokens(text: str, *, kiwi: bool = True) -> str:
    """Return the terms of a text as words with white space between them.

    For engines that have no Korean analyzer: index this text, and search with that of the question, in a field with a
    white-space analyzer (OpenSearch, Elasticsearch, Lance) or the configuration ``simple`` (PostgreSQL).

    Args:
        text: A passage or a query.
        kiwi: Whether to use Kiwi's content morphemes beside the character bigrams of words. Default True.

    Returns:
        Words of letters and digits only: morphemes that end with their tag, bigrams that end with ``bi``. Repeated
        terms are repeated. Empty for a text without words.

    Examples:
        >>> from langchain_klue_rerank import klue_tokens
        >>> klue_tokens("전입신고를 했다")
        '전입nng 신고nng 하vv 전입bi 입신bi 신고bi 고를bi 했다bi'
    """
    tokens = tokenize([text], shared_analyzer() if kiwi else None)
    words = tokens.word_ids.tolist()
    morphemes = [_plain(morpheme) for word in words for morpheme in tokens.morphemes[word]]
    return " ".join([*morphemes, *(f"{_plain(gram)}bi" for word in words for gram in bigrams(tokens.words[word]))])


def _plain(term: str) -> str:
    """Write a term with letters and digits alone: "c++/SL" as "cx2bx2bsl"."""
    form, _, tag = term.rpartition("/") if "/" in term else (term, "", "")
    return _ODD.sub(lambda match: f"x{ord(match.group()):x}", form.lower()) + tag.lower()
