"""The package as a whole: light imports, a complete list of names, types for type checkers."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files

import pytest

import langchain_klue_rerank
from langchain_klue_rerank import errors

HEAVY = {"torch", "sentence_transformers", "transformers", "faiss", "kiwipiepy", "langchain_community", "datasets"}


def modules_after(code: str) -> set[str]:
    """Top-level modules of a fresh Python after some code."""
    program = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


def test_importing_is_light() -> None:
    assert not HEAVY & modules_after("import langchain_klue_rerank")


def test_searching_needs_no_torch() -> None:
    code = (
        "from langchain_klue_rerank import *\n"
        "retriever = KlueRetriever.from_texts(['전입신고는 14일 안에 합니다.', '여권은 구청에서 만듭니다.'])\n"
        "assert retriever.invoke('여권')[0].page_content.startswith('여권')"
    )
    loaded = modules_after(code)
    assert "kiwipiepy" in loaded
    assert not (HEAVY - {"kiwipiepy"}) & loaded


def test_bm25_without_kiwi_never_loads_it() -> None:
    code = (
        "from langchain_klue_rerank import KlueBM25Retriever\n"
        "retriever = KlueBM25Retriever.from_texts(['여권은 구청에서 만듭니다.'], kiwi=False)\n"
        "assert len(retriever.invoke('여권')) == 1"
    )
    assert "kiwipiepy" not in modules_after(code)


def test_the_command_line_tells_its_version_without_loading_anything() -> None:
    code = (
        "from langchain_klue_rerank.cli.main import main\n"
        "import contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main(['--version'])"
    )
    assert not HEAVY & modules_after(code)


@pytest.mark.parametrize(
    "code",
    [
        "import langchain_klue_rerank",
        # every public name, each from its own module, and the searching
        "from langchain_klue_rerank import *; KlueRetriever.from_texts(['여권은 구청에서 만듭니다.']).invoke('여권')",
    ],
)
def test_nothing_warns_from_import_to_result(code: str) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_public_name_is_there() -> None:
    for name in langchain_klue_rerank.__all__:
        value = getattr(langchain_klue_rerank, name)
        assert value.__name__ == name
        assert value.__doc__
    assert set(langchain_klue_rerank.__all__) <= set(dir(langchain_klue_rerank))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="KlueRanker"):
        _ = langchain_klue_rerank.KlueRanker
    with pytest.raises(ImportError, match="KlueRanker"):
        exec("from langchain_klue_rerank import KlueRanker")


def test_the_version_is_that_of_the_installation() -> None:
    assert langchain_klue_rerank.__version__ == version("langchain-klue-rerank")


def test_type_checkers_find_the_types() -> None:
    assert (files("langchain_klue_rerank") / "py.typed").is_file()


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.IndexFormatError, ValueError),
        (errors.ModelMismatchError, ValueError),
        (errors.ModelLoadError, OSError),
        (errors.ModelOutputError, RuntimeError),
        (errors.MissingExtraError, ImportError),
    ],
)
def test_errors_can_be_caught_as_ours_and_as_pythons(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, errors.KlueRerankError)
    assert issubclass(error, builtin)


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # as if it were not installed
    with pytest.raises(errors.MissingExtraError, match=r'pip install "langchain-klue-rerank\[torch\]"'):
        langchain_klue_rerank.KlueEmbeddings(model=str(tmp_path)).embed_query("전입신고")
