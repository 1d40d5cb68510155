"""Train the packaged bi-encoder, from the data folder and Kiwi to the folder that ships.

    python -m training.packaged.bi_encoder --data ../shared/data --out langchain_klue_rerank/weights/bi_encoder

The model is a table of vectors for morphemes and character n-grams (`engine.models.packaged.static_bi_encoder`). A text
is a sparse row of feature counts, so a batch of texts is one sparse matrix times the table.

Steps: 1. read the data; 2. tokenize it and number its features; 3. put together what Kiwi's language model,
neighbourhoods in plain text and the packaged encoder know of each morpheme; 4. train one map for all of it and a weight
for each row, on batches of one task each; 5. take the mean of the map before and after training; 6. quantize and write.
17 minutes on one core, eight of them for the vectors of the encoder, which are kept; progress is kept under ``--work``
and continued with ``--resume``.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from langchain_klue_rerank.engine.arrays.unit_vectors import from_four_bits, to_four_bits
from langchain_klue_rerank.engine.models.names import WEIGHTS
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import WordFeatures
from langchain_klue_rerank.engine.models.packaged.static_files import StaticConfig, save
from langchain_klue_rerank.engine.text.kiwi import Analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.text.words import split_words
from training import data as sets
from training.packaged import morpheme_vectors
from training.packaged.bag_model import (
    Corpus,
    Imitated,
    Task,
    TextTable,
    Validation,
    contrastive_loss,
    correlation_loss,
    drop_words,
    feature_matrix,
    imitation_loss,
)
from training.packaged.encoder_vectors import encode, sentences, spoken, telling_directions
from training.packaged.kiwi_vectors import KiwiVectors, load_or_recover
from training.packaged.mapped_table import MappedTable

logger = logging.getLogger("training.packaged.bi_encoder")


@dataclass
class Settings:
    """Everything that was chosen. Changing a number here changes the weights that the script writes.

    Attributes:
        seed: Of everything random.
        dimension: Of the vectors.
        unknown_rows: Rows shared by all morphemes that neither Kiwi nor many texts know.
        unknown_morpheme_texts: A morpheme without a Kiwi vector needs so many occurrences to get a row of its own.
        ngram_rows: Rows shared by character bi- and trigrams of words with such morphemes.
        repeat_power: A word that occurs ``tf`` times in a text counts ``tf ** repeat_power`` times.
        smoothing: The first weight of a row that makes up the share ``p`` of all is ``smoothing / (smoothing + p)``.
        spelling_weight: Of the first weights of rows for unknown morphemes and n-grams beside the others.
        neighbours: Dimension of the vectors from neighbourhoods in plain text.
        neighbours_scale: Their length beside Kiwi's.
        encoder: Dimension of the vectors from the packaged encoder.
        encoder_scale: Their length beside Kiwi's.
        encoder_texts: Sentences whose vectors from the packaged encoder are imitated.
        trained: Share of the trained map in the mean with the first one.
        steps: Batches, each of one task.
        batch: Pairs in a batch.
        learning_rate: Of the map, falling to nothing in a straight line.
        weight_rate: Of the logarithms of the weights, likewise.
        warmup: Steps before the full learning rate.
        scale: What cosines are multiplied with in the contrastive loss; a larger one favours literal matches.
        sts_weight: Of the loss of scored pairs, to match the size of the contrastive one.
        word_dropout: Share of words left out of every text.
        apart: How often a passage loses the words that it shares with its query, so that meaning must tell.
        words_from: How many words of a passage the task ``words`` sees.
        crop_words: Shortest and longest window of a passage.
        keep_title: How often a window is headed by the passage's title.
        tasks: How often each task gives the batch, relative to the others.
        raw_lines: Share of the lines of each raw text in which neighbours are counted; 1 where nothing is said.
        raw_titles: Pairs of title and text taken from each raw text at most.
        raw_cloze: Pairs of sentence and paragraph taken from each raw text of the task at most.
        raw_halves: Pairs of half a film review and the other half.
    """

    seed: int = 42
    dimension: int = 480
    unknown_rows: int = 1_272
    unknown_morpheme_texts: int = 60
    ngram_rows: int = 22_000
    repeat_power: float = 0.75
    smoothing: float = 1e-4
    spelling_weight: float = 0.7
    neighbours: int = 297
    neighbours_scale: float = 0.6
    encoder: int = 256
    encoder_scale: float = 1.2
    encoder_texts: int = 43_008
    trained: float = 0.7
    steps: int = 600
    batch: int = 1024
    learning_rate: float = 0.001
    weight_rate: float = 0.02
    warmup: int = 30
    scale: float = 20.0
    sts_weight: float = 5.0
    word_dropout: float = 0.1
    apart: float = 0.3
    words_from: int = 300
    crop_words: tuple[int, int] = (30, 150)
    keep_title: float = 0.7
    tasks: dict[str, float] = field(
        default_factory=lambda: {
            "wiki": 0.14, "welfare": 0.06, "strategy": 0.06, "titles": 0.11, "cloze": 0.02, "near": 0.36,
            "halves": 0.04, "nli": 0.06, "paraphrase": 0.06, "sts": 0.3, "words": 0.2, "written": 0.15, "encoder": 0.35,
        }
    )  # fmt: skip
    raw_lines: dict[str, float] = field(default_factory=lambda: {"ms_docs": 0.2})
    raw_titles: int = 8_000
    raw_cloze: int = 8_000
    raw_halves: int = 100_000


def build_tasks(data: Path, settings: Settings) -> tuple[TextTable, dict[str, Task]]:
    """Read all training data.

    Args:
        data: The data folder.
        settings: How much raw text to use, and which tasks there are.

    Returns:
        All texts with their numbers, and the tasks in those numbers.
    """
    generator = random.Random(settings.seed)
    table = TextTable()
    wiki = sets.read_mrc(data) + sets.read_squad(data / "tydiqa_ko" / "korean_tydiqa_train.json")

    def sample(pairs: list[sets.Pair], most: int) -> list[sets.Pair]:
        return generator.sample(pairs, min(len(pairs), most))

    def titles() -> list[sets.Pair]:
        names = ("boddari", "petitions", "tech_docs", "ms_docs")
        return [p for n in names for p in sample(list(sets.title_pairs(sets.read_raw(data, n))), settings.raw_titles)]

    def cloze() -> list[sets.Pair]:
        lines = (sets.read_raw(data, name) for name in ("tech_docs", "ms_docs"))
        return [p for own in lines for p in sample(list(sets.cloze_pairs(own, generator)), settings.raw_cloze)]

    def near() -> list[sets.Pair]:
        documents = [one for name in ("boddari", "petitions") for one in sets.documents(sets.read_raw(data, name))]
        documents += [[passage.partition("\n")[2]] for passage in dict.fromkeys(pair.passage for pair in wiki)]
        return [pair for document in documents for pair in sets.near_pairs(document, generator)]

    readers: dict[str, Callable[[], Task]] = {
        "wiki": lambda: table.pairs(wiki),
        "welfare": lambda: table.pairs([pair for pair, _ in sets.read_welfare(data)]),
        "strategy": lambda: table.pairs(sets.read_strategy(data)),
        "titles": lambda: table.pairs(titles()),
        "cloze": lambda: table.pairs(cloze()),
        "near": lambda: table.pairs(near()),
        "halves": lambda: table.pairs(
            sample(list(sets.halves(sets.read_raw(data, "nsmc_reviews"))), settings.raw_halves)
        ),
        "nli": lambda: table.triplets(sets.read_nli(data)),
        "paraphrase": lambda: table.pairs(sets.read_paraphrases(data)),
        "written": lambda: table.pairs([pair for _, pairs in sets.read_written() for pair in pairs]),
        "sts": lambda: table.scored(sets.read_klue_sts(data) + sets.read_kor_sts(data)),
    }
    return table, {name: read() for name, read in readers.items() if name in settings.tasks}


def raw_lines(data: Path, settings: Settings) -> list[str]:
    """Read the plain text in which neighbours are counted."""
    generator = random.Random(settings.seed)
    chosen = []
    for name in sets.RAW_TEXTS:
        lines = [line for line in sets.read_raw(data, name) if len(line) >= 8]
        share = settings.raw_lines.get(name, 1.0)
        chosen += lines if share == 1 else generator.sample(lines, round(share * len(lines)))
    return chosen


def word_task(tasks: dict[str, Task], texts: TokenizedTexts) -> Task:
    """Make the task of finding a passage by a few of its words, out of all passages of at least eight words."""
    passages = np.unique(
        np.concatenate([tasks[name].right for name in ("wiki", "titles", "near", "strategy") if name in tasks])
    )
    passages = passages[texts.lengths()[passages] >= 8]
    return Task("words", passages, passages, np.zeros(len(passages)), np.full(len(passages), -1))


def choose_vocabulary(texts: TokenizedTexts, kiwi: KiwiVectors, least: int) -> tuple[list[str], NDArray[np.int64]]:
    """Choose the morphemes that get a row of their own, and count them.

    Args:
        texts: What is counted.
        kiwi: All content morphemes that it has a vector for get a row, for the sake of other domains.
        least: How often others must occur.

    Returns:
        The morphemes, the most frequent first; and how often each occurs, (morphemes,).
    """
    of_words = np.bincount(texts.word_ids, minlength=len(texts.words))
    used: dict[str, int] = {}
    for found, count in zip(texts.morphemes, of_words.tolist(), strict=True):
        for morpheme in found:
            used[morpheme] = used.get(morpheme, 0) + count
    tags = {morpheme.rpartition("/")[2] for morpheme in used}
    for name in kiwi.names:
        if name.rpartition("/")[2] in tags and not name.startswith("/"):
            used.setdefault(name, 0)
    known = set(kiwi.names)
    # Ties by name: the order within a set of strings differs from process to process.
    ordered = sorted(used.items(), key=lambda item: (-item[1], item[0]))
    chosen = [(name, count) for name, count in ordered if name in known or count >= least]
    return [name for name, _ in chosen], np.asarray([count for _, count in chosen])


def known_numbers(
    vocabulary: list[str],
    counts: NDArray[np.int64],
    kiwi: KiwiVectors,
    texts: TokenizedTexts,
    encoded: NDArray[np.float32],
    settings: Settings,
) -> NDArray[np.float32]:
    """Step 3: what is known of every row before training.

    Args:
        vocabulary: Morphemes with a row.
        counts: (morphemes,): how often each occurs in the texts.
        kiwi: Vectors of morphemes.
        texts: Plain text, a line each.
        encoded: (morphemes, any dimension): the encoder's vectors of them.
        settings: Dimensions and lengths.

    Returns:
        float32, (rows, numbers): Kiwi's vectors beside those of neighbourhoods and of the encoder; random ones for the
        rows of n-grams and unknown morphemes, of which nothing is known.
    """
    number = {name: row for row, name in enumerate(kiwi.names)}
    rows = np.asarray([number.get(name, -1) for name in vocabulary])
    by_kiwi = rows >= 0
    meaning = np.where(by_kiwi[:, None], kiwi.vectors[rows], 0).astype(np.float32)
    meaning = morpheme_vectors.all_but_the_top(meaning, by_kiwi, counts)
    chosen, near = morpheme_vectors.count_neighbours(texts, vocabulary, counts, settings.seed)
    subject = np.zeros((len(vocabulary), settings.neighbours), np.float32)
    subject[chosen] = morpheme_vectors.neighbour_vectors(near, settings.neighbours)
    by_neighbours = np.zeros(len(vocabulary), bool)
    by_neighbours[chosen] = True
    known = np.concatenate(
        [
            morpheme_vectors.complete(meaning, by_kiwi, subject, by_neighbours),
            morpheme_vectors.complete(subject, by_neighbours, meaning, by_kiwi) * settings.neighbours_scale,
            telling_directions(encoded, counts, settings.encoder) * settings.encoder_scale,
        ],
        axis=1,
    )
    others = settings.unknown_rows + settings.ngram_rows
    random_rows = np.random.default_rng(settings.seed).standard_normal((others, known.shape[1]), dtype=np.float32)
    return np.concatenate([known, morpheme_vectors.unit(random_rows)])


class Trainer:
    """Draws batches, computes losses, keeps the table."""

    def __init__(
        self,
        settings: Settings,
        corpus: Corpus,
        tasks: dict[str, Task],
        imitated: Imitated,
        table: MappedTable,
        morphemes: int,
    ) -> None:
        self.settings = settings
        self.corpus = corpus
        self.imitated = imitated
        self.tasks = tasks
        self.table = table
        self.morphemes = morphemes
        self.optimizer = torch.optim.Adam(
            [
                {"params": [table.map], "lr": settings.learning_rate},
                {"params": [table.log_weight], "lr": settings.weight_rate},
            ]
        )

    def pieces(self, name: str, chosen: NDArray[np.int64], generator: np.random.Generator) -> list[NDArray[np.int32]]:
        """Return the words of a batch: all left texts, then all right ones, then the negatives of triplets."""
        settings, corpus, task = self.settings, self.corpus, self.tasks[name]
        left = [corpus.words(int(text)) for text in task.left[chosen]]
        right = [corpus.words(int(text)) for text in task.right[chosen]]
        if task.kind == "words":
            left = [corpus.some_words(int(text), settings.words_from, generator) for text in task.left[chosen]]
            right = [words[: settings.words_from] for words in right]
        elif task.kind == "pairs" and name != "paraphrase":
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
            right = [
                corpus.without_shared(one, other) if generator.random() < settings.apart else one
                for one, other in zip(right, left, strict=True)
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
        if name == "encoder":
            return self._step(self.imitation(generator), share)
        settings, task = self.settings, self.tasks[name]
        chosen = generator.choice(len(task.left), size=min(settings.batch, len(task.left)), replace=False)
        vectors = self.table(self.corpus.matrix(self.pieces(name, chosen, generator)))
        count = len(chosen)
        left, right, negatives = vectors[:count], vectors[count : 2 * count], vectors[2 * count :]
        if task.kind == "scored":
            labels = torch.from_numpy(task.extra[chosen]).float()
            loss = settings.sts_weight * correlation_loss((left * right).sum(1), labels)
        else:
            same = torch.from_numpy(
                (task.right[chosen][:, None] == task.right[chosen][None, :])
                | (task.left[chosen][:, None] == task.left[chosen][None, :])
            )
            same.fill_diagonal_(False)
            loss = contrastive_loss(left, right, same, settings.scale, negatives if len(negatives) else None)
        return self._step(loss, share)

    def imitation(self, generator: np.random.Generator) -> torch.Tensor:
        """Return the loss of twice a batch of sentences that the encoder has read."""
        corpus, wanted = self.imitated.corpus, self.imitated.vectors
        count = min(2 * self.settings.batch, len(wanted))
        chosen = np.sort(generator.choice(len(wanted), size=count, replace=False))
        vectors = self.table(corpus.matrix([corpus.words(int(text)) for text in chosen]))
        return imitation_loss(vectors, torch.from_numpy(wanted[chosen]), self.settings.scale)

    def _step(self, loss: torch.Tensor, share: float) -> float:
        settings = self.settings
        for group, rate in zip(
            self.optimizer.param_groups, (settings.learning_rate, settings.weight_rate), strict=True
        ):
            group["lr"] = rate * share
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def vectors(self) -> NDArray[np.float32]:
        """Step 5: the table, from the mean of the first and the trained map."""
        groups = (slice(0, self.morphemes), slice(self.morphemes, len(self.table.touched)))
        return self.table.vectors(self.settings.trained, groups)


def prepare(data: Path, work: Path, settings: Settings, validate: bool) -> tuple[Trainer, list[str], Validation | None]:
    """Steps 1 to 3: from the data folder to a trainer that has not begun."""
    analyzer = Analyzer(cache_size=5_000_000)
    # 1. Read the data.
    table, tasks = build_tasks(data, settings)
    logger.info("%d texts; %s", len(table.numbers), {name: len(task.left) for name, task in tasks.items()})
    # 2. Tokenize it and number its features.
    texts = tokenize(table.numbers, analyzer)
    logger.info("%d words, %d of them distinct", len(texts.word_ids), len(texts.words))
    tasks["words"] = word_task(tasks, texts)
    kiwi = load_or_recover(work / "kiwi_vectors.npz", analyzer.kiwi)
    plain = tokenize([*raw_lines(data, settings), *(text for text in table.numbers)], analyzer)
    vocabulary, counts = choose_vocabulary(plain, kiwi, settings.unknown_morpheme_texts)
    rows = len(vocabulary) + settings.unknown_rows + settings.ngram_rows
    features = WordFeatures(vocabulary, settings.unknown_rows, settings.ngram_rows)
    titles = np.asarray([len(split_words(text.split("\n")[0])) if "\n" in text else 0 for text in table.numbers])
    corpus = Corpus(texts, feature_matrix(features, texts, rows), titles, settings.repeat_power)

    def corpus_of(some: list[str]) -> Corpus:
        tokens = tokenize(some, analyzer)
        matrix = feature_matrix(features, tokens, rows)
        return Corpus(tokens, matrix, np.zeros(len(some), np.int64), settings.repeat_power)

    # 3. Put together what is known of each morpheme.
    encoder = WEIGHTS / "encoder"
    encoded = encode([spoken(name) for name in vocabulary], encoder, work / "encoded_morphemes.npz")
    known = known_numbers(vocabulary, counts, kiwi, plain, encoded, settings)
    occurrences = np.bincount(plain.word_ids, minlength=len(plain.words)) @ feature_matrix(features, plain, rows)
    share = (occurrences + 1) / counts.sum()
    weights = settings.smoothing / (settings.smoothing + share)
    weights[len(vocabulary) :] *= settings.spelling_weight
    importance = np.concatenate([np.sqrt(counts + 1), np.zeros(rows - len(vocabulary))])
    mapped = MappedTable(known, weights, settings.dimension, importance)
    logger.info("%d rows, %d numbers known of each", rows, known.shape[1])
    left_out = [name for name in Settings().tasks if name not in settings.tasks]
    read = sentences(data, settings.encoder_texts, left_out)
    imitated = Imitated.of(corpus_of(read), encode(read, encoder, work / "encoded_sentences.npz"))
    trainer = Trainer(settings, corpus, tasks, imitated, mapped, len(vocabulary))
    return trainer, vocabulary, Validation(data, corpus_of) if validate else None


def train(trainer: Trainer, validation: Validation | None, work: Path, resume: bool, max_minutes: float) -> None:
    """Step 4: train, writing a checkpoint every few minutes.

    Args:
        trainer: Where the table is.
        validation: Printed every 250 steps; None for no validation.
        work: Folder of the checkpoint.
        resume: Continue from the checkpoint, if there is one.
        max_minutes: Stop (with a checkpoint) after so many minutes, for `resume` to continue.
    """
    settings, table = trainer.settings, trainer.table
    checkpoint = work / "checkpoint.pt"
    first = table.restore(checkpoint, trainer.optimizer) if resume and checkpoint.exists() else 0
    names = list(settings.tasks)
    shares = np.asarray(list(settings.tasks.values()))
    if validation is not None and not first:
        tqdm.write(f"untrained: {validation(trainer.vectors())}")
    began = saved = time.monotonic()
    progress = tqdm(range(first, settings.steps), initial=first, total=settings.steps, desc="training", mininterval=5)
    for step in progress:
        # Every step has its own generator, so that a resumed run draws what an unbroken one would have drawn.
        generator = np.random.default_rng([settings.seed, step])
        share = min(1.0, (step + 1) / settings.warmup) * max(0.03, 1 - step / settings.steps)
        name = names[generator.choice(len(names), p=shares / shares.sum())]
        loss = trainer.train_step(name, share, generator)
        progress.set_postfix_str(f"{name} {loss:.2f}", refresh=False)
        if validation is not None and (step + 1) % 250 == 0:
            tqdm.write(f"step {step + 1}: {validation(trainer.vectors())}")
        now = time.monotonic()
        if now - saved > 300 or now - began > 60 * max_minutes:
            table.store(checkpoint, trainer.optimizer, step + 1)
            saved = now
        if now - began > 60 * max_minutes:
            raise SystemExit(f"stopped after {max_minutes} minutes at step {step + 1}; continue with --resume")
    table.store(checkpoint, trainer.optimizer, settings.steps)


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
    parser.add_argument(
        "--leave-out",
        nargs="+",
        default=[],
        metavar="TASK",
        choices=[name for name in Settings().tasks if name != "words"],
        help="do not train on these, to measure on their data what the model is worth where it never was",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    settings = Settings()
    torch.manual_seed(settings.seed)
    for name in arguments.leave_out:
        settings.tasks.pop(name, None)
    arguments.work.mkdir(parents=True, exist_ok=True)
    trainer, vocabulary, validation = prepare(arguments.data, arguments.work, settings, not arguments.no_validation)
    train(trainer, validation, arguments.work, arguments.resume, arguments.max_minutes)
    vectors = trainer.vectors()
    # 6. Quantize and write, and measure what was written.
    arguments.out.mkdir(parents=True, exist_ok=True)
    config = StaticConfig(
        settings.dimension, len(vocabulary), settings.unknown_rows, settings.ngram_rows, settings.repeat_power
    )
    about: dict[str, object] = {"made_by": "training/packaged/bi_encoder.py", "settings": asdict(settings)}
    if validation is not None:
        about["validation"] = validation(from_four_bits(*to_four_bits(vectors)))
        logger.info("quantized: %s", about["validation"])
    save(arguments.out, config, vocabulary, vectors, about)


if __name__ == "__main__":
    main()
