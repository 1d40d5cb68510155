"""The price of reranking and what it buys: the tutorial's loop, LangChain's and sentence-transformers' ways, and ours.

    python -m benchmarks.rerank --data ../shared/data/klue_mrc --model CROSS_ENCODER --widen 3 --out runs/rerank
    python -m benchmarks.rerank --data ../shared/data/klue_mrc --model CROSS_ENCODER --widen 3 --out runs/rerank --quick

All ways rerank the same candidates, each in a process of its own. With ``--widen`` times are those of the widened model
(see `benchmarks.widen`) and scores those of the model itself, which are the same. Without ``--model`` only the packaged
model is measured. What is measured is kept in the folder at once, one file for each way and what decides it, so that a
run that was broken off goes on where it was (``--minutes`` breaks it off by itself), and ``--render`` draws what is
there; after a change of the code, take another folder. Scores may be computed beforehand on a busy machine (``--only
scores``); while prices are measured nothing else should run. Writes ``rerank.md``, ``rerank.png`` and ``growth.png``;
``--docs PAGE`` puts them into a page and its ``assets``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.korean import pages
from benchmarks.price import machine
from benchmarks.rerank_modes import BI_ENCODER, LENGTH, OURS, PACKAGED, PEERS, RETRIEVER
from benchmarks.rerank_report import (
    CALIBRATED_ON,
    CASCADE,
    EARLY_STOP,
    EXACT,
    QUALITY_OF,
    into_page,
    markdown,
    plot,
    plot_growth,
    summary,
)
from benchmarks.widen import widen
from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.adapters.documents import searchable_text
from langchain_klue_rerank.engine.models.names import identity
from langchain_klue_rerank.engine.rerank.early_stop import calibrate
from langchain_klue_rerank.evaluation.sets import EvaluationSet, read_sets
from training.files import write_json

FULL = {"peers": 4, "timed": 5, "judged": 150, "calls": 16, "batch": 64, "deadline_calls": 12, "depth": 300}
QUICK = {"peers": 2, "timed": 3, "judged": 20, "calls": 8, "batch": 8, "deadline_calls": 4, "depth": 100}
#: The ways that are cheap enough to be timed on four times as many questions.
FAST = 4
#: The ways for which it is measured how the price grows, and those that are asked by many callers.
GROWING = (PEERS[0], EXACT, CALIBRATED_ON, CASCADE, PACKAGED)
CROWDED = (CALIBRATED_ON, CASCADE, PACKAGED)
#: Minutes after which a quick run begins no other way.
QUICK_MINUTES = 3.5


def main() -> None:
    """Run all measurements that are not there yet and write the report."""
    options = _parse()
    logging.basicConfig(level=logging.WARNING)
    begin = time.monotonic()
    (options.out / "ways").mkdir(parents=True, exist_ok=True)
    data = read_sets(options.data)[-1]
    queries = _kept(options.out, "candidates", _candidates_key(options, data), lambda: _candidates(data, options))
    measured: dict[str, Any] = {}
    missing = []
    tasks = _tasks(options, queries, data)
    for task in tqdm(tasks, desc="measuring", disable=options.render):
        way, part = task["way"], task["part"]
        if way == EARLY_STOP:
            if "scores" not in measured.get(CALIBRATED_ON, {}):
                continue
            held_out = measured[CALIBRATED_ON]["scores"][options.judged :]
            task["options"] = {
                "early_stop": calibrate([np.asarray(one, np.float32) for one in held_out], options.error)
            }
        path = options.out / "ways" / f"{_key(task)}.json"
        if not path.exists():
            late = options.minutes is not None and time.monotonic() - begin > 60 * options.minutes
            if options.render or late or (options.only and part != options.only):
                missing.append(f"{way} ({part})")
                continue
            found = _measure(task) | {"options": task["options"]}
            write_json(path, found | ({"machine": machine()} if part == "price" else {}))
        measured.setdefault(way, {}).update(json.loads(path.read_text(encoding="utf-8")))
    if missing:
        print("Not measured yet: " + "; ".join(missing))
    if RETRIEVER not in measured:  # without the search's own price there is nothing to compare with
        return
    report = summary(measured, queries, options.judged, options.candidates)
    report |= {
        "data": data.name,
        "passages": len(data.documents),
        "search_type": options.search_type,
        "model": options.model.name if options.model else None,
        "widen": options.widen,
        "error": options.error,
        "missing": missing,
    }
    text = markdown(report)
    (options.out / "rerank.md").write_text(text, encoding="utf-8")
    plot(report, options.out / "rerank.png")
    plot_growth(report, options.out / "growth.png")
    if options.docs is not None:
        into_page(options.docs, text, [options.out / "rerank.png", options.out / "growth.png"], _command())
        for path, korean in pages(options.docs):
            path.write_text(korean, encoding="utf-8")
    print(text)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples", help="as for klue-rerank evaluate; of several sets the last")
    parser.add_argument("--model", type=Path, help="folder of a cross-encoder (none: the packaged one only)")
    parser.add_argument("--widen", type=int, default=1, help="time a model so many times as wide (1)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/rerank"), help="folder of what is measured (runs/rerank)"
    )
    parser.add_argument("--docs", type=Path, help="page, and its Korean one, to put the report into")
    parser.add_argument("--search-type", default="dense", choices=["dense", "hybrid", "lexical"], help="first stage")
    parser.add_argument("--candidates", type=int, default=30, help="candidates to rerank (30)")
    parser.add_argument("--deadline", type=float, default=50, help="milliseconds of the deadline (50)")
    parser.add_argument(
        "--error", type=float, default=0.01, help="share of best passages an early stop may miss (0.01)"
    )
    parser.add_argument("--ways", nargs="*", help="only the ways whose name holds one of these words")
    parser.add_argument("--minutes", type=float, help="begin no other way after so many; run again to go on")
    parser.add_argument("--only", choices=["scores", "price"], help="measure only scores, or only prices")
    parser.add_argument("--render", action="store_true", help="measure nothing, draw what is there")
    parser.add_argument("--quick", action="store_true", help="few questions, small counts, --minutes 3.5")
    for name, value in FULL.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"({value}; quick {QUICK[name]})")
    options = parser.parse_args()
    for name in FULL:
        if getattr(options, name) is None:
            setattr(options, name, (QUICK if options.quick else FULL)[name])
    if options.quick and options.minutes is None:
        options.minutes = QUICK_MINUTES
    return options


def _command() -> str:
    """Return the command that made the report, without the paths of this machine."""
    arguments = [
        Path(one).name if Path(one).is_absolute() and Path(one).exists() else one
        for one in sys.argv[1:]
        if not one.startswith("--render")
    ]
    return "python -m benchmarks.rerank " + " ".join(arguments)


def _key(task: dict[str, Any]) -> str:
    """Return what tells a task from others: everything that decides it, models by their weights."""
    known = {**task, "model": task["model"] and identity(task["model"])}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]
    name = "".join(sign if sign.isalnum() else "-" for sign in task["way"])
    return f"{name}-{task['part']}-{digest}"


def _kept(folder: Path, name: str, key: Any, make: Any) -> Any:
    """Return what is kept under a name and key, made now if it is not there."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"{name}-{digest}.json"
    if not path.exists():
        write_json(path, make())
    return json.loads(path.read_text(encoding="utf-8"))


