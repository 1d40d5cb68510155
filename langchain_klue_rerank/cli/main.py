"""``klue-rerank`` on the command line: index, search, evaluate, demo."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_klue_rerank import __version__
from langchain_klue_rerank.cli import display
from langchain_klue_rerank.engine.text.words import clean
from langchain_klue_rerank.errors import KlueRerankError

if TYPE_CHECKING:
    from langchain_core.documents import Document

    from langchain_klue_rerank.retriever import KlueRetriever

#: Passages indexed between two steps of the progress bar.
_BATCH = 512

_DEMO_QUESTIONS = (
    "주차 단속 알림 문자 서비스는 차량 한 대에 번호를 몇 개까지 등록할 수 있나요?",
    "전입신고는 언제까지 해야 하나요",
    "감자 상자에 뭘 같이 넣어 두면 순이 덜 나오나요?",
    "집에서 일하고 싶은 날은 언제까지 올려 둬야 하고 안 되는 요일이 있나요?",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments; None for those of the process.

    Returns:
        The exit status: 0, or 2 after an error that was explained on standard error.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a console of another encoding shows what it can
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError, ImportError, KlueRerankError) as error:
        print(f"klue-rerank: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("klue-rerank: interrupted; nothing half-written is left behind.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="klue-rerank", description="Two-stage Korean retrieval on an ordinary CPU.")
    parser.add_argument("--version", action="version", version=f"klue-rerank {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    index = commands.add_parser("index", help="index files into a folder")
    index.add_argument("files", nargs="+", type=Path, metavar="FILE", help="txt, md, jsonl, csv, or folders of them")
    index.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the index")
    index.add_argument("--append", action="store_true", help="add to the index at DIR instead of replacing it")
    index.add_argument("--chunk-size", type=_positive, default=600, help="longest passage in characters (600)")
    index.add_argument("--chunk-overlap", type=int, default=80, help="characters that neighbours share (80)")
    index.add_argument("--embeddings", metavar="MODEL", help="folder or hub id instead of the packaged bi-encoder")
    index.set_defaults(run=_index)

    search = commands.add_parser("search", help="search an index")
    search.add_argument("dir", type=Path, metavar="DIR", help="folder of the index")
    search.add_argument("query", nargs="+", help="one or more questions")
    search.add_argument("-k", type=_positive, default=5, help="how many results (5)")
    search.add_argument("--fetch-k", type=_positive, default=30, help="candidates handed to the reranker (30)")
    search.add_argument("--score-threshold", type=_share, help="lowest relevance score to show, 0..1")
    search.add_argument("--search-type", choices=("hybrid", "dense", "lexical"), help="as indexed by default")
    search.add_argument("--embeddings", metavar="MODEL", help="the model the index was built with, if not the packaged")
    search.add_argument("--reranker", metavar="MODEL", help="folder or hub id instead of the packaged reranker")
    search.add_argument("--no-rerank", action="store_true", help="show the first stage's order")
    search.set_defaults(run=_search)

    evaluate = commands.add_parser("evaluate", help="measure every way to search on a set of questions")
    evaluate.add_argument(
        "--data", required=True, nargs="+", help="'samples', 'hub', a folder (KLUE-MRC, SQuAD JSON) or your csv/jsonl"
    )
    evaluate.add_argument("--limit", type=_positive, help="ask the first questions only")
    evaluate.add_argument("--fetch-k", type=_positive, default=30, help="candidates handed to the reranker (30)")
    evaluate.add_argument("--rerank-weight", type=_share, default=0.8, help="the reranker's share of the score (0.8)")
    evaluate.add_argument("--embeddings", metavar="MODEL", help="folder or hub id instead of the packaged bi-encoder")
    evaluate.add_argument("--reranker", metavar="MODEL", help="folder or hub id instead of the packaged reranker")
    evaluate.add_argument("--no-rerank", action="store_true", help="leave the reranked lines out")
    evaluate.set_defaults(run=_evaluate)

    demo = commands.add_parser("demo", help="index the sample documents and ask them a few questions")
    demo.add_argument("query", nargs="*", help="questions of your own")
    demo.set_defaults(run=_demo)

    for command in (index, search, evaluate, demo):
        command.add_argument("--json", action="store_true", help="print JSON, for machines")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 up")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not in 0..1")
    return value


def _models(options: argparse.Namespace) -> dict[str, Any]:
    """Turn --embeddings, --reranker and --no-rerank into fields of the retriever."""
    from langchain_klue_rerank import KlueEmbeddings, KlueReranker

    fields: dict[str, Any] = {}
    if options.embeddings:
        fields["embeddings"] = KlueEmbeddings(model=options.embeddings)
    if getattr(options, "no_rerank", False):
        fields["reranker"] = None
    elif getattr(options, "reranker", None):
        fields["reranker"] = KlueReranker(model=options.reranker)
    return fields


def _index(options: argparse.Namespace) -> None:
    from langchain_klue_rerank.engine.arrays.storage import MANIFEST, check_target, writer_lock
    from langchain_klue_rerank.loaders import id_prefix, load_documents
    from langchain_klue_rerank.retriever import KlueRetriever

    if not 0 <= options.chunk_overlap < options.chunk_size:
        raise ValueError(f"--chunk-overlap {options.chunk_overlap} must be from 0 to below --chunk-size.")
    check_target(options.out)
    start = time.perf_counter()
    paths = list(_files(options.files))
    documents = [
        document
        for path in paths
        for document in load_documents(path, chunk_size=options.chunk_size, chunk_overlap=options.chunk_overlap)
    ]
    if not documents:
        raise ValueError("The files hold no text; there is nothing to index.")
    fields = _models(options)
    # who appends is the only writer from reading to saving: another's passages would be lost in between
    appending = options.append and (options.out / MANIFEST).exists()
    with writer_lock(options.out, timeout=0) if appending else nullcontext():
        retriever = KlueRetriever.load(options.out, **fields) if options.append else KlueRetriever(**fields)
        if options.append:  # a file that has changed leaves nothing of its old self
            prefixes = tuple(map(id_prefix, paths))
            retriever.delete(filter=lambda document: (document.id or "").startswith(prefixes))
        add_documents(retriever, documents, quiet=options.json)
        retriever.save(options.out)
    seconds = time.perf_counter() - start
    result = {
        "passages": len(retriever),
        "added": len(documents),
        "seconds": round(seconds, 3),
        "dir": str(options.out),
    }
    if options.json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        print(
            f"{result['added']} passages in {seconds:.1f} s ({len(documents) / seconds:.0f}/s) -> {options.out} "
            f"({result['passages']} in all)"
        )


def add_documents(retriever: KlueRetriever, documents: list[Document], *, quiet: bool = False) -> None:
    """Add documents to a retriever with a progress bar."""
    from tqdm import tqdm

    with tqdm(total=len(documents), desc="indexing", unit="passage", disable=quiet) as bar:
        for start in range(0, len(documents), _BATCH):
            batch = documents[start : start + _BATCH]
            retriever.add_documents(batch)
            bar.update(len(batch))


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield files, and what can be read in folders."""
    from langchain_klue_rerank.loaders import ENDINGS

    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS)
            if not found:
                raise ValueError(f"The folder {str(path)!r} holds no {', '.join(ENDINGS)} file.")
            yield from found
        else:
            yield path


