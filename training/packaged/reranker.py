r"""Train the packaged reranker, the weights in ``langchain_klue_rerank/weights/reranker``.

    python -m training.packaged.bi_encoder --data D --out runs/blind --work runs/blind_work \
        --leave-out wiki welfare strategy titles
    python -m training.packaged.reranker --data D --blind runs/blind

The first command trains a second bi-encoder, which never sees the questions that train the reranker: the packaged one
has seen them and puts them nearer to their passages than new ones, so that a reranker would trust it too much.

Steps: 1. read questions and the passages that answer them, of several kinds of text; 2. count document frequencies and
take the bi-encoder's morpheme vectors; 3. search each question's corpus with the first stage and keep its best wrong
passages; 4. compute every pair's features with the very code that serves (all in `reranker_examples`); 5. train a few
small networks; 6. calibrate their mean on questions held out; 7. write the weights. One core, no GPU,
seven minutes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from langchain_klue_rerank.engine.models.names import WEIGHTS
from langchain_klue_rerank.engine.models.packaged import cross_encoder
from langchain_klue_rerank.engine.models.packaged.match_features import MATCH_FEATURES, PAIR_FEATURES, lexical_score
from langchain_klue_rerank.engine.models.packaged.query_terms import TERM_FEATURES, TermStatistics, TermVectors
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.evaluation.metrics import calibration_error
from training import data as readers
from training.files import replace_folder
from training.packaged.exact_kinds import EXACT_KINDS
from training.packaged.reranker_examples import (
    Examples,
    ExampleSettings,
    FirstStage,
    Kind,
    by_kind,
    make_examples,
    make_kind,
    read_everything,
    split_questions,
)


@dataclass(frozen=True)
class Settings:
    """Everything that decides the weights.

    Attributes:
        seed: Of every random choice.
        examples: Of steps 1 to 4.
        weights: How often each kind's questions are seen, relative to their number.
        networks: Size of the ensemble.
        epochs, batch, rate, decay: Of the training; `decay` is the weight decay.
        dropout, input_dropout: Of the hidden layers and of the features of the pair.
        pointwise: Weight of the pointwise loss, which makes scores of different questions comparable.
        anchor: Weight of the lexical score that the networks correct (see `pair_features.lexical_score`). It keeps them
            near a strong ranking on texts that are unlike the training's.
        widths: Of the term network, of what it passes on, and of the two layers that judge the pair.
    """

    seed: int = 0
    examples: ExampleSettings = field(default_factory=ExampleSettings)
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "klue_mrc": 1.0, "tydiqa": 1.0, "welfare": 0.9, "strategy": 0.5, "petitions": 0.3, "manuals": 0.3,
            "boolq": 0.3, "articles": 0.2, "codes": 0.2, "one word": 0.2, "quoted": 0.2, "long": 0.3,
        }
    )  # fmt: skip
    networks: int = 5
    epochs: int = 8
    batch: int = 64
    rate: float = 3e-3
    decay: float = 3e-2
    dropout: float = 0.1
    input_dropout: float = 0.1
    pointwise: float = 0.2
    anchor: float = 8.0
    widths: tuple[int, int, int, int] = (24, 16, 32, 16)


# Step 5: the networks -----------------------------------------------------------------------------------------------


class Network(nn.Module):
    """One network of `cross_encoder.ensemble`, in torch."""

    mean: Tensor
    scale: Tensor

    def __init__(self, settings: Settings, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        term, value, hidden, hidden2 = settings.widths
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.anchor = settings.anchor
        self.term = nn.Linear(MATCH_FEATURES + TERM_FEATURES, term)
        self.gate = nn.Linear(TERM_FEATURES, 1)
        self.value = nn.Linear(term, value)
        self.hidden = nn.Linear(PAIR_FEATURES + 3 * value, hidden)
        self.hidden2 = nn.Linear(hidden, hidden2)
        self.output = nn.Linear(hidden2, 1)
        self.dropout = nn.Dropout(settings.dropout)
        self.input_dropout = nn.Dropout(settings.input_dropout)

    def forward(self, matches: Tensor, terms: Tensor, counts: Tensor, pairs: Tensor) -> Tensor:
        """Return (questions, candidates)."""
        present = torch.arange(terms.shape[1]) < counts[:, None]
        tiled = terms[:, None].expand(-1, matches.shape[1], -1, -1)
        hidden = torch.relu(self.term(torch.cat([matches, tiled], dim=3)))
        gate = torch.exp(self.gate(terms)[:, :, 0].clamp(-10, 10)) * present
        gate = gate / gate.sum(dim=1, keepdim=True).clamp(min=1e-9)
        judged = torch.tanh(self.value(hidden))
        mean = torch.einsum("qntk,qt->qnk", judged, gate)
        weighted = judged * (gate / gate.amax(dim=1, keepdim=True).clamp(min=1e-9))[:, None, :, None]
        pooled = [mean, weighted.amin(dim=2).clamp(max=0), weighted.amax(dim=2).clamp(min=0)]
        anchor = self.anchor * lexical_score(pairs)
        pairs = ((pairs - self.mean) * self.scale).clamp(-5, 5)
        inputs = self.input_dropout(torch.cat([pairs, *pooled], dim=2))
        values = self.dropout(torch.relu(self.hidden(inputs)))
        values = self.dropout(torch.relu(self.hidden2(values)))
        scores: Tensor = self.output(values)[:, :, 0] + anchor
        return scores


def batch_of(examples: Examples, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the inputs of some questions, padded to the longest of them."""
    count = max(int(examples.term_counts[rows].max()), 1)
    return (
        torch.from_numpy(examples.matches[rows][:, :, :count].astype(np.float32)),
        torch.from_numpy(examples.terms[rows][:, :count].astype(np.float32)),
        torch.from_numpy(examples.term_counts[rows]),
        torch.from_numpy(examples.pairs[rows]),
    )


