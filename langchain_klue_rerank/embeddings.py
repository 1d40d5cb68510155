"""`KlueEmbeddings`: a bi-encoder as a LangChain `Embeddings`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from langchain_klue_rerank.adapters.convert import check_texts
from langchain_klue_rerank.adapters.embedding import EncoderEmbeddings
from langchain_klue_rerank.engine.contracts import Kind
from langchain_klue_rerank.engine.lazy import Lazy
from langchain_klue_rerank.engine.models.names import identity, resolve
from langchain_klue_rerank.engine.models.opening import is_static, load_bi_encoder
from langchain_klue_rerank.engine.models.options import ModelOptions
from langchain_klue_rerank.engine.models.packaged.blanks import mark_blanks

if TYPE_CHECKING:
    from langchain_klue_rerank.engine.contracts import BiEncoder


class KlueEmbeddings(BaseModel, EncoderEmbeddings):
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
            n unit vectors. With weights in the packaged format two dimensions are added to the model's own, so that a
            text without any letter or digit is farther from every query than any text, by cosine, inner product and
            Euclidean distance alike; the cosine of two texts is three quarters of the model's plus one quarter.

        Raises:
            TypeError: If one is not a string.
            ModelOutputError: If the model returns NaN or infinity.
        """
        check_texts(texts)
        return self._marked(self.encoder.encode(texts, "passage", show_progress=self.show_progress), "passage")

    def embed_query(self, text: str) -> list[float]:
        """Embed a query; see `embed_documents`."""
        check_texts([text])
        return self._marked(self.encoder.encode([text], "query"), "query")[0]

    def _marked(self, vectors: NDArray[np.float32], kind: Kind) -> list[list[float]]:
        return (mark_blanks(vectors, kind) if self.reads_tokens else vectors).tolist()  # type: ignore[no-any-return]

    @property
    def reads_tokens(self) -> bool:
        """Whether this is the packaged model or a folder adapted from it, which read tokens and need no torch."""
        return is_static(self.model_name)
