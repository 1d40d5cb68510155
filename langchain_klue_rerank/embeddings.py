"""`KlueEmbeddings`: a bi-encoder as a LangChain `Embeddings`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from langchain_klue_rerank.checks import check_texts, searchable_text, title_of
from langchain_klue_rerank.engine.documents import Passage
from langchain_klue_rerank.engine.index import IndexSettings, PassageIndex
from langchain_klue_rerank.engine.models import Lazy, ModelOptions, identity, is_static, load_bi_encoder, resolve
from langchain_klue_rerank.engine.passage_windows import WINDOW_WORDS, cut_texts, cut_tokens
from langchain_klue_rerank.engine.text import TokenizedTexts, shared_analyzer, split_words, tokenize
from langchain_klue_rerank.engine.vectors import PassageVectors
from langchain_klue_rerank.errors import ModelMismatchError, ModelOutputError

if TYPE_CHECKING:
    from langchain_klue_rerank.engine.bi_encoder import BiEncoder

#: Words of the windows that have a vector each; None for one vector a passage; "auto" for what suits the model.
WindowWords = int | Literal["auto"] | None
#: Passages whose windows are vectors in float32 at a time, before they are rounded: some 50 MB.
_PASSAGES_AT_ONCE = 4096


class KlueEmbeddings(BaseModel, Embeddings):
    """Embed Korean text with a bi-encoder.

    Without arguments it uses the weights that come with the package: no torch, no download, no GPU. With a name it
    loads any sentence-transformers model (needs the ``torch`` extra), among them those fine-tuned from klue/roberta.
    A folder of weights in the packaged format (``python -m training.adapt``, in the repository, makes one from your own
    questions) runs without torch, as the packaged ones do. The model is loaded once, on first use.

    Examples:
        >>> embeddings = KlueEmbeddings()
        >>> vector = embeddings.embed_query("전입신고는 며칠 안에 해야 하나요?")
        >>> hub = KlueEmbeddings(model="BAAI/bge-m3", device="cuda")  # doctest: +SKIP

    Args:
        model: ``None`` (the packaged weights), the path of a folder, or a hub id.
        device: ``"cpu"``, ``"cuda"``, ``"mps"`` ...; None picks the best at hand. Not for weights in the packaged
            format, nor are the following.
        batch_size: Texts computed at a time. Default 32.
        max_length: Longest text in tokens, the rest is cut; None for the model's own limit.
        query_prompt: Put before every query; None for the model's own prompt, if it has one.
        passage_prompt: The same for passages.
        revision: Branch, tag or commit of a hub model.
        trust_remote_code: Whether code from the model's repository may run. Default False.
        show_progress: Whether to draw a progress bar while embedding documents. Default False.

    Raises:
        ModelLoadError: At once if the name is neither a folder nor a hub id; on first use if the model cannot be
            loaded.
        MissingExtraError: On first use, if the model needs the ``torch`` extra and that is not installed.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, protected_namespaces=())

    model_name: str | None = Field(default=None, alias="model", frozen=True)
    device: str | None = Field(default=None, frozen=True)
    batch_size: int = Field(default=32, ge=1, frozen=True)
    max_length: int | None = Field(default=None, ge=8, frozen=True)
    query_prompt: str | None = Field(default=None, frozen=True)
    passage_prompt: str | None = Field(default=None, frozen=True)
    revision: str | None = Field(default=None, frozen=True)
    trust_remote_code: bool = Field(default=False, frozen=True)
    show_progress: bool = False

    _encoder: Lazy[BiEncoder] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Check the model's name; loading waits for the first use."""
        resolve(self.model_name)
        options = ModelOptions(self.device, self.batch_size, self.max_length, self.revision, self.trust_remote_code)
        self._encoder = Lazy(partial(load_bi_encoder, self.model_name, options, self.query_prompt, self.passage_prompt))

    @property
    def encoder(self) -> BiEncoder:
        """The loaded bi-encoder, for arrays instead of lists; loads it if need be."""
        return self._encoder()

    @property
    def identity(self) -> str:
        """What tells this model's vectors from another's; saved with an index."""
        return identity(self.model_name, self.revision)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages.

        Args:
            texts: n passages.

        Returns:
            n unit vectors; a text without any letter or digit has the zero vector with the packaged weights.

        Raises:
            TypeError: If one is not a string.
            ModelOutputError: If the model returns NaN or infinity.
        """
        check_texts(texts)
        return self.encoder.encode(texts, "passage", show_progress=self.show_progress).tolist()  # type: ignore[no-any-return]

    def embed_query(self, text: str) -> list[float]:
        """Embed a query; see `embed_documents`."""
        check_texts([text])
        return self.encoder.encode([text], "query")[0].tolist()  # type: ignore[no-any-return]

    @property
    def reads_tokens(self) -> bool:
        """Whether this is the packaged model or a folder adapted from it, which read tokens and need no torch."""
        return is_static(self.model_name)


def embed_passages(
    embedding: Embeddings, texts: Sequence[str], tokens: TokenizedTexts | None = None
) -> NDArray[np.float32]:
    """Embed passages into an (n, dim) array, without the detour through lists where the model is ours.

    Args:
        embedding: Any embeddings.
        texts: n passages; may be left out where the model reads tokens.
        tokens: The same tokenized, if the caller has them.
    """
    if isinstance(embedding, KlueEmbeddings):
        return embedding.encoder.encode(texts, "passage", tokens, show_progress=embedding.show_progress)
    return _table(embedding.embed_documents(list(texts)))


def reads_tokens(embedding: Embeddings) -> bool:
    """Whether vectors are made of tokens, morphemes among them, and not of strings."""
    return isinstance(embedding, KlueEmbeddings) and embedding.reads_tokens


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


def embed_for_index(
    embedding: Embeddings, settings: IndexSettings, passages: Sequence[Passage], tokens: TokenizedTexts | None = None
) -> NDArray[np.float32] | PassageVectors:
    """Embed passages as an index wants them: one vector of each, or those of their windows.

    Args:
        embedding: Any embeddings.
        settings: The index's: windows, title.
        passages: The passages, at least one.
        tokens: Their titles and texts tokenized, if the caller has them.
    """
    key, words = settings.title_key, settings.window_words
    if words is None:
        return embed_passages(embedding, _searchable_texts(passages, key), tokens)
    titles = [title_of(passage.metadata, key) for passage in passages]
    if reads_tokens(embedding):
        tokens = tokens if tokens is not None else tokenize(_searchable_texts(passages, key), shared_analyzer())
        headings = [len(split_words(title)) for title in titles]
        parts = []
        for start in range(0, len(passages), _PASSAGES_AT_ONCE):
            rows = np.arange(start, min(start + _PASSAGES_AT_ONCE, len(passages)))
            windows, offsets = cut_tokens(tokens.take(rows), headings[start : start + len(rows)], words)
            parts.append(PassageVectors.of_windows(embed_passages(embedding, [], windows), offsets))
        return PassageVectors.join(parts)
    cut, offsets = cut_texts([passage.text for passage in passages], titles, words)
    return PassageVectors.of_windows(embed_passages(embedding, cut), offsets)


def _searchable_texts(passages: Sequence[Passage], title_key: str | None) -> list[str]:
    return [searchable_text(passage.text, passage.metadata, title_key) for passage in passages]


def embed_queries(
    embedding: Embeddings, texts: Sequence[str], tokens: TokenizedTexts | None = None
) -> NDArray[np.float32]:
    """Embed queries into an (n, dim) array; see `embed_passages`."""
    if isinstance(embedding, KlueEmbeddings):
        return embedding.encoder.encode(texts, "query", tokens)
    return _table([embedding.embed_query(text) for text in texts])


def _table(vectors: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    try:
        return np.asarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise ModelOutputError(
            f"The embedding model returned no table of numbers of one dimension ({error})."
        ) from error


def model_identity(embedding: Embeddings) -> str:
    """Return what tells this model's vectors from another's; of foreign classes the class and the model's name."""
    if isinstance(embedding, KlueEmbeddings):
        return embedding.identity
    kind = type(embedding)
    # some keep the loaded model itself under one of these names
    names = [getattr(embedding, name, None) for name in ("model", "model_name")]
    name = next((name for name in names if isinstance(name, str) and name), None)
    return f"{kind.__module__}.{kind.__qualname__}" + (f":{name}" if name is not None else "")


def check_model(index: PassageIndex, embedding: Embeddings, folder: Path | None = None) -> None:
    """Make sure that an index was written with this model.

    Raises:
        ModelMismatchError: If it was not.
    """
    own = model_identity(embedding)
    if index.settings.model not in (None, own):
        where = f" at {str(folder)!r}" if folder is not None else ""
        raise ModelMismatchError(
            f"The index{where} was written with the model {index.settings.model!r}, not with {own!r}. "
            "Load it with that model, or build it again."
        )
