"""How much of each stage, and how many reranked questions, fit into the minutes."""

from __future__ import annotations

import logging
from typing import Any

from training.inputs import read_questions, read_scored
from training.recipes import budget
from training.reproduction.settings import STAGES, Settings

logger = logging.getLogger("training.reproduce")


def plan(settings: Settings) -> dict[str, Any]:
    """Step 1: how many steps each stage makes, and how many questions the closing table reranks.

    Returns:
        ``steps``: stage -> steps, None for all of its epochs; ``questions``; and the seconds that were measured.
    """
    if settings.max_minutes is None:
        given = settings.steps or (0, 0, 0)
        wanted_steps = {stage: count or None for stage, count in zip(STAGES, given, strict=True)}
        return {"steps": wanted_steps, "questions": settings.questions}
    pairs = read_scored(settings.data, seed=settings.seed, sample=settings.sample)
    questions = read_questions(settings.data, seed=settings.seed, sample=settings.sample)
    size, length = settings.batch_size, settings.reranker_length
    asked, passages = ([getattr(row, name) for row in questions.train[:size]] for name in ("question", "passage"))
    sides = {
        "sts": [[row.first for row in pairs.train[:size]], [row.second for row in pairs.train[:size]]],
        "mrc": [asked, passages],
        "cross_encoder": [list(zip(asked, passages, strict=True))],
    }
    speed = {
        stage: budget.measure(
            settings.reranker if stage == "cross_encoder" else settings.base_model,
            texts,
            settings.reranker_length if stage == "cross_encoder" else settings.max_length,
        )
        for stage, texts in sides.items()
    }
    contexts = len({row.passage for row in [*questions.train, *questions.test]})
    counts = {
        "sts": (4 * 0.9 * len(pairs.train), 2 * len(pairs.test) + 2 * 0.1 * len(pairs.train)),
        "mrc": (0.95 * len(questions.train), 6 * len(questions.test) + 8 * 0.05 * len(questions.train)),
        "cross_encoder": (1.9 * len(questions.train), 8 * len(questions.test) + 8 * 0.05 * len(questions.train)),
    }
    full = {stage: max(1, int(train / size)) for stage, (train, _) in counts.items()}
    # What has to be read anyway: tests before and after, held-out rows, all contexts twice.
    reading = sum(speed[stage].read * tests / size for stage, (_, tests) in counts.items())
    reading += 2 * speed["mrc"].read * contexts / size
    left = 60 * settings.max_minutes * budget.PLANNED - reading
    if left < reading:
        logger.warning(
            "Testing takes %.0f of %.0f minutes; a smaller model, --max-length or more minutes leave more for training",
            reading / 60,
            settings.max_minutes,
        )
    # Reranking in windows, over two corpora: passages are about this many windows.
    characters = sum(map(len, passages)) / max(1, len(passages))
    windows = max(1.0, 0.7 * characters / (length or 512))
    question = 2 * settings.fetch_k * windows * speed["cross_encoder"].read / size
    wanted = [speed[stage].train * full[stage] for stage in STAGES] + [question * settings.questions]
    seconds_of = budget.share_out(left, wanted, (0.3, 0.25, 0.2, 0.25))
    steps = {
        stage: min(full[stage], max(2, int(seconds / speed[stage].train)))
        for stage, seconds in zip(STAGES, seconds_of, strict=False)
    }
    asked_questions = min(settings.questions, len(questions.test), max(10, int(seconds_of[-1] / question)))
    return {
        "steps": {stage: None if steps[stage] >= full[stage] else steps[stage] for stage in STAGES},
        "questions": asked_questions,
        "seconds a step": {stage: round(speed[stage].train, 4) for stage in STAGES},
        "seconds for reading": round(reading, 1),
    }