def _tasks(options: argparse.Namespace, queries: list[dict[str, Any]], data: EvaluationSet) -> list[dict[str, Any]]:
    """Return what is to be measured, the most telling first."""
    model = options.model
    wide = ""
    if model is not None:
        wide = str(model)
        if options.widen > 1:
            target = (
                options.out / "models" / f"{options.widen}x-{hashlib.sha256(identity(wide).encode()).hexdigest()[:12]}"
            )
            if not (target / "config.json").exists():
                shutil.rmtree(target, ignore_errors=True)
                widen(model, target, options.widen)
            wide = str(target)
    sizes = [100, 1000, 4000] if options.quick else [100, 300, 1000, 2000, 4000]
    counts = [10, 30, 100] if options.quick else [10, 30, 100, 300]
    tasks: list[dict[str, Any]] = []
    telling = [CALIBRATED_ON, CASCADE, PEERS[0], EXACT, BI_ENCODER]
    for way in dict.fromkeys([RETRIEVER, PACKAGED, *([*telling, *OURS, *PEERS] if model else [])]):
        if options.ways and way != RETRIEVER and not any(word in way for word in options.ways):
            continue
        slow, exact = way in PEERS, way.startswith("exact")
        growing, crowded = way in GROWING, way in CROWDED
        folder = "" if way in (PACKAGED, RETRIEVER) else str(_base_shape(options)) if way == BI_ENCODER else wide
        common = {"way": way, "options": {}, "candidates": options.candidates}
        if way == RETRIEVER:
            asked = [{"query": one["query"]} for one in queries[: options.judged]]
            index = str(_index(options, data))
            stage = {"index": index, "search_type": options.search_type}
            tasks.append({**common, "part": "price", "model": "", **stage, "queries": asked})
            continue
        tasks.append(
            {
                **common,
                "part": "price",
                "model": folder,
                "queries": queries[: max(options.batch, FAST * options.timed)],
                "passages": len(data.documents),
                "timed": max(2, options.peers if way == PEERS[0] else options.peers // 2)
                if slow
                else options.timed * (1 if exact else FAST),
                "growing": 0 if not growing else 1 if slow or exact else 3,
                "counts": [] if not growing else counts[:1] if slow else counts[:2] if exact else counts,
                "sizes": [] if not growing else sizes[:1] if slow else [sizes[0], 1000] if exact else sizes,
                "crowds": ([1, 4, 16] if options.quick else [1, 4, 16, 64]) if crowded else [],
                "batch_candidates": [5, options.candidates],
                "calls": options.calls * (1 if way == CALIBRATED_ON else 4),
                "batch": options.batch,
                "deadline": options.deadline,
                "deadline_calls": options.deadline_calls,
            }
        )
        if way not in QUALITY_OF and way != BI_ENCODER:
            asked = queries if way == CALIBRATED_ON else queries[: options.judged]
            folder = "" if way == PACKAGED else str(model)
            tasks.append({**common, "part": "scores", "model": folder, "queries": asked})
    return tasks


def _index(options: argparse.Namespace, data: EvaluationSet) -> Path:
    """Return the folder of an index of the documents, built now if it is not there."""
    folder: Path = options.out / "index"
    if not folder.exists():
        KlueRetriever.from_documents(data.documents, reranker=None).save(folder)
    return folder


def _measure(task: dict[str, Any]) -> Any:
    """Measure one way in a process of its own."""
    if (
        task["part"] == "price" and OURS.get(task["way"], {}).get("backend", "torch") != "torch"
    ):  # an export is not part of a way's memory
        _in_process({**task, "only_open": True})
    return _in_process(task)


def _in_process(task: dict[str, Any]) -> Any:
    with tempfile.TemporaryDirectory() as name:
        given, written = Path(name, "task.json"), Path(name, "result.json")
        given.write_text(json.dumps(task), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.rerank_modes", str(given), str(written)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        if done.returncode:
            raise RuntimeError(f"{task['way']} failed:\n{done.stderr[-3000:]}")
        return json.loads(written.read_text(encoding="utf-8"))


def _candidates_key(options: argparse.Namespace, data: EvaluationSet) -> list[Any]:
    texts = hashlib.sha256("\n".join([*data.questions, *(one.page_content for one in data.documents)]).encode())
    model = identity(str(options.model)) if options.model else ""
    return [texts.hexdigest(), model, options.search_type, options.candidates, options.judged, options.depth]


def _candidates(data: EvaluationSet, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Find the candidates of the judged questions and, after them, of as many others to calibrate on."""
    retriever = KlueRetriever.load(_index(options, data), reranker=None, search_type=options.search_type)
    total = len(data.questions)
    generator = np.random.default_rng(0)
    # of validation + test rows the last are test rows: those are judged, the first are for calibration
    judged = total // 2 + generator.permutation(total - total // 2)[: options.judged]
    others = generator.permutation(total // 2)[: options.judged]
    cut = _cutter(options.model)
    lines: list[dict[str, Any]] = []
    for number in tqdm([*judged.tolist(), *others.tolist()], desc="first stage", leave=False):
        question = data.questions[number]
        # many candidates are needed for a few questions only, to see how the price grows
        found = retriever.invoke(question, k=options.depth if len(lines) < FAST else options.candidates)
        texts = [searchable_text(one.page_content, one.metadata, "title") for one in found]
        lines.append(
            {
                "query": question,
                "texts": texts,
                "cut_texts": cut(question, texts),
                "scores": [float(one.metadata["relevance_score"]) for one in found],
                "relevant": [place for place, one in enumerate(found) if one.id in data.relevant[number]],
                "relevant_ids": sorted(data.relevant[number]),
            }
        )
    return lines


def _cutter(model: Path | None) -> Any:
    """Return what cuts passages to the tokens that A reads of them."""
    if model is None:
        return lambda question, texts: []
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    special = tokenizer.num_special_tokens_to_add(True)

    def cut(question: str, texts: list[str]) -> list[str]:
        room = LENGTH - 2 - special - len(tokenizer.encode(question, add_special_tokens=False).ids)
        kept = []
        for text in texts:
            ends = tokenizer.encode(text, add_special_tokens=False).offsets
            kept.append(text if len(ends) <= room else text[: ends[room - 1][1]])
        return kept

    return cut


def _base_shape(options: argparse.Namespace) -> Path:
    """Make a bi-encoder of klue/roberta-base's shape, 12 layers of 768, with random weights and our tokenizer."""
    folder: Path = options.out / "models" / "bi-encoder-12x768"
    if not (folder / "config.json").exists():
        import torch
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        torch.manual_seed(0)
        config = AutoConfig.from_pretrained(options.model)
        config.update(
            {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
        )
        AutoTokenizer.from_pretrained(options.model).save_pretrained(folder)
        AutoModel.from_config(config).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
