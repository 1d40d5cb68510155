"""Whether fusion and reranking lose what the words say: lexical, hybrid and reranked search on every set at hand.

    python -m benchmarks.exact_words --data ../shared/data --output runs/exact_words.md

Sets of our own making (`benchmarks.exact_sets`) on which exact words decide, the samples, and whatever the data folder
has. Every set is searched as words alone, as hybrid, and as hybrid reranked; p is the exact sign test of HitRate@1
on the same questions against words alone. The last lines name the sets where the default is below words alone.
"""

from __future__ import annotations

import argparse
import csv
import logging
import random
from collections.abc import Iterator
from pathlib import Path

from langchain_core.documents import Document

from benchmarks.exact_sets import EXACT_SETS
from benchmarks.figures.printed import p_text, with_interval
from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.evaluation import SAMPLES, EvaluationSet, read_sets
from langchain_klue_rerank.evaluation.metrics import METRICS, Judged, paired_p_value
from training import data as readers

logger = logging.getLogger("benchmarks.exact_words")

#: How many questions are asked together.
_TOGETHER = 100
#: Headings of each kind of documentation that are asked for the text below them.
_HEADINGS = 400


def sets_at_hand(data: Path) -> Iterator[tuple[str, EvaluationSet]]:
    """Read the sets of our own making, the samples, and those that the data folder has.

    Yields:
        A short name and the set.
    """
    for name, make in EXACT_SETS.items():
        yield name, make()
    yield "samples", read_sets(str(SAMPLES))[0]
    if (data / "klue_mrc" / "validation.jsonl").exists():
        both = read_sets(str(data / "klue_mrc"))[-1]
        count = len((data / "klue_mrc" / "validation.jsonl").read_text(encoding="utf-8").splitlines())
        yield "klue_mrc validation", both.first(count)
        yield "klue_mrc test", EvaluationSet(both.name, both.documents, both.questions[count:], both.relevant[count:])
    if (data / "korquad").exists():
        yield "korquad", read_sets(str(data / "korquad"))[0]
    if (data / "tydiqa_ko" / "korean_tydiqa_dev.json").exists():
        yield "tydi dev", read_sets(str(data / "tydiqa_ko" / "korean_tydiqa_dev.json"))[0]
    if (data / "kobest_boolq" / "dev.tsv").exists():
        yield "boolq dev", _boolq(data / "kobest_boolq" / "dev.tsv")
    if (data / "raw" / "tech_docs.txt.xz").exists():
        yield "headings", _headings(data)


def _boolq(path: Path) -> EvaluationSet:
    """Return the yes-no questions over their paragraphs."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    numbers: dict[str, str] = {}
    for row in rows:
        numbers.setdefault(row["Text"], str(len(numbers)))
    documents = [Document(text, id=number) for text, number in numbers.items()]
    return EvaluationSet(
        "KoBEST BoolQ dev",
        documents,
        [row["Question"] for row in rows],
        [frozenset({numbers[r["Text"]]}) for r in rows],
    )


def _headings(data: Path) -> EvaluationSet:
    """Return headings of documentation over the texts below them; none of these texts trains."""
    pairs = readers.heading_pairs(readers.read_raw(data, "tech_docs"))
    documents = [Document(pair.passage, id=str(number)) for number, pair in enumerate(pairs)]
    chosen = random.Random(0).sample(range(len(pairs)), min(_HEADINGS, len(pairs)))
    return EvaluationSet("headings", documents, [pairs[i].query for i in chosen], [frozenset({str(i)}) for i in chosen])


def measure(data: EvaluationSet) -> dict[str, Judged]:
    """Search a set in three ways.

    Returns:
        ``lexical``, ``hybrid`` and ``reranked``, each with what came back.
    """
    retriever = KlueRetriever.from_documents(data.documents, k=10)
    plain = retriever.model_copy(update={"reranker": None})
    ways = {"lexical": (plain, "lexical"), "hybrid": (plain, "hybrid"), "reranked": (retriever, "hybrid")}
    found: dict[str, Judged] = {}
    for name, (one, search_type) in ways.items():
        rankings: list[list[str]] = []
        for start in range(0, len(data.questions), _TOGETHER):
            answers = one.batch(data.questions[start : start + _TOGETHER], search_type=search_type)
            rankings += [[document.id or "" for document in documents] for documents in answers]
        found[name] = Judged.from_rankings(rankings, data.relevant)
    return found


def row(name: str, data: EvaluationSet, found: dict[str, Judged]) -> str:
    """Return a line of the table."""
    first = {way: METRICS["HitRate@1"](judged) for way, judged in found.items()}
    cells = [name, f"{len(data.questions):,} / {len(data.documents):,}", with_interval(first["lexical"])]
    for way in ("hybrid", "reranked"):
        cells += [with_interval(first[way]), p_text(paired_p_value(first[way], first["lexical"]))]
    cells += [f"{METRICS['HitRate@10'](judged).mean():.3f}" for judged in found.values()]
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--only", nargs="+", help="names of the sets to measure; all if left out")
    parser.add_argument("--first", type=int, help="ask the first questions of each set only")
    parser.add_argument("--output", type=Path, help="a file for the table, too")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    header = ["set", "questions / passages", "lexical @1", "hybrid @1", "p", "reranked @1", "p"]
    header += ["lexical @10", "hybrid @10", "reranked @10"]
    lines = [f"| {' | '.join(header)} |", f"| --- |{' ---: |' * (len(header) - 1)}"]
    print("\n".join(lines), flush=True)
    below: list[str] = []
    for name, whole in sets_at_hand(options.data):
        if options.only and name not in options.only:
            continue
        data = whole.first(options.first)
        found = measure(data)
        lines.append(row(name, data, found))
        print(lines[-1], flush=True)
        lexical, reranked = (METRICS["HitRate@1"](found[way]).mean() for way in ("lexical", "reranked"))
        if reranked < lexical:
            below.append(f"{name} ({reranked:.3f} instead of {lexical:.3f})")
    lines += ["", f"The default is below words alone on: {', '.join(below) or 'none'}."]
    print(lines[-1])
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
