"""The network for ONNX Runtime, with products of bytes by bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.encoder.network import embed_pieces
from langchain_klue_rerank.engine.models.encoder.weights import MATRICES, EncoderWeights
from langchain_klue_rerank.engine.threads import ForkSafeLock

_CONTRIB = "com.microsoft"


class OnnxNetwork:
    """The network in ONNX Runtime, one thread a call: batches on several cores are faster than a batch on several.

    Args:
        weights: The weights.

    Raises:
        ImportError: If onnx or onnxruntime is not installed, or onnxruntime is older than 1.20, the oldest one that was
            tried.
    """

    uses_all_cores = False

    def __init__(self, weights: EncoderWeights) -> None:
        import onnxruntime

        if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 20):
            raise ImportError(f"onnxruntime {onnxruntime.__version__} is installed; the encoder needs 1.20 or newer.")
        self._weights = weights
        self._graph = build_graph(weights, unsigned=_signed_products_overflow())
        self._lock = ForkSafeLock()
        self._session: tuple[int, Any] | None = None
        self._open()

    def _open(self) -> Any:
        """Return the session; a forked process makes one of its own, as threads do not survive a fork."""
        with self._lock:
            if self._session is None or self._session[0] != os.getpid():
                self._session = (os.getpid(), _session(self._graph))
            return self._session[1]

    def means(self, texts: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Return the mean of each text; see `Network`."""
        states = embed_pieces(self._weights, texts).reshape(len(texts), -1, self._weights.sizes.hidden)
        [found] = self._open().run(None, {"states": states})
        return np.asarray(found.mean(axis=1), np.float32)


def build_graph(weights: EncoderWeights, unsigned: bool) -> bytes:
    """Return the ONNX model: from ``states`` (texts, pieces, hidden) to those of the last layer.

    What a matrix is given becomes bytes without being scaled for it, except in the middle of the feed-forward part: the
    normalisation before it returns numbers in 0..255, and so does attention, whose values are scaled in their matrix.
    The residual is what the normalisation returned, scaled back.

    Args:
        weights: The weights.
        unsigned: Whether the weights are 1..255 and 128 stands for 0, instead of -127..127. The products are the same.
    """
    from onnx import TensorProto, helper, numpy_helper

    sizes, vectors, matrices = weights.sizes, weights.vectors, weights.matrices
    nodes, arrays = [], []

    def keep(name: str, array: NDArray[Any]) -> str:
        arrays.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(kind: str, inputs: Sequence[str], output: str, domain: str = "", **settings: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **settings))
        return output

    one = keep("one", np.array(1, np.float32))
    zero = keep("zero", np.array(128, np.uint8) if unsigned else np.array(0, np.int8))
    #: What is added to a product with bytes.
    biases = {name: vectors[f"{name}_bias"] + matrix.floats() @ matrix.lows for name, matrix in matrices.items()}

    def to_bytes(states: str, name: str) -> str:
        """Round the input of a matrix, divided by its steps; 0 is the same byte for all of it."""
        lows = matrices[name].lows / matrices[name].steps if name.endswith(".output") else np.zeros(1)
        byte = keep(f"{name}_zero", np.array(round(-float(lows[0])), np.uint8))
        return node("QuantizeLinear", [states, one, byte], f"{name}_bytes")

    def product(given: str, name: str, rows: slice = slice(None), values_of: str | None = None) -> str:
        """Multiply bytes by some rows of a matrix; ``values_of`` names a matrix that is given the product as it is."""
        matrix, label = matrices[name], f"{name}_{rows.start or 0}"
        scales, bias, values = matrix.scales[rows], biases[name][rows], matrix.values[rows].T
        if values_of is not None:
            lows, steps = matrices[values_of].lows, matrices[values_of].steps
            scales, bias = scales / steps, (bias - lows) / steps
        kept = keep(f"{label}_values", (values ^ np.int8(-128)).view(np.uint8) if unsigned else values)
        inputs = [given, kept, one, keep(f"{label}_scales", scales), "", zero, keep(f"{label}_bias", bias)]
        return node("MatMulIntegerToFloat", inputs, label, _CONTRIB)

    def normalised(states: str, norm: str, name: str | None) -> str:
        """Normalise states for a matrix, divided by its steps; without one for the end."""
        weight, bias = vectors[f"{norm}_weight"], vectors[f"{norm}_bias"]
        if name is not None:
            weight, bias = weight / matrices[name].steps, (bias - matrices[name].lows) / matrices[name].steps
        inputs = [states, keep(f"{norm}_weight", weight), keep(f"{norm}_bias", bias)]
        return node("LayerNormalization", inputs, f"{norm}_normalised", axis=-1, epsilon=sizes.epsilon)

    def added(change: str, states: str, name: str) -> str:
        """Add what was normalised for a matrix; its lows are added with the change."""
        residual = node("Mul", [states, keep(f"{name}_steps", matrices[name].steps)], f"{name}_residual")
        return node("Add", [change, residual], f"{change}_added")

    states = normalised("states", "norm", "0.attention")
    for layer in range(sizes.layers):
        first, mixing, second, last = (f"{layer}.{name}" for name in MATRICES)
        following = f"{layer + 1}.attention" if layer + 1 < sizes.layers else None
        biases[mixing] = biases[mixing] + matrices[first].lows
        biases[last] = biases[last] + matrices[second].lows
        given = to_bytes(states, first)
        thirds = [slice(start, start + sizes.hidden) for start in range(0, 3 * sizes.hidden, sizes.hidden)]
        parts = [product(given, first, rows, mixing if number == 2 else None) for number, rows in enumerate(thirds)]
        mixed = node("MultiHeadAttention", parts, f"{layer}.mixed", _CONTRIB, num_heads=sizes.heads)
        sums = added(product(to_bytes(mixed, mixing), mixing), states, first)
        states = normalised(sums, f"{layer}.attention_norm", second)
        units = node("Gelu", [product(to_bytes(states, second), second)], f"{layer}.units", _CONTRIB)
        units = node("Mul", [units, keep(f"{last}_per_step", 1 / matrices[last].steps)], f"{layer}.scaled_units")
        sums = added(product(to_bytes(units, last), last), states, second)
        states = normalised(sums, f"{layer}.output_norm", following)
    shape: list[str | int | None] = ["texts", "pieces", sizes.hidden]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(states, TensorProto.FLOAT, shape)],
        arrays,
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(_CONTRIB, 1)]
    return bytes(helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString())


def _session(graph: bytes) -> Any:
    """Open a graph for the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    # more would fuse the sum with its normalisation, in a kernel that takes five times as long as both
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=1)
def _signed_products_overflow() -> bool:
    """Say whether this processor adds two products of a byte and a signed byte in 16 bits (AVX2 without VNNI)."""
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.full((64, 64), 127, np.int8), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["given", "weights"], ["sums"])],
        "overflow",
        [helper.make_tensor_value_info("given", TensorProto.UINT8, ["rows", 64])],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, ["rows", 64])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = _session(model.SerializeToString())
    sums = [session.run(None, {"given": np.full((rows, 64), 255, np.uint8)})[0] for rows in (1, 64)]
    return any((found != 64 * 255 * 127).any() for found in sums)
