"""Cross-encoders in ONNX Runtime: exported from torch once, checked against it, and kept in a cache folder.

Opening what is in the cache needs onnxruntime and tokenizers only. An export needs torch, onnx and onnxscript too.
"""

from __future__ import annotations

import importlib
import logging
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.names import identity, resolve
from langchain_klue_rerank.engine.models.options import ModelOptions
from langchain_klue_rerank.engine.models.transformer import torch_loading
from langchain_klue_rerank.engine.models.transformer.batches import Batch, Pair, assemble
from langchain_klue_rerank.engine.models.transformer.onnx_cache import MODEL_FILE, TOKENIZER_FILE, CachedExport
from langchain_klue_rerank.engine.models.transformer.tokenizer import PairTokenizer, Template, rust_encode
from langchain_klue_rerank.errors import ExportRefusedError, MissingExtraError

logger = logging.getLogger(__name__)

#: Largest difference of a score (0..1) from torch's that an export may have on the probe pairs. int8 rounds.
TOLERANCE: Final = {"fp32": 1e-3, "int8": 0.1}

#: Products with weights in a layer: query, key, value, output, and the two of the feed-forward part.
_PRODUCTS_OF_A_LAYER = 6

_PROBE_QUERIES = ("전입신고는 며칠 안에 해야 하나요?", "도서관 휴관일", "비밀번호를 잊었을 때는 어떻게 하나요?")
_PROBE_SENTENCES = (
    "전입신고는 새집으로 이사한 날부터 14일 안에 주민센터에서 합니다.",
    "도서관은 매월 둘째 주 월요일과 공휴일에 쉽니다.",
    "비밀번호를 잊은 회원은 가입할 때 적은 이메일 주소로 새 비밀번호를 받을 수 있습니다.",
    "여권을 신청할 때에는 신분증과 사진 한 장이 필요합니다.",
    "세탁기 물이 빠지지 않으면 배수 호스가 꺾이지 않았는지 먼저 살펴보십시오.",
)


class OnnxCompute:
    """Computes a cross-encoder's logits with ONNX Runtime, one thread to a call.

    Args:
        path: The exported model.

    Raises:
        MissingExtraError: If onnxruntime is not installed.
    """

    def __init__(self, path: Path) -> None:
        onnxruntime = _require("onnxruntime")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1  # several calls at a time use the cores better than several threads to a call
        settings.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        """Return a logit for each pair of a batch, shape (pairs,)."""
        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if batch.types is not None:
            inputs["token_type_ids"] = batch.types
        [logits] = self._session.run(None, inputs)
        return np.asarray(logits, np.float32).reshape(-1)


@dataclass(frozen=True)
class OnnxModel:
    """An export, opened.

    Attributes:
        compute: A batch into logits.
        tokenizer: Texts into tokens.
        positions: How many tokens the model has positions for.
        max_length: How many it reads by itself.
    """

    compute: OnnxCompute
    tokenizer: PairTokenizer
    positions: int
    max_length: int


def open_cached(name: str, options: ModelOptions, quantized: bool, load_torch: Callable[[], Any]) -> OnnxModel:
    """Open a model's export; on first use make it.

    Args:
        name: Folder or hub id.
        options: The hub model's revision.
        quantized: int8 weights and products in place of fp32.
        load_torch: Loads the model with sentence-transformers, its tokenizer repaired.

    Raises:
        ExportRefusedError: If the export's scores are not those of torch, or the model cannot be exported.
        ModelLoadError: If what is in the cache folder belongs to another user.
        MissingExtraError: If something is not installed.
        OSError: If the cache folder cannot be written.
    """
    _require("onnxruntime")
    _require("tokenizers")
    precision = "int8" if quantized else "fp32"
    known = _weights_identity(name, options)
    loaded = None
    if known is None:  # not downloaded yet
        loaded = load_torch()
        known = _weights_identity(name, options) or identity(name, options.revision)
    export = CachedExport(known, precision)
    config = export.read()
    if config is None:
        for package in ("onnx", "onnxscript"):
            _require(package)
        logger.info("Exporting %s to ONNX (%s) in %s: once, some seconds", name, precision, export.folder)
        config = export.make(lambda part: _write(name, part, export, load_torch() if loaded is None else loaded))
    if config.get("refused"):
        raise ExportRefusedError(config["refused"])
    from tokenizers import Tokenizer

    tokenizer = PairTokenizer(
        rust_encode(Tokenizer.from_file(str(export.folder / TOKENIZER_FILE))),
        Template.from_json(config["template"]),
        config["padding"],
        config["reads_types"],
    )
    return OnnxModel(OnnxCompute(export.folder / MODEL_FILE), tokenizer, config["positions"], config["max_length"])


def _require(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(package, "onnx", "An ONNX backend") from error


def _weights_identity(name: str, options: ModelOptions) -> str | None:
    """Tell a model's weights from all others without loading them; None for a hub model not downloaded yet."""
    if isinstance(resolve(name), Path):
        return identity(name)
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=options.revision, cache_dir=options.cache_folder)
    return f"hub:{name}@{Path(found).parent.name}" if isinstance(found, str) else None


