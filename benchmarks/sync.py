"""How long it takes to keep a folder of many files and an index in step: ``python -m benchmarks.sync``.

Each step is a process of its own, as on the command line, so that starting Python counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

_WORDS = (
    *("주차", "도서", "예약", "접수", "환불", "신청", "수강", "난방", "관리", "배송"),
    *("점검", "회의", "연차", "급식", "통학", "민원", "예산", "계약", "보험", "안내"),
)


def main() -> None:
    """Make a folder, index it, and time what follows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="files in the folder (10,000)")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="klue-sync-") as name:
        folder, out = Path(name) / "files", Path(name) / "index"
        for number in range(options.files):
            path = folder / f"{number % 100:02}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_text(number), encoding="utf-8")
        _step("first sync", folder, out)
        _step("nothing changed", folder, out)
        _step("nothing changed", folder, out)
        path.write_text(_text(options.files), encoding="utf-8")
        _step("one file changed", folder, out)
        path.unlink()
        _step("one file deleted", folder, out)


def _text(number: int) -> str:
    first, second, third = (_WORDS[(number // step) % len(_WORDS)] for step in (1, 20, 400))
    return f"{first} {second} {third} 문서 {number}번입니다. {number % 24}시에 {third} 담당자에게 {first}합니다."


def _step(label: str, folder: Path, out: Path) -> None:
    command = [sys.executable, "-m", "langchain_klue_rerank.cli.main", "sync", str(folder), "--out", str(out), "--json"]
    began, worked = time.perf_counter(), _processor_seconds()
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    seconds = time.perf_counter() - began
    processor = _processor_seconds() - worked
    report = json.loads(done.stdout)
    counts = ", ".join(f"{name} {report[name]}" for name in ("read", "unchanged", "added", "removed", "passages"))
    print(f"{label:18} {seconds:6.2f} s, {processor:6.2f} s of processor time  {counts}", flush=True)


def _processor_seconds() -> float:
    """Return how long processors worked for finished child processes, whatever else the machine did."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
