r"""Tune the base of the packaged encoder: sentence pairs, entailments, questions with hard wrong passages, reading.

    python -m training.recipes.base --source intfloat/multilingual-e5-small --data D --output runs/base
    python -m training.packaged.encoder_tuning --data D --base-model runs/base --output runs/encoder
    python -m training.packaged.encoder --base runs/encoder/model --data D

Every step has one task, drawn by chance: KLUE-STS and KorSTS with the CoSENT loss; KLUE-NLI's entailments against its
contradictions, and paraphrases; questions against windows of passages, those of data sets and those written for this
project (`training.packaged.encoder_examples`). A share of the steps teaches the same layers to read a question and a
window together, as a cross-encoder does, and to say whether the window answers; it takes some 250 steps until anything
of that is learned. Texts have the prompts of e5. Word vectors and the lowest layers stay as they are. ``--leave-out``
keeps kinds of questions away, to choose settings by. An interrupted run goes on with ``--resume`` as if nothing had
happened.
"""

from __future__ import annotations

import json
import logging
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from langchain_klue_rerank.engine.models.encoder.bi_encoder import PAIR_PIECES, QUERY_PIECES
from training import data as sets
from training.folders import open_folder
from training.packaged.encoder import PROMPTS, READING_FILE
from training.packaged.encoder_examples import Asked, questions, remembered, to_read, written
from training.settings import SettingsError, parse, require_positive

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: Tasks and how often each is drawn.
TASKS: Final = {"questions": 0.4, "written": 0.2, "similarity": 0.3, "meaning": 0.1}
#: Examples of a step of reading: questions of data sets, written ones, and written ones that no passage answers; and
#: the wrong windows of a question, at most.
_READ: Final = {"questions": 5, "answered": 8, "unanswered": 7}
_READ_WRONG: Final = 3
#: How often a question is read without its spaces, and without its question mark.
_JOINED, _UNMARKED = 0.05, 0.2
#: By what cosines are divided before they are compared, and the scale of CoSENT.
_TEMPERATURE, _SCALE = 0.02, 20.0
#: Learning rate of what turns a mean into log odds, and pairs that are read at once.
_HEAD_RATE: Final = 1e-3
_PAIRS_AT_ONCE: Final = 16


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the encoder is tuned.

    Attributes:
        data: The data folder.
        base_model: What `training.recipes.base` wrote.
        output: Folder of the run; the model comes to lie in its folder ``model``.
        leave_out: Kinds of questions not to learn from, such as ``tydiqa``, to be tested on.
        most: At most so many questions of a kind.
        steps: Steps in all.
        batch_size: Questions of a step; of sentence pairs twice as many.
        wrong: Wrong windows of a question, drawn among those that were found.
        learning_rate: The highest; it rises in the first twentieth of the steps and falls linearly to 0.
        frozen_layers: The lowest layers that stay as they are.
        max_length: Longest text in tokens.
        reading: Share of the steps that teach reading.
        seed: Of everything that is drawn.
        resume: Whether to go on with an interrupted run.
    """

    data: Path = Path("../shared/data")
    base_model: Path = Path("runs/base")
    output: Path = Path("runs/encoder")
    leave_out: tuple[str, ...] = ()
    most: int = 5000
    steps: int = 900
    batch_size: int = 16
    wrong: int = 3
    learning_rate: float = 3e-5
    frozen_layers: int = 4
    max_length: int = 128
    reading: float = 0.5
    seed: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        require_positive(self, "most", "steps", "batch_size", "wrong", "max_length")


@dataclass(frozen=True)
class Examples:
    """All examples, from which every step draws its own by seed and number.

    Attributes:
        questions: Questions of data sets, with windows.
        written: Questions written for this project, with windows.
        similarity: Two sentences and how alike they are.
        answered: Written questions with windows to read.
        unanswered: Written questions that no passage answers, with windows to read.
        meaning: Two sentences that mean the same, or of which one follows from the other, and one that contradicts the
            first; "" where there is none.
    """

    questions: list[Asked]
    written: list[Asked]
    answered: list[Asked]
    unanswered: list[Asked]
    similarity: list[tuple[str, str, float]]
    meaning: list[tuple[str, str, str]]

    @classmethod
    def read(cls, settings: Settings) -> Examples:
        """Read them; the questions' windows are found once and kept in the run's folder."""
        data = settings.data
        seed, folder = settings.seed, settings.output
        meaning = [(one.anchor, one.positive, one.negative) for one in sets.read_nli(data)]
        meaning += [(one.query, one.passage, "") for one in sets.read_paraphrases(data)]
        read = remembered(folder / "read.jsonl", to_read, seed) if settings.reading else []
        return cls(
            answered=[one for one in read if one.right],
            unanswered=[one for one in read if not one.right],
            questions=remembered(
                folder / "questions.jsonl",
                lambda: questions(data, settings.leave_out, random.Random(seed), settings.most),
                seed,
            ),
            written=remembered(folder / "written.jsonl", written, seed),
            similarity=[
                (one.first, one.second, one.score) for one in sets.read_klue_sts(data) + sets.read_kor_sts(data)
            ],
            meaning=meaning,
        )

    def draw(self, step: int, settings: Settings) -> tuple[str, list[Any]]:
        """Return the task of a step and its examples."""
        chance = random.Random(settings.seed * 1_000_003 + step)
        if chance.random() < settings.reading:
            rows = [one for name, count in _READ.items() for one in _some(chance, getattr(self, name), count)]
            return "reading", [_to_read(one, chance) for one in rows]
        [task] = chance.choices(list(TASKS), list(TASKS.values()))
        if task not in ("questions", "written"):
            return task, _some(chance, getattr(self, task), 2 * settings.batch_size)
        rows = _some(chance, getattr(self, task), settings.batch_size)
        return task, [Asked(one.query, one.right, _some(chance, one.wrong, settings.wrong)) for one in rows]


def _some(chance: random.Random, rows: Sequence[T], most: int) -> list[T]:
    return chance.sample(rows, min(most, len(rows)))


def _to_read(one: Asked, chance: random.Random) -> Asked:
    """Return a question as people type it, with two right windows and some wrong ones, the nearest among them."""
    luck = chance.random()
    query = one.query.replace(" ", "") if luck < _JOINED else one.query.rstrip("?") if luck < _UNMARKED else one.query
    first, others = (one.wrong[:2], one.wrong[2:]) if not one.right else ([], one.wrong)
    return Asked(query, one.right[:2], first + _some(chance, others, _READ_WRONG - len(first)))


def ranking_loss(anchors: torch.Tensor, texts: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each anchor's right texts among all texts of the batch, the nearest counting most.

    Args:
        anchors: (n, d) unit vectors.
        texts: (m, d) unit vectors.
        right: (n, m) booleans, which texts are right for which anchor; at least one in every row.
    """
    scores = anchors @ texts.T / _TEMPERATURE
    return (scores.logsumexp(1) - scores.masked_fill(~right, -torch.inf).logsumexp(1)).mean()