def train_network(parts: Sequence[Examples], settings: Settings, seed: int, deadline: float) -> Network:
    """Train one network on examples whose first candidate is the right one."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    stacked = np.concatenate([part.pairs.reshape(-1, PAIR_FEATURES) for part in parts])
    mean, deviation = stacked.mean(axis=0), stacked.std(axis=0)
    scale = np.where(deviation > 1e-4, 1 / np.maximum(deviation, 1e-4), 0)
    network = Network(settings, torch.tensor(mean), torch.tensor(scale, dtype=torch.float32))
    batches_of_epoch = sum(len(epoch_batches([part], settings, generator)) for part in parts)
    total = batches_of_epoch * settings.epochs
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.rate, total_steps=total + settings.epochs * 8)
    progress = tqdm(total=total, desc=f"network {seed}", mininterval=5)
    for _ in range(settings.epochs):
        for part, rows in epoch_batches(parts, settings, generator):
            scores = network(*batch_of(part, rows))
            target = torch.zeros_like(scores)
            target[:, 0] = 1
            listwise = nn.functional.cross_entropy(scores, torch.zeros(len(rows), dtype=torch.long))
            pointwise = nn.functional.binary_cross_entropy_with_logits(scores, target, reduction="none")
            loss = listwise + settings.pointwise * pointwise.sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress.update()
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if time.monotonic() > deadline:
            progress.write("Out of time: the network stays as it is.")
            break
    progress.close()
    return network.eval()


def trained_network(
    parts: Sequence[Examples], settings: Settings, number: int, work: Path, resume: bool, deadline: float
) -> Network:
    """Train a network and keep it in the work folder, or take it from there."""
    checkpoint = work / f"network{number}.pt"
    if resume and checkpoint.exists():
        network = Network(settings, torch.zeros(PAIR_FEATURES), torch.zeros(PAIR_FEATURES))
        network.load_state_dict(torch.load(checkpoint, weights_only=True))
        return network.eval()
    network = train_network(parts, settings, settings.seed + number, deadline)
    torch.save(network.state_dict(), checkpoint)
    return network


def epoch_batches(
    parts: Sequence[Examples], settings: Settings, generator: np.random.Generator
) -> list[tuple[Examples, NDArray[np.int64]]]:
    """Return the batches of one epoch in random order, each of one kind."""
    batches = []
    for part in parts:
        count = round(len(part.positive) * settings.weights[str(part.kinds[0])])
        rows = generator.permutation(len(part.positive))[:count]
        batches += [(part, rows[i : i + settings.batch]) for i in range(0, count, settings.batch)]
    return [batches[place] for place in generator.permutation(len(batches)).tolist()]


def outputs(networks: Sequence[Network], examples: Examples) -> NDArray[np.float64]:
    """Return the networks' mean output, (questions, candidates)."""
    with torch.no_grad():
        chunks = [
            torch.stack([network(*batch_of(examples, rows)) for network in networks]).mean(dim=0).numpy()
            for rows in np.array_split(np.arange(len(examples.positive)), max(len(examples.positive) // 200, 1))
        ]
    return np.concatenate(chunks).astype(np.float64)


# Step 6: calibration and figures ------------------------------------------------------------------------------------


def hit_rates(scores: NDArray[Any], positive: NDArray[np.int64]) -> dict[str, float]:
    """Return HitRate@1, 3, 5, 10 and MRR@10; a question whose passage is not among the candidates is a miss."""
    rows = np.arange(len(positive))
    right = np.where(positive >= 0, scores[rows, np.maximum(positive, 0)], -np.inf)
    ranks = (scores > right[:, None]).sum(axis=1) + np.where(positive >= 0, 0, 10**6)
    rates = {f"@{k}": float(np.mean(ranks < k)) for k in (1, 3, 5, 10)}
    return {**rates, "mrr": float(np.mean(np.where(ranks < 10, 1 / (ranks + 1), 0)))}


def fit_calibration(
    logits: NDArray[np.float64], labels: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float]:
    """Fit Platt's slope and intercept by Newton's method on the weighted logarithmic loss."""
    slope, intercept = 1.0, 0.0
    inputs = np.stack([logits, np.ones_like(logits)], axis=1)
    for _ in range(50):
        probability = 1 / (1 + np.exp(-(slope * logits + intercept)))
        gradient = inputs.T @ (weights * (probability - labels))
        curvature = inputs.T @ (inputs * (weights * probability * (1 - probability))[:, None]) + 1e-9 * np.eye(2)
        slope, intercept = np.array([slope, intercept]) - np.linalg.solve(curvature, gradient)
    return float(slope), float(intercept)


def pair_labels(examples: Examples) -> NDArray[np.float64]:
    """Return 1 for the right candidate, 0 for the others, (questions, candidates)."""
    labels = np.zeros(examples.first_stage.shape)
    found = examples.positive >= 0
    labels[found, examples.positive[found]] = 1
    return labels


# Step 7: writing ----------------------------------------------------------------------------------------------------


def write_weights(
    out: Path,
    statistics: TermStatistics,
    vocabulary: Sequence[str],
    vectors: NDArray[np.int8],
    networks: Sequence[Network],
    anchor: float,
    calibration: tuple[float, float],
    about: dict[str, Any],
) -> None:
    """Write what `PairScorer.load` reads, in place of what is there; the model card stays."""
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    np.save(fresh / cross_encoder.FREQUENCIES_FILE, statistics.table, allow_pickle=False)
    np.save(fresh / cross_encoder.VECTORS_FILE, vectors, allow_pickle=False)
    (fresh / cross_encoder.VOCABULARY_FILE).write_text("".join(f"{name}\n" for name in vocabulary), encoding="utf-8")
    states = [network.state_dict() for network in networks]
    for name in states[0]:
        stacked = np.stack([state[name].numpy() for state in states])
        if name.endswith("weight"):
            stacked = stacked.swapaxes(1, 2)
        array = stacked[:, None] if name.endswith("bias") else stacked
        array = array[0] if name in ("mean", "scale") else array  # the same for all networks
        np.save(fresh / f"{name.replace('.', '_')}.npy", np.ascontiguousarray(array, np.float32), allow_pickle=False)
    config = {
        "format": cross_encoder.FORMAT,
        "format_version": cross_encoder.FORMAT_VERSION,
        "documents": statistics.documents,
        "steps": statistics.steps,
        "anchor": anchor,
        "calibration": {"slope": calibration[0], "intercept": calibration[1]},
        "about": about,
    }
    text = json.dumps(config, ensure_ascii=False, indent=2) + "\n"
    (fresh / cross_encoder.CONFIG_FILE).write_text(text, encoding="utf-8")
    if (out / "README.md").exists():
        shutil.copy(out / "README.md", fresh)
    replace_folder(fresh, out)


def measure(examples: Examples, networks: Sequence[Network], calibration: tuple[float, float]) -> dict[str, Any]:
    """Return hit rates before and after reranking, and the calibration error."""
    logits = outputs(networks, examples)
    probability = 1 / (1 + np.exp(-(calibration[0] * logits + calibration[1])))
    return {
        "questions": len(logits),
        "first_stage": {
            name: round(value, 4) for name, value in hit_rates(examples.first_stage, examples.positive).items()
        },
        "reranked": {name: round(value, 4) for name, value in hit_rates(logits, examples.positive).items()},
        "calibration_error": round(calibration_error(probability.ravel(), pair_labels(examples).ravel() > 0), 4),
    }


def kind_examples(
    number: int,
    kind: Kind,
    work: Path | None,
    blind: StaticBiEncoder,
    statistics: TermStatistics,
    vectors: TermVectors,
    settings: ExampleSettings,
) -> tuple[Examples, Examples]:
    """Make the examples of a kind that train and those that are held out, or take them from the work folder."""
    own, held = split_questions(kind, settings)
    paths = [work / f"examples{number}_{part}.npz" if work else None for part in ("training", "held")]
    if all(path and path.exists() for path in paths):
        return tuple(Examples.load(path) for path in paths if path)  # type: ignore[return-value]
    first_stage = FirstStage(kind, blind, settings.dense_weight)
    common = (first_stage, statistics, vectors, settings)
    made = (make_examples(kind, own, *common, training=True), make_examples(kind, held, *common, training=False))
    for path, examples in zip(paths, made, strict=True):
        if path:
            examples.save(path)
    return made


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--out", type=Path, default=Path("langchain_klue_rerank/weights/reranker"))
    parser.add_argument(
        "--bi-encoder", type=Path, default=WEIGHTS / "bi_encoder", help="the bi-encoder's folder; default: the packaged"
    )
    parser.add_argument(
        "--blind", type=Path, required=True, help="a bi-encoder that has not seen the training questions"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/reranker"), help="where checkpoints go")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep examples in the work folder, and take from it what is done",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that compute features; default 1")
    parser.add_argument("--max-minutes", type=float, default=60.0, help="stop training after so long; default 60")
    options = parser.parse_args()
    settings = Settings()
    deadline = time.monotonic() + 60 * options.max_minutes
    torch.set_num_threads(1)  # faster than two for networks this small
    options.work.mkdir(parents=True, exist_ok=True)
    encoder, blind = StaticBiEncoder.load(options.bi_encoder), StaticBiEncoder.load(options.blind)

    kinds, statistics, vocabulary, numbers = read_everything(options.data, options.bi_encoder, settings.examples)
    vectors = TermVectors(vocabulary, numbers)

    work = partial(
        kind_examples,
        work=options.work if options.resume else None,
        blind=blind,
        statistics=statistics,
        vectors=vectors,
        settings=settings.examples,
    )
    with ProcessPoolExecutor(options.workers) as pool:
        made = list(pool.map(work, range(len(kinds)), kinds))
    training, held_out = [own for own, _ in made], [held for _, held in made]
    validation_pairs = readers.read_mrc(options.data, "validation")
    validation = make_kind("klue_mrc", [*validation_pairs, *readers.read_mrc(options.data)])
    questions = validation.questions[: len(validation_pairs)]
    first_stage = FirstStage(validation, encoder, settings.examples.dense_weight)
    common = (first_stage, statistics, vectors, settings.examples)
    held_out.append(make_examples(validation, questions, *common, training=False))

    networks = [
        trained_network(training, settings, number, options.work, options.resume, deadline)
        for number in range(settings.networks)
    ]

    parts = {**by_kind(held_out[:-1]), "klue_mrc validation": held_out[-1]}
    # Only questions that people asked tell how likely an answer is. Every kind counts the same, whatever its size.
    asked = [part for name, part in parts.items() if name not in EXACT_KINDS]
    logits = np.concatenate([outputs(networks, part).ravel() for part in asked])
    labels = np.concatenate([pair_labels(part).ravel() for part in asked])
    weights = np.concatenate([np.full(part.first_stage.size, 1e4 / part.first_stage.size) for part in asked])
    calibration = fit_calibration(logits, labels, weights)
    figures = {name: measure(part, networks, calibration) for name, part in parts.items()}
    print(json.dumps(figures, indent=2))
    about = {"settings": asdict(settings), "figures": figures}
    write_weights(options.out, statistics, vocabulary, numbers, networks, settings.anchor, calibration, about)


if __name__ == "__main__":
    main()
