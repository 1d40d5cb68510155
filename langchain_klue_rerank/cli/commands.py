"""The commands of the command line but ``index`` and ``sync``."""

from __future__ import annotations

import argparse
import codecs
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_klue_rerank.cli import display
from langchain_klue_rerank.cli.display import ProgressBar, flat, to_json
from langchain_klue_rerank.cli.messages import is_korean, say
from langchain_klue_rerank.cli.models import retriever_fields
from langchain_klue_rerank.engine.index.filters import parse
from langchain_klue_rerank.engine.text.words import clean

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


def search(options: argparse.Namespace) -> None:
    """Search an index."""
    from langchain_klue_rerank.retriever import KlueRetriever

    wanted = _filter(options.filter)
    questions = _questions(options.query, _lines(options.questions), options.questions)
    began = time.perf_counter()
    fields = retriever_fields(options)
    if options.search_type:
        fields["search_type"] = options.search_type
    retriever = KlueRetriever.load(
        options.dir, k=options.k, fetch_k=options.fetch_k, score_threshold=options.score_threshold, **fields
    )
    _warm(retriever)
    load = 1000 * (time.perf_counter() - began)
    if not options.json:
        print(display.dim(say("index loaded in {load:.0f} ms", load=load)) + "\n")
    asked = 0
    for query in questions:
        asked += 1
        start = time.perf_counter()
        documents = retriever.invoke(query, filter=wanted)
        milliseconds = 1000 * (time.perf_counter() - start)
        _show(query, documents, milliseconds, options.json, load, retriever.confidence_threshold)
    if not asked:
        raise ValueError("There is no question: give one, or lines of them on standard input or with --questions FILE.")


def _warm(retriever: KlueRetriever) -> None:
    """Load what the first search would load, so that loading and searching are timed apart."""
    from langchain_klue_rerank.engine.text.kiwi import shared_analyzer

    if retriever.kiwi:
        shared_analyzer().sentences("준비.")
    if retriever.search_type != "lexical":
        retriever.embeddings.embed_query("준비")


def _lines(file: Path | None) -> list[str]:
    """Read the questions of a file.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is no text.
    """
    from langchain_klue_rerank.files.encodings import decode

    if file is None or str(file) == "-":
        return []
    try:
        return [line.strip() for line in decode(file.read_bytes()).splitlines() if line.strip()]
    except UnicodeError as error:
        raise ValueError(f"--questions {str(file)!r}: {error}.") from error


def _questions(queries: list[str], lines: list[str], file: Path | None) -> Iterator[str]:
    """Yield the questions: those of a file, those given, and those of standard input, as they come."""
    yield from lines
    for query in queries:
        if query != "-":
            yield clean(query)
    if "-" in queries or str(file) == "-" or (not queries and file is None and not sys.stdin.isatty()):
        for line in _standard_input():
            if line.strip():
                yield clean(line.strip())


def _standard_input() -> Iterator[str]:
    """Yield the lines of standard input as they come, in any encoding that a file of questions may have."""
    from langchain_klue_rerank.files.encodings import decode

    lines: Any = getattr(sys.stdin, "buffer", sys.stdin)
    for line in lines:
        if isinstance(line, str):
            yield line
        elif line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            yield from decode(line + lines.read()).splitlines()
        else:
            try:
                yield decode(line)
            except UnicodeError:
                yield line.decode("utf-8", "replace")


def _filter(given: list[str]) -> dict[str, Any] | None:
    """Turn ``key=value`` and JSON into one filter.

    Raises:
        ValueError: If one is neither, or asks for what no filter can: before the index is opened, which takes seconds.
    """
    filters: list[dict[str, Any]] = []
    for one in given:
        if one.lstrip().startswith("{"):
            try:
                value = json.loads(one)
            except ValueError as error:
                raise ValueError(f"--filter {one!r} is not JSON: {error}.") from error
            filters.append(value)
            continue
        key, sign, value = one.partition("=")
        if not sign or not key.strip():
            raise ValueError(f"--filter {one!r} is neither key=value nor JSON, such as page=3 or '{{\"page\": 3}}'.")
        filters.append({key.strip(): _alternatives(value.strip())})
    wanted = None if not filters else filters[0] if len(filters) == 1 else {"$and": filters}
    try:
        parse(wanted or {})
    except TypeError as error:
        raise ValueError(str(error)) from error
    return wanted


def _alternatives(value: str) -> Any:
    """Return what a value on the command line may be in metadata: the text, and the number that it spells."""
    try:
        number = json.loads(value)
    except ValueError:
        return value
    return {"$in": [value, number]} if isinstance(number, int | float) else value


