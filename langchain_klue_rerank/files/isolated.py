"""Untrusted files are read in a separate process with limits on memory, time and output.

The process reads requests, a line of JSON each, and answers with lines of JSON. It is started for the first file,
serves the next ones, and is replaced when a file has killed it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from langchain_klue_rerank.errors import MissingExtraError
from langchain_klue_rerank.files.content import Content, Piece
from langchain_klue_rerank.files.reasons import REASONS, Problem, UnreadableFileError

#: Endings that are read here: reader's module and function, and the packages that it needs with their import names.
READERS: Final[dict[str, tuple[str, str, str, str]]] = {
    ".pdf": ("pdf", "read_pdf", "pypdfium2", "pypdfium2"),
    ".docx": ("office", "read_docx", "python-docx", "docx"),
    ".xlsx": ("excel", "read_xlsx", "openpyxl", "openpyxl"),
    ".pptx": ("office", "read_pptx", "python-pptx", "pptx"),
    ".hwp": ("hangul", "read_hangul", "unhwp", "unhwp"),
    ".hwpx": ("hangul", "read_hangul", "unhwp", "unhwp"),
    ".html": ("html", "read_html", "lxml", "lxml"),
    ".htm": ("html", "read_html", "lxml", "lxml"),
}


@dataclass(frozen=True)
class Limits:
    """What reading one file may take.

    Attributes:
        file_bytes: Size of the file. Default 200 MB.
        memory_bytes: Memory beyond what the process has at its start. Default 512 MB. Not enforced on Windows.
        seconds: Time. Default 60.
        output_bytes: Text, encoded. Default 64 MB.
    """

    file_bytes: int = 200 << 20
    memory_bytes: int = 512 << 20
    seconds: float = 60.0
    output_bytes: int = 64 << 20


class IsolatedReader:
    """Reads files in a child process. One file at a time; use one object for each thread.

    Args:
        limits: What each file may take.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> IsolatedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, path: str, ending: str) -> Content:
        """Read a file.

        Args:
            path: The file.
            ending: A key of `READERS`.

        Raises:
            UnreadableFileError: If it cannot be read, or not within the limits.
            MissingExtraError: If the package that reads it is not installed.
        """
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        request = {"path": path, "ending": ending, "memory": self.limits.memory_bytes, "seconds": self.limits.seconds}
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self.limits.seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline(self.limits.output_bytes + 1)
        except OSError:  # it died while it was asked
            line = b""
        except BaseException:
            self.close()  # an interrupted answer would be taken for that of the next file
            raise
        finally:
            timer.cancel()
        if not line.endswith(b"\n"):
            self.close()
            reason = "time" if late.is_set() else "output" if len(line) > self.limits.output_bytes else "crash"
            raise UnreadableFileError(Problem(path, reason))
        answer = json.loads(line)
        if answer.get("end"):
            self.close()
        if "missing" in answer:
            raise MissingExtraError(answer["missing"], "files", f"Reading {ending} files")
        if "reason" in answer:
            raise UnreadableFileError(Problem(path, answer["reason"], answer["line"], answer["detail"]))
        problems = [Problem(path, reason, 0, detail) for reason, detail in answer["problems"]]
        return Content([Piece(**piece) for piece in answer["pieces"]], problems)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            environment = {
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "RAYON_NUM_THREADS": "1",
            }
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self._process


def serve() -> None:
    """Answer requests from standard input until it ends: the child process."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer = _answer(request)
        try:
            encoded = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")
        except (MemoryError, ValueError):
            encoded = json.dumps({"reason": "memory", "line": 0, "detail": "", "end": True}).encode()
        answers.write(encoded + b"\n")
        answers.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from importlib import import_module

    path, ending = request["path"], request["ending"]
    module, function, package, imported = READERS[ending]
    try:
        import_module(imported)
    except ImportError:
        return {"missing": package}
    read: Callable[[str, bytes], list[Piece] | Content] = getattr(
        import_module(f"{__package__}.formats.{module}"), function
    )
    _limit(request["memory"], request["seconds"])
    try:
        with open(path, "rb") as file:
            content = file.read()
        found = read(path, content)
        pieces, problems = (found.pieces, found.problems) if isinstance(found, Content) else (found, [])
        return {
            "pieces": [asdict(piece) for piece in pieces],
            "problems": [(problem.reason, problem.detail) for problem in problems],
        }
    except UnreadableFileError as error:
        problem = error.problem
        return {"reason": problem.reason, "line": problem.line, "detail": problem.detail}
    except MemoryError:
        return {"reason": "memory", "line": 0, "detail": "", "end": True}
    except Exception as error:  # whatever a library lets through: zip, XML, its own errors
        reason = "memory" if "memory" in str(error).lower() or "huge" in str(error).lower() else "damaged"
        assert reason in REASONS
        return {
            "reason": reason,
            "line": 0,
            "detail": _without_objects(f"{type(error).__name__}: {error}")[:200],
            "end": True,
        }


def _without_objects(message: str) -> str:
    """Leave out what tells a reader nothing: objects in memory."""
    return re.sub(r"[\"']?<[\w.]+ object at 0x[0-9a-f]+>[\"']? ?", "", message)


def _limit(memory: int, seconds: float) -> None:
    """Set limits for the next file: address space, processor time, no core files."""
    try:
        import resource
    except ImportError:  # Windows
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # not Linux
        now = 512 << 20
    space = now + memory
    resource.setrlimit(resource.RLIMIT_AS, (space if hard == resource.RLIM_INFINITY else min(space, hard), hard))
    used = resource.getrusage(resource.RUSAGE_SELF)
    worked = int(used.ru_utime + used.ru_stime + seconds) + 2
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (worked if hard == resource.RLIM_INFINITY else min(worked, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
