"""The vectors of a folder that langchain-community's FAISS wrote: a check that they are of the given model."""

from __future__ import annotations

import logging

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from langchain_klue_rerank.adapters.embedding import embed_passages, model_identity
from langchain_klue_rerank.engine.arrays.unit_vectors import as_unit_vectors
from langchain_klue_rerank.engine.index.faiss_folder import CommunityFolder
from langchain_klue_rerank.engine.text.words import has_words
from langchain_klue_rerank.errors import ModelMismatchError

logger = logging.getLogger(__name__)

#: Cosine of two vectors of the same text below which they come from different models; half precision leaves 0.999.
_SAME_MODEL = 0.9


def check_community_vectors(
    content: CommunityFolder, vectors: NDArray[np.floating], embedding: Embeddings, folder: str
) -> None:
    """Compare the first vector of a folder with the model's vector of the same text. Log a warning if they differ.

    Args:
        content: What was read from the folder.
        vectors: Its vectors, (n, dim).
        embedding: The model that is said to have made them.
        folder: The folder, for messages.

    Raises:
        ModelMismatchError: If the dimensions differ.
    """
    texts = [passage.text for passage in content.passages]
    row = next((row for row, text in enumerate(texts) if has_words(text) and vectors[row].any()), None)
    if row is not None:
        expected = embed_passages(embedding, [texts[row]])[0]
        model = model_identity(embedding)
        if len(expected) != vectors.shape[1]:
            raise ModelMismatchError(
                f"The vectors in {folder!r} have {vectors.shape[1]} dimensions, those of {model!r} have "
                f"{len(expected)}. Give the embeddings that made them, or embed the documents again with re_embed=True."
            )
        [ours, theirs] = as_unit_vectors(np.stack([expected, vectors[row]]))
        cosine = float(ours @ theirs)
        if cosine < _SAME_MODEL:
            logger.warning(
                "The vectors in %r were not made by %r: the cosine with its vector of the first text is %.2f. Give the "
                "embeddings that made them, or use re_embed=True.",
                folder,
                model,
                cosine,
            )
    if not content.cosine_order:
        logger.warning("The vectors in %r do not have length 1; search by cosine may rank differently.", folder)
