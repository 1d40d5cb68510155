"""The transformer engine: sentence-transformers' scores for every shape of model, whatever computes them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langchain_klue_rerank.engine.models.options import CrossEncoderOptions
from langchain_klue_rerank.engine.models.transformer import onnx_cache, onnx_export
from langchain_klue_rerank.engine.models.transformer.batches import Workload
from langchain_klue_rerank.engine.models.transformer.cross_encoder import TransformerCrossEncoder
from langchain_klue_rerank.engine.models.transformer.tokenizer import PairTokenizer, Template, find_template
from langchain_klue_rerank.errors import ExportRefusedError, ModelLoadError
from tests.conftest import USABLE_LENGTH
from tests.parallel import in_threads
from tests.tiny_models import save_bert_cross_encoder, save_roberta_cross_encoder
from tests.unit_tests.engine.helpers import score

torch = pytest.importorskip("torch")
sentence_transformers = pytest.importorskip("sentence_transformers")

QUERIES = ["전입신고는 며칠 안에 하나요?", "책은 몇 권", "구청"]
PASSAGES = [
    ["전입신고는 14일 안에 합니다.", "여권은 구청에서 (02-120) 신청", "", "날"],
    ["도서관 책은 다섯 권까지 빌립니다.", "새집"],
    ["민원실 신청", "😀 이사", "권 다섯 날"],
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, klue_cross_encoder_folder: Path) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("shapes")
    return {
        "klue": klue_cross_encoder_folder,
        "bert": save_bert_cross_encoder(root / "bert"),
        "roberta": save_roberta_cross_encoder(root / "roberta"),
    }


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One cache folder for the whole module: every shape is exported once."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv(onnx_cache.CACHE_VARIABLE, str(folder))
        yield folder


def opened(folders: dict[str, Path], shape: str = "klue", **options: Any) -> TransformerCrossEncoder:
    return TransformerCrossEncoder(
        str(folders[shape]), CrossEncoderOptions(**{"device": "cpu", "batch_size": 4, **options})
    )


def expected(folder: Path, **settings: Any) -> list[np.ndarray]:
    model = sentence_transformers.CrossEncoder(str(folder), device="cpu", **settings)
    return [
        np.asarray(model.predict([(query, text) for text in texts], activation_fn=torch.nn.Sigmoid()))
        for query, texts in zip(QUERIES, PASSAGES, strict=True)
    ]


def assert_same(found: list[np.ndarray], wanted: list[np.ndarray], tolerance: float = 1e-5) -> None:
    assert len(found) == len(wanted)
    for own, one in zip(found, wanted, strict=True):
        np.testing.assert_allclose(own, one, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("shape", "backend"),
    [("klue", "torch"), ("bert", "torch"), ("roberta", "torch"), ("klue", "onnx"), ("bert", "onnx")],
)
def test_scores_are_those_of_sentence_transformers(
    folders: dict[str, Path], exports: Path, shape: str, backend: Any
) -> None:
    names = {"processor_kwargs": {"model_input_names": ["input_ids", "attention_mask"]}} if shape == "klue" else {}
    wanted = expected(folders[shape], **names)
    assert np.ptp(np.concatenate(wanted)) > 0.05  # there is something to tell apart
    model = opened(folders, shape, backend=backend)
    assert model.backend == backend
    assert_same(score(model, QUERIES, PASSAGES), wanted)


def test_int8_keeps_the_scores_within_the_tolerance(folders: dict[str, Path], exports: Path) -> None:
    model = opened(folders, backend="onnx-int8")
    exact = opened(folders)
    assert_same(score(model, QUERIES, PASSAGES), score(exact, QUERIES, PASSAGES), 2 * onnx_export.TOLERANCE["int8"])


def test_what_is_exported_opens_without_torch(folders: dict[str, Path], exports: Path) -> None:
    model = opened(folders, backend="onnx")
    [scores] = score(model, QUERIES[:1], PASSAGES[:1])
    program = (
        "import sys\n"
        "from langchain_klue_rerank import KlueReranker\n"
        "reranker = KlueReranker(model=sys.argv[1], backend='onnx')\n"
        "print(reranker.score([sys.argv[2]], [sys.argv[3:]])[0])\n"
        "loaded = {'torch', 'transformers', 'sentence_transformers', 'onnx', 'onnxscript'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    command = [sys.executable, "-c", program, str(folders["klue"]), QUERIES[0], *PASSAGES[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout) == pytest.approx(scores.tolist(), abs=1e-6)


def export_folder(exports: Path, folder: Path) -> Path:
    """The fp32 export of a model."""
    [found] = [
        path.parent
        for path in (exports / "onnx").glob("*/fp32/config.json")
        if json.loads(path.read_text()).get("model") == str(folder)
    ]
    return found


def test_a_damaged_export_is_made_anew(
    folders: dict[str, Path], exports: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = score(opened(folders, backend="onnx"), QUERIES, PASSAGES)
    kept = export_folder(exports, folders["klue"])
    graph = (kept / onnx_cache.MODEL_FILE).read_bytes()
    (kept / onnx_cache.MODEL_FILE).write_bytes(b"half a model")
    monkeypatch.setattr(onnx_export, "_export_graph", lambda model, reads_types, path: path.write_bytes(graph))
    again = opened(folders, backend="onnx")
    assert "damaged" in caplog.text
    assert_same(score(again, QUERIES, PASSAGES), wanted)
    assert {path.name for path in kept.parent.glob("[!.]*")} <= {"fp32", "int8"}


@pytest.fixture
def cached(folders: dict[str, Path], exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own, which holds an fp32 export; to make another one fails."""
    opened(folders, backend="onnx")
    kept = export_folder(exports, folders["klue"])
    copied = tmp_path / kept.relative_to(exports)
    shutil.copytree(kept, copied)
    monkeypatch.setenv(onnx_cache.CACHE_VARIABLE, str(tmp_path))

    def export(*_: Any) -> None:
        raise NotImplementedError("exported")

    monkeypatch.setattr(onnx_export, "_export_graph", export)
    opened(folders, backend="onnx")
    return copied


