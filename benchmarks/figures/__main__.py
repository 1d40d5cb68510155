"""Measure every figure that the documentation quotes and write it into every page and picture.

    python -m benchmarks.figures --data ../shared/data                  # everything that is not measured yet
    python -m benchmarks.figures --data ../shared/data --only times     # some parts, anew; a group or names of parts
    python -m benchmarks.figures --fill                                 # after a page was edited: measure nothing
    python -m benchmarks.figures --check                                # whether a page or picture differs

Each part runs in a process of its own and is kept under runs/figures until the weights or the engine's code change, so
an interrupted run goes on where it stopped. Groups: quality (exact whatever else the machine does), encoder, install,
times (nothing else should run meanwhile). docs/figures.json has the figures as printed, with date, machine and commit;
`benchmarks/figures/pages.py` says how a page names them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures.blocks import BLOCKS
from benchmarks.figures.pages import differences, fill, pages
from benchmarks.figures.store import ROOT, Figures, Part, quoted
from benchmarks.picture import WORDS, data_of, draw, drawn
from training.files import write_json

RUNS = ROOT / "runs" / "figures"
ASSETS = ROOT / "docs" / "assets"
_PACKAGE = ROOT / "langchain_klue_rerank"


def fingerprint(*paths: Path) -> str:
    """Return a hash of files; documentation is none."""
    digest = hashlib.sha256()
    for path in sorted(path for path in paths if path.suffix != ".md"):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def weights_of(names: tuple[str, ...]) -> str:
    """Return the fingerprint of some of the packaged weights."""
    return fingerprint(*(path for name in names for path in (_PACKAGE / "weights" / name).iterdir()))


def code() -> str:
    """Return the fingerprint of the code that decides figures."""
    folders = ("engine", "adapters", "evaluation")
    return fingerprint(*_PACKAGE.glob("*.py"), *(path for one in folders for path in (_PACKAGE / one).rglob("*.py")))


def check(figures: Figures) -> list[str]:
    """Return what differs from docs/figures.json in pages and pictures, and within it, a line each."""
    from benchmarks.figures.parts import points
    from benchmarks.figures.results_page import results_differences

    found = [f"docs/figures.json: {line}" for line in figures.conflicts()] + differences(figures, BLOCKS)
    if figures.parts["results"].weights:  # without, they were copied from the pages that there were before this command
        found += results_differences(figures, (ROOT / "docs" / "results.md").read_text(encoding="utf-8"))
    wanted = data_of(points(figures))
    for name in WORDS:
        if drawn(ASSETS / name) != wanted:
            found.append(f"docs/assets/{name}: drawn of other figures: {drawn(ASSETS / name)}\n    measured: {wanted}")
    return found


def write(figures: Figures) -> None:
    """Write the file, the pictures and the pages."""
    from benchmarks.figures.parts import points

    figures.write()
    if any(drawn(ASSETS / name) != data_of(points(figures)) for name in WORDS):
        for name in WORDS:
            draw(points(figures), figures["klue.questions"], figures["klue.passages"], ASSETS / name)
    for page in pages():
        text = page.read_text(encoding="utf-8")
        try:
            filled = fill(text, figures, BLOCKS)
        except (KeyError, ValueError) as error:
            raise SystemExit(f"{page.relative_to(ROOT)}: {error}") from error
        if filled != text:
            page.write_text(filled, encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")


def measured(name: str, data: Path, again: bool, runs: Path) -> Part:
    """Return a part, measured in a process of its own or kept from before.

    Args:
        name: Its name.
        data: The data folder.
        again: Measure even if it is kept.
        runs: Where it is kept.

    Raises:
        subprocess.CalledProcessError: If the measurement fails; what it printed says why.
    """
    from benchmarks.figures.parts import PARTS

    path, weights = runs / f"{name}.json", weights_of(PARTS[name].weights)
    if not again and path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept.pop("code") == code() and kept["weights"] == weights:
            return Part(**kept)
    command = [sys.executable, "-m", "benchmarks.figures", "--measure", name, "--data", str(data), "--runs", str(runs)]
    print(f"measuring {name}", flush=True)
    subprocess.run(command, check=True, cwd=ROOT)
    kept = json.loads(path.read_text(encoding="utf-8"))
    del kept["code"]
    return Part(**kept)


def measure(name: str, data: Path, runs: Path) -> None:
    """Measure a part in this process and keep it."""
    from benchmarks.figures.parts import PARTS, commit
    from benchmarks.price import machine

    before = code()
    part = Part(machine(), commit(), weights_of(PARTS[name].weights), PARTS[name].measure(data, runs))
    write_json(runs / f"{name}.json", asdict(part) | {"code": before})


def main(arguments: list[str] | None = None) -> int:
    """Measure and write, or check.

    Returns:
        0, or 1 if something differs.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--only", nargs="+", help="parts or groups to measure, even if they are kept")
    parser.add_argument("--fill", action="store_true", help="measure nothing: write what docs/figures.json has")
    parser.add_argument("--check", action="store_true", help="write nothing: say what differs from docs/figures.json")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where what was measured is kept (runs/figures)")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.data, options.runs = options.data.absolute(), options.runs.absolute()  # parts run in the repository
    figures = Figures.read()
    if options.check:
        found = check(figures)
        print("\n".join(found) or "every page and picture has the figures of docs/figures.json")
        return int(bool(found))
    if options.measure:
        measure(options.measure, options.data, options.runs)
        return 0
    failed: list[str] = []
    if not options.fill:
        from benchmarks.figures.parts import PARTS, chosen

        names = chosen(options.only) if options.only else list(PARTS)
        parts = dict(figures.parts)
        for name in ("sizes", *(name for name in names if name != "sizes")):
            try:
                parts[name] = measured(name, options.data, again=bool(options.only), runs=options.runs)
            except subprocess.CalledProcessError:
                failed.append(f"{name} failed, see above; its figures stay as they were")
            stale = {known for known, one in PARTS.items() if one.optional and known in parts}
            stale = {known for known in stale if parts[known].weights != weights_of(PARTS[known].weights)}
            kept = {known: parts[known] for known in PARTS if known in parts and known not in stale}
            figures = Figures(kept, quoted())
            figures.write()
    write(figures)
    found = failed + check(figures)
    print("\n".join(found))
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
