"""What ``make package`` built: the right files and no others, and a wheel that works alone, without network."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "langchain_klue_rerank"
LICENCES = {"LICENSE", f"{PACKAGE}/weights/LICENSE"}
#: Tracked, but of no use to somebody who unpacks the source.
NOT_IN_SDIST = (".ci/", ".github/")

#: Makes every connection an error, before anything else is imported.
OFFLINE = """
import socket
def refuse(*arguments, **named):
    raise AssertionError(f"the network was asked for {arguments}")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = socket.socket.connect_ex = refuse
"""


def built(pattern: str) -> Path:
    found = list((ROOT / "dist").glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"dist/{pattern}: {len(found)} files; make package builds one.")
    return found[0]


def tracked(*paths: str) -> set[str]:
    command = ["git", "-c", "core.quotepath=off", "ls-files", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


@pytest.fixture(scope="module")
def wheel() -> zipfile.ZipFile:
    return zipfile.ZipFile(built("*.whl"))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, what it needs, and nothing else."""
    environment = tmp_path_factory.mktemp("empty") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    executable = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run(
        [str(executable), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(built("*.whl"))],
        check=True,
        timeout=600,
    )
    return executable


def run(python: Path, folder: Path, code: str, *options: str) -> str:
    """Run code in an empty folder, without network; what it prints on standard error counts as a failure."""
    command = [str(python), "-I", *options, "-c", OFFLINE + code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_wheel_holds_the_package_as_it_is_tracked_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if not name.endswith("/")}
    package = {name for name in names if name.startswith(f"{PACKAGE}/")}
    assert package == tracked(PACKAGE)
    own = {name.split("/", 1)[1] for name in names - package if re.match(rf"{PACKAGE}-[\w.]+\.dist-info/", name)}
    assert len(own) == len(names - package), "there is something beside the package"
    assert own == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", *(f"licenses/{name}" for name in LICENCES)}


def test_the_wheel_holds_weights_samples_and_types(wheel: zipfile.ZipFile) -> None:
    sizes = {info.filename: info.file_size for info in wheel.infolist()}
    for name in ("weights/bi_encoder/vectors.npy", "weights/reranker/vectors.npy", "samples/passages.jsonl"):
        assert sizes[f"{PACKAGE}/{name}"] > 100_000
    assert f"{PACKAGE}/py.typed" in sizes


def test_the_base_install_asks_for_nothing_heavy(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(wheel.read(name).decode())
    base = [line for line in metadata.get_all("Requires-Dist") or () if "extra ==" not in line]
    names = {re.split(r"[^\w.-]", line)[0] for line in base}
    assert "langchain-core" in names
    assert not names & {"torch", "transformers", "sentence-transformers", "langchain-community", "datasets", "scipy"}


def test_the_sdist_holds_what_is_tracked_and_nothing_else() -> None:
    with tarfile.open(built("*.tar.gz")) as archive:
        names = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    expected = {name for name in tracked() if not name.startswith(NOT_IN_SDIST)}
    assert names == expected | {"PKG-INFO"}


def test_the_quick_start_of_the_readme_runs(python: Path, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert block
    code = block[1] + "assert retriever.invoke('전입신고는 언제까지 해야 하나요?')[0].metadata['title'] == '전입신고'\n"
    run(python, tmp_path, code)
    assert (tmp_path / "my-index" / "manifest.json").is_file()


def test_the_command_line_runs(python: Path, tmp_path: Path) -> None:
    code = (
        "from langchain_klue_rerank.cli.main import main\nmain(['demo', '--json', '전입신고는 언제까지 해야 하나요'])"
    )
    assert '"rank": 1' in run(python, tmp_path, code)
    command = python.with_name("klue-rerank")
    assert subprocess.run([str(command), "--version"], capture_output=True, timeout=60).returncode == 0


def test_nothing_warns_from_import_to_result(python: Path, tmp_path: Path) -> None:
    code = (
        "from langchain_klue_rerank import *\n"
        "KlueRetriever.from_texts(['여권은 구청에서 만듭니다.']).invoke('여권')\n"
        "KlueVectorStore.from_texts(['여권은 구청에서 만듭니다.']).similarity_search('여권')"
    )
    assert run(python, tmp_path, code, "-W", "error") == ""


def test_what_is_installed_fits_together(python: Path) -> None:
    done = subprocess.run([str(python), "-m", "pip", "check"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
