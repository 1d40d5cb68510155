"""`KlueEmbeddings`: a bi-encoder as a LangChain `Embeddings`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from langchain_klue_rerank.adapters.documents import check_texts
from langchain_klue_rerank.adapters.embedding import EncoderEmbeddings
from langchain_klue_rerank.adapters.options import EncodeKwargs, ModelKwargs, refuse_for_packaged
from langchain_klue_rerank.engine.contracts import Kind
from langchain_klue_rerank.engine.models.encoder.reading import odds_of_answers
from langchain_klue_rerank.engine.models.names import PACKAGED, PACKAGED_ENCODER, identity, resolve
from langchain_klue_rerank.engine.models.opening import is_encoder, is_static, load_bi_encoder, packaged_encoder
from langchain_klue_rerank.engine.models.options import ModelOptions
from langchain_klue_rerank.engine.models.packaged.blanks import mark_blanks
from langchain_klue_rerank.engine.threads import Lazy

if TYPE_CHECKING:
    from langchain_klue_rerank.engine.contracts import BiEncoder


class KlueEmbeddings(BaseModel, EncoderEmbeddings):
    """Embed Korean text with a bi-encoder.

    Without arguments it uses the weights that come with the package: no torch, no download, no GPU. With a name it
    loads any sentence-transformers model (needs the ``torch`` extra), among them those fine-tuned from klue/roberta.
    A folder of weights in the packaged format (``python -m training.recipes.adapt``, in the repository, makes one from
    your own questions) runs without torch, as the packaged ones do. The model is loaded once, on first use.

    Examples:
        >>> embeddings = KlueEmbeddings()
        >>> vector = embeddings.embed_query("전입신고는 며칠 안에 해야 하나요?")
        >>> hub = KlueEmbeddings(model="BAAI/bge-m3", model_kwargs={"device": "cuda"})  # doctest: +SKIP

    Args:
        model: ``None`` (the packaged weights), ``"packaged-encoder"`` (multilingual-e5-small tuned on Korean, without
            torch: it reads sentences and is slower by far), the path of a folder, or a hub id.
        cache_folder: Where files from the hub are kept; None for the hub's own cache. Not for weights in the packaged
            format, nor are the following four.
        model_kwargs: How the model is loaded; see `ModelKwargs`: device, revision, trust_remote_code.
        encode_kwargs: How it computes; see `EncodeKwargs`: batch_size, max_length.
        query_prompt: Put before every query; None for the model's own prompt, if it has one, and for "query: " where
            the model is called e5-small, e5-base or e5-large and has none.
        passage_prompt: The same for passages; "passage: ".
        show_progress: Whether to draw a progress bar while embedding documents. Default False.

    Raises:
        ModelLoadError: At once if the name is neither a folder nor a hub id; on first use if the model cannot be
            loaded.
        MissingExtraError: On first use, if the model needs the ``torch`` extra and that is not installed.
        ValueError: If weights in the packaged format are given an option that they cannot use.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, protected_namespaces=(), validate_assignment=True)

    model_name: str | None = Field(default=None, alias="model", frozen=True)
    cache_folder: str | None = Field(default=None, frozen=True)
    model_kwargs: ModelKwargs = Field(default_factory=ModelKwargs, frozen=True)
    encode_kwargs: EncodeKwargs = Field(default_factory=EncodeKwargs, frozen=True)
    query_prompt: str | None = Field(default=None, frozen=True)
    passage_prompt: str | None = Field(default=None, frozen=True)
    show_progress: bool = False

    _encoder: Lazy[BiEncoder] = PrivateAttr()
    _identity: Lazy[str] = PrivateAttr()
    _is_static: bool = PrivateAttr()
    _reads: bool = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Check the model's name, once and for all; loading waits for the first use."""
        found = resolve(self.model_name)
        model = str(found)
        self._is_static, self._reads = is_static(model), found == PACKAGED_ENCODER
        if self._is_static or is_encoder(model):
            refuse_for_packaged(
                "packaged bi-encoder" if found in (PACKAGED, PACKAGED_ENCODER) else f"bi-encoder in {model!r}",
                cache_folder=self.cache_folder,
                model_kwargs=self.model_kwargs,
                encode_kwargs=self.encode_kwargs,
                query_prompt=self.query_prompt,
                passage_prompt=self.passage_prompt,
            )
        how = {key: value for key, value in self.encode_kwargs.items() if key != "normalize_embeddings"}
        options = ModelOptions(**{**self.model_kwargs, **how, "cache_folder": self.cache_folder})  # type: ignore[arg-type]
        self._identity = Lazy(partial(identity, model, options.revision))
        self._encoder = Lazy(partial(load_bi_encoder, model, options, self.query_prompt, self.passage_prompt))

    @property
    def encoder(self) -> BiEncoder:
        """The loaded bi-encoder, for arrays instead of lists; loads it if need be."""
        if not self._encoder.made:
            self._identity()  # of the files that are loaded, whatever becomes of them
        return self._encoder()

    @property
    def identity(self) -> str:
        """Identity of the model, saved with an index: vectors of different models are not comparable."""
        return self._identity()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages.

        Args:
            texts: n passages.

        Returns:
            n unit vectors. With weights in the packaged format two dimensions are added to the model's own, so that a
            text without any letter or digit is farther from every query than any text, by cosine, inner product and
            Euclidean distance alike; the cosine of two texts is three quarters of the model's plus one quarter.

        Raises:
            TypeError: If one is not a string.
            ModelOutputError: If the model returns NaN or infinity.
        """
        texts = check_texts(texts)
        return self._marked(self.encoder.encode(texts, "passage", show_progress=self.show_progress), "passage")

    def embed_query(self, text: str) -> list[float]:
        """Embed a query; see `embed_documents`."""
        check_texts([text])
        return self._marked(self.encoder.encode([text], "query"), "query")[0]

    def _marked(self, vectors: NDArray[np.float32], kind: Kind) -> list[list[float]]:
        return (mark_blanks(vectors, kind) if self.reads_tokens else vectors).tolist()  # type: ignore[no-any-return]

    def read(self, query: str, passages: Sequence[str]) -> NDArray[np.float32] | None:
        """Read a query together with passages.

        Args:
            query: The query.
            passages: n passages, their titles on the first line.

        Returns:
            (n,) float32, the log odds that each answers; None with another model than the packaged encoder.
        """
        return odds_of_answers(packaged_encoder(), query, passages) if self._reads else None

    @property
    def reads_tokens(self) -> bool:
        """Whether this is the packaged model or one adapted from it; both read tokens and need no torch."""
        return self._is_static
