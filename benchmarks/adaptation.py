"""What adapting the packaged bi-encoder costs and buys, and what it makes the model forget.

    python -m benchmarks.adaptation --data ../shared/data
    python -m training.packaged.bi_encoder --leave-out welfare --out runs/without_welfare   # 6 minutes
    python -m benchmarks.adaptation --data ../shared/data --base-model runs/without_welfare

The pairs are questions to a welfare help desk and their answers. A fifth of the programmes is held out, and a tenth of
the questions about the others. The shipped weights were trained on all of them, so that only a base model trained
without shows what adaptation buys where a model has never been. A hit is the question's own answer among the first ten
of all answers; programme-level, any answer about the same programme.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

from langchain_core.documents import Document
from scipy.stats import spearmanr

from langchain_klue_rerank import KlueEmbeddings
from langchain_klue_rerank.evaluation.sets import read_sets
from training.data import Pair, read_klue_sts, read_welfare
from training.recipes import adapt
from training.recipes.adaptation_scores import WAYS, QuestionSet, Scores, judge, measure, rankings
from training.recipes.retrieval import with_interval

Row = tuple[Pair, str]

#: Questions of each part that are asked, at most.
_ASKED = 700


def split(rows: list[Row], seed: int = 42) -> dict[str, list[Row]]:
    """Hold out a fifth of the programmes, and a tenth of the questions about the others."""
    generator = random.Random(seed)
    programmes = sorted({programme for _, programme in rows})
    generator.shuffle(programmes)
    apart = set(programmes[: len(programmes) // 5])
    seen = [row for row in rows if row[1] not in apart]
    generator.shuffle(seen)
    held_out = [row for row in rows if row[1] in apart]
    generator.shuffle(held_out)
    unseen_questions = len(seen) // 10
    return {
        "seen programmes, training questions": seen[unseen_questions:],
        "seen programmes, other questions": seen[:unseen_questions],
        "held-out programmes": held_out,
    }


def write_data(folder: Path, train: list[Row], test: list[Row]) -> None:
    """Write what `training.recipes.adapt` reads."""
    for name, rows in (("train", train), ("validation", test)):
        lines = [json.dumps({"question": pair.query, "passage": pair.passage}, ensure_ascii=False) for pair, _ in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def compare(parts: dict[str, list[Row]], rows: list[Row], models: tuple[str, str]) -> None:
    """Ask the questions of every part over all answers, before and after, and judge them in both ways."""
    documents = [Document(pair.passage, id=str(number)) for number, (pair, _) in enumerate(rows)]
    asked = {title: some[:_ASKED] for title, some in parts.items()}
    questions = [pair.query for some in asked.values() for pair, _ in some]
    found = [rankings(documents, questions, KlueEmbeddings(model=model)) for model in models]
    for kind in ("own answer", "programme-level"):
        by_text: dict[str, set[str]] = {}
        for number, (pair, programme) in enumerate(rows):
            by_text.setdefault(pair.passage if kind == "own answer" else programme, set()).add(str(number))
        first = 0
        for title, some in asked.items():
            keys = (pair.passage if kind == "own answer" else programme for pair, programme in some)
            relevant = [frozenset(by_text[key]) for key in keys]
            part = slice(first, first + len(some))
            first += len(some)
            before, after = (judge({way: own[part] for way, own in one.items()}, relevant) for one in found)
            show(f"{title} ({len(some)}), {kind}", before, after)


def show(title: str, before: Scores, after: Scores, metric: str = "HitRate@10") -> None:
    """Print one row a way to search."""
    for way in WAYS:
        change = 100 * (after[way][metric].mean() - before[way][metric].mean())
        ways = "" if way == "lexical" else f" -> {with_interval(after[way][metric])}, {change:+.1f} points"
        print(f"{title:60s} {way:17s} {with_interval(before[way][metric])}{ways}", flush=True)


def forgetting(data: Path, models: tuple[str, str]) -> None:
    """Print KLUE-STS and KLUE-MRC before and after."""
    pairs = read_klue_sts(data, "validation")
    for name in models:
        encoder = KlueEmbeddings(model=name).encoder
        left = encoder.encode([pair.first for pair in pairs], "query")
        right = encoder.encode([pair.second for pair in pairs], "query")
        rho = spearmanr((left * right).sum(axis=1), [pair.score for pair in pairs]).statistic
        print(f"KLUE-STS validation, Spearman, {'adapted' if name == models[1] else 'base':53s} {rho:.3f}")
    mrc = read_sets(str(data / "klue_mrc"))[-1]
    asked = QuestionSet(mrc.documents, mrc.questions, mrc.relevant)
    before, after = (measure(asked, KlueEmbeddings(model=name)) for name in models)
    for metric in ("HitRate@1", "HitRate@10"):
        show(f"{mrc.name} ({len(mrc.questions)}), {metric}", before, after, metric)


def main() -> None:
    """Split, adapt, and print every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--base-model", default="packaged", help="packaged, or a folder in the packaged format")
    arguments = parser.parse_args()
    rows = read_welfare(arguments.data)
    parts = split(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, parts["seen programmes, training questions"], parts["held-out programmes"])
        settings = adapt.Settings(data=name, output=folder / "model", base_model=arguments.base_model)
        began = time.process_time()
        outcome = adapt.train(settings)
        cpu = time.process_time() - began
        print(f"{'pairs in all':78s} {len(rows)}")
        label = "adapting, measuring and writing included"
        print(f"{label:78s} {outcome.seconds / 60:.1f} minutes, {cpu / 60:.1f} of them computing on one core")
        print(f"{'share of the way from the base that the held-out pairs chose':78s} {outcome.share:.2f}", flush=True)
        models = (arguments.base_model, str(outcome.model))
        compare(parts, rows, models)
        forgetting(arguments.data, models)


if __name__ == "__main__":
    main()
