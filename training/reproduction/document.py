"""The report of a reproduction: its conclusion, its tables and pictures, in the reader's language."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from langchain_klue_rerank.evaluation.metrics import paired_p_value
from training.recipes import report, retrieval
from training.recipes.retrieval import Measured
from training.recipes.runs import Outcome
from training.reproduction.settings import STAGES, TUTORIAL, TUTORIAL_RETRIEVAL, Settings
from training.reproduction.words import WORDS, named
from training.settings import to_dict

#: A difference with a smaller p is taken for more than chance.
_CHANCE = 0.05
_ALL = "all contexts"
_MEAN = "mean of both scores"


@dataclass(frozen=True)
class Findings:
    """All that a reproduction found.

    Attributes:
        settings: What was asked for.
        planned: Steps of each stage and questions of the closing table.
        outcomes: Stage -> what it came to.
        untrained: Metrics of a model with random weights on stage 1's test.
        exact: The closing table measured as the tutorial does; empty with our protocol.
        rows: The closing table measured our way.
    """

    settings: Settings
    planned: dict[str, Any]
    outcomes: dict[str, Outcome]
    untrained: dict[str, float]
    exact: list[Measured]
    rows: list[Measured]


def write(found: Findings) -> None:
    """Write the report into the folder ``report`` of the run."""
    settings = found.settings
    words = WORDS[settings.language]
    picture = settings.output / "retrieval" / "hit_rates.png"
    report.draw_hit_rates(found.rows, picture)  # in English: not every machine has Hangul for pictures
    first = found.outcomes["sts"]
    blocks: list[report.Block] = [
        report.Heading(words["title"], level=1),
        report.Paragraph(
            words["made_of"].format(
                base=settings.base_model,
                reranker=settings.reranker,
                data=settings.data,
                precision=first.precision,
                device=first.device,
            )
        ),
        report.Paragraph(words["orientation"]),
    ]
    if reduced := _reduced(found):
        blocks.append(report.Paragraph(words["reduced"].format(what=", ".join(reduced))))
    blocks += [report.Heading(words["conclusion"]), *map(report.Paragraph, conclusion(found))]
    if found.exact:
        blocks += [report.Heading(words["beside"]), beside(found)]
        blocks.append(
            report.Paragraph(
                words["beside_text"].format(
                    count=len(found.exact[0].ranks), fetch=settings.fetch_k, kept=retrieval.DEPTH
                )
            )
        )
    blocks += [report.Heading(words["stages"]), stage_table(found), report.Paragraph(words["stage_text"])]
    blocks += _retrieval(found, picture)
    blocks += _rows(found)
    blocks += _training(found)
    blocks += _models(found)
    blocks += [
        report.Heading(words["settings"]),
        _table(words["settings_head"], ([name, str(value)] for name, value in to_dict(settings).items())),
        _table(words["plan_head"], ([name, json.dumps(value)] for name, value in found.planned.items())),
        report.Heading(words["machine"]),
        report.Table(["", ""], [[words.get(f"machine_{name}", name), value] for name, value in report.machine()]),
    ]
    report.write(blocks, settings.output / "report", settings.language)


def conclusion(found: Findings) -> list[str]:
    """Say what reranking bought and what it cost: as the tutorial measures, and over all contexts."""
    words, language = WORDS[found.settings.language], found.settings.language
    said = []
    if found.exact:
        said.append(_effect(found, words["tutorial_protocol"], found.exact[1], found.exact[2], found.exact[1]))
    plain = {row.corpus: row for row in found.rows if retrieval.NOT_RERANKED in row.system}
    timed = {row.corpus: row for row in found.rows if row.system == "fine-tuned (stage 2)"}
    for row in found.rows:
        if _MEAN in row.system and row.corpus == _last_corpus(found):
            name = words["our_protocol"].format(corpus=named(row.corpus, language))
            said.append(_effect(found, name, plain[row.corpus], row, timed[row.corpus]))
    return said


def _effect(found: Findings, protocol: str, plain: Measured, reranked: Measured, timed: Measured) -> str:
    words = WORDS[found.settings.language]
    means = {
        f"{name}{k}": float(row.hits(k).mean())
        for name, row in (("before", plain), ("after", reranked))
        for k in (1, 10)
    }
    differences = {f"difference{k}": retrieval.difference(reranked, plain, k) for k in (1, 10)}
    said = [
        words["effect"].format(
            protocol=protocol,
            count=len(reranked.ranks),
            passages=reranked.passages,
            fetch=found.settings.fetch_k,
            **means,
            **differences,
        )
    ]
    for k in (10, 1):
        gained = means[f"after{k}"] - means[f"before{k}"]
        by_chance = paired_p_value(reranked.hits(k), plain.hits(k)) >= _CHANCE
        said.append(words["chance" if by_chance else "gain" if gained > 0 else "loss"].format(k=k))
    if (before := _milliseconds(timed)) and (after := _milliseconds(reranked)):
        said.append(words["cost"].format(before=before, after=after, ratio=after / before))
    return " ".join(said)


def beside(found: Findings) -> report.Table:
    """Return every figure of the tutorial beside ours, in one row each."""
    words, fetch = WORDS[found.settings.language], found.settings.fetch_k
    lines = []
    for stage, outcome in found.outcomes.items():
        for number, metric in enumerate(("pearson", "spearman")):
            for when, known, scores in zip(
                ("before", "after"), TUTORIAL[stage], (outcome.before, outcome.after), strict=True
            ):
                name = f"{words[stage]}: {metric.title()}, {words[when]}"
                lines.append([name, f"{known[number]:.4f}", f"{scores[metric]:.4f}", ""])
    better = _better(found)
    for row in found.exact:
        known_rate, _ = TUTORIAL_RETRIEVAL[row.system]
        name = f"{words[row.system].format(fetch=fetch)}: HitRate@10"
        own = better.get(row.system)
        value = "" if own is None else _of_questions(found, own, retrieval.with_interval(own.hits(10)))
        lines.append([name, f"{known_rate:.3f}", f"{row.hits(10).mean():.3f}", value])
    for row in found.exact:
        name = f"{words[row.system].format(fetch=fetch)}: {words['seconds']}"
        own = better.get(row.system)
        value = "" if own is None or own.seconds is None else _of_questions(found, own, f"{own.seconds:.2f}")
        lines.append([name, f"{TUTORIAL_RETRIEVAL[row.system][1]:.2f}", f"{row.seconds:.2f}", value])
    known_seconds = [seconds for _, seconds in TUTORIAL_RETRIEVAL.values()]
    ratio = (found.exact[2].seconds or 0.0) / max(found.exact[1].seconds or 0.0, 1e-9)
    own_ratio = ""
    if len(better) == 3:
        own_ratio = f"{(_milliseconds(better['reranked']) or 0) / (_milliseconds(better['fine_tuned']) or 1):.1f}"
    lines.append([words["ratio"], f"{known_seconds[2] / known_seconds[1]:.1f}", f"{ratio:.1f}", own_ratio])
    return report.Table([words["figure"], words["tutorial"], words["here"], words["ours"]], lines)


def stage_table(found: Findings) -> report.Table:
    """Return the stages' figures beside the tutorial's."""
    words = WORDS[found.settings.language]
    lines = []
    for stage, outcome in found.outcomes.items():
        for number, metric in enumerate(("pearson", "spearman")):
            known = [f"{figures[number]:.4f}" for figures in TUTORIAL[stage]]
            here = [f"{scores[metric]:.4f}" for scores in (outcome.before, outcome.after)]
            random = f"{found.untrained[metric]:.4f}" if stage == "sts" else ""
            lines.append([words[stage], metric.title(), *known, *here, random, f"{outcome.seconds / 60:.1f}"])
        for metric in sorted(set(outcome.after) - {"pearson", "spearman"}):
            here = [f"{scores[metric]:.4f}" for scores in (outcome.before, outcome.after)]
            name = f"{metric.replace('hard_', '').title()}, {words['hard']}"
            lines.append([words[stage], name, "", "", *here, "", ""])
    return _table(words["stage_head"], lines)


def _retrieval(found: Findings, picture: Path) -> list[report.Block]:
    words, language = WORDS[found.settings.language], found.settings.language
    plain = {row.corpus: row for row in found.rows if retrieval.NOT_RERANKED in row.system}
    gains = [
        [named(row.corpus, language), named(row.system, language)]
        + [retrieval.difference(row, plain[row.corpus], k) for k in (1, 10)]
        for row in found.rows
        if "reranked" in row.system and row is not plain[row.corpus]
    ]
    lines = [[*(named(cell, language) for cell in line[:2]), *line[2:]] for line in retrieval.table(found.rows)]
    blocks: list[report.Block] = [
        report.Heading(words["retrieval"]),
        report.Paragraph(words["retrieval_text"]),
        _table(words["retrieval_head"], lines),
        report.Picture(picture, "hit_rates.png", words["picture"]),
    ]
    if gains:
        blocks += [report.Heading(words["adds"], level=3), _table(words["adds_head"], gains)]
        blocks.append(report.Paragraph(words["adds_text"]))
    if not found.exact:
        closing = [
            [words[name].format(fetch=30), f"{rate:.3f}", f"{seconds:.2f}"]
            for name, (rate, seconds) in TUTORIAL_RETRIEVAL.items()
        ]
        blocks += [report.Heading(words["closing"], level=3), _table(words["closing_head"], closing)]
    return blocks


def _rows(found: Findings) -> list[report.Block]:
    words = WORDS[found.settings.language]
    lines = [
        [words[stage], *(f"{outcome.rows.get(part, 0):,}" for part in ("train", "held_out", "test"))]
        for stage, outcome in found.outcomes.items()
    ]
    notes = dict.fromkeys(
        f"{words[stage]}: {words[name].format(f'{count:,}')}"
        for stage, outcome in found.outcomes.items()
        for name, count in outcome.counts.items()
    )
    return [
        report.Heading(words["rows"]),
        _table(words["rows_head"], lines),
        report.Paragraph(words["rows_text"]),
        *map(report.Paragraph, notes),
    ]


def _training(found: Findings) -> list[report.Block]:
    words = WORDS[found.settings.language]
    steps = [
        [words[stage], f"{outcome.steps:,}", str(outcome.effective_batch), f"{outcome.precision}, {outcome.device}"]
        for stage, outcome in found.outcomes.items()
    ]
    curves = {stage: outcome.model.parent / "training.png" for stage, outcome in found.outcomes.items()}
    return [
        report.Heading(words["training"]),
        _table(words["training_head"], steps),
        *[report.Picture(curve, f"{stage}.png", words[stage]) for stage, curve in curves.items() if curve.exists()],
        report.Paragraph(words["training_text"]),
    ]


def _models(found: Findings) -> list[report.Block]:
    """Where the models lie, how to load them and how to upload them."""
    settings = found.settings
    words = WORDS[settings.language]
    lines = []
    for stage, outcome in found.outcomes.items():
        place = settings.repository(stage) if settings.push_to_hub else words["not_uploaded"]
        lines.append([words[stage], str(outcome.model), place])
    bi_encoder, cross_encoder = (str(found.outcomes[stage].model) for stage in STAGES[1:])
    load = (
        "from langchain_klue_rerank import KlueEmbeddings, KlueReranker, KlueRetriever\n\n"
        "retriever = KlueRetriever.from_documents(\n    documents,\n"
        f'    embeddings=KlueEmbeddings(model="{bi_encoder}"),\n    reranker=KlueReranker(model="{cross_encoder}"),\n)'
    )
    return [
        report.Heading(words["models"]),
        _table(words["models_head"], lines),
        report.Paragraph(words["load"]),
        report.Code(load, "python"),
        report.Paragraph(words["upload"]),
        report.Code(f"{command(settings)} --resume --push-to-hub NAME", "sh"),
    ]


def command(settings: Settings) -> str:
    """Return the command line with the settings that are not the default."""
    given = ["python", "-m", "training.reproduce"]
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value == field.default or field.name in ("resume", "push_to_hub", "private"):
            continue
        values = value if isinstance(value, tuple) else (value,)
        given += [f"--{field.name.replace('_', '-')}", *map(str, values)]
    return shlex.join(given)


def _reduced(found: Findings) -> list[str]:
    """What makes the run another one than the tutorial's; nothing with our protocol, which is another one anyway."""
    own, known = found.settings, Settings()
    if own.protocol != "tutorial":
        return []
    words = WORDS[own.language]
    names = [
        *("base_model", "data", "batch_size", "learning_rate", "reranker_learning_rate", "sts_epochs"),
        *("max_length", "reranker_max_length", "fetch_k", "sample"),
    ]
    values = {name: getattr(own, name) for name in names}
    changed = [f"--{name.replace('_', '-')} {value}" for name, value in values.items() if value != getattr(known, name)]
    for precision in dict.fromkeys(outcome.precision for outcome in found.outcomes.values()):
        if precision != "float32":
            changed.append(precision)
    for stage, count in found.planned["steps"].items():
        if count is not None:
            changed.append(words["reduced_steps"].format(stage=words[stage], count=count))
    if found.exact and (asked := len(found.exact[0].ranks)) != known.questions:
        changed.append(words["reduced_questions"].format(count=asked))
    return changed


def _better(found: Findings) -> dict[str, Measured]:
    """Our way over all contexts: the row that answers each row of the tutorial's table."""
    systems = {"base": "base (stage 1)", "fine_tuned": "fine-tuned (stage 2)"}
    rows = [row for row in found.rows if row.corpus == _last_corpus(found)]
    kept = {name: row for name, system in systems.items() for row in rows if row.system == system}
    reranked = next((row for row in rows if _MEAN in row.system), None)
    return kept if reranked is None else kept | {"reranked": reranked}


def _last_corpus(found: Findings) -> str:
    """The largest corpus that was searched our way."""
    corpora = [row.corpus for row in found.rows]
    return _ALL if _ALL in corpora else corpora[-1]


def _of_questions(found: Findings, row: Measured, value: str) -> str:
    if len(row.ranks) == len(found.exact[0].ranks):
        return value
    return WORDS[found.settings.language]["of_questions"].format(value=value, count=len(row.ranks))


def _milliseconds(row: Measured) -> float | None:
    return None if row.seconds is None else 1000 * row.seconds / max(1, len(row.ranks))


def _table(head: str, lines: Iterable[list[str]]) -> report.Table:
    return report.Table(head.split("|"), list(lines))
