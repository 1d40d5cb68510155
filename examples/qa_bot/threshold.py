"""How often the bot errs with its two confidences: ``python -m examples.qa_bot.threshold``.

On `sample_files` with the questions of the set ``choose``, and on the package's samples, whose plain
questions they answer, and on the questions of the set ``check``, which they do not. Prints how many questions either
error hits: an answer that is in the files but refused, and a question that the files do not answer but that is answered
all the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from examples.qa_bot.bot import answering
from examples.qa_bot.settings import CONFIDENCE, SURE_CONFIDENCE
from examples.qa_bot.shelf import Shelf
from langchain_klue_rerank.evaluation.sets import SAMPLES

HERE = Path(__file__).parent
SAMPLE_FILES = HERE / "sample_files"
_STEPS = sorted({*(step / 100 for step in range(10, 95, 5)), CONFIDENCE, SURE_CONFIDENCE})


def shelf_of(*paths: Path) -> Shelf:
    """Return a shelf with these files, read."""
    shelf = Shelf()
    for path in paths:
        shelf.put(path.name, path.read_bytes())
    shelf.wait()
    return shelf


def best_scores(shelf: Shelf, questions: list[str]) -> list[float]:
    """Return the confidence of each question's best passage, as the bot decides by it."""
    found = shelf.retriever.batch(questions)
    return [answering(documents[0]) if documents else 0.0 for documents in found]


def table(title: str, answered: list[float], groups: dict[str, list[float]]) -> str:
    """Return a table: for each threshold what is refused wrongly and what is answered wrongly."""
    heads = [f"refused of {len(answered)}", *(f"answered of {len(own)} {name}" for name, own in groups.items())]
    lines = [title, "threshold  " + "  ".join(heads)]
    for step in _STEPS:
        counts = [sum(score < step for score in answered), *(sum(s >= step for s in own) for own in groups.values())]
        cells = "  ".join(str(count).rjust(len(head)) for count, head in zip(counts, heads, strict=True))
        mark = {CONFIDENCE: "  <- CONFIDENCE", SURE_CONFIDENCE: "  <- SURE_CONFIDENCE"}.get(step, "")
        lines.append(f"{step:9.2f}  {cells}{mark}")
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in (HERE / "sample_questions.jsonl").open(encoding="utf-8")]

    def asked(which: str, kind: str) -> list[str]:
        return [row["question"] for row in rows if (row["set"], row["kind"]) == (which, kind)]

    own = shelf_of(*sorted(SAMPLE_FILES.iterdir()))
    elsewhere, nearby = (best_scores(own, asked("choose", kind)) for kind in ("elsewhere", "nearby"))
    print(
        table(
            "choose: sample_files",
            best_scores(own, asked("choose", "answered")),
            {"about something else": elsewhere, "close by": nearby},
        )
    )
    samples = shelf_of(SAMPLES / "passages.jsonl")
    questions = [json.loads(line) for line in (SAMPLES / "questions.jsonl").open(encoding="utf-8")]
    plain = [row["question"] for row in questions if row["kind"] == "plain"]
    others = best_scores(samples, asked("check", "elsewhere"))
    print("\n" + table("check: the package's samples", best_scores(samples, plain), {"about something else": others}))


if __name__ == "__main__":
    main()
