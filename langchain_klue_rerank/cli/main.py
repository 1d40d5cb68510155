"""``klue-rerank`` on the command line: its commands and options; see `indexing` and `commands` for what they do."""

from __future__ import annotations

import argparse
import io
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from langchain_klue_rerank import __version__
from langchain_klue_rerank.cli import commands, indexing, serving
from langchain_klue_rerank.cli.display import flat
from langchain_klue_rerank.cli.errors import explained
from langchain_klue_rerank.cli.messages import text
from langchain_klue_rerank.errors import KlueRerankError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments; None for those of the process.

    Returns:
        The exit status: 0; 1 with ``--strict`` if something could not be read; 2 after an error that was explained on
        standard error.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # a service, pythonw, or closed by the shell
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a console of another encoding shows what it can
    options = _parser().parse_args(arguments)
    try:
        status = int(options.run(options) or 0)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # as with `| head`: the reader has closed the pipe, which is no error
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, it must outlive this function
        return 0
    except (OSError, ValueError, ImportError, KlueRerankError) as error:
        print(f"klue-rerank: {flat(explained(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"klue-rerank: {text('interrupted; nothing half-written is left behind.')}", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    """A parser that prints the error before the usage, and speaks the language of the locale."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "add_help": False})
        self._positionals.title, self._optionals.title = text("arguments"), text("options")
        self.add_argument("-h", "--help", action="help", help=text("show this help message and exit"))

    def format_usage(self) -> str:
        """Return the usage."""
        return _in_locale(super().format_usage())

    def format_help(self) -> str:
        """Return the help."""
        return _in_locale(super().format_help())

    def error(self, message: str) -> NoReturn:
        """Explain an error, then show the usage."""
        print(f"{self.prog}: {flat(explained(message))}", file=sys.stderr)
        self.print_usage(sys.stderr)
        self.exit(2)


def _in_locale(usage: str) -> str:
    return re.sub(r"\Ausage:", f"{text('usage')}:", usage)


_EXAMPLES = {
    "index": "klue-rerank index docs/ notices.hwp faq.csv --out my-index\n"
    "klue-rerank index new.pdf --out my-index --append",
    "sync": "klue-rerank sync docs/ --out my-index\nklue-rerank sync docs/ --out my-index --watch",
    "search": 'klue-rerank search my-index "연차는 며칠인가요?"\n'
    'klue-rerank search my-index "환불 기한" -k 3 --filter page=2 --json\n'
    "klue-rerank search my-index --questions questions.txt | head",
    "explain": 'klue-rerank explain my-index "연차는 며칠인가요?" -k 3\n'
    'klue-rerank explain my-index "연차는 며칠인가요?" --id rules.pdf#7',
    "stats": "klue-rerank stats my-index",
    "check": "klue-rerank check my-index",
    "evaluate": "klue-rerank evaluate --data samples\nklue-rerank evaluate --data my-questions.csv --html report.html",
    "serve": "klue-rerank serve my-index --port 8080\n"
    "KLUE_RERANK_API_KEY=... klue-rerank serve my-index --host 0.0.0.0",
    "mcp": "klue-rerank mcp my-index\nklue-rerank mcp my-index other-index --http --port 8090",
    "demo": 'klue-rerank demo "승강기에 갇혔을 때는 어떻게 하나요?"',
}


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="klue-rerank", description=text("Two-stage Korean retrieval on an ordinary CPU."))
    parser.add_argument(
        "--version", action="version", version=f"klue-rerank {__version__}", help=text("show the version and exit")
    )
    subparsers = parser.add_subparsers(required=True, metavar=text("COMMAND"), parser_class=_Parser)

    def command(name: str, what: str) -> argparse.ArgumentParser:
        examples = "\n".join(f"  {line}" for line in _EXAMPLES[name].splitlines())
        return subparsers.add_parser(
            name,
            help=text(what),
            description=text(what),
            epilog=f"{text('examples')}:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    index = command("index", "index files and folders")
    index.add_argument("--append", action="store_true", help=text("add to the index at DIR instead of replacing it"))
    index.set_defaults(run=indexing.index)
    sync = command("sync", "bring an index in step with files and folders")
    sync.add_argument(
        "--watch",
        nargs="?",
        const=2.0,
        type=_seconds,
        metavar="SECONDS",
        help=text("keep watching, and synchronise every SECONDS (2)"),
    )
    sync.set_defaults(run=indexing.sync)
    for each in (index, sync):
        each.add_argument("files", nargs="+", type=Path, metavar="FILE", help=text("files, or folders of them"))
        each.add_argument("--out", required=True, type=Path, metavar="DIR", help=text("folder of the index"))
        each.add_argument("--chunk-size", type=_positive, default=600, help=text("longest passage in characters (600)"))
        each.add_argument("--chunk-overlap", type=int, default=80, help=text("characters that neighbours share (80)"))
        each.add_argument("--text-column", metavar="NAME", help=text("column of the text in csv and JSON files"))
        each.add_argument("--title-column", metavar="NAME", help=text("column of the title"))
        each.add_argument(
            "--exclude",
            action="append",
            default=[],
            metavar="PATTERN",
            help=text("pattern of files to leave out, as in .gitignore; may be repeated"),
        )
        each.add_argument("--strict", action="store_true", help=text("exit with 1 if anything could not be read"))
        each.add_argument("--verbose", action="store_true", help=text("name everything that was not read"))
        each.add_argument(
            "--embeddings", metavar="MODEL", help=text("folder or hub id instead of the packaged bi-encoder")
        )

    search = command("search", "search an index")
    search.add_argument("dir", type=Path, metavar="DIR", help=text("folder of the index"))
    search.add_argument(
        "query", nargs="*", default=[], help=text("one or more questions; none or - for standard input, a line each")
    )
    search.add_argument("--questions", type=Path, metavar="FILE", help=text("a file of questions, a line each"))
    search.add_argument("-k", type=_positive, default=5, help=text("how many results (5)"))
    search.add_argument("--fetch-k", type=_positive, default=30, help=text("candidates handed to the reranker (30)"))
    search.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="FILTER",
        help=text('only passages with this metadata, as key=value or JSON ({"page": 3})'),
    )
    search.add_argument("--score-threshold", type=_share, help=text("lowest relevance score to show, 0..1"))
    search.add_argument("--search-type", choices=("hybrid", "dense", "lexical"), help=text("as indexed by default"))
    search.add_argument(
        "--embeddings", metavar="MODEL", help=text("the model the index was built with, if not the packaged")
    )
    search.add_argument("--reranker", metavar="MODEL", help=text("folder or hub id instead of the packaged reranker"))
    search.add_argument("--no-rerank", action="store_true", help=text("show the first stage's order"))
    search.set_defaults(run=commands.search)

    explain = command("explain", "say why passages were found: the sentence, the shared words, the scores")
    explain.add_argument("dir", type=Path, metavar="DIR", help=text("folder of the index"))
    explain.add_argument("query", help=text("the question"))
    explain.add_argument("-k", type=_positive, default=1, help=text("how many results (1)"))
    explain.add_argument(
        "--id", action="append", default=[], metavar="ID", help=text("this passage instead of the best ones")
    )
    explain.add_argument(
        "--embeddings", metavar="MODEL", help=text("the model the index was built with, if not the packaged")
    )
    explain.add_argument("--reranker", metavar="MODEL", help=text("folder or hub id instead of the packaged reranker"))
    explain.set_defaults(run=commands.explain)

    stats = command("stats", "say how large an index is")
    stats.add_argument("dir", type=Path, metavar="DIR", help=text("folder of the index"))
    stats.set_defaults(run=commands.stats)

    check = command("check", "read every file of an index and find damage")
    check.add_argument("dir", type=Path, metavar="DIR", help=text("folder of the index"))
    check.set_defaults(run=commands.check)

    evaluate = command("evaluate", "measure every way to search on a set of questions")
    evaluate.add_argument(
        "--data",
        required=True,
        nargs="+",
        help=text("'samples', 'hub', a folder (KLUE-MRC, SQuAD JSON) or your csv/jsonl"),
    )
    evaluate.add_argument("--limit", type=_positive, help=text("ask the first questions only"))
    evaluate.add_argument("--fetch-k", type=_positive, default=30, help=text("candidates handed to the reranker (30)"))
    evaluate.add_argument(
        "--rerank-weight", type=_share, default=0.8, help=text("the reranker's share of the score (0.8)")
    )
    evaluate.add_argument(
        "--embeddings", metavar="MODEL", help=text("folder or hub id instead of the packaged bi-encoder")
    )
    evaluate.add_argument("--reranker", metavar="MODEL", help=text("folder or hub id instead of the packaged reranker"))
    evaluate.add_argument("--no-rerank", action="store_true", help=text("leave the reranked lines out"))
    evaluate.add_argument("--html", type=Path, metavar="FILE", help=text("also write a report for the browser"))
    evaluate.set_defaults(run=commands.evaluate)

    demo = command("demo", "index the sample documents and ask them a few questions")
    demo.add_argument("query", nargs="*", default=[], help=text("questions of your own"))
    demo.set_defaults(run=commands.demo)

    serve = command("serve", "serve indexes over HTTP, as Cohere, Jina, OpenAI and TEI do")
    serve.add_argument(
        "dirs", nargs="*", default=[], type=Path, metavar="DIR", help=text("folders of indexes, the default first")
    )
    serve.add_argument("--host", default="127.0.0.1", help=text("address to listen on (127.0.0.1)"))
    serve.add_argument("--port", type=int, default=8080, help=text("port to listen on (8080)"))
    serve.add_argument("--timeout", type=_seconds, default=30.0, help=text("most seconds for a request (30)"))
    serve.add_argument("--max-body", type=_positive, default=8_000_000, help=text("most bytes of a request (8000000)"))
    serve.add_argument("--max-waiting", type=_positive, default=256, help=text("most requests that wait (256)"))
    serve.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help=text("web page whose scripts may ask, such as http://localhost:3000"),
    )
    serve.set_defaults(run=serving.serve)

    mcp = command("mcp", "serve indexes to agents, over MCP")
    mcp.add_argument("dirs", nargs="+", type=Path, metavar="DIR", help=text("folders of indexes, the default first"))
    mcp.add_argument("--http", action="store_true", help=text("streamable HTTP at /mcp instead of standard input"))
    mcp.add_argument("--host", default="127.0.0.1", help=text("address to listen on (127.0.0.1)"))
    mcp.add_argument("--port", type=int, default=8090, help=text("port to listen on (8090)"))
    mcp.add_argument("--timeout", type=_seconds, default=30.0, help=text("most seconds for a request (30)"))
    mcp.add_argument(
        "--max-characters", type=_positive, default=8000, help=text("most characters of passages in an answer (8000)")
    )
    mcp.set_defaults(run=serving.mcp)
    for each in (serve, mcp):
        each.add_argument(
            "--embeddings", metavar="MODEL", help=text("the model the indexes were built with, if not the packaged")
        )
        each.add_argument("--reranker", metavar="MODEL", help=text("folder or hub id instead of the packaged reranker"))

    for each in (index, sync, search, explain, stats, check, evaluate, demo):
        each.add_argument("--json", action="store_true", help=text("print JSON, for machines"))
    return parser


def _positive(value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a whole number from 1 up")
    return number


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan  # in no range


def _share(value: str) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{value} is not in 0..1")
    return number


def _seconds(value: str) -> float:
    number = _number(value)
    if not 0.1 <= number <= 86_400:
        raise argparse.ArgumentTypeError(f"{value} is not a number of seconds from 0.1 to 86400")
    return number


if __name__ == "__main__":
    sys.exit(main())
