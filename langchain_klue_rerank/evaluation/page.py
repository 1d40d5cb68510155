"""The report of an evaluation for the browser: one file, without scripts and without anything from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.text.words import clean
from langchain_klue_rerank.evaluation.measure import Answers, Report
from langchain_klue_rerank.evaluation.metrics import METRICS, Bin, calibration_error, reliability
from langchain_klue_rerank.evaluation.sets import EvaluationSet

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.6 system-ui, "Apple SD Gothic Neo", "Malgun Gothic", sans-serif; margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem; word-break: keep-all; overflow-wrap: anywhere; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .3rem .5rem; text-align: left; overflow-wrap: normal; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n small { display: block; white-space: nowrap; } tr { border-bottom: 1px solid #8884; }
details { border-bottom: 1px solid #8884; padding: .4rem 0; } summary { cursor: pointer; }
svg { max-width: 26rem; width: 100%; } .right { color: #2a7d46; } .wrong { color: #b3372f; }
"""


def suggested_threshold(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Return the score that tells right first answers from wrong ones best, None if all are right or all wrong.

    It maximises the mean of two shares: of the right answers that reach it, and of the wrong ones that do not
    (Youden's index). It is chosen on the questions themselves; a score for questions without an answer should be chosen
    on such questions.

    Args:
        scores: (n,), the first answers' scores.
        right: (n,), whether each is right.
    """
    if right.all() or not right.any():
        return None
    levels = np.unique(scores)
    kept = np.array([(scores[right] >= level).mean() + (scores[~right] < level).mean() for level in levels])
    return float(levels[int(kept.argmax())])


def section(data: EvaluationSet, report: Report, answers: Answers) -> str:
    """Return a set's part of the report: the table, the reliability of scores, and every question that failed.

    Args:
        data: The set.
        report: Its table.
        answers: What came back in the last way of the table.
    """
    scores = np.array([one[0].metadata.get("relevance_score", 0.0) if one else 0.0 for one in answers.found])
    right = np.array([bool(one) and one[0].id in good for one, good in zip(answers.found, data.relevant, strict=True)])
    threshold = suggested_threshold(scores, right)
    way = report.rows[-1]
    name = f"{way.search_type}{', reranked' if way.reranked else ''}"
    parts = [
        f"<h2>{_safe(report.name)}</h2>",
        f"<p>{report.questions} questions over {report.passages} passages, indexed at "
        f"{report.passages_per_second:.0f} passages/s.</p>",
        _table(report),
        f"<h3>Scores of first answers ({name})</h3>",
        f"<p>{int(right.sum())} of {len(right)} first answers are right. Calibration error "
        f"{calibration_error(scores, right):.3f}. ",
    ]
    if threshold is None:
        parts.append("No threshold can be suggested: all first answers are right, or all are wrong.</p>")
    else:
        kept = float((scores[right] >= threshold).mean())
        dropped = float((scores[~right] < threshold).mean())
        parts.append(
            f"Suggested threshold <code>score_threshold={threshold:.3f}</code>: it keeps {kept:.0%} of the right first "
            f"answers and drops {dropped:.0%} of the wrong ones, on these questions.</p>"
        )
    parts += [_curve(reliability(scores, right)), f"<h3>Questions whose first answer is wrong ({name})</h3>"]
    failures = [number for number in np.argsort(-scores).tolist() if not right[number]]
    parts += [_failure(data, answers, number) for number in failures] or ["<p>None.</p>"]
    return "\n".join(parts)


def write(path: Path, sections: Sequence[str]) -> None:
    """Write the report, completely or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    body = "\n".join(sections)
    content = (
        '<!doctype html><html lang="ko"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width"><meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"style-src 'unsafe-inline'\"><title>klue-rerank evaluate</title><style>{_STYLE}</style></head><body>"
        f"<h1>klue-rerank evaluate</h1>\n{body}\n</body></html>\n"
    )
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(content, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _table(report: Report) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("way", *METRICS, "p", "ms/query"))
    rows = []
    for row in report.rows:
        cells = "".join(
            f"<td class=n>{row.values[name]:.3f} <small>({'{:.3f}-{:.3f}'.format(*row.intervals[name])})</small></td>"
            for name in METRICS
        )
        p_value = "" if row.p_value is None else f"{row.p_value:.4f}"
        way = f"{row.search_type}{' + reranked' if row.reranked else ''}"
        rows.append(f"<tr><td>{way}</td>{cells}<td class=n>{p_value}</td><td class=n>{row.milliseconds:.1f}</td></tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _curve(bins: Sequence[Bin]) -> str:
    """Draw how often first answers of a score are right: points on the diagonal are honest scores."""
    points = "".join(
        f'<circle cx="{30 + 250 * one.score:.1f}" cy="{280 - 250 * one.right:.1f}" '
        f'r="{3 + min(9, one.count**0.5):.1f}" fill="#3b6fb6" fill-opacity=".7">'
        f"<title>score {one.score:.2f}: {one.right:.0%} of {one.count} right</title></circle>"
        for one in bins
        if one.count
    )
    line = " ".join(f"{30 + 250 * one.score:.1f},{280 - 250 * one.right:.1f}" for one in bins if one.count)
    return (
        '<svg viewBox="0 0 300 310" role="img" aria-label="reliability curve"><path d="M30 30V280H280" fill="none" '
        'stroke="currentColor"/>'
        '<path d="M30 280L280 30" stroke="currentColor" stroke-dasharray="4" stroke-opacity=".5"/>'
        f'<polyline points="{line}" fill="none" stroke="#3b6fb6"/>{points}'
        '<g font-size="11" fill="currentColor"><text x="150" y="303" text-anchor="middle">score</text>'
        '<text x="30" y="295">0</text><text x="274" y="295">1</text>'
        '<text x="12" y="155" text-anchor="middle" transform="rotate(-90 12 155)">share that is right</text></g></svg>'
    )


def _failure(data: EvaluationSet, answers: Answers, number: int) -> str:
    found, relevant = answers.found[number], data.relevant[number]
    place = next((rank for rank, one in enumerate(found, 1) if one.id in relevant), None)
    where = f"right at {place}" if place else f"not among the first {len(found)}"
    lines = [
        f"<li class={'right' if one.id in relevant else 'wrong'}>{one.metadata.get('relevance_score', 0.0):.3f} "
        f"<b>{_safe(str(one.metadata.get('title') or one.id))}</b> {_safe(one.page_content[:200])}</li>"
        for one in found[:5]
    ]
    wanted = [
        f"<li class=right><b>{_safe(str(one.metadata.get('title') or one.id))}</b> {_safe(one.page_content[:300])}</li>"
        for one in data.documents
        if one.id in relevant
    ]
    return (
        f"<details><summary>{_safe(data.questions[number])} <small>({where})</small></summary><p>Found:</p>"
        f"<ol>{''.join(lines)}</ol><p>Wanted:</p><ul>{''.join(wanted)}</ul></details>"
    )


def _safe(text: str) -> str:
    return escape(clean(text))
