"""The packaged bi-encoder's table while it is adapted: opened, trained on pairs, interpolated, written.

`training.recipes.adapt` is the recipe that uses this. Only the rows that the texts use are trained; the others stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from langchain_klue_rerank.engine.arrays.unit_vectors import from_four_bits
from langchain_klue_rerank.engine.models.names import PACKAGED, WEIGHTS, resolve
from langchain_klue_rerank.engine.models.packaged import static_files
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import WordFeatures
from langchain_klue_rerank.engine.models.packaged.static_files import StaticConfig
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize
from langchain_klue_rerank.errors import ModelLoadError
from training.inputs import Question
from training.packaged.bag_model import Corpus, Table, drop_words, feature_matrix
from training.packaged.morpheme_vectors import unit

#: Steps in which the learning rates rise.
_WARMUP = 10


@dataclass(frozen=True)
class Base:
    """A model in the packaged format, opened to be changed.

    Attributes:
        config: The numbers that decide a vector.
        vocabulary: Morphemes in the order of their rows.
        vectors: float32, (rows, dimension).
    """

    config: StaticConfig
    vocabulary: list[str]
    vectors: NDArray[np.float32]

    @classmethod
    def open(cls, model: str) -> Base:
        """Read a model.

        Args:
            model: ``packaged``, or a folder in the packaged format.

        Raises:
            ModelLoadError: If it is neither, or damaged.
        """
        found = resolve(model)
        folder = found if isinstance(found, Path) else WEIGHTS / "bi_encoder"
        if (isinstance(found, str) and found != PACKAGED) or not static_files.is_at(folder):
            raise ModelLoadError(
                f"The model {model!r} is not in the packaged format; name 'packaged', or a folder that "
                "training.recipes.adapt or training.packaged.bi_encoder wrote. For other models there is "
                "training.recipes.mrc."
            )
        try:
            config, vocabulary, packed, scales = static_files.read(folder)
        except (OSError, ValueError, TypeError) as error:
            raise ModelLoadError(f"The model in {str(folder)!r} cannot be loaded: {error}") from error
        return cls(config, vocabulary, from_four_bits(packed, scales))

    def corpus(self, texts: Sequence[str]) -> Corpus:
        """Return texts as sparse rows of this model's features."""
        tokens = tokenize(texts, shared_analyzer())
        features = WordFeatures(self.vocabulary, self.config.unknown_rows, self.config.ngram_rows)
        matrix = feature_matrix(features, tokens, self.config.rows)
        return Corpus(tokens, matrix, np.zeros(len(texts), np.int64), self.config.repeat_power)

    def write(self, folder: Path, vectors: NDArray[np.float32], about: dict[str, object]) -> None:
        """Write this model with other vectors into a new folder that `StaticBiEncoder.load` opens."""
        folder.mkdir(parents=True)
        static_files.save(folder, self.config, self.vocabulary, vectors, about)


