r"""Reproduce the tutorial from nothing: three stages, the closing table, and a report.

    python -m training.reproduce                              # KLUE and klue/roberta from the hub, on a GPU
    python -m training.reproduce --data ../shared/data --base-model FOLDER --learning-rate 3e-4 \
        --max-length 128 --max-minutes 20                     # what is there, on two cores

Steps: 1. plan how much of each stage fits into the minutes; 2. stage 1, sentence pairs; 3. stage 2, questions and
passages; 4. stage 3, cross-encoder; 5. retrieval: stage 1's bi-encoder, stage 2's, and reranked; 6. the report,
``output/report/report.html`` and ``report.md``. An interrupted run goes on with ``--resume``: finished parts are read
from their files, and the plan of the first start is kept, so that the figures are those of a run without interruption.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import AutoConfig, AutoModel, AutoTokenizer, set_seed

from langchain_klue_rerank.errors import KlueRerankError
from training.folders import open_folder
from training.inputs import DataError, read_questions, read_scored
from training.recipes import budget, cross_encoder, mrc, report, retrieval, sts
from training.recipes.cards import check_upload, push
from training.recipes.evaluate import Correlations, Pairs
from training.recipes.fitting import load_model
from training.recipes.runs import Outcome, write_json
from training.settings import SettingsError, parse, require_positive, to_dict

logger = logging.getLogger("training.reproduce")

STAGES = ("sts", "mrc", "cross_encoder")
_TITLES = {
    "sts": "1, sentence pairs (KLUE-STS)",
    "mrc": "2, questions and passages (KLUE-MRC), bi-encoder",
    "cross_encoder": "3, questions and passages (KLUE-MRC), cross-encoder",
}
_REPOSITORIES = {"sts": "klue-sts", "mrc": "klue-sts-mrc", "cross_encoder": "klue-mrc-cross-encoder"}
#: The tutorial's figures: (Pearson, Spearman) before and after each stage, on all of KLUE, with klue/roberta.
TUTORIAL = {
    "sts": ((0.3477, 0.3556), (0.8905, 0.8906)),
    "mrc": ((0.8061, 0.8163), (0.9124, 0.8598)),
    "cross_encoder": ((-0.0117, -0.0120), (0.9830, 0.8650)),
}
#: The tutorial's closing table: 1,000 questions over their own contexts.
TUTORIAL_RETRIEVAL = [
    ["base (stage 1)", "0.875", "3.87"],
    ["fine-tuned (stage 2)", "0.951", "3.53"],
    ["fine-tuned, top 30 reranked", "0.977", "72.47"],
]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is reproduced; the defaults are the tutorial's.

    Attributes:
        data: The word hub, or a data folder with klue_sts and klue_mrc in it.
        base_model: Language model of the bi-encoder: a folder or a hub id.
        reranker_base: Language model of the cross-encoder; none for klue/roberta-small, or for the folder of
            --base-model if that is one.
        output: Folder of everything.
        batch_size: Of all stages.
        learning_rate: Of all stages; small models learn faster, 3e-4 say.
        max_length: Longest input in tokens, in training and in search; none for all that the models can read.
        questions: Questions of the closing table; fewer are reranked if the time does not suffice.
        fetch_k: Candidates that are reranked.
        seed: Of everything random.
        sample: At most so many rows of each part, for trying it out.
        max_minutes: Time for everything; none for all of the tutorial's epochs.
        precision: Of training: auto (bfloat16 where a GPU has it, else float16, on a CPU float32), bf16, fp16 or fp32.
        resume: Go on with the run in --output; a finished one is uploaded if --push-to-hub is given.
        push_to_hub: User or organisation to which the three models are uploaded when all is done.
        private: Make the repositories private, if they are made.
    """

    data: str = "hub"
    base_model: str = "klue/roberta-base"
    reranker_base: str | None = None
    output: Path = Path("runs/reproduce")
    batch_size: int = 16
    learning_rate: float = 2e-5
    max_length: int | None = None
    questions: int = 1000
    fetch_k: int = 30
    seed: int = 42
    sample: int | None = None
    max_minutes: float | None = None
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    resume: bool = False
    push_to_hub: str | None = None
    private: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.push_to_hub is not None and not re.fullmatch(r"[\w.-]+", self.push_to_hub):
            raise SettingsError(f"--push-to-hub {self.push_to_hub}: give the user or organisation, without a slash")
        require_positive(self, "batch_size", "learning_rate", "max_length", "questions", "fetch_k", "sample")
        require_positive(self, "max_minutes")

    def repository(self, stage: str) -> str:
        """Return the name under which a stage's model is uploaded."""
        base = (self.reranker if stage == "cross_encoder" else self.base_model).rstrip("/").replace("/", "-")
        return f"{self.push_to_hub}/{Path(base).name}-{_REPOSITORIES[stage]}"

    @property
    def reranker(self) -> str:
        """Language model of the cross-encoder."""
        if self.reranker_base is not None:
            return self.reranker_base
        return "klue/roberta-small" if self.base_model == "klue/roberta-base" else self.base_model


