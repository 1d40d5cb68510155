r"""Measure how well models find the passage that answers a question, as the tutorial does and over all contexts.

    python -m training.recipes.retrieval --data ../shared/data \
        --bi-encoder runs/mrc/model --cross-encoder runs/cross_encoder/model

Rows: lexical search alone, which every model has to beat; the bi-encoders; the last bi-encoder's best passages
reranked, by the cross-encoder alone and by the mean of both scores. Two corpora: the questions' own contexts (the
tutorial's protocol) and all contexts.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from tqdm import tqdm

from langchain_klue_rerank import KlueEmbeddings, KlueReranker, KlueRetriever
from langchain_klue_rerank.engine.models.names import PACKAGED, resolve
from langchain_klue_rerank.engine.models.opening import is_static
from langchain_klue_rerank.evaluation.metrics import interval, paired_p_value
from langchain_klue_rerank.evaluation.sets import EvaluationSet, read_sets
from training.files import write_json
from training.settings import parse, require_positive

logger = logging.getLogger("training.recipes.retrieval")

#: Ranks that are looked at.
DEPTH = 10
#: Names the row of candidates before they are reranked.
NOT_RERANKED = "not reranked"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured.

    Attributes:
        data: The word hub, a folder with klue_mrc in it, or whatever klue-rerank evaluate takes.
        base: Bi-encoder before fine-tuning, measured beside the others; none for none.
        bi_encoder: Fine-tuned bi-encoder; packaged, a folder or a hub id.
        cross_encoder: Cross-encoder that reranks its candidates; none for none.
        questions: At most so many questions, drawn at random; none for all.
        fetch_k: Candidates that are reranked.
        max_length: Longest input in tokens; none for all that the models can read. Bi-encoders cut longer passages,
            cross-encoders read them in windows.
        batch_size: Texts or pairs computed at a time.
        seed: Of the draw.
        output: JSON file for the result; none for none.
    """

    data: str = "hub"
    base: str | None = None
    bi_encoder: str = "packaged"
    cross_encoder: str | None = None
    questions: int | None = 1000
    fetch_k: int = 30
    max_length: int | None = None
    batch_size: int = 32
    seed: int = 42
    output: Path | None = None

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        require_positive(self, "questions", "fetch_k", "max_length", "batch_size")


@dataclass(frozen=True)
class Measured:
    """One way to search, measured.

    Attributes:
        system: What searched.
        corpus: Which passages were searched.
        passages: How many these were.
        ranks: For each question the rank of its passage, 1 to `DEPTH`; 0 if it is not among them.
        seconds: Time of all questions together; indexing is not in it. None where it was not measured.
    """

    system: str
    corpus: str
    passages: int
    ranks: list[int]
    seconds: float | None

    def hits(self, k: int) -> NDArray[np.float64]:
        """Return for each question 1 if its passage is among the first k, else 0."""
        ranks = np.asarray(self.ranks)
        return ((ranks > 0) & (ranks <= k)).astype(np.float64)

    def reciprocal_ranks(self) -> NDArray[np.float64]:
        """Return for each question 1 / rank."""
        ranks = np.asarray(self.ranks, np.float64)
        return np.divide(1.0, ranks, out=np.zeros_like(ranks), where=ranks > 0)


def read_corpora(data: str, questions: int | None, seed: int, sample: int | None = None) -> list[EvaluationSet]:
    """Read the questions over their own contexts and, where there are more, over all contexts.

    Args:
        data: What `Settings` say.
        questions: At most so many, drawn at random; None for all.
        seed: Of the draws.
        sample: At most so many questions, and so many contexts beside their own; None for all.

    Raises:
        FileNotFoundError: If there is no such data.
        ValueError: If it is of the wrong shape.
    """
    folder = Path(data) / "klue_mrc"
    found = read_sets(str(folder) if folder.is_dir() else data)
    everything = found[-1]
    wanted = [count for count in (questions, sample) if count is not None]
    if wanted:
        everything = draw(everything, min(wanted), seed)
    asked, relevant = everything.questions, everything.relevant
    own = frozenset().union(*relevant)
    documents = everything.documents
    if sample is not None:
        others = [document.id for document in documents if document.id not in own]
        kept = {*own, *random.Random(seed).sample(others, min(sample, len(others)))}
        documents = [document for document in documents if document.id in kept]
    sets = [
        EvaluationSet("own contexts", [d for d in documents if d.id in own], asked, relevant),
        EvaluationSet("all contexts", documents, asked, relevant),
    ]
    return sets if len(own) < len(documents) else sets[1:]


def draw(corpus: EvaluationSet, count: int, seed: int) -> EvaluationSet:
    """Return the same corpus with some of its questions, drawn at random."""
    rows = sorted(random.Random(seed).sample(range(len(corpus.questions)), min(count, len(corpus.questions))))
    return EvaluationSet(
        corpus.name, corpus.documents, [corpus.questions[row] for row in rows], [corpus.relevant[row] for row in rows]
    )


def lexical(corpus: EvaluationSet) -> Measured:
    """Measure lexical search: BM25 over morphemes and bigrams."""
    retriever = KlueRetriever.from_documents(corpus.documents, search_type="lexical", reranker=None, title_key=None)
    [measured] = _ask(retriever, corpus, "lexical search", DEPTH)
    return measured


