r"""Reproduce the tutorial from nothing: three stages, the closing table, and a report.

    python -m training.reproduce --protocol tutorial          # KLUE and klue/roberta from the hub, on a GPU
    python -m training.reproduce --data ../shared/data --base-model FOLDER --learning-rate 3e-4 \
        --max-length 128 --max-minutes 20                     # what is there, on two cores

With ``--protocol tutorial`` the stages and the closing table are those of the tutorial, row by row, and its figures and
ours stand side by side; the better way to measure stands below, marked as ours.

Steps: 1. plan how much of each stage fits into the minutes; 2. stage 1, sentence pairs; 3. stage 2, questions and
passages; 4. stage 3, cross-encoder; 5. retrieval: stage 1's bi-encoder, stage 2's, and reranked; 6. the report,
``output/report/report.html`` and ``report.md``. An interrupted run goes on with ``--resume``: finished parts are read
from their files, and the plan of the first start is kept, so that the figures are those of a run without interruption.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

from transformers import AutoConfig, AutoModel, AutoTokenizer, set_seed

from langchain_klue_rerank import KlueEmbeddings, KlueReranker
from langchain_klue_rerank.errors import KlueRerankError
from training.files import write_json
from training.folders import open_folder
from training.inputs import DataError, read_questions, read_scored
from training.recipes import cross_encoder, mrc, retrieval, sts
from training.recipes.cards import check_upload, push
from training.recipes.evaluate import Correlations, Pairs
from training.recipes.fitting import load_model
from training.recipes.runs import Outcome
from training.reproduction import document, tutorial
from training.reproduction.plan import plan
from training.reproduction.settings import STAGES, Settings
from training.settings import SettingsError, parse

logger = logging.getLogger("training.reproduce")


def run_stage(stage: str, settings: Settings, steps: int | None) -> Outcome:
    """Steps 2 to 4: run a stage, go on with it, or read what it came to."""
    folder = settings.output / stage
    recipe: Any = {"sts": sts, "mrc": mrc, "cross_encoder": cross_encoder}[stage]
    base = {
        "sts": settings.base_model,
        "mrc": str(settings.output / "sts" / "model"),
        "cross_encoder": settings.reranker,
    }[stage]
    exact: dict[str, Any] = {"protocol": settings.protocol}
    if settings.protocol == "tutorial":
        exact |= {"evaluation_steps": 1000} if stage == "sts" else {"held_out": 0.0, "evaluations": 10}
    elif stage != "sts":
        exact["evaluations"] = 2
    rate, length = settings.learning_rate, settings.max_length
    if stage == "sts":
        exact["epochs"] = settings.sts_epochs
    elif stage == "cross_encoder":
        rate, length = settings.reranker_learning_rate or rate, settings.reranker_length
    chosen = recipe.Settings(
        data=settings.data,
        base_model=base,
        output=folder,
        batch_size=settings.batch_size,
        learning_rate=rate,
        warmup_steps=100 if steps is None else min(100, max(1, steps // 8)),
        max_length=length,
        seed=settings.seed,
        sample=settings.sample,
        max_steps=steps,
        precision=settings.computed_in,
        resume=settings.resume,
        **exact,
    )
    outcome: Outcome = recipe.train(chosen)
    return outcome


def untrained_scores(settings: Settings) -> dict[str, float]:
    """Return what a model of the base's size with random weights reaches on stage 1's test."""
    path = settings.output / "untrained.json"
    if not path.exists():
        folder = settings.output / "untrained"
        set_seed(settings.seed)
        AutoModel.from_config(AutoConfig.from_pretrained(settings.base_model)).save_pretrained(folder)
        AutoTokenizer.from_pretrained(settings.base_model).save_pretrained(folder)
        model = load_model("SentenceTransformer", str(folder), settings.max_length)
        rows = read_scored(settings.data, seed=settings.seed, sample=settings.sample).test
        pairs = Pairs([r.first for r in rows], [r.second for r in rows], [r.label for r in rows])
        write_json(path, Correlations({"": pairs})(model))
    scores: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return scores


def measure_tutorial(settings: Settings, outcomes: dict[str, Outcome]) -> list[retrieval.Measured]:
    """Step 5: the closing table, as the tutorial measures it; each row of it is kept as a file."""
    rows = read_questions(settings.data, seed=settings.seed, sample=settings.sample, as_given=True).test
    chosen = [rows[place] for place in tutorial.choose_rows(len(rows), settings.questions, settings.seed)]
    models = tutorial.Models(*(str(outcomes[stage].model) for stage in STAGES))
    found = []
    for part in ("base", "fine_tuned", "reranked"):
        path = settings.output / "retrieval" / f"tutorial_{part}.json"
        if not path.exists():
            lengths = (settings.max_length, settings.reranker_length)
            measured = tutorial.measure(part, chosen, models, settings.fetch_k, lengths, settings.computed_in)
            retrieval.save([measured], path)
        found += retrieval.load(path)
    return found


def measure_retrieval(settings: Settings, outcomes: dict[str, Outcome], questions: int) -> list[retrieval.Measured]:
    """Step 5: the closing table, measured our way; each part of it is kept as a file."""
    folder = settings.output / "retrieval"
    corpora = retrieval.read_corpora(settings.data, settings.questions, settings.seed, settings.sample)
    drawn = [retrieval.draw(corpus, questions, settings.seed) for corpus in corpora]
    options: Any = {"encode_kwargs": {"max_length": settings.max_length, "batch_size": 32}}
    base = KlueEmbeddings(model=str(outcomes["sts"].model), **options)
    tuned = KlueEmbeddings(model=str(outcomes["mrc"].model), **options)
    options = {"encode_kwargs": {"max_length": settings.reranker_length, "batch_size": 32}}
    reranker = KlueReranker(model=str(outcomes["cross_encoder"].model), **options)
    parts = {
        "lexical": lambda: [retrieval.lexical(corpus) for corpus in corpora],
        "base": lambda: retrieval.dense(corpora, "base (stage 1)", base, None, settings.fetch_k),
        "fine_tuned": lambda: retrieval.dense(corpora, "fine-tuned (stage 2)", tuned, None, settings.fetch_k),
        "reranked": lambda: retrieval.dense(drawn, "fine-tuned (stage 2)", tuned, reranker, settings.fetch_k),
    }
    rows = []
    for name, make in parts.items():
        if not questions and name != "lexical":
            continue
        path = folder / f"{name}.json"
        if not path.exists():
            retrieval.save(make(), path)
        rows += retrieval.load(path)
    return sorted(rows, key=lambda row: row.corpus, reverse=True)


def reproduce(settings: Settings) -> list[retrieval.Measured]:
    """Run everything that is not done yet and write the report.

    Returns:
        The rows of the closing table: the tutorial's, if asked for, then ours.

    Raises:
        SettingsError: If the output folder holds another run.
        DataError: If the data is missing or of the wrong shape.
    """
    began = time.perf_counter()
    if settings.push_to_hub:
        for stage in STAGES:
            check_upload(settings.repository(stage))
    if settings.protocol == "tutorial":
        tutorial.check_faiss()
    open_folder(settings, free=("output", "resume", "max_minutes", "push_to_hub", "private", "language"))
    plan_file = settings.output / "plan.json"
    if not plan_file.exists():
        write_json(plan_file, plan(settings))
    planned = json.loads(plan_file.read_text(encoding="utf-8"))
    logger.info("Plan: %s", planned)
    outcomes = {}
    for stage in STAGES:
        # A stage that has not begun starts afresh in a resumed run, too.
        own = dataclasses.replace(settings, resume=(settings.output / stage).exists())
        outcomes[stage] = run_stage(stage, own, planned["steps"][stage])
    untrained = untrained_scores(settings)
    exact = measure_tutorial(settings, outcomes) if settings.protocol == "tutorial" else []
    wanted = planned["questions"] if settings.ours_questions is None else settings.ours_questions
    asked = min(planned["questions"], wanted)
    rows = measure_retrieval(settings, outcomes, asked)
    document.write(document.Findings(settings, planned, outcomes, untrained, exact, rows))
    if settings.push_to_hub:
        for stage, outcome in outcomes.items():
            push(outcome.model, settings.repository(stage), settings.private)
    logger.info("Report in %s after %.1f minutes", settings.output / "report", (time.perf_counter() - began) / 60)
    return [*exact, *rows]


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("training").setLevel(logging.INFO)
    settings = parse(Settings, argv)
    try:
        rows = reproduce(settings)
    except (SettingsError, DataError, KlueRerankError) as error:
        sys.exit(f"error: {error}")
    print(retrieval.markdown(retrieval.HEAD, retrieval.table(rows)))


if __name__ == "__main__":
    main()