class Pairs:
    """Questions with right and wrong passages, numbered and as sparse rows.

    Args:
        rows: The pairs.
        wrong: For each its wrong passages; empty for none.
        base: The model whose features are counted.
    """

    def __init__(self, rows: Sequence[Question], wrong: Sequence[Sequence[str]], base: Base) -> None:
        numbers: dict[str, int] = {}
        self.question = np.asarray([numbers.setdefault(row.question, len(numbers)) for row in rows])
        self.passage = np.asarray([numbers.setdefault(row.passage, len(numbers)) for row in rows])
        self.wrong = [
            np.asarray([numbers.setdefault(text, len(numbers)) for text in texts], np.int64) for texts in wrong
        ]
        self.corpus = base.corpus(list(numbers))
        #: (texts, texts), 1 where the second answers the first.
        self.answers = sparse.csr_matrix(
            (np.ones(len(rows), bool), (self.question, self.passage)), shape=(len(numbers), len(numbers))
        )

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.question)

    def used_rows(self) -> NDArray[np.int64]:
        """Return the numbers of the table's rows that any of the texts uses, ascending."""
        used: NDArray[np.int64] = np.unique(self.corpus.features.indices).astype(np.int64)
        return used

    def vectors(self, texts: NDArray[np.int64], table: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the unit vectors of some texts under a table."""
        return unit(self.corpus.matrix([self.corpus.words(int(text)) for text in texts]) @ table)


def reciprocal_rank(pairs: Pairs, asked: int, table: NDArray[np.float32]) -> float:
    """Return the mean of 1 / rank of its own passage, of the first `asked` questions, among all passages."""
    passages = np.unique(pairs.passage)
    scores = pairs.vectors(pairs.question[:asked], table) @ pairs.vectors(passages, table).T
    own = scores[np.arange(asked), np.searchsorted(passages, pairs.passage[:asked])]
    return float(np.mean(1 / (1 + (scores > own[:, None]).sum(axis=1))))


def ranking_loss(
    questions: torch.Tensor, passages: torch.Tensor, target: torch.Tensor, right: torch.Tensor, scale: float
) -> torch.Tensor:
    """Cross-entropy over the batch: a question must find its passage, and the passage its question.

    Args:
        questions: (batch, dimension), rows of length 1.
        passages: (candidates, dimension), the same.
        target: (batch,): which candidate each question must find.
        right: bool, (batch, candidates): which candidates answer a question; the others are wrong for it.
        scale: What cosines are multiplied with.

    Returns:
        The sum of both directions.
    """
    scores = scale * questions @ passages.T
    own = torch.nn.functional.one_hot(target, len(passages)).bool()
    forward = torch.nn.functional.cross_entropy(scores.masked_fill(right & ~own, -1e4), target)
    diagonal = torch.eye(len(target), dtype=torch.bool)
    others = right[:, target] & ~diagonal  # other questions that a passage answers, too
    backward = scores[:, target].masked_fill(others, -1e4).T
    return forward + torch.nn.functional.cross_entropy(backward, torch.arange(len(target)))


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: Passes over the pairs.
        min_steps: Fewer pairs are passed over more often, until they make so many steps.
        batch: Pairs in a batch.
        direction_rate: Learning rate of the directions of rows; rises for 10 steps and falls linearly, to 2%.
        weight_rate: Of the logarithms of their lengths, likewise.
        scale: What cosines are multiplied with in the loss.
        dropout: Share of words left out of every text.
        seed: Of everything random.
    """

    epochs: int
    min_steps: int
    batch: int
    direction_rate: float
    weight_rate: float
    scale: float
    dropout: float
    seed: int

    def steps(self, pairs: int) -> int:
        """Return how many steps so many pairs make."""
        return max(self.epochs * -(-pairs // self.batch), self.min_steps)

    def batches(self, pairs: int, first: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield step numbers from `first` on, each with the pairs of its batch."""
        of_epoch = -(-pairs // self.batch)
        for step in range(first, self.steps(pairs)):
            order = np.random.default_rng([self.seed, 0, step // of_epoch]).permutation(pairs)
            place = step % of_epoch
            yield step, np.array_split(order, of_epoch)[place]

    def share(self, step: int, steps: int) -> float:
        """Return the share of the full learning rates at a step."""
        return min(1.0, (step + 1) / _WARMUP) * max(0.02, 1 - step / steps)


def train(table: Table, used: NDArray[np.int64], pairs: Pairs, schedule: Schedule, stop: Callable[[int], bool]) -> bool:
    """Train until the schedule's end, or until told to stop.

    Args:
        table: The rows `used`, which change; a table that has made steps already goes on from there.
        used: Their numbers in the model's table.
        pairs: What to learn.
        schedule: How.
        stop: Called after every step with the number of steps made; says whether to end.

    Returns:
        Whether the schedule came to its end.
    """
    steps = schedule.steps(len(pairs))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a step is too small for more, and one thread always adds up in the same order
    try:
        for step, chosen in schedule.batches(len(pairs), table.step):
            _step(table, used, pairs, chosen, schedule, schedule.share(step, steps), step)
            if stop(step + 1) and step + 1 < steps:
                return False
    finally:
        torch.set_num_threads(threads)
    return True


def _step(
    table: Table,
    used: NDArray[np.int64],
    pairs: Pairs,
    chosen: NDArray[np.int64],
    schedule: Schedule,
    share: float,
    step: int,
) -> None:
    """Update the table by one batch; `share` is of the full learning rates."""
    # Every step has its own generator, so that a resumed run draws what an unbroken one would have drawn.
    generator = np.random.default_rng([schedule.seed, 1, step])
    drawn = [generator.choice(pairs.wrong[row]) for row in chosen.tolist() if len(pairs.wrong[row])]
    questions = pairs.question[chosen]
    candidates = np.unique(np.concatenate([pairs.passage[chosen], np.asarray(drawn, np.int64)]))
    texts = np.concatenate([questions, candidates])
    words = [drop_words(pairs.corpus.words(int(text)), schedule.dropout, generator) for text in texts]
    matrix = pairs.corpus.matrix(words)
    # Only the rows that occur in the batch take part.
    rows, columns = np.unique(matrix.indices, return_inverse=True)
    small = sparse.csr_matrix((matrix.data, columns, matrix.indptr), shape=(matrix.shape[0], len(rows)))
    places = np.searchsorted(used, rows)
    sums = torch.from_numpy(small @ table.rows(places)).requires_grad_()
    vectors = torch.nn.functional.normalize(sums, dim=1)
    loss = ranking_loss(
        vectors[: len(chosen)],
        vectors[len(chosen) :],
        torch.from_numpy(np.searchsorted(candidates, pairs.passage[chosen])),
        torch.from_numpy(pairs.answers[questions][:, candidates].toarray()),
        schedule.scale,
    )
    loss.backward()
    assert sums.grad is not None
    gradient = small.T.tocsr() @ sums.grad.numpy()
    table.update(places, gradient, schedule.direction_rate * share, schedule.weight_rate * share)


def made_by(folder: Path) -> str:
    """Return which script wrote the model in a folder; empty if none or unknown."""
    try:
        about = json.loads((folder / static_files.CONFIG_FILE).read_text(encoding="utf-8"))["about"]
        return str(about["made_by"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