def dense(
    corpora: Sequence[EvaluationSet], system: str, embeddings: Embeddings, reranker: KlueReranker | None, fetch_k: int
) -> list[Measured]:
    """Measure a bi-encoder, and with a reranker its candidates reranked.

    Args:
        corpora: The last one holds the others: passages are embedded once.
        system: What to call it.
        embeddings: The bi-encoder; it reads passages without their titles, as the tutorial's does.
        reranker: Reorders the candidates; None for the bi-encoder alone.
        fetch_k: How many candidates.

    Returns:
        One row a corpus; with a reranker three: the same candidates not reranked, reranked by it alone, and by the mean
        of both scores.
    """
    remembered = _Remembered(embeddings)
    found = []
    for corpus in reversed(corpora):
        retriever = KlueRetriever.from_documents(
            corpus.documents, search_type="dense", embeddings=remembered, reranker=reranker, title_key=None
        )
        found += _ask(retriever, corpus, system, DEPTH if reranker is None else fetch_k)
    return found


class _Remembered(Embeddings):
    """Embeddings that compute every passage once, so that a part of a corpus costs nothing after the whole."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self._vectors: dict[str, list[float]] = {}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if fresh:
            self._vectors.update(zip(fresh, self._embeddings.embed_documents(fresh), strict=True))
        return [self._vectors[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Embed a question."""
        return self._embeddings.embed_query(text)


def _ask(retriever: KlueRetriever, corpus: EvaluationSet, system: str, depth: int) -> list[Measured]:
    """Ask all questions, one after the other as users do."""
    found = []
    began = time.perf_counter()
    for question in tqdm(corpus.questions, desc=f"{system}, {corpus.name}", mininterval=1, leave=False):
        found.append(retriever.invoke(question, k=depth, fetch_k=depth))
    seconds = round(time.perf_counter() - began, 2)

    def measured(name: str, key: str, seconds: float | None) -> Measured:
        ranks = []
        for documents, wanted in zip(found, corpus.relevant, strict=True):
            ranked = sorted(documents, key=lambda document: -document.metadata[key])[:DEPTH]
            ranks.append(next((n for n, document in enumerate(ranked, 1) if document.id in wanted), 0))
        return Measured(name, corpus.name, len(corpus.documents), ranks, seconds)

    if retriever.reranker is None:
        return [measured(system, "relevance_score", seconds)]
    name = f"{system}, {depth} reranked"
    return [
        measured(f"{system}, {NOT_RERANKED}", "first_stage_score", None),
        measured(name, "rerank_score", seconds),
        measured(f"{name}, mean of both scores", "relevance_score", seconds),
    ]


def measure(settings: Settings) -> list[Measured]:
    """Measure everything that the settings name.

    Raises:
        ModelLoadError: If a model cannot be loaded.
    """
    corpora = read_corpora(settings.data, settings.questions, settings.seed)

    def options(model: str | None) -> dict[str, Any]:
        """How a model computes; the packaged ones decide by themselves."""
        if resolve(model) == PACKAGED or is_static(model):
            return {}
        return {"encode_kwargs": {"max_length": settings.max_length, "batch_size": settings.batch_size}}

    rows = [lexical(corpus) for corpus in corpora]
    if settings.base is not None:
        base = KlueEmbeddings(model=settings.base, **options(settings.base))
        rows += dense(corpora, "base bi-encoder", base, None, settings.fetch_k)
    tuned = KlueEmbeddings(model=settings.bi_encoder, **options(settings.bi_encoder))
    rows += dense(corpora, "fine-tuned bi-encoder", tuned, None, settings.fetch_k)
    if settings.cross_encoder is not None:
        reranker = KlueReranker(model=settings.cross_encoder, **options(settings.cross_encoder))
        found = dense(corpora, "fine-tuned bi-encoder", tuned, reranker, settings.fetch_k)
        rows += [row for row in found if NOT_RERANKED not in row.system]  # stands there already, with its time
    return sorted(rows, key=lambda row: row.corpus, reverse=True)  # stable: own contexts first


#: Columns of `table`.
HEAD = ["corpus", "search", "questions", "HitRate@1", "HitRate@10", "MRR@10", "seconds", "ms a query"]


def table(rows: Sequence[Measured]) -> list[list[str]]:
    """Return the table's lines under `HEAD`, with 95% bootstrap intervals."""
    lines = []
    for row in rows:
        metrics = [with_interval(values) for values in (row.hits(1), row.hits(10), row.reciprocal_ranks())]
        count = len(row.ranks)
        times = ["", ""] if row.seconds is None else [f"{row.seconds:.1f}", f"{1000 * row.seconds / count:.1f}"]
        lines.append([f"{row.corpus} ({row.passages:,})", row.system, str(count), *metrics, *times])
    return lines


def with_interval(values: NDArray[np.float64]) -> str:
    """Return a mean over questions with its interval."""
    low, high = interval(values)
    return f"{values.mean():.3f} ({low:.3f}-{high:.3f})"


def difference(ours: Measured, theirs: Measured, k: int) -> str:
    """Return how much higher the first one's HitRate is for the same questions, with interval and p-value."""
    values = ours.hits(k) - theirs.hits(k)
    low, high = interval(values)
    return f"{values.mean():+.3f} ({low:+.3f} to {high:+.3f}), p {paired_p_value(ours.hits(k), theirs.hits(k)):.3f}"


def save(rows: Sequence[Measured], path: Path) -> None:
    """Write rows as JSON."""
    write_json(path, [asdict(row) for row in rows])


def load(path: Path) -> list[Measured]:
    """Read what `save` wrote."""
    return [Measured(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    settings = parse(Settings, argv)
    rows = measure(settings)
    if settings.output is not None:
        save(rows, settings.output)
    print(markdown(HEAD, table(rows)))


if __name__ == "__main__":
    main()
