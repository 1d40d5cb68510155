r"""What each change of the tutorial's recipes brings: one row a change, all trained with the same number of examples.

    python -m training.experiments.ablations --data ../shared/data --base-model FOLDER --examples 2000 \
        --output runs/ablations

Bi-encoder rows are measured by searching all contexts, cross-encoder rows by reranking the candidates of the first
bi-encoder row; each is compared, question by question, with the
tutorial's recipe at the top of its group. Test and validation
questions are only measured on. Every row is a folder with its run and its result: an interrupted run goes on with
``--resume``. The table is printed and written as ``ablations.md`` and ``ablations.csv``.
"""

from __future__ import annotations

import csv
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import Sigmoid
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer

from langchain_klue_rerank import KlueEmbeddings, KlueRetriever
from langchain_klue_rerank.errors import KlueRerankError
from langchain_klue_rerank.evaluation.sets import EvaluationSet
from training.folders import open_folder
from training.inputs import DataError, read_questions
from training.recipes import cross_encoder, mrc, retrieval
from training.recipes.fitting import load_model
from training.recipes.retrieval import Measured
from training.recipes.runs import Outcome, write_json
from training.recipes.windows import WindowReader
from training.settings import SettingsError, parse, require_positive

logger = logging.getLogger("training.experiments.ablations")

