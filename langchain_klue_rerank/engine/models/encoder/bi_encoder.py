"""The packaged encoder, or one of its format in a folder: a bi-encoder that can also read two texts together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from langchain_klue_rerank.engine.arrays.unit_vectors import as_unit_vectors
from langchain_klue_rerank.engine.contracts import Kind, check_scores
from langchain_klue_rerank.engine.models.encoder.network import Network, NumpyNetwork, batches
from langchain_klue_rerank.engine.models.encoder.pieces import PieceTokenizer
from langchain_klue_rerank.engine.models.encoder.weights import READING, EncoderWeights
from langchain_klue_rerank.engine.parallel import free_cores, spread
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.engine.text.words import has_words

logger = logging.getLogger(__name__)

#: Texts cut into pieces and sorted by length at a time.
_TEXTS_AT_ONCE: Final = 1024
#: Pieces of a query and of a query with a passage that are read together, at most, as in training.
QUERY_PIECES: Final = 64
PAIR_PIECES: Final = 224


class EncoderBiEncoder:
    """A transformer encoder at four and eight bits, without torch.

    With the ``onnx`` extra ONNX Runtime computes it, faster than NumPy.

    Args:
        folder: Where its files lie.
        network: What computes; by default ONNX Runtime where it is installed, else NumPy.

    Raises:
        OSError: If a file is missing.
        ValueError: If the files are damaged or of another format version.
    """

    def __init__(self, folder: Path, network: Network | None = None) -> None:
        self._weights = EncoderWeights.load(folder)
        self._tokenizer = PieceTokenizer(self._weights.pieces, self._weights.piece_scores.tolist())
        self._network = network if network is not None else open_network(self._weights)

    def encode(
        self, texts: Sequence[str], kind: Kind, tokens: TokenizedTexts | None = None, *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Encode texts; see `BiEncoder`. A text longer than the model's input is cut."""
        prompt, most = self._weights.prompts[kind], self._weights.sizes.positions
        vectors = np.zeros((len(texts), self._weights.sizes.hidden), np.float32)
        with tqdm(total=len(texts), disable=not show_progress, unit=kind) as bar:
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                some = [row for row in range(start, min(start + _TEXTS_AT_ONCE, len(texts))) if has_words(texts[row])]
                pieces = [np.array(self._tokenizer.encode(prompt + texts[row], most)) for row in some]
                vectors[some] = as_unit_vectors(self._means(pieces, bar))
        return vectors

    def read(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Read a query together with each text, as a cross-encoder does.

        Args:
            query: The query.
            texts: n texts, of which the first 150 or so words are read.

        Returns:
            (n,) float32, the log odds that each answers.

        Raises:
            ModelOutputError: If the model returns NaN or infinity.
        """
        prompts, end = self._weights.prompts, [self._tokenizer.END]
        asked = self._tokenizer.encode(prompts["query"] + query, QUERY_PIECES) + end
        pieces = [
            np.array(asked + self._tokenizer.encode(prompts["passage"] + text, PAIR_PIECES - len(asked) + 1)[1:])
            for text in texts
        ]
        head = self._weights.vectors[READING]
        with tqdm(disable=True) as bar:
            means = self._means(pieces, bar)
        return check_scores(means @ head[:-1] + head[-1], "packaged-encoder")

    def _means(self, pieces: Sequence[NDArray[np.int64]], bar: tqdm[Any]) -> NDArray[np.float32]:
        """Return the means of n texts of any lengths, (n, hidden), and tell a progress bar; see `Network`."""
        found = np.zeros((len(pieces), self._weights.sizes.hidden), np.float32)

        def compute(batch: NDArray[np.int64]) -> None:
            found[batch] = self._network.means([pieces[number] for number in batch.tolist()])
            with bar.get_lock():
                bar.update(len(batch))

        threads = 1 if self._network.uses_all_cores else free_cores()
        spread(batches(np.array([len(piece) for piece in pieces], np.int64), threads), compute, threads)
        return found


def open_network(weights: EncoderWeights) -> Network:
    """Open what computes fastest of what is installed; an ONNX Runtime that is too old is as good as none."""
    if find_spec("onnxruntime") is not None and find_spec("onnx") is not None:
        from langchain_klue_rerank.engine.models.encoder.onnx_network import OnnxNetwork

        try:
            return OnnxNetwork(weights)
        except ImportError as error:
            logger.warning("The packaged encoder runs in NumPy, which is slower: %s", error)
    return NumpyNetwork(weights)