def _search(options: argparse.Namespace) -> None:
    from langchain_klue_rerank.retriever import KlueRetriever

    fields = _models(options)
    if options.search_type:
        fields["search_type"] = options.search_type
    retriever = KlueRetriever.load(
        options.dir, k=options.k, fetch_k=options.fetch_k, score_threshold=options.score_threshold, **fields
    )
    for query in map(clean, options.query):
        start = time.perf_counter()
        documents = retriever.invoke(query)
        _show(query, documents, 1000 * (time.perf_counter() - start), options.json)


def _show(query: str, documents: list[Document], milliseconds: float, as_json: bool) -> None:
    sentences = [_best_sentence(query, document.page_content) for document in documents]
    if as_json:
        results = [
            {
                "rank": rank,
                "id": document.id,
                "score": document.metadata["relevance_score"],
                "first_stage_score": document.metadata.get("first_stage_score"),
                "title": document.metadata.get("title"),
                "sentence": sentence,
                "text": document.page_content,
                "source": document.metadata.get("source"),
            }
            for rank, (document, sentence) in enumerate(zip(documents, sentences, strict=True), 1)
        ]
        answer = {"query": query, "milliseconds": round(milliseconds, 1), "results": results}
        print(clean(json.dumps(answer, ensure_ascii=False)))
        return
    print(display.results(query, documents, sentences, milliseconds))


def _best_sentence(query: str, text: str) -> str:
    """Return the sentence of a passage that answers a query best."""
    from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
    from langchain_klue_rerank.reranker import KlueReranker

    sentences = shared_analyzer().sentences(text)
    if not sentences:
        return text.strip()
    return sentences[KlueReranker().rerank(sentences, query, top_n=1)[0]["index"]]


def _evaluate(options: argparse.Namespace) -> None:
    from langchain_klue_rerank.evaluation.measure import evaluate
    from langchain_klue_rerank.evaluation.sets import read_sets

    sets = [data.first(options.limit) for name in options.data for data in read_sets(name)]
    for data in sets:
        report = evaluate(
            data,
            show_progress=not options.json,
            fetch_k=options.fetch_k,
            rerank_weight=options.rerank_weight,
            **_models(options),
        )
        if options.json:
            print(json.dumps(asdict(report), ensure_ascii=False))
        else:
            print(display.report(report))


def _demo(options: argparse.Namespace) -> None:
    from langchain_klue_rerank.evaluation.sets import SAMPLES, read_passages
    from langchain_klue_rerank.retriever import KlueRetriever

    documents = read_passages(SAMPLES / "passages.jsonl")
    start = time.perf_counter()
    retriever = KlueRetriever(k=3)
    add_documents(retriever, documents, quiet=options.json)
    if not options.json:
        seconds = time.perf_counter() - start
        print(f"{len(documents)} sample passages indexed in {seconds:.1f} s, Kiwi's start included\n")
    for query in map(clean, options.query or _DEMO_QUESTIONS):
        first = retriever.model_copy(update={"reranker": None})
        began = time.perf_counter()
        before = first.invoke(query)
        middle = time.perf_counter()
        after = retriever.invoke(query)
        end = time.perf_counter()
        if options.json:
            _show(query, after, 1000 * (end - middle), True)
        else:
            sentence = _best_sentence(query, after[0].page_content) if after else ""
            milliseconds = (1000 * (middle - began), 1000 * (end - middle))
            print(display.comparison(query, before, after, sentence, milliseconds))