def cosent_loss(cosines: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the CoSENT loss (Su, 2022): of two pairs the more similar one should have the higher cosine.

    Args:
        cosines: (n,) of pairs.
        labels: (n,) their similarities.
    """
    differences = _SCALE * (cosines[:, None] - cosines[None, :])
    ordered = differences[labels[:, None] < labels[None, :]]
    return torch.logsumexp(torch.cat([ordered.new_zeros(1), ordered]), 0)


def reading_loss(rows: Sequence[Asked], odds: torch.Tensor) -> torch.Tensor:
    """Return how wrong log odds are: cross-entropy of each window, and of each question among its windows.

    Args:
        rows: Questions with their windows; of several right ones the best counts, as one of them answers.
        odds: The log odds of every window, (n,), those of a question one after the other, right ones first.
    """
    losses: list[torch.Tensor] = []
    places: list[torch.Tensor] = []
    for row, own in zip(rows, odds.split([len(row.right) + len(row.wrong) for row in rows]), strict=True):
        right, wrong = own[: len(row.right)], own[len(row.right) :]
        if not row.right:
            weights = torch.tensor([1.0] + [0.4] * (len(wrong) - 1), device=own.device)
            losses.extend(functional.softplus(wrong) * weights)
            continue
        best = right.logsumexp(0) - math.log(len(right))
        losses += [1.5 * functional.softplus(-best), *(0.5 * functional.softplus(wrong))]
        places.append(torch.cat([best[None], wrong]).logsumexp(0) - best)
    mean = torch.stack(losses).mean()
    return mean + 0.3 * torch.stack(places).mean() if places else mean


def loss_of(task: str, rows: list[Any], embed: Callable[[Sequence[str], str], torch.Tensor]) -> torch.Tensor:
    """Return the loss of a step.

    Args:
        task: One of `TASKS`.
        rows: Its examples.
        embed: Turns texts and the name of a prompt into unit vectors.
    """
    if task == "similarity":
        first, second = (embed([row[side] for row in rows], "query") for side in (0, 1))
        return cosent_loss((first * second).sum(1), torch.tensor([row[2] for row in rows], device=first.device))
    if task == "meaning":
        anchors = [(row[0], [row[1]]) for row in rows]
        texts = [text for row in rows for text in row[1:] if text]
        prompt = "query"
    else:
        anchors = [(row.query, row.right) for row in rows]
        texts = [text for row in rows for text in (*row.right, *row.wrong)]
        prompt = "passage"
    texts = list(dict.fromkeys(texts))
    vectors = embed(texts, prompt)
    right = torch.tensor([[text in own for text in texts] for _, own in anchors], device=vectors.device)
    return ranking_loss(embed([query for query, _ in anchors], "query"), vectors, right)


def shortened(tokenizer: Any, texts: Sequence[str], most: int) -> list[str]:
    """Cut texts after so many pieces, the special ones around them included."""
    spans = tokenizer(list(texts), truncation=True, max_length=most, return_offsets_mapping=True)["offset_mapping"]
    return [text[: max(end for _, end in own)] for text, own in zip(texts, spans, strict=True)]


def tune(settings: Settings, read_examples: Callable[[Settings], Examples] = Examples.read) -> Path:
    """Tune the encoder, on a GPU where there is one.

    Args:
        settings: See `Settings`.
        read_examples: Reads the examples.

    Returns:
        The model's folder.

    Raises:
        SettingsError: If the output folder holds another run.
    """
    open_folder(settings, free=("output", "resume"))
    examples = read_examples(settings)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(settings.base_model)
    model = AutoModel.from_pretrained(settings.base_model, add_pooling_layer=False).float().to(device)
    head = torch.nn.Linear(model.config.hidden_size, 1).to(device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    if (known := settings.base_model / READING_FILE).exists():
        numbers = torch.from_numpy(np.load(known)).to(device)
        head.load_state_dict({"weight": numbers[None, :-1], "bias": numbers[-1:]})
    model.embeddings.requires_grad_(False)
    for layer in model.encoder.layer[: settings.frozen_layers]:
        layer.requires_grad_(False)
    learned = [one for one in model.parameters() if one.requires_grad]
    of_head: dict[str, Any] = {"params": list(head.parameters()), "lr": _HEAD_RATE, "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([{"params": learned}, of_head], lr=settings.learning_rate, weight_decay=0.01)
    warm = max(1, settings.steps // 20)

    def rate(step: int) -> float:
        return min((step + 1) / warm, (settings.steps - step) / max(1, settings.steps - warm))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    def means(inputs: Any) -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16):
            states = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None]
        return (states.float() * mask).sum(1) / mask.sum(1)

    def embed(texts: Sequence[str], prompt: str) -> torch.Tensor:
        inputs = tokenizer(
            [PROMPTS[prompt] + text for text in texts],
            padding=True,
            truncation=True,
            max_length=settings.max_length,
            return_tensors="pt",
        ).to(device)
        return functional.normalize(means(inputs), dim=1)

    def read(rows: Sequence[Asked]) -> torch.Tensor:
        queries = shortened(tokenizer, [PROMPTS["query"] + row.query for row in rows], QUERY_PIECES)
        pairs = [
            (query, window) for query, row in zip(queries, rows, strict=True) for window in (*row.right, *row.wrong)
        ]
        order = sorted(range(len(pairs)), key=lambda number: len(pairs[number][1]))
        odds = []
        for start in range(0, len(order), _PAIRS_AT_ONCE):
            some = [pairs[number] for number in order[start : start + _PAIRS_AT_ONCE]]
            inputs = tokenizer(
                [query for query, _ in some],
                [PROMPTS["passage"] + window for _, window in some],
                padding=True,
                truncation="only_second",
                max_length=PAIR_PIECES,
                return_tensors="pt",
            ).to(device)
            inputs.pop("token_type_ids", None)  # the base has one type
            odds.append(head(means(inputs))[:, 0])
        return torch.cat(odds)[torch.tensor(order, device=device).argsort()]

    checkpoint, first = settings.output / "checkpoint.pt", 0
    history: list[dict[str, Any]] = []
    if settings.resume and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=device)
        model.load_state_dict(saved["model"])
        head.load_state_dict(saved["head"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        first, history = saved["step"], saved["history"]
    model.train()
    began = time.monotonic()
    for step in range(first, settings.steps):
        torch.manual_seed(settings.seed * 1_000_003 + step)  # dropout, too, is that of an uninterrupted run
        task, rows = examples.draw(step, settings)
        loss = reading_loss(rows, read(rows)) if task == "reading" else loss_of(task, rows, embed)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
        history.append({"step": step + 1, "task": task, "loss": round(loss.item(), 4)})
        if (step + 1) % 50 == 0 or step + 1 == settings.steps:
            recent = history[-50:]
            averages = {
                name: sum(own) / len(own)
                for name in (*TASKS, "reading")
                if (own := [one["loss"] for one in recent if one["task"] == name])
            }
            spent = time.monotonic() - began
            logger.info(
                "step %d of %d, %.0f s: %s",
                *(step + 1, settings.steps, spent, ", ".join(f"{name} {mean:.3f}" for name, mean in averages.items())),
            )
            parts = {"model": model, "head": head, "optimizer": optimizer, "schedule": schedule}
            state = {name: part.state_dict() for name, part in parts.items()}
            temporary = checkpoint.with_name("checkpoint.new")
            torch.save({**state, "step": step + 1, "history": history}, temporary)
            temporary.replace(checkpoint)
    folder = settings.output / "model"
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    np.save(folder / READING_FILE, torch.cat([head.weight[0], head.bias]).detach().float().cpu().numpy())
    (settings.output / "history.json").write_text(json.dumps(history), encoding="utf-8")
    return folder


def main(argv: Sequence[str] | None = None) -> None:
    """Read the settings and tune."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = parse(Settings, argv)
    try:
        logger.info("%s", tune(settings))
    except (SettingsError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