def sign(config: dict[str, Any]) -> str:
    return json.dumps({**config, "checksum": onnx_cache._checksum(config)})


@pytest.mark.parametrize(
    "change",
    [
        {"identity": "folder:of another model"},
        {"precision": "int8"},
        {"sha256": {}},
        {"sha256": {"model.onnx": None}},
        {"refused": 3},
        {"refused": "gone"},
        {"positions": "64"},
        {"template": None},
    ],
    ids=str,
)
def test_an_export_of_another_model_or_without_checksums_is_not_taken(
    folders: dict[str, Path], cached: Path, change: dict[str, Any]
) -> None:
    config = json.loads((cached / onnx_cache.CONFIG_FILE).read_text(encoding="utf-8"))
    (cached / onnx_cache.CONFIG_FILE).write_text(sign({**config, **change}), encoding="utf-8")
    with pytest.raises(NotImplementedError, match="exported"):
        opened(folders, backend="onnx")


def test_an_export_whose_description_was_edited_is_not_taken(folders: dict[str, Path], cached: Path) -> None:
    path = cached / onnx_cache.CONFIG_FILE
    path.write_text(path.read_text(encoding="utf-8").replace('"positions": ', '"positions": 1'), encoding="utf-8")
    with pytest.raises(NotImplementedError, match="exported"):
        opened(folders, backend="onnx")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has other owners")
def test_an_export_of_another_user_is_refused(
    folders: dict[str, Path], cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cached / onnx_cache.MODEL_FILE).chmod(0o666)
    with pytest.raises(ModelLoadError, match="every user may write it"):
        opened(folders, backend="onnx")
    (cached / onnx_cache.MODEL_FILE).chmod(0o600)
    if os.getuid() == 0:
        os.chown(cached, 12345, 12345)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(ModelLoadError, match="belongs to another user"):
        opened(folders, backend="onnx")


