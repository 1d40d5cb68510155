"""What the base install costs: packages and megabytes, downloaded and on disk.

python -m benchmarks.install                  # of the working tree
python -m benchmarks.install dist/*.whl       # of a wheel
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

#: What a virtual environment has before anything is installed.
_BEFORE = {"pip", "setuptools"}
_OWN = "langchain-klue-rerank"


def pip(*arguments: str) -> None:
    """Run pip.

    Raises:
        SystemExit: If it fails, with what it said.
    """
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr or done.stdout)


def site_packages(environment: Path) -> Path:
    """Return where an environment's packages lie."""
    [found] = [*environment.glob("lib/python*/site-packages"), *environment.glob("Lib/site-packages")]
    return found


def sizes(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, bytes on disk, and of those the bytes of compiled ``.pyc`` files, of every package."""
    for package in distributions(path=[str(folder)]):
        if package.name not in _BEFORE:
            files = {Path(str(file.locate())).resolve() for file in package.files or ()}
            own = {path: path.stat().st_size for path in files if path.is_file()}
            yield package.name, sum(own.values()), sum(size for path, size in own.items() if path.suffix == ".pyc")


def _plain(name: str) -> str:
    return name.replace("_", "-").lower()


@dataclass(frozen=True)
class Installed:
    """A base install.

    Attributes:
        packages: Name, bytes on disk, and of those the bytes of compiled ``.pyc`` files, of every package.
        wheels: Bytes of every package's wheel, by its name in small letters.
    """

    packages: list[tuple[str, int, int]]
    wheels: dict[str, int]


def install(what: str = ".") -> Installed:
    """Install a wheel or a source folder into an empty environment and measure it.

    Args:
        what: The wheel or the folder.
    """
    with tempfile.TemporaryDirectory() as name:
        wheels, environment = Path(name, "wheels"), Path(name, "environment")
        pip("wheel", what, "--wheel-dir", str(wheels))  # sources are built, so that every size is a wheel's
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
        target = str(site_packages(environment))
        pip("install", "--no-index", "--find-links", str(wheels), "--target", target, _OWN)
        downloads = {_plain(path.name.split("-")[0]): path.stat().st_size for path in wheels.iterdir()}
        return Installed(sorted(sizes(Path(target)), key=lambda row: -row[1]), downloads)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default=".", help="a wheel, or a folder with the source (.)")
    found = install(parser.parse_args().what)
    rows = found.packages
    print(f"{'package':<24}{'wheel, MB':>10}{'on disk, MB':>13}{'of it .pyc':>12}")
    for package, size, compiled in rows[:12]:
        wheel = found.wheels[_plain(package)]
        print(f"{package:<24}{wheel / 1e6:>10.1f}{size / 1e6:>13.1f}{compiled / 1e6:>12.1f}")
    total, compiled = sum(row[1] for row in rows), sum(row[2] for row in rows)
    print(
        f"{len(rows)} packages, this one included: {sum(found.wheels.values()) / 1e6:.0f} MB of wheels, "
        f"{total / 1e6:.0f} MB on disk, {compiled / 1e6:.0f} MB of them compiled .pyc files"
    )


if __name__ == "__main__":
    main()
