"""``python -m tests.torture``: all attacks, and a table of what came of them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.torture.attack import attacks, carry_out

_START, _END = "<!-- table -->", "<!-- end of the table -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attacks; 1 if any of them did harm."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--minutes", type=float, default=4, help="minutes in all, divided among the attacks (4)")
    parser.add_argument("--full", action="store_true", help="as many trials of each as the page promises, however long")
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the chance; printed")
    parser.add_argument("--results", type=Path, help="JSON with the results of earlier runs, to which these are added")
    parser.add_argument("--output", nargs="*", type=Path, default=[], help="pages whose table is replaced")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    chosen = [attack for attack in attacks() if options.only in attack.name]
    print(f"{len(chosen)} attacks, seed {options.seed}", flush=True)
    known: dict[str, list[int]] = {}
    if options.results and options.results.exists():
        known = json.loads(options.results.read_text(encoding="utf-8"))
    harm = False
    for attack in chosen:
        with tempfile.TemporaryDirectory() as folder:
            if options.full:
                result = carry_out(attack, Path(folder), seed=options.seed, count=attack.full)
            else:
                share = 60 * options.minutes / len(chosen)
                result = carry_out(attack, Path(folder), seed=options.seed, seconds=share)
        known[attack.name] = [result.count, len(result.faults)]
        harm = harm or bool(result.faults)
        print(row(attack.name, known), f"{result.seconds:.0f} s", flush=True)
        if options.results:
            options.results.write_text(json.dumps(known, ensure_ascii=False, indent=1), encoding="utf-8")
        for fault in result.faults[:5]:
            print(f"  {fault}", flush=True)
    for page in options.output:
        write(page, known)
    return int(harm)


def row(name: str, known: Mapping[str, Sequence[int]]) -> str:
    """Return a line of the table."""
    count, faults = known[name]
    return f"| {name} | {count:,} | {faults} |"


def write(page: Path, known: Mapping[str, Sequence[int]]) -> None:
    """Put the table into a page, between its marks."""
    korean = page.suffixes[:1] == [".ko"]
    head = "| 공격 | 횟수 | 잘못됨 |" if korean else "| Attack | Trials | Faults |"
    lines = [head, "|---|---:|---:|", *(row(attack.name, known) for attack in attacks() if attack.name in known)]
    date = time.strftime("%Y-%m-%d")
    system = f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores"
    lines += ["", f"{date}, {system}."]
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(_START)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_START}\n" + "\n".join(lines) + f"\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