def _show(
    query: str,
    documents: list[Document],
    milliseconds: float,
    as_json: bool,
    load_milliseconds: float | None = None,
    threshold: float | None = None,
) -> None:
    sentences = [_best_sentence(query, document) for document in documents]
    if not as_json:
        print(display.results(query, documents, sentences, milliseconds, threshold))
        return
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
            "metadata": document.metadata,
        }
        for rank, (document, sentence) in enumerate(zip(documents, sentences, strict=True), 1)
    ]
    confidence = documents[0].metadata.get("confidence") if documents else None
    answer: dict[str, Any] = {
        "query": query,
        "milliseconds": round(milliseconds, 1),
        "confidence": confidence,
        "results": results,
    }
    if load_milliseconds is not None:
        answer["load_milliseconds"] = round(load_milliseconds, 1)
    print(to_json(answer), flush=True)


def _best_sentence(query: str, document: Document) -> str:
    """Return the sentence of a passage that answers a query best; the passage where it has none."""
    from langchain_klue_rerank.explanation import explain_match

    found = explain_match(query, document.page_content, title=str(document.metadata.get("title") or ""))
    return found.sentence or document.page_content.strip()


def explain(options: argparse.Namespace) -> None:
    """Say why passages were found for a question."""
    from langchain_klue_rerank.retriever import KlueRetriever

    retriever = KlueRetriever.load(options.dir, k=options.k, **retriever_fields(options))
    query = clean(options.query)
    documents = retriever.get_by_ids(options.id) if options.id else retriever.invoke(query)
    if not documents:
        raise ValueError(f"Nothing to explain: {'no passage has such an id' if options.id else 'nothing was found'}.")
    for document in documents:
        explanation = retriever.explain(query, document)
        if options.json:
            print(to_json({"query": query, "id": document.id, **explanation.to_dict()}), flush=True)
        else:
            print(display.explanation(document, explanation.describe("ko" if is_korean() else "en")))


def stats(options: argparse.Namespace) -> None:
    """Say how large an index is."""
    from langchain_klue_rerank.engine.index.passage_index import PassageIndex

    found = PassageIndex.load(options.dir, any_analysis=True).stats()
    print(to_json(asdict(found)) if options.json else display.stats(found))


def check(options: argparse.Namespace) -> None:
    """Check every byte of an index."""
    from langchain_klue_rerank.engine.index.passage_index import PassageIndex

    index = PassageIndex.load(options.dir, any_analysis=True)
    index.verify()
    if options.json:
        print(to_json({"passages": len(index), "damaged": False}))
    else:
        print(say("{dir}: every file is as it was saved ({passages} passages)", dir=options.dir, passages=len(index)))


def evaluate(options: argparse.Namespace) -> None:
    """Measure every way to search on sets of questions."""
    from langchain_klue_rerank.evaluation import measure, page
    from langchain_klue_rerank.evaluation.sets import read_sets

    sets = [data.first(options.limit) for name in options.data for data in read_sets(name)]
    sections: list[str] = []
    for data in sets:
        details: list[measure.Answers] = []
        report = measure.evaluate(
            data,
            show_progress=not options.json and sys.stderr.isatty(),
            details=details,
            fetch_k=options.fetch_k,
            rerank_weight=options.rerank_weight,
            **retriever_fields(options),
        )
        if options.json:
            print(to_json(asdict(report)))
        else:
            print(display.report(report))
        if options.html is not None:
            sections.append(page.section(data, report, details[-1]))
    if options.html is not None:
        page.write(options.html, sections)
        if not options.json:
            print(say("report written to {path}", path=flat(str(options.html))))


def demo(options: argparse.Namespace) -> None:
    """Index the samples and ask them, before and after reranking."""
    from langchain_klue_rerank.evaluation.sets import SAMPLES, read_passages
    from langchain_klue_rerank.retriever import KlueRetriever

    documents = read_passages(SAMPLES / "passages.jsonl")
    start = time.perf_counter()
    retriever = KlueRetriever(k=3)
    bar = ProgressBar("indexing", "passage", quiet=options.json)
    for place in range(0, len(documents), _BATCH):
        retriever.add_documents(documents[place : place + _BATCH])
        bar(min(place + _BATCH, len(documents)), len(documents))
    bar.close()
    if not options.json:
        seconds = time.perf_counter() - start
        message = "{count} sample passages indexed in {seconds:.1f} s, Kiwi's start included"
        print(say(message, count=len(documents), seconds=seconds) + "\n")
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
            sentence = _best_sentence(query, after[0]) if after else ""
            milliseconds = (1000 * (middle - began), 1000 * (end - middle))
            print(display.comparison(query, before, after, sentence, milliseconds, retriever.confidence_threshold))