#: Questions of the recipes' own tests, which are not what is measured here.
_OWN_TEST = 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is compared.

    Attributes:
        data: The word hub, or a data folder with klue_mrc in it.
        base_model: Language model or bi-encoder that the bi-encoder rows start from.
        reranker_base: Language model of the cross-encoder rows; none for that of --base-model.
        first_stage: Bi-encoder whose candidates are reranked: packaged, a folder or a hub id; none for that of the
            first row.
        output: Folder of everything.
        rows: Only these rows (their short names), and the tutorial's that they are compared with; none for all.
        examples: Questions that a bi-encoder row learns from, and pairs that a cross-encoder row learns from; a
            question or pair may come again.
        batch_size: Of the tutorial's recipe; the other rows' batches hold as many texts, save the larger one.
        large_batch: Questions in a batch of the row with the cached loss.
        negatives: Wrong passages a question in the rows with several.
        learning_rate: Of all rows; a larger batch gets it times the root of how much larger it is.
        max_length: Longest input in tokens, in training and in measuring.
        miner: Bi-encoder that mines hard wrong passages.
        teacher: Cross-encoder that is distilled.
        small_layers: Layers of the smaller cross-encoder: the first ones of the base.
        questions: Test questions that are reranked, drawn at random; none for all. Bi-encoders are asked all.
        candidates: Passages that are reranked.
        seed: Of everything random.
        resume: Go on with the run in --output.
    """

    data: str = "hub"
    base_model: str = "klue/roberta-base"
    reranker_base: str | None = None
    first_stage: str | None = None
    output: Path = Path("runs/ablations")
    rows: tuple[str, ...] = ()
    examples: int = 4000
    batch_size: int = 16
    large_batch: int = 128
    negatives: int = 4
    learning_rate: float = 2e-5
    max_length: int = 256
    miner: str = "packaged"
    teacher: str = "packaged"
    small_layers: int = 2
    questions: int | None = None
    candidates: int = 30
    seed: int = 42
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        require_positive(self, "examples", "batch_size", "large_batch", "negatives", "learning_rate", "max_length")
        require_positive(self, "small_layers", "questions", "candidates")
        unknown = sorted(set(self.rows) - {row.name for row in ROWS})
        if unknown:
            raise SettingsError(f"--rows {unknown[0]}: no such row; known are {', '.join(row.name for row in ROWS)}")


@dataclass(frozen=True)
class Row:
    """A change of a recipe.

    Attributes:
        name: Short name, and the folder.
        title: What the table says.
        recipe: The module that trains it.
        changes: Its settings that differ from the tutorial's.
        reads_windows: Whether passages are read by their best window, not from the beginning.
        small: Whether it starts from the smaller model.
        baseline: The row that it is compared with.
    """

    name: str
    title: str
    recipe: Any
    changes: dict[str, Any] = field(default_factory=dict)
    reads_windows: bool = False
    small: bool = False
    baseline: str = ""


_HARD = {"negatives": "both"}
_WINDOWS = {**_HARD, "windows": True}
_LISTWISE = {**_WINDOWS, "loss": "listwise", "negative_count": "NEGATIVES"}

#: Columns of the table; the difference is that of HitRate@1 to the row it is compared with.
HEAD = ["row", "HitRate@1", "difference", "HitRate@10", "MRR@10", "@1, mean score", "steps", "rows a step", "s"]

ROWS = (
    Row("bi-tutorial", "bi-encoder: the tutorial's recipe", mrc),
    Row("bi-bm25", "+ hard wrong passages, BM25", mrc, {"negatives": "bm25"}, baseline="bi-tutorial"),
    Row("bi-mined", "+ hard wrong passages, bi-encoder", mrc, {"negatives": "bi-encoder"}, baseline="bi-tutorial"),
    Row("bi-both", "+ hard wrong passages, both", mrc, _HARD, baseline="bi-tutorial"),
    Row("bi-cached", "+ larger batch, cached loss", mrc, {"loss": "cached"}, baseline="bi-tutorial"),
    Row("bi-distilled", "+ a cross-encoder's scores", mrc, {**_HARD, "teacher": "TEACHER"}, baseline="bi-tutorial"),
    Row("cross-tutorial", "cross-encoder: the tutorial's recipe", cross_encoder),
    Row("cross-hard", "+ hard wrong passages", cross_encoder, _HARD, baseline="cross-tutorial"),
    Row("cross-windows", "+ windows", cross_encoder, _WINDOWS, reads_windows=True, baseline="cross-tutorial"),
    Row(
        "cross-listwise",
        "+ windows, several wrong passages, listwise",
        cross_encoder,
        _LISTWISE,
        reads_windows=True,
        baseline="cross-tutorial",
    ),
    Row(
        "cross-all",
        "+ windows, several wrong passages, listwise, a teacher",
        cross_encoder,
        {**_LISTWISE, "teacher": "TEACHER"},
        reads_windows=True,
        baseline="cross-tutorial",
    ),
    Row("small-labels", "smaller cross-encoder, windows", cross_encoder, _WINDOWS, reads_windows=True, small=True),
    Row(
        "small-distilled",
        "+ a larger one's scores",
        cross_encoder,
        {**_WINDOWS, "teacher": "TEACHER"},
        reads_windows=True,
        small=True,
        baseline="small-labels",
    ),
)


def training_data(settings: Settings) -> Path:
    """Write the training questions where the recipes read them, with a handful to test on: the real test is ours."""
    folder = settings.output / "data" / "klue_mrc"
    if not (folder / "validation.jsonl").exists():
        folder.mkdir(parents=True, exist_ok=True)
        data = read_questions(settings.data, seed=settings.seed)
        for name, rows in (("train", data.train), ("validation", data.test[:_OWN_TEST])):
            lines = [
                {"question": row.question, "passage": row.passage, "title": row.title, "answer": row.answer}
                for row in rows
            ]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return settings.output / "data"


def base_of(row: Row, settings: Settings) -> str:
    """Return the model that a row starts from; the smaller one is the base without its upper layers."""
    base = settings.reranker_base or settings.base_model
    if row.recipe is mrc:
        return settings.base_model
    if not row.small:
        return base
    folder = settings.output / "small_base"
    if not (folder / "tokenizer_config.json").exists():
        model = AutoModel.from_pretrained(base, num_hidden_layers=settings.small_layers)
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return str(folder)


def recipe_settings(row: Row, settings: Settings, data: Path) -> Any:
    """Return the settings of a row's recipe: the same number of examples for all, batches of about as many texts."""
    given: dict[str, Any] = {"TEACHER": settings.teacher, "NEGATIVES": settings.negatives}
    changes = {name: given.get(value, value) for name, value in row.changes.items()}
    size, rate = settings.batch_size, settings.learning_rate
    if changes.get("loss") == "cached":
        changes["mini_batch_size"] = size
        rate *= (settings.large_batch / size) ** 0.5
        size = settings.large_batch
    examples = settings.examples
    if changes.get("loss") == "listwise":  # a row is a question with its passages
        examples //= 1 + settings.negatives
        size = max(1, size // (1 + settings.negatives))
    steps = max(1, examples // size)
    folder = settings.output / row.name
    return row.recipe.Settings(
        data=str(data),
        base_model=base_of(row, settings),
        output=folder,
        batch_size=size,
        epochs=1000,  # the steps decide
        max_steps=steps,
        warmup_steps=max(1, steps // 10),
        learning_rate=rate,
        held_out=0.0,
        max_length=settings.max_length,
        seed=settings.seed,
        miner=settings.miner,
        resume=settings.resume and folder.exists(),
        **changes,
    )


def first_stage(
    name: str, model: str, corpus: EvaluationSet, settings: Settings
) -> tuple[Measured, list[list[tuple[str, float]]]]:
    """Search all contexts with a bi-encoder.

    Args:
        name: Of the measured row.
        model: ``packaged``, a folder or a hub id.
        corpus: Questions and contexts.
        settings: How many candidates are wanted.

    Returns:
        The measured row, and for each question its candidates: number of the passage and cosine.
    """
    options: Any = {} if model == "packaged" else {"encode_kwargs": {"max_length": settings.max_length}}
    embeddings = KlueEmbeddings(model=model, **options)
    retriever = KlueRetriever.from_documents(
        corpus.documents, search_type="dense", embeddings=embeddings, reranker=None, title_key=None
    )
    depth = max(retrieval.DEPTH, settings.candidates)
    found = [
        [(document.id or "", document.metadata["relevance_score"]) for document in documents]
        for documents in retriever.batch(corpus.questions, k=depth, fetch_k=depth)
    ]
    ranks = [_rank([one for one, _ in own], wanted) for own, wanted in zip(found, corpus.relevant, strict=True)]
    measured = Measured(name, corpus.name, len(corpus.documents), ranks, None)
    return measured, [own[: settings.candidates] for own in found]


def rerank(
    row: Row,
    outcome: Outcome,
    corpus: EvaluationSet,
    candidates: Sequence[Sequence[tuple[str, float]]],
    settings: Settings,
) -> list[Measured]:
    """Rerank candidates with a cross-encoder.

    A pair is one input: the best window of the passage for rows that read windows, its beginning for the others.

    Returns:
        Two rows: the cross-encoder alone decides, and the mean of its score and the cosine does.
    """
    model = load_model("CrossEncoder", str(outcome.model), settings.max_length)
    reader = WindowReader(model.tokenizer, settings.max_length)
    texts = {document.id: document.page_content for document in corpus.documents}
    alone, mean = [], []
    asked = zip(corpus.questions, candidates, corpus.relevant, strict=True)
    for question, own, wanted in tqdm(asked, desc=row.name, total=len(candidates), mininterval=1, leave=False):
        read = [texts[one] for one, _ in own]
        if row.reads_windows:
            read = [reader.best(question, text) for text in read]
        scores = model.predict([(question, text) for text in read], activation_fn=Sigmoid(), show_progress_bar=False)
        cosines = np.asarray([cosine for _, cosine in own])
        for ranks, values in ((alone, scores), (mean, scores + cosines)):
            ranks.append(_rank([own[number][0] for number in np.argsort(-values, kind="stable")], wanted))
    names = (row.name, row.name + " mean")
    return [
        Measured(name, corpus.name, len(corpus.documents), ranks, None)
        for name, ranks in zip(names, (alone, mean), strict=True)
    ]


def _rank(ids: Sequence[str], wanted: frozenset[str]) -> int:
    return next((rank for rank, one in enumerate(ids[: retrieval.DEPTH], 1) if one in wanted), 0)


def run(settings: Settings) -> tuple[list[str], list[list[str]]]:
    """Train and measure every row that is not done yet.

    Returns:
        The table's head and lines.

    Raises:
        SettingsError: If the output folder holds a run and the settings do not ask to resume it.
        DataError: If the data is missing or of the wrong shape.
    """
    open_folder(settings, ("output", "resume", "rows"))
    data = training_data(settings)
    everything = retrieval.read_corpora(settings.data, None, settings.seed)[-1]
    drawn = everything if settings.questions is None else retrieval.draw(everything, settings.questions, settings.seed)
    candidates_file = settings.output / "candidates.json"
    lines: list[list[str]] = []
    done: dict[str, list[Measured]] = {}
    if settings.first_stage is not None and not candidates_file.exists():
        _, found = first_stage("first stage", settings.first_stage, everything, settings)
        write_json(candidates_file, dict(zip(everything.questions, found, strict=True)))
    chosen = _chosen(settings)
    for row in chosen:
        outcome: Outcome = row.recipe.train(recipe_settings(row, settings, data))
        path = settings.output / row.name / "measured.json"
        if not path.exists():
            if row.recipe is mrc:
                measured, found = first_stage(row.name, str(outcome.model), everything, settings)
                if row is ROWS[0] and settings.first_stage is None:
                    write_json(candidates_file, dict(zip(everything.questions, found, strict=True)))
                retrieval.save([measured], path)
            else:
                found = json.loads(candidates_file.read_text(encoding="utf-8"))
                own = [found[question] for question in drawn.questions]
                retrieval.save(rerank(row, outcome, drawn, own, settings), path)
        done[row.name] = retrieval.load(path)
        lines.append(_line(row, outcome, done))
        logger.info("%s", " | ".join(lines[-1]))
        _write(settings.output, lines, drawn, everything)
    return HEAD, lines


def _chosen(settings: Settings) -> list[Row]:
    """Return the wanted rows, those that they are compared with, and the one that finds the candidates."""
    if not settings.rows:
        return list(ROWS)
    names = {*settings.rows, *(row.baseline for row in ROWS if row.name in settings.rows)}
    if settings.first_stage is None:
        names.add(ROWS[0].name)
    return [row for row in ROWS if row.name in names]


def _line(row: Row, outcome: Outcome, done: dict[str, list[Measured]]) -> list[str]:
    measured, *mean = done[row.name]
    compared = retrieval.difference(measured, done[row.baseline][0], 1) if row.baseline else ""
    values = [
        retrieval.with_interval(one) for one in (measured.hits(1), measured.hits(10), measured.reciprocal_ranks())
    ]
    blended = retrieval.with_interval(mean[0].hits(1)) if mean else ""
    numbers = [str(outcome.steps), str(outcome.effective_batch), f"{outcome.seconds:.0f}"]
    return [row.title, values[0], compared, *values[1:], blended, *numbers]


def _write(folder: Path, lines: Sequence[Sequence[str]], drawn: EvaluationSet, everything: EvaluationSet) -> None:
    text = (
        f"{len(everything.questions)} questions for bi-encoders, {len(drawn.questions)} for cross-encoders, over all "
        f"{len(everything.documents):,} contexts; 95% bootstrap intervals; differences are paired."
    )
    candidates = folder / "candidates.json"
    if candidates.exists():
        found = json.loads(candidates.read_text(encoding="utf-8"))
        asked = zip(drawn.questions, drawn.relevant, strict=True)
        ranks = [_rank([one for one, _ in found[question]], wanted) for question, wanted in asked]
        plain = Measured("not reranked", drawn.name, len(drawn.documents), ranks, None)
        first, tenth = (retrieval.with_interval(plain.hits(k)) for k in (1, 10))
        text += f" What is reranked has HitRate@1 {first}, @10 {tenth}."
    text += "\n\n"
    (folder / "ablations.md").write_text(text + retrieval.markdown(HEAD, lines) + "\n", encoding="utf-8")
    with (folder / "ablations.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEAD, *lines])


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("training").setLevel(logging.INFO)
    settings = parse(Settings, argv)
    try:
        head, lines = run(settings)
    except (SettingsError, DataError, KlueRerankError) as error:
        sys.exit(f"error: {error}")
    print(retrieval.markdown(head, lines))


if __name__ == "__main__":
    main()
