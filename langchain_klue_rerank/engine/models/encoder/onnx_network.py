"""The network for ONNX Runtime, whose kernels multiply by matrices at four or eight bits as they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.encoder.blocks import BLOCK
from langchain_klue_rerank.engine.models.encoder.network import embed_pieces
from langchain_klue_rerank.engine.models.encoder.weights import EncoderWeights
from langchain_klue_rerank.engine.threads import ForkSafeLock

_CONTRIB = "com.microsoft"


class OnnxNetwork:
    """The network in ONNX Runtime. Products are of bytes, rounded for each text by itself.

    Args:
        weights: The weights.

    Raises:
        ImportError: If onnx or onnxruntime is not installed, or onnxruntime is older than 1.22, which cannot multiply
            by matrices at eight bits.
    """

    def __init__(self, weights: EncoderWeights) -> None:
        import onnxruntime

        if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 22):
            raise ImportError(f"onnxruntime {onnxruntime.__version__} is installed; the encoder needs 1.22 or newer.")
        self._weights = weights
        self._graph = build_graph(weights)
        self._runtime = onnxruntime
        self._lock = ForkSafeLock()
        self._session: tuple[int, Any] | None = None
        self._open()

    def _open(self) -> Any:
        """Return the session; a forked process makes one of its own, as threads do not survive a fork."""
        with self._lock:
            if self._session is None or self._session[0] != os.getpid():
                options = self._runtime.SessionOptions()
                options.log_severity_level = 3
                # threads that wait for the next call would keep the processor busy
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                session = self._runtime.InferenceSession(self._graph, options, providers=["CPUExecutionProvider"])
                self._session = (os.getpid(), session)
            return self._session[1]

    def means(self, texts: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Return the mean of each text; see `Network`."""
        lengths = np.array([len(text) for text in texts], np.int32)
        there = np.arange(int(lengths.max())) < lengths[:, None]
        states = np.zeros((*there.shape, self._weights.sizes.hidden), np.float32)
        states[there] = embed_pieces(self._weights, texts)
        [found] = self._open().run(None, {"states": states, "lengths": lengths})
        found[~there] = 0
        return np.asarray(found.sum(axis=1) / lengths[:, None], np.float32)


def build_graph(weights: EncoderWeights) -> bytes:
    """Return the ONNX model: from ``states`` (texts, pieces, hidden) and ``lengths`` (texts,) to the last layer's."""
    from onnx import TensorProto, helper, numpy_helper

    sizes, nodes, arrays = weights.sizes, [], []

    def keep(name: str, array: NDArray[Any]) -> str:
        arrays.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **settings: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **settings))
        return outputs[0]

    def product(states: str, name: str) -> str:
        matrix = weights.matrices[name]
        inputs = [
            states,
            keep(f"{name}_packed", matrix.packed),
            keep(f"{name}_scales", matrix.scales.reshape(-1).astype(np.float32)),
            "",
            "",
            keep(f"{name}_bias", weights.vectors[f"{name}_bias"]),
        ]
        rows, columns = matrix.shape
        # accuracy_level 4: the states are rounded to bytes, block by block
        settings = {"N": rows, "K": columns, "bits": matrix.bits, "block_size": BLOCK, "accuracy_level": 4}
        return node("MatMulNBits", inputs, [name], _CONTRIB, **settings)

    def added(change: str, states: str, name: str) -> str:
        norms = [keep(f"{name}_norm_{part}", weights.vectors[f"{name}_norm_{part}"]) for part in ("weight", "bias")]
        inputs = [change, states, *norms]
        return node("SkipLayerNormalization", inputs, [f"{name}_added"], _CONTRIB, epsilon=sizes.epsilon)

    norms = [keep(name, weights.vectors[name]) for name in ("norm_weight", "norm_bias")]
    states = node("LayerNormalization", ["states", *norms], ["begin"], axis=-1, epsilon=sizes.epsilon)
    keep("thirds", np.full(3, sizes.hidden, np.int64))
    for layer in range(sizes.layers):
        thirds = [f"{layer}.{name}" for name in ("queries", "keys", "values")]
        node("Split", [product(states, f"{layer}.attention"), "thirds"], thirds, axis=2)
        inputs = [*thirds, "", "lengths"]
        mixed = node("MultiHeadAttention", inputs, [f"{layer}.mixed"], _CONTRIB, num_heads=sizes.heads)
        states = added(product(mixed, f"{layer}.attention_output"), states, f"{layer}.attention")
        inner = node("Gelu", [product(states, f"{layer}.intermediate")], [f"{layer}.inner"], _CONTRIB)
        states = added(product(inner, f"{layer}.output"), states, f"{layer}.output")
    shape: list[str | int | None] = ["texts", "pieces", sizes.hidden]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [
            helper.make_tensor_value_info("states", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["texts"]),
        ],
        [helper.make_tensor_value_info(states, TensorProto.FLOAT, shape)],
        arrays,
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(_CONTRIB, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    return bytes(model.SerializeToString())
