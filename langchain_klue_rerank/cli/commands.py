"""What each command of the command line does."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from langchain_klue_rerank.cli import display
from langchain_klue_rerank.cli.display import flat, to_json
from langchain_klue_rerank.cli.messages import is_korean, say
from langchain_klue_rerank.engine.text.words import clean

if TYPE_CHECKING:
    from langchain_core.documents import Document

    from langchain_klue_rerank.files.reasons import Problem
    from langchain_klue_rerank.files.sync import Mode, SyncReport
    from langchain_klue_rerank.retriever import KlueRetriever

#: Passages indexed between two steps of the progress bar.
_BATCH = 512
#: Files that were not read and are named without ``--verbose``.
_NAMED = 10
#: Reasons for passing over what nobody wants to be read; named with ``--verbose`` only, and never a failure.
_QUIET = frozenset({"hidden", "tool", "index", "excluded"})
#: Reasons that are no failure of a file that should be read.
_HARMLESS = _QUIET | {"kind", "empty"}

_DEMO_QUESTIONS = (
    "주차 단속 알림 문자 서비스는 차량 한 대에 번호를 몇 개까지 등록할 수 있나요?",
    "전입신고는 언제까지 해야 하나요",
    "감자 상자에 뭘 같이 넣어 두면 순이 덜 나오나요?",
    "집에서 일하고 싶은 날은 언제까지 올려 둬야 하고 안 되는 요일이 있나요?",
)


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


def index(options: argparse.Namespace) -> int:
    """Index files and folders, in place of an index or added to one."""
    report = _synchronise(options, "append" if options.append else "replace")
    seconds = max(report.seconds, 1e-6)
    if options.json:
        result = {"passages": report.passages, "added": report.added, "seconds": round(seconds, 3)}
        print(to_json({**result, "dir": str(options.out), **_report_json(report)}))
    else:
        message = "{added} passages in {seconds:.1f} s ({speed:.0f}/s) -> {dir} ({passages} in all)"
        speed = report.added / seconds
        print(
            say(
                message,
                added=report.added,
                seconds=seconds,
                speed=speed,
                dir=flat(str(options.out)),
                passages=report.passages,
            )
        )
        _tell(report, options.verbose)
    return int(options.strict and any(one.reason not in _HARMLESS for one in report.problems))


def sync(options: argparse.Namespace) -> int:
    """Bring an index in step with files and folders, once or again and again."""
    from langchain_klue_rerank.files.sync import watch

    status = 0
    last: list[Problem] | None = None

    def step() -> None:
        nonlocal status, last
        report = _synchronise(options, "sync")
        failed = [one for one in report.problems if one.reason not in _HARMLESS]
        status = int(options.strict and bool(failed))
        if options.watch and last is not None and not report.saved and report.problems == last:
            return  # nothing new
        last = report.problems
        if options.json:
            counts = {name: getattr(report, name) for name in ("passages", "added", "removed", "read", "unchanged")}
            counts |= {"gone": report.gone, "seconds": round(report.seconds, 3), "dir": str(options.out)}
            print(to_json({**counts, **_report_json(report)}), flush=True)
            return
        message = (
            "{read} files read, {unchanged} unchanged, {gone} gone: {added} passages added, {removed} removed, "
            "{passages} in all ({seconds:.1f} s)"
        )
        print(say(message, **asdict(report)), flush=True)
        _tell(report, options.verbose)

    step()
    if options.watch:
        folders = ", ".join(flat(str(path)) for path in options.files)
        print(say("watching {folders}; Ctrl-C ends", folders=folders), file=sys.stderr)
        watch(step, options.watch)
    return status


def _synchronise(options: argparse.Namespace, mode: Mode) -> SyncReport:
    from langchain_klue_rerank.engine.arrays.storage import check_target
    from langchain_klue_rerank.files.loading import Reading
    from langchain_klue_rerank.files.sync import sync_folder

    if not 0 <= options.chunk_overlap < options.chunk_size:
        raise ValueError(f"--chunk-overlap {options.chunk_overlap} must be from 0 to below --chunk-size.")
    check_target(options.out)
    reading = Reading(options.chunk_size, options.chunk_overlap, options.text_column, options.title_column)

    def make(folder: Path | None) -> KlueRetriever:
        from langchain_klue_rerank.retriever import KlueRetriever

        fields = _models(options)
        return KlueRetriever(**fields) if folder is None else KlueRetriever.load(folder, **fields)

    bar = _bar("indexing", "passage", quiet=options.json)
    try:
        return sync_folder(
            options.files, options.out, make, reading=reading, exclude=options.exclude, mode=mode, progress=bar
        )
    finally:
        bar.close()


class _Progress:
    """A progress bar that is drawn on a terminal only."""

    def __init__(self, description: str, unit: str, quiet: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc=description, unit=unit, disable=quiet or not sys.stderr.isatty())

    def __call__(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


def _bar(description: str, unit: str, *, quiet: bool) -> _Progress:
    return _Progress(description, unit, quiet)


def _report_json(report: SyncReport) -> dict[str, Any]:
    return {
        "problems": [
            {"path": one.path, "line": one.line or None, "reason": one.reason, "message": one.sentence(with_path=False)}
            for one in report.problems
        ],
        "columns": report.columns,
    }


def _tell(report: SyncReport, verbose: bool) -> None:
    """Say what was taken for what and what was not read."""
    for file, columns in list(report.columns.items())[: None if verbose else _NAMED]:
        shown = ", ".join(f"{role} = {column}" for role, column in columns.items())
        print(say("columns of {file}: {columns}", file=flat(PurePosixPath(file).name), columns=flat(shown)))
    problems = [one for one in report.problems if verbose or one.reason not in _QUIET]
    if not problems:
        return
    print(say("Not read ({count}):", count=len(problems)), file=sys.stderr)
    kinds = Counter(one.reason for one in problems)
    problems.sort(key=lambda one: one.reason in _HARMLESS)  # failures first
    for problem in problems[: None if verbose else max(_NAMED, sum(kinds[k] for k in kinds if k not in _HARMLESS))]:
        print(f"  {flat(problem.sentence(is_korean()))}", file=sys.stderr)
    if not verbose and len(problems) > _NAMED:
        left = problems[max(_NAMED, sum(kinds[k] for k in kinds if k not in _HARMLESS)) :]
        if left:
            print("  " + say("and {count} more; --verbose names all", count=len(left)), file=sys.stderr)


def search(options: argparse.Namespace) -> None:
    """Search an index."""
    from langchain_klue_rerank.retriever import KlueRetriever

    wanted = _filter(options.filter)
    questions = _questions(options.query, options.questions)
    began = time.perf_counter()
    fields = _models(options)
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
        _show(query, documents, 1000 * (time.perf_counter() - start), options.json, load)
    if not asked:
        raise ValueError("There is no question: give one, or lines of them on standard input or with --questions FILE.")


def _warm(retriever: KlueRetriever) -> None:
    """Load what the first search would load, so that loading and searching are timed apart."""
    from langchain_klue_rerank.engine.text.kiwi import shared_analyzer

    if retriever.kiwi:
        shared_analyzer().sentences("준비.")
    if retriever.search_type != "lexical":
        retriever.embeddings.embed_query("준비")


def _questions(queries: list[str], file: Path | None) -> Iterator[str]:
    """Yield the questions: those given, those of a file, and those of standard input, as they come."""
    from langchain_klue_rerank.files.encodings import decode

    if file is not None and str(file) != "-":
        try:
            lines = decode(file.read_bytes()).splitlines()
        except UnicodeError as error:
            raise ValueError(f"--questions {str(file)!r}: {error}.") from error
        yield from (line.strip() for line in lines if line.strip())
    for query in queries:
        if query != "-":
            yield clean(query)
    if "-" in queries or str(file) == "-" or (not queries and file is None and not sys.stdin.isatty()):
        for line in sys.stdin:
            if line.strip():
                yield clean(line.strip())


def _filter(given: list[str]) -> dict[str, Any] | None:
    """Turn ``key=value`` and JSON into one filter.

    Raises:
        ValueError: If one is neither.
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
    return None if not filters else filters[0] if len(filters) == 1 else {"$and": filters}


def _alternatives(value: str) -> Any:
    """Return what a value on the command line may be in metadata: the text, and the number that it spells."""
    try:
        number = json.loads(value)
    except ValueError:
        return value
    return {"$in": [value, number]} if isinstance(number, int | float) else value


def _show(
    query: str, documents: list[Document], milliseconds: float, as_json: bool, load_milliseconds: float | None = None
) -> None:
    sentences = [_best_sentence(query, document) for document in documents]
    if not as_json:
        print(display.results(query, documents, sentences, milliseconds))
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

    retriever = KlueRetriever.load(options.dir, k=options.k, **_models(options))
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
            **_models(options),
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
    bar = _bar("indexing", "passage", quiet=options.json)
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
            print(display.comparison(query, before, after, sentence, milliseconds))