def plan(settings: Settings) -> dict[str, Any]:
    """Step 1: how many steps each stage makes, and how many questions the closing table reranks.

    Returns:
        ``steps``: stage -> steps, None for all of its epochs; ``questions``; and the seconds that were measured.
    """
    if settings.max_minutes is None:
        return {"steps": dict.fromkeys(STAGES), "questions": settings.questions}
    pairs = read_scored(settings.data, seed=settings.seed, sample=settings.sample)
    questions = read_questions(settings.data, seed=settings.seed, sample=settings.sample)
    size, length = settings.batch_size, settings.max_length
    asked, passages = ([getattr(row, name) for row in questions.train[:size]] for name in ("question", "passage"))
    sides = {
        "sts": [[row.first for row in pairs.train[:size]], [row.second for row in pairs.train[:size]]],
        "mrc": [asked, passages],
        "cross_encoder": [list(zip(asked, passages, strict=True))],
    }
    speed = {
        stage: budget.measure(settings.reranker if stage == "cross_encoder" else settings.base_model, texts, length)
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
    given = budget.share_out(left, wanted, (0.3, 0.25, 0.2, 0.25))
    steps = {
        stage: min(full[stage], max(2, int(seconds / speed[stage].train)))
        for stage, seconds in zip(STAGES, given, strict=False)
    }
    asked_questions = min(settings.questions, len(questions.test), max(10, int(given[-1] / question)))
    return {
        "steps": {stage: None if steps[stage] >= full[stage] else steps[stage] for stage in STAGES},
        "questions": asked_questions,
        "seconds a step": {stage: round(speed[stage].train, 4) for stage in STAGES},
        "seconds for reading": round(reading, 1),
    }


def run_stage(stage: str, settings: Settings, steps: int | None) -> Outcome:
    """Steps 2 to 4: run a stage, go on with it, or read what it came to."""
    folder = settings.output / stage
    recipe: Any = {"sts": sts, "mrc": mrc, "cross_encoder": cross_encoder}[stage]
    base = {
        "sts": settings.base_model,
        "mrc": str(settings.output / "sts" / "model"),
        "cross_encoder": settings.reranker,
    }[stage]
    chosen = recipe.Settings(
        data=settings.data,
        base_model=base,
        output=folder,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=100 if steps is None else min(100, max(1, steps // 10)),
        evaluations=1 if stage == "sts" else 2,
        max_length=settings.max_length,
        seed=settings.seed,
        sample=settings.sample,
        max_steps=steps,
        precision=settings.precision,
        resume=settings.resume,
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


def measure_retrieval(settings: Settings, outcomes: dict[str, Outcome], questions: int) -> list[retrieval.Measured]:
    """Step 5: the closing table; each part of it is kept as a file."""
    folder = settings.output / "retrieval"
    corpora = retrieval.read_corpora(settings.data, settings.questions, settings.seed)
    drawn = [retrieval.draw(corpus, questions, settings.seed) for corpus in corpora]
    options: Any = {"encode_kwargs": {"max_length": settings.max_length, "batch_size": 32}}
    base = retrieval.KlueEmbeddings(model=str(outcomes["sts"].model), **options)
    tuned = retrieval.KlueEmbeddings(model=str(outcomes["mrc"].model), **options)
    reranker = retrieval.KlueReranker(model=str(outcomes["cross_encoder"].model), **options)
    parts = {
        "lexical": lambda: [retrieval.lexical(corpus) for corpus in corpora],
        "base": lambda: retrieval.dense(corpora, "base (stage 1)", base, None, settings.fetch_k),
        "fine_tuned": lambda: retrieval.dense(corpora, "fine-tuned (stage 2)", tuned, None, settings.fetch_k),
        "reranked": lambda: retrieval.dense(drawn, "fine-tuned (stage 2)", tuned, reranker, settings.fetch_k),
    }
    rows = []
    for name, make in parts.items():
        path = folder / f"{name}.json"
        if not path.exists():
            retrieval.save(make(), path)
        rows += retrieval.load(path)
    return sorted(rows, key=lambda row: row.corpus, reverse=True)


def stage_table(outcomes: dict[str, Outcome], untrained: dict[str, float]) -> report.Table:
    """Return the stages' figures beside the tutorial's."""
    head = ["stage", "metric", "tutorial: before", "after", "here: before", "after", "untrained model", "minutes"]
    lines = []
    for stage, outcome in outcomes.items():
        for number, metric in enumerate(("pearson", "spearman")):
            known = [f"{figures[number]:.4f}" for figures in TUTORIAL[stage]]
            here = [f"{scores[metric]:.4f}" for scores in (outcome.before, outcome.after)]
            random = f"{untrained[metric]:.4f}" if stage == "sts" else ""
            lines.append([_TITLES[stage], metric.title(), *known, *here, random, f"{outcome.seconds / 60:.1f}"])
        for metric in sorted(set(outcome.after) - {"pearson", "spearman"}):
            here = [f"{scores[metric]:.4f}" for scores in (outcome.before, outcome.after)]
            name = metric.replace("hard_", "").title() + ", hard wrong passages"
            lines.append([_TITLES[stage], name, "", "", *here, "", ""])
    return report.Table(head, lines)


def write_report(
    settings: Settings,
    planned: dict[str, Any],
    outcomes: dict[str, Outcome],
    untrained: dict[str, float],
    rows: list[retrieval.Measured],
) -> None:
    """Step 6."""
    picture = settings.output / "retrieval" / "hit_rates.png"
    report.draw_hit_rates(rows, picture)
    steps = [
        [_TITLES[stage], f"{outcome.steps:,}", str(outcome.effective_batch), f"{outcome.precision}, {outcome.device}"]
        for stage, outcome in outcomes.items()
    ]
    plain = {row.corpus: row for row in rows if retrieval.NOT_RERANKED in row.system}
    gains = [
        [row.corpus, row.system, *(retrieval.difference(row, plain[row.corpus], k) for k in (1, 10))]
        for row in rows
        if "reranked" in row.system and row is not plain[row.corpus]
    ]
    blocks: list[report.Block] = [
        report.Heading("Two-stage Korean retrieval, reproduced", level=1),
        report.Paragraph(
            f"Bi-encoder from {settings.base_model}, cross-encoder from {settings.reranker}; data: {settings.data}. "
            "The tutorial's figures are of klue/roberta-base and -small on all of KLUE and a GPU; where model or data "
            "differ, they stand here for orientation. No figure on a part of KLUE-MRC is an official score."
        ),
        report.Heading("Stages"),
        stage_table(outcomes, untrained),
        report.Paragraph(
            "Correlation with the labels of test pairs: stage 1 on sentence pairs, stages 2 and 3 on questions with "
            "their passage (1) and a wrong one (0), a random one of another title or, for the hard ones, the best that "
            "BM25 finds without the answer in it. The untrained model has the base model's size and random weights."
        ),
        report.Heading("Retrieval"),
        report.Paragraph(
            "95% bootstrap intervals. Own contexts is the tutorial's protocol, all contexts the honest one. Where time "
            "is short, fewer questions are reranked; the same ones not reranked stand beside them. Seconds are for all "
            "questions of the row; indexing is not in them."
        ),
        report.Table(retrieval.HEAD, retrieval.table(rows)),
        report.Picture(picture, "hit_rates.png", "HitRate at 1 and at 10 with 95% intervals"),
        report.Heading("What reranking adds", level=3),
        report.Table(["corpus", "search", "HitRate@1, difference", "HitRate@10, difference"], gains),
        report.Paragraph("Against the same bi-encoder without reranking, question by question; p of a paired test."),
        report.Heading("The tutorial's closing table", level=3),
        report.Table(["1,000 questions, own contexts", "HitRate@10", "seconds"], TUTORIAL_RETRIEVAL),
        report.Heading("Training"),
        report.Table(["stage", "steps", "rows a step", "computed in, on"], steps),
        *[
            report.Picture(curve, f"{stage}.png", f"Stage {_TITLES[stage]}")
            for stage, outcome in outcomes.items()
            if (curve := outcome.model.parent / "training.png").exists()
        ],
        report.Paragraph(
            "With a time limit the number of steps was planned at the first start from measured speed, and kept: a "
            "run that is interrupted and resumed makes the same steps on the same data. On one machine with the same "
            "number of threads its scores are the same; times are not, and another machine's plan is another one."
        ),
        report.Heading("Settings"),
        report.Table(["setting", "value"], [[name, str(value)] for name, value in to_dict(settings).items()]),
        report.Table(["plan", "value"], [[name, json.dumps(value)] for name, value in planned.items()]),
        report.Heading("Machine and versions"),
        report.Table(["", ""], report.machine()),
    ]
    report.write(blocks, settings.output / "report")


def reproduce(settings: Settings) -> list[retrieval.Measured]:
    """Run everything that is not done yet and write the report.

    Returns:
        The rows of the closing table.

    Raises:
        SettingsError: If the output folder holds another run.
        DataError: If the data is missing or of the wrong shape.
    """
    began = time.perf_counter()
    if settings.push_to_hub:
        for stage in STAGES:
            check_upload(settings.repository(stage))
    open_folder(settings, free=("output", "resume", "max_minutes", "push_to_hub", "private"))
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
    rows = measure_retrieval(settings, outcomes, planned["questions"])
    write_report(settings, planned, outcomes, untrained, rows)
    if settings.push_to_hub:
        for stage, outcome in outcomes.items():
            push(outcome.model, settings.repository(stage), settings.private)
    logger.info("Report in %s after %.1f minutes", settings.output / "report", (time.perf_counter() - began) / 60)
    return rows


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
