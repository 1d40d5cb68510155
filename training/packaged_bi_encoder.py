"""Train the packaged bi-encoder, from the data folder and Kiwi to the folder that ships.

    python -m training.packaged_bi_encoder --data ../shared/data --out langchain_klue_rerank/weights/bi_encoder

The model is a table of vectors for morphemes and character n-grams (`langchain_klue_rerank.engine.static_bi_encoder`).
A text is a sparse row of feature counts, so a batch of texts is one sparse matrix times the table; the gradient of
the table is the transposed product, and only the rows of the batch are updated. That needs one CPU core and no GPU.

Steps: 1. read the data; 2. tokenize it and number its features; 3. start from Kiwi's own morpheme vectors;
4. train on batches of one task each; 5. weigh the rows that no batch touched; 6. quantize and write. Ten minutes on one
core; progress is kept under ``--work`` and continued with ``--resume``.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from tqdm import tqdm

from langchain_klue_rerank.engine.static_bi_encoder import StaticConfig, WordFeatures, pack, save, unpack
from langchain_klue_rerank.engine.text import Analyzer, TokenizedTexts, split_words, tokenize
from training import data as sets
from training.bag_model import (
    Corpus,
    Table,
    Task,
    TextTable,
    Validation,
    contrastive_loss,
    correlation_loss,
    drop_words,
    feature_matrix,
)
from training.kiwi_vectors import KiwiVectors, load_or_recover

logger = logging.getLogger("training.packaged_bi_encoder")


@dataclass
class Settings:
    """Everything that was chosen. Changing a number here changes the weights that the script writes.

    Attributes:
        seed: Of everything random.
        dimension: Of the vectors; 256 from Kiwi, the rest random.
        vocabulary: Morphemes with a row of their own.
        unknown_rows: Rows shared by all other morphemes.
        unknown_morpheme_texts: A morpheme without a Kiwi vector needs so many texts to get a row of its own.
        ngram_rows: Rows shared by character bi- and trigrams.
        repeat_power: A word that occurs ``tf`` times in a text counts ``tf ** repeat_power`` times.
        idf_power: How much longer the rows of rare features start.
        ngram_scale: How much shorter than a morpheme's the row of an n-gram starts.
        identity: Length of the random part of a row beside its Kiwi part.
        steps: Batches, each of one task.
        batch: Pairs in a batch.
        learning_rate: Of the directions of rows, falling to nothing in a straight line.
        weight_rate: Of the logarithms of their lengths, likewise.
        warmup: Steps before the full learning rate.
        scale: What cosines are multiplied with in the contrastive loss; a larger one favours literal matches.
        sts_weight: Of the loss of scored pairs, to match the size of the contrastive one.
        word_dropout: Share of words left out of every text.
        words_from: How many words of a passage the task ``words`` sees.
        crop_words: Shortest and longest window of a passage.
        keep_title: How often a window is headed by the passage's title.
        tasks: How often each task gives the batch, relative to the others.
        raw_titles: Pairs of title and text taken from each raw text at most.
        raw_cloze: Pairs of sentence and paragraph taken from each raw text at most.
    """

    seed: int = 42
    dimension: int = 512
    vocabulary: int = 40_000
    unknown_rows: int = 6_000
    unknown_morpheme_texts: int = 30
    ngram_rows: int = 44_000
    repeat_power: float = 0.75
    idf_power: float = 1.75
    ngram_scale: float = 0.7
    identity: float = 1.0
    steps: int = 900
    batch: int = 512
    learning_rate: float = 0.001
    weight_rate: float = 0.02
    warmup: int = 30
    scale: float = 20.0
    sts_weight: float = 5.0
    word_dropout: float = 0.1
    words_from: int = 300
    crop_words: tuple[int, int] = (40, 250)
    keep_title: float = 0.7
    tasks: dict[str, float] = field(
        default_factory=lambda: {
            "wiki": 0.25, "welfare": 0.10, "strategy": 0.07, "titles": 0.16, "cloze": 0.13,
            "nli": 0.06, "paraphrase": 0.06, "sts": 0.16, "words": 0.6,
        }
    )  # fmt: skip
    raw_titles: int = 12_000
    raw_cloze: int = 8_000

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return self.vocabulary + self.unknown_rows + self.ngram_rows


def build_tasks(
    data: Path, settings: Settings, held_out: frozenset[str] = frozenset()
) -> tuple[TextTable, dict[str, Task]]:
    """Read all training data.

    Args:
        data: The data folder.
        settings: How much raw text to use.
        held_out: Welfare programmes to leave out, for a run that measures them.

    Returns:
        All texts with their numbers, and the tasks in those numbers.
    """
    generator = random.Random(settings.seed)
    titles: list[sets.Pair] = []
    cloze: list[sets.Pair] = []
    for name in ("boddari", "petitions", "tech_docs", "ms_docs"):
        lines = sets.read_raw(data, name)
        found = list(sets.title_pairs(lines))
        titles += generator.sample(found, min(len(found), settings.raw_titles))
        found = list(sets.cloze_pairs(lines, generator))
        cloze += generator.sample(found, min(len(found), settings.raw_cloze))
    table = TextTable()
    wiki = sets.read_mrc(data) + sets.read_squad(data / "tydiqa_ko" / "korean_tydiqa_train.json")
    welfare = [pair for pair, programme in sets.read_welfare(data) if programme not in held_out]
    tasks = {
        "wiki": table.pairs(wiki),
        "welfare": table.pairs(welfare),
        "strategy": table.pairs(sets.read_strategy(data)),
        "titles": table.pairs(titles),
        "cloze": table.pairs(cloze),
        "nli": table.triplets(sets.read_nli(data)),
        "paraphrase": table.pairs(sets.read_paraphrases(data)),
        "sts": table.scored(sets.read_klue_sts(data) + sets.read_kor_sts(data)),
    }
    return table, tasks


def word_task(tasks: dict[str, Task], texts: TokenizedTexts) -> Task:
    """Make the task of finding a passage by a few of its words, out of all passages of at least eight words."""
    passages = np.unique(np.concatenate([tasks[name].right for name in ("wiki", "titles", "cloze", "strategy")]))
    passages = passages[texts.lengths()[passages] >= 8]
    return Task("words", passages, passages, np.zeros(len(passages)), np.full(len(passages), -1))


def choose_vocabulary(texts: TokenizedTexts, kiwi: KiwiVectors, settings: Settings) -> list[str]:
    """Choose the morphemes that get a row of their own.

    First come those that Kiwi has a vector for and the texts use at least twice, and frequent ones that it has none for
    (numbers and Latin identifiers would otherwise fill the table: their n-grams serve them well), by number of
    texts; then, for the sake of other domains, Kiwi's in its own order of frequency.
    """
    used: Counter[str] = Counter()
    for start, end in pairwise(texts.offsets.tolist()):
        found = {m for word in set(texts.word_ids[start:end].tolist()) for m in texts.morphemes[word]}
        used.update(found)
    known = set(kiwi.names)
    least = settings.unknown_morpheme_texts
    # Ties by name: the order within a set of strings differs from process to process.
    by_count = sorted(used.items(), key=lambda item: (-item[1], item[0]))
    chosen = [m for m, count in by_count if count >= (2 if m in known else least)]
    tags = {m.rpartition("/")[2] for m in used}
    chosen += [m for m in kiwi.names if used[m] < 2 and m.rpartition("/")[2] in tags and not m.startswith("/")]
    return chosen[: settings.vocabulary]


def start_vectors(
    kiwi: KiwiVectors, vocabulary: list[str], text_counts: NDArray[np.float64], texts: int, settings: Settings
) -> NDArray[np.float32]:
    """Make the first table.

    Args:
        kiwi: Vectors of morphemes.
        vocabulary: Morphemes with a row.
        text_counts: (rows,): in how many of the counted texts each feature occurs.
        texts: How many texts were counted.
        settings: Dimension, and how much longer the rows of rare features are.

    Returns:
        float32, (rows, dimension): Kiwi's centred vectors, or random ones for what Kiwi does not know, followed by
        random numbers that tell alike morphemes apart.
    """
    generator = np.random.default_rng(settings.seed)
    rows = settings.rows
    table = generator.standard_normal((rows, 256), dtype=np.float32)
    number = {name: i for i, name in enumerate(kiwi.names)}
    centre = kiwi.vectors[:20_000].mean(axis=0)
    for row, morpheme in enumerate(vocabulary):
        if morpheme in number:
            table[row] = kiwi.vectors[number[morpheme]] - centre
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    if settings.dimension > 256:
        more = generator.standard_normal((rows, settings.dimension - 256), dtype=np.float32)
        more *= settings.identity / np.linalg.norm(more, axis=1, keepdims=True)
        table = np.concatenate([table, more], axis=1)
        table /= np.linalg.norm(table, axis=1, keepdims=True)
    idf = np.log((texts + 1) / (text_counts + 1))
    weight = (idf / idf.mean()) ** settings.idf_power
    weight[settings.vocabulary :] *= settings.ngram_scale
    return np.ascontiguousarray(table * weight[:, None], dtype=np.float32)


class Trainer:
    """Draws batches, computes gradients, keeps the table."""

    def __init__(self, settings: Settings, corpus: Corpus, tasks: dict[str, Task], table: Table) -> None:
        self.settings = settings
        self.corpus = corpus
        self.tasks = tasks
        self.table = table

    def pieces(self, name: str, chosen: NDArray[np.int64], generator: np.random.Generator) -> list[NDArray[np.int32]]:
        """Return the words of a batch: all left texts, then all right ones, then the negatives of triplets."""
        settings, corpus, task = self.settings, self.corpus, self.tasks[name]
        left = [corpus.words(int(text)) for text in task.left[chosen]]
        right = [corpus.words(int(text)) for text in task.right[chosen]]
        if task.kind == "words":
            left = [corpus.some_words(int(text), settings.words_from, generator) for text in task.left[chosen]]
            right = [words[: settings.words_from] for words in right]
        elif task.kind == "pairs":
            right = [
                corpus.crop(
                    int(text),
                    int(anchor),
                    int(generator.integers(*settings.crop_words)),
                    generator.random() < settings.keep_title,
                    generator,
                )
                for text, anchor in zip(task.right[chosen], task.anchor[chosen], strict=True)
            ]
        pieces = left + right
        if task.kind == "triplets":
            pieces += [corpus.words(int(text)) for text in task.extra[chosen] if text >= 0]
        return [drop_words(words, settings.word_dropout, generator) for words in pieces]

    def train_step(self, name: str, share: float, generator: np.random.Generator) -> float:
        """Draw one batch of a task and update the table.

        Args:
            name: The task.
            share: Of the full learning rates.
            generator: Where chance comes from.

        Returns:
            The loss.
        """
        settings, task = self.settings, self.tasks[name]
        chosen = generator.choice(len(task.left), size=min(settings.batch, len(task.left)), replace=False)
        matrix = self.corpus.matrix(self.pieces(name, chosen, generator))
        # Only the rows that occur in the batch take part.
        rows, columns = np.unique(matrix.indices, return_inverse=True)
        small = sparse.csr_matrix((matrix.data, columns, matrix.indptr), shape=(matrix.shape[0], len(rows)))
        sums = torch.from_numpy(small @ self.table.rows(rows)).requires_grad_()
        vectors = torch.nn.functional.normalize(sums, dim=1)
        count = len(chosen)
        left, right, negatives = vectors[:count], vectors[count : 2 * count], vectors[2 * count :]
        if task.kind == "scored":
            labels = torch.from_numpy(task.extra[chosen]).float()
            loss = settings.sts_weight * correlation_loss((left * right).sum(1), labels)
        else:
            same = torch.from_numpy(task.right[chosen][:, None] == task.right[chosen][None, :])
            same.fill_diagonal_(False)
            loss = contrastive_loss(left, right, same, settings.scale, negatives if len(negatives) else None)
        loss.backward()  # type: ignore[no-untyped-call]
        assert sums.grad is not None
        gradient = small.T.tocsr() @ sums.grad.numpy()
        self.table.update(rows, gradient, settings.learning_rate * share, settings.weight_rate * share)
        return float(loss.detach())


def prepare(data: Path, work: Path, settings: Settings, validate: bool) -> tuple[Trainer, list[str], Validation | None]:
    """Steps 1 to 3: from the data folder to a trainer that has not begun."""
    analyzer = Analyzer(cache_size=3_000_000)
    # 1. Read the data.
    table, tasks = build_tasks(data, settings)
    logger.info("%d texts; %s", len(table.numbers), {name: len(task.left) for name, task in tasks.items()})
    # 2. Tokenize it and number its features.
    texts = tokenize(table.numbers, analyzer)
    logger.info("%d words, %d of them distinct", len(texts.word_ids), len(texts.words))
    tasks["words"] = word_task(tasks, texts)
    kiwi = load_or_recover(work / "kiwi_vectors.npz", analyzer.kiwi)
    vocabulary = choose_vocabulary(texts, kiwi, settings)
    features = WordFeatures(vocabulary, settings.unknown_rows, settings.ngram_rows)
    titles = np.asarray([len(split_words(text.split("\n")[0])) if "\n" in text else 0 for text in table.numbers])
    corpus = Corpus(texts, feature_matrix(features, texts, settings.rows), titles, settings.repeat_power)

    def corpus_of(some: list[str]) -> Corpus:
        tokens = tokenize(some, analyzer)
        matrix = feature_matrix(features, tokens, settings.rows)
        return Corpus(tokens, matrix, np.zeros(len(some), np.int64), settings.repeat_power)

    # 3. Start from Kiwi's own morpheme vectors.
    sample = np.random.default_rng(settings.seed).choice(len(texts), min(40_000, len(texts)), replace=False)
    matrix = corpus.matrix([corpus.words(int(text)) for text in sample])
    counts = np.bincount(matrix.indices, minlength=settings.rows).astype(np.float64)
    start = start_vectors(kiwi, vocabulary, counts, len(sample), settings)
    trainer = Trainer(settings, corpus, tasks, Table(start))
    return trainer, vocabulary, Validation(data, corpus_of) if validate else None


def train(trainer: Trainer, validation: Validation | None, work: Path, resume: bool, max_minutes: float) -> None:
    """Step 4: train, writing a checkpoint every few minutes.

    Args:
        trainer: Where the table is.
        validation: Printed every 500 steps; None for no validation.
        work: Folder of the checkpoint.
        resume: Continue from the checkpoint, if there is one.
        max_minutes: Stop (with a checkpoint) after so many minutes, for `resume` to continue.
    """
    settings, table = trainer.settings, trainer.table
    checkpoint = work / "checkpoint.npz"
    if resume and checkpoint.exists():
        table.restore(checkpoint)
    names = list(settings.tasks)
    shares = np.asarray(list(settings.tasks.values()))
    began = saved = time.monotonic()
    progress = tqdm(range(table.step, settings.steps), initial=table.step, total=settings.steps, desc="training")
    for step in progress:
        # Every step has its own generator, so that a resumed run draws what an unbroken one would have drawn.
        generator = np.random.default_rng([settings.seed, step])
        share = min(1.0, (step + 1) / settings.warmup) * max(0.02, 1 - step / settings.steps)
        name = names[generator.choice(len(names), p=shares / shares.sum())]
        loss = trainer.train_step(name, share, generator)
        progress.set_postfix_str(f"{name} {loss:.2f}", refresh=False)
        if validation is not None and (step + 1) % 500 == 0:
            tqdm.write(f"step {step + 1}: {validation(table.vectors)}")
        now = time.monotonic()
        if now - saved > 300 or now - began > 60 * max_minutes:
            table.store(checkpoint)
            saved = now
        if now - began > 60 * max_minutes:
            raise SystemExit(f"stopped after {max_minutes} minutes at step {step + 1}; continue with --resume")
    table.store(checkpoint)


def settle_untouched(table: Table, settings: Settings) -> NDArray[np.float32]:
    """Step 5: give rows that no batch touched the weight that training gave to the rarest touched ones."""
    log_weight = table.log_weight.copy()
    for rows in (slice(0, settings.vocabulary), slice(settings.vocabulary, settings.rows)):
        touched = table.touched[rows]
        rare = (touched > 0) & (touched <= np.quantile(touched[touched > 0], 0.1))
        log_weight[rows][touched == 0] = np.median(log_weight[rows][rare])
    vectors: NDArray[np.float32] = table.direction * np.exp(log_weight)[:, None]
    return vectors


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--work", type=Path, default=Path("runs/bi_encoder"), help="folder for checkpoints and caches")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    parser.add_argument("--max-minutes", type=float, default=1e9, help="stop training after this many minutes")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; the figures in the card are from one")
    parser.add_argument("--no-validation", action="store_true", help="do not look at the validation sets")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    settings = Settings()
    arguments.work.mkdir(parents=True, exist_ok=True)
    trainer, vocabulary, validation = prepare(arguments.data, arguments.work, settings, not arguments.no_validation)
    train(trainer, validation, arguments.work, arguments.resume, arguments.max_minutes)
    vectors = settle_untouched(trainer.table, settings)
    # 6. Quantize and write, and measure what was written.
    arguments.out.mkdir(parents=True, exist_ok=True)
    config = StaticConfig(
        settings.dimension, settings.vocabulary, settings.unknown_rows, settings.ngram_rows, settings.repeat_power
    )
    about: dict[str, object] = {"made_by": "training/packaged_bi_encoder.py", "settings": asdict(settings)}
    if validation is not None:
        about["validation"] = validation(unpack(*pack(vectors)))
        logger.info("quantized: %s", about["validation"])
    save(arguments.out, config, vocabulary, vectors, about)


if __name__ == "__main__":
    main()