def _write(name: str, part: Path, export: CachedExport, model: Any) -> dict[str, Any]:
    """Write an export into a folder and return its description. int8 begins with the fp32 export, if there is one."""
    from langchain_klue_rerank.engine.models.transformer.tokenizer import pair_tokenizer

    if not getattr(model.tokenizer, "is_fast", False):
        raise ExportRefusedError(
            f"The tokenizer of {name!r} is written in Python and cannot be kept beside an ONNX export. "
            "Take backend='torch'."
        )
    model = model.float().cpu()
    tokenizer = pair_tokenizer(model, name)
    path = part / MODEL_FILE
    precision = export.precision
    whole = CachedExport(export.identity, "fp32")
    if precision == "int8" and (whole.read() or {}).get("sha256"):
        shutil.copyfile(whole.folder / MODEL_FILE, path)
    else:
        _export_graph(model, tokenizer.reads_types, path)
    torch_compute = torch_loading.TorchCompute(model)
    max_length = torch_loading.input_length(model, name, None)
    if precision == "int8":
        graph = path.rename(part / "fp32.onnx")
        # what the first layer rounds all others carry on: where that is too much, it stays as it is
        for spared in (0, _PRODUCTS_OF_A_LAYER):
            _quantize(graph, path, spared)
            difference = _largest_difference(torch_compute, OnnxCompute(path), tokenizer, max_length)
            if difference <= TOLERANCE[precision]:
                break
            logger.info("int8 with %d products in fp32 differs by %.2g from torch", spared, difference)
        graph.unlink()
    else:
        difference = _largest_difference(torch_compute, OnnxCompute(path), tokenizer, max_length)
    if not difference <= TOLERANCE[precision]:
        others = "'torch'" if precision == "fp32" else "'onnx' or 'torch'"
        raise ExportRefusedError(
            f"The ONNX export ({precision}) of {name!r} gives scores that differ from torch's by up to "
            f"{difference:.2g} on probe pairs; {TOLERANCE[precision]} is allowed. Take backend={others}."
        )
    logger.info("The export's scores differ from torch's by at most %.2g on the probe pairs", difference)
    (part / TOKENIZER_FILE).write_text(model.tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    return {
        "model": name,
        "template": tokenizer.template.to_json(),
        "padding": tokenizer.padding,
        "reads_types": tokenizer.reads_types,
        "positions": torch_loading.positions(model),
        "max_length": max_length,
        "largest_difference": difference,
    }


def _export_graph(model: Any, reads_types: bool, path: Path) -> None:
    import onnx
    import torch

    names = ["input_ids", "attention_mask", *(["token_type_ids"] if reads_types else [])]

    class Logits(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.body = model[0].auto_model

        def forward(self, *inputs: Any) -> Any:
            return self.body(**dict(zip(names, inputs, strict=True))).logits

    # two pairs of different lengths: a dimension of 1 would be taken for a constant
    ids = torch.full((2, 8), 2, dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    sizes = {0: torch.export.Dim("pairs"), 1: torch.export.Dim("length")}
    with warnings.catch_warnings(), torch_loading.last_layer_for_first_token(model[0].auto_model):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits().eval(),
            (ids, mask, torch.zeros_like(ids))[: len(names)],
            str(path),
            dynamo=True,  # the older exporter gives other logits
            dynamic_shapes={"inputs": tuple(sizes for _ in names)},
            input_names=names,
            output_names=["logits"],
            external_data=False,
            verbose=False,
        )
    graph = onnx.load(str(path))
    del graph.graph.value_info[:]  # stale shapes, over which quantization stumbles
    _drop_nan_guards(graph.graph)
    onnx.save(graph, str(path))


def _drop_nan_guards(graph: Any) -> None:
    """Take out what replaces NaN after a softmax: it arises where a row is all padding, which no pair here is.

    The guards cost an eighth of the time of an int8 model.
    """
    guards = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "IsNaN"}
    plain = {
        node.output[0]: node.input[2]
        for node in graph.node
        if node.op_type == "Where" and guards.get(node.input[0]) == node.input[2]
    }
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in plain:
                node.input[place] = plain[name]
    kept = [node for node in graph.node if node.output[0] not in plain and node.output[0] not in guards]
    del graph.node[:]
    graph.node.extend(kept)


def _quantize(whole: Path, path: Path, spared: int) -> None:
    """Write a graph's int8 version; its first `spared` products with weights stay in fp32."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(str(whole)).graph
    weights = {one.name for one in graph.initializer}
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm") and weights & set(node.input)]
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # it advises, on the root logger, a step that is not needed here
    try:
        quantize_dynamic(
            str(whole),
            str(path),
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # 8 bits overflow in the 16-bit sums of a CPU without VNNI, and scores are then wrong
            nodes_to_exclude=[node.name for node in products[:spared]],
        )
    finally:
        logging.getLogger().setLevel(level)


def _largest_difference(
    expected: Callable[[Batch], NDArray[np.float32]],
    found: Callable[[Batch], NDArray[np.float32]],
    tokenizer: PairTokenizer,
    max_length: int,
) -> float:
    """Return by how much two ways to compute differ in their scores of the probe pairs, at most."""
    queries = tokenizer.encode(_PROBE_QUERIES)
    texts = [*_PROBE_SENTENCES, " ".join(_PROBE_SENTENCES), " ".join(_PROBE_SENTENCES * 4)]
    differences = []
    for query in queries:
        room = max(1, max_length - tokenizer.template.size - len(query))
        query = query[: max(1, max_length - tokenizer.template.size - 1)]
        pairs = [Pair(query, text[:room], 0) for text in tokenizer.encode(texts)]
        for part in (pairs, pairs[:1]):
            batch = assemble(part, tokenizer)
            scores = [1 / (1 + np.exp(-compute(batch).astype(np.float64))) for compute in (expected, found)]
            differences.append(np.abs(scores[0] - scores[1]).max())
    return float(np.max(differences))  # NaN, if there is one