KILLED = """
import os, signal, sys
from pathlib import Path
from langchain_klue_rerank.engine.models.transformer import onnx_cache
from tests.parallel import in_threads
def write(part):
    (part / onnx_cache.MODEL_FILE).write_bytes(b"half a model")
    os.kill(os.getpid(), signal.SIGKILL)
onnx_cache.CachedExport(sys.argv[1], "fp32").make(write)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_what_killed_exports_left_goes_at_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(onnx_cache.CACHE_VARIABLE, str(tmp_path))
    export = onnx_cache.CachedExport("of a test", "fp32")
    assert subprocess.run([sys.executable, "-c", KILLED, export.identity]).returncode < 0
    assert len(list(tmp_path.rglob(onnx_cache.MODEL_FILE))) == 1
    assert export.read() is None

    def write(part: Path) -> dict[str, Any]:
        for name in (onnx_cache.MODEL_FILE, onnx_cache.TOKENIZER_FILE):
            (part / name).write_text(name)
        numbers = {"padding": 0, "positions": 64, "max_length": 64}
        return {"model": "a test", "template": {}, "reads_types": False, **numbers}

    made = export.make(write)
    assert export.read() == made
    assert [path.name for path in export.folder.parent.glob("[!.]*")] == ["fp32"]


def test_an_export_with_other_scores_is_refused_and_that_is_remembered(
    folders: dict[str, Path], exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(onnx_cache.CACHE_VARIABLE, str(tmp_path))
    calls = []

    def graph(model: Any, reads_types: bool, path: Path) -> None:
        calls.append(1)
        path.write_bytes((export_folder(exports, folders["klue"]) / onnx_cache.MODEL_FILE).read_bytes())

    monkeypatch.setattr(onnx_export, "_export_graph", graph)
    monkeypatch.setattr(onnx_export, "_largest_difference", lambda *_: float("nan"))
    for _ in range(2):
        with pytest.raises(ExportRefusedError, match=r"differ from torch's .*'torch'"):
            opened(folders, backend="onnx")
    assert len(calls) == 1
    model = opened(folders, backend="auto")
    assert model.backend == "torch"  # int8 was refused, too


def test_int8_spares_the_first_layer_where_the_whole_rounds_too_much(
    folders: dict[str, Path], exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(folders, backend="onnx")
    whole = export_folder(exports, folders["klue"]) / onnx_cache.MODEL_FILE
    monkeypatch.setenv(onnx_cache.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(onnx_export, "_export_graph", lambda _model, _types, path: path.write_bytes(whole.read_bytes()))
    differences = iter([0.5, 0.01])
    monkeypatch.setattr(onnx_export, "_largest_difference", lambda *_: next(differences))
    model = opened(folders, backend="onnx-int8")
    [config] = [json.loads(path.read_text()) for path in tmp_path.rglob(onnx_cache.CONFIG_FILE)]
    assert config["largest_difference"] == 0.01
    exact = score(opened(folders), QUERIES, PASSAGES)
    assert_same(score(model, QUERIES, PASSAGES), exact, onnx_export.TOLERANCE["int8"])
    assert not list(tmp_path.rglob("fp32.onnx"))


def test_an_export_that_fails_leaves_nothing_behind(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setenv(onnx_cache.CACHE_VARIABLE, str(tmp_path))

    def graph(model: Any, reads_types: bool, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(onnx_export, "_export_graph", graph)
    with pytest.raises(OSError, match="the disk is full"):
        opened(folders, backend="onnx")
    assert not [path for path in tmp_path.rglob("[!.]*") if path.is_file()]


def test_auto_takes_int8_on_a_cpu_and_says_so(
    folders: dict[str, Path], exports: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        model = opened(folders, backend="auto")
    assert model.backend == "onnx-int8"
    assert "backend='auto' took onnx-int8" in caplog.text


def test_where_no_export_can_be_kept_auto_takes_torch_and_onnx_says_the_remedy(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KLUE_RERANK_CACHE", str(tmp_path / "file" / "cache"))  # a home that cannot be written
    with pytest.raises(ModelLoadError, match="KLUE_RERANK_CACHE"):
        opened(folders, backend="onnx")
    with caplog.at_level("INFO"):
        model = opened(folders, backend="auto")
    assert model.backend == "torch"
    assert "KLUE_RERANK_CACHE" in caplog.text


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become nobody")
def test_a_user_without_a_home_is_told_where_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "KLUE_RERANK_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    code = (
        "import os; from langchain_klue_rerank.engine.models.transformer.onnx_cache import cache_folder\n"
        "os.setuid(123456)\n"  # as containers run: a number without a name
        "try: cache_folder()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith("ExportRefusedError")
    assert "KLUE_RERANK_CACHE" in told


def test_onnx_on_a_gpu_and_too_long_an_input_are_refused(folders: dict[str, Path], exports: Path) -> None:
    with pytest.raises(ValueError, match="device='cuda'"):
        opened(folders, device="cuda", backend="onnx")
    with pytest.raises(ValueError, match=f"{USABLE_LENGTH} tokens"):
        opened(folders, backend="onnx", max_length=65)


# Windows


def long_passages() -> list[str]:
    filler = " ".join(["강 산 물 국 경 시 군 구 도 동"] * 30)
    return [f"{filler} 계 약 기 간 {filler}", filler]


def test_one_window_is_read_of_each_passage(folders: dict[str, Path]) -> None:
    query = "계 약 기 간"
    whole = opened(folders)
    one = opened(folders, max_windows=1, window_length=20)
    [everything] = score(whole, [query], [long_passages()])
    [chosen] = score(one, [query], [long_passages()])
    assert whole.workload.pairs > 10
    assert one.workload.pairs == 2
    assert one.workload.tokens == 2 * (20 + 4 + 3)
    assert np.isfinite(everything).all()
    assert np.isfinite(chosen).all()


def test_a_short_passage_gets_its_exact_score_in_any_case(folders: dict[str, Path]) -> None:
    one = opened(folders, max_windows=1, window_length=40)
    assert_same(score(one, QUERIES, PASSAGES), score(opened(folders), QUERIES, PASSAGES))


def test_equal_passages_are_read_once(folders: dict[str, Path]) -> None:
    model = opened(folders)
    model.workload = Workload()
    [scores] = score(model, ["강"], [["산 물", "도 동", "산 물", "산 물"]])
    assert model.workload.pairs == 2
    assert scores[0] == scores[2] == scores[3] != scores[1]


# Deadlines


def test_a_deadline_that_is_over_reads_nothing(folders: dict[str, Path]) -> None:
    model = opened(folders)
    assert all(np.isnan(own).all() for own in score(model, QUERIES, PASSAGES, deadline=0.0))
    assert_same(score(model, QUERIES, PASSAGES, deadline=float("inf")), score(model, QUERIES, PASSAGES))


def test_a_caller_is_back_in_time_although_others_take_theirs(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened(folders)
    go, entered = threading.Event(), threading.Semaphore(0)
    tokenize = model._model.tokenizer.encode

    def slow(texts: Sequence[str]) -> list[np.ndarray]:
        entered.release()
        assert go.wait(20)
        return tokenize(texts)

    monkeypatch.setattr(model._model.tokenizer, "encode", slow)
    with ThreadPoolExecutor(4) as pool:
        patient = [pool.submit(score, model, QUERIES, PASSAGES) for _ in range(4)]
        assert all(entered.acquire(timeout=20) for _ in range(2))
        late = score(model, QUERIES, PASSAGES, deadline=time.monotonic() + 0.01)
        go.set()
        assert all(np.isnan(own).all() for own in late)
        assert [len(own) for own in late] == [len(own) for own in PASSAGES]
        for one in patient:
            assert_same(one.result(), patient[0].result())


# Tokens


def test_a_passage_is_tokenized_once() -> None:
    asked: list[str] = []

    def encode(texts: Any) -> list[list[int]]:
        asked.extend(texts)
        return [[len(text)] * len(text) for text in texts]

    tokenizer = PairTokenizer(encode, Template((0,), (2,), (2,)), 1, False, cached_tokens=10)
    assert [one.tolist() for one in tokenizer.encode(["가나", "다", "가나"])] == [[2, 2], [1], [2, 2]]
    tokenizer.encode(["다", "가나"])
    assert asked == ["가나", "다"]
    tokenizer.encode(["라라라라라라라라"])  # 8 tokens: what was used longest ago goes
    tokenizer.encode(["가나"])
    tokenizer.encode(["다"])
    assert asked == ["가나", "다", "라라라라라라라라", "다"]


def test_many_threads_share_the_cache(folders: dict[str, Path]) -> None:
    model = opened(folders, "roberta")
    tokenizer = model._model.tokenizer
    tokenizer._cache._limit = 40
    texts = [f"여권 {number} 신청" for number in range(60)]
    wanted = [one.tolist() for one in tokenizer.encode(texts)]

    def work() -> None:
        for _ in range(5):
            assert [one.tolist() for one in tokenizer.encode(texts)] == wanted

    in_threads(work, 8)
    assert 0 < tokenizer._cache._size <= 40


def test_a_pair_that_is_not_two_texts_is_refused() -> None:
    def encode(text: str) -> list[int]:
        return [ord(sign) for sign in text]

    with pytest.raises(ValueError, match="one after the other"):
        find_template(encode, lambda one, other: ([*encode(other), *encode(one)], [0] * len(one + other)))
    with pytest.raises(ValueError, match="another rule"):
        find_template(
            encode, lambda one, other: ([len(one), *encode(one), *encode(other)], [0] * (1 + len(one + other)))
        )


def test_a_model_with_a_prompt_is_refused(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = sentence_transformers.CrossEncoder.preprocess

    def prompted(self: Any, pairs: Any, **settings: Any) -> Any:
        return plain(self, [(f"{len(one)}: {one}", other) for one, other in pairs], **settings)

    monkeypatch.setattr(sentence_transformers.CrossEncoder, "preprocess", prompted)
    with pytest.raises(ModelLoadError, match="two texts"):
        opened(folders, "bert")
