"""From a model's name to a loaded model: packaged weights, a folder (packaged format or not), or a hub id."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from langchain_klue_rerank.engine.pair_scorer import PairScorer
from langchain_klue_rerank.engine.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.engine.text import shared_analyzer
from langchain_klue_rerank.errors import ModelLoadError

if TYPE_CHECKING:
    from langchain_klue_rerank.engine.bi_encoder import BiEncoder
    from langchain_klue_rerank.engine.cross_encoder import CrossEncoder

Loaded = TypeVar("Loaded")

#: Where the weights lie that come with the package.
WEIGHTS = Path(__file__).parent.parent / "weights"
#: The name of the packaged weights.
PACKAGED = "packaged"

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass(frozen=True)
class ModelOptions:
    """How to load and run a sentence-transformers model; models in the packaged format need none of it.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, ``"mps"`` ...; None picks the best at hand.
        batch_size: Texts or pairs computed at a time.
        max_length: Longest input in tokens; None for the model's own limit.
        revision: Branch, tag or commit of a hub model.
        trust_remote_code: Whether code from the model's repository may run.
    """

    device: str | None = None
    batch_size: int = 32
    max_length: int | None = None
    revision: str | None = None
    trust_remote_code: bool = False


#: What computes a cross-encoder.
Backend = Literal["auto", "torch", "onnx", "onnx-int8"]


@dataclass(frozen=True)
class CrossEncoderOptions(ModelOptions):
    """How to load and run a cross-encoder; the packaged one needs none of it.

    Attributes:
        backend: What computes; see `transformer_models.open_transformer`.
        max_windows: Most windows read of a passage, chosen by what they share with the query; None for all.
        window_length: Tokens of a passage read at a time; None for all that fit beside the query.
        max_vectors: Most token vectors of a passage that a late-interaction model keeps.
    """

    backend: Backend = "torch"
    max_windows: int | None = None
    window_length: int | None = None
    max_vectors: int = 128


class Lazy(Generic[Loaded]):
    """A value made on first use, once, whatever the number of threads that ask at the same time.

    A copy or a pickle of it is a lazy value that has not been made yet: a loaded model is not copied about.

    Args:
        make: Makes the value.
    """

    def __init__(self, make: Callable[[], Loaded]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: Loaded | None = None

    @property
    def made(self) -> bool:
        """Whether the value is there already."""
        return self._value is not None

    def __call__(self) -> Loaded:
        """Return the value, making it if need be; a failure is raised to every caller and tried again by the next."""
        with self._lock:
            if self._value is None:
                self._value = self._make()
            return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        return Lazy, (self._make,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Lazy[Loaded]:
        return Lazy(self._make)


def resolve(model: str | None) -> str | Path:
    """Find out what a model's name means.

    Args:
        model: None or ``"packaged"``, the path of a folder, or a hub id such as ``"BAAI/bge-m3"``.

    Returns:
        `PACKAGED`, the folder, or the hub id.

    Raises:
        ModelLoadError: If it is neither.
    """
    if model is None or model == PACKAGED:
        return PACKAGED
    if not model.strip():  # as a path this would be the current folder
        raise ModelLoadError(
            f"The model's name {model!r} is blank. Name a folder or a hub id, or None for the packaged."
        )
    try:
        folder = Path(model).expanduser()
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except (OSError, RuntimeError) as error:  # too long a name, a home folder of nobody
        raise ModelLoadError(f"The model {model!r} cannot be looked up ({error}).") from error
    if is_folder:
        return folder
    if is_file:
        raise ModelLoadError(f"The model {model!r} is a file. Name the folder that holds it.")
    if not _HUB_ID.fullmatch(model) or model.startswith((".", "/", "~")):
        raise ModelLoadError(f"There is no folder {model!r}, and it is not a hub id such as 'BAAI/bge-m3'.")
    return model


def identity(model: str | None, revision: str | None = None) -> str:
    """Return what tells a model's vectors from another model's, without loading it.

    A folder and the packaged weights are known by their content, so that a folder may be moved; a hub model by its id.
    """
    found = resolve(model)
    if found == PACKAGED:
        return f"{PACKAGED}:{_fingerprint(WEIGHTS / 'bi_encoder')}"
    if isinstance(found, Path):
        return f"folder:{_fingerprint(found)}"
    return f"hub:{found}@{revision or 'main'}"


@lru_cache(maxsize=1)
def packaged_identity() -> str:
    """Return the identity of the packaged bi-encoder, computed once: its files do not change under a process."""
    return identity(None)


_SAMPLE = 1 << 16


def _fingerprint(folder: Path) -> str:
    """Hash names, sizes and samples of a folder's files: enough to tell models apart without reading gigabytes."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".md":
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                digest.update(f"{path.relative_to(folder).as_posix()}:{size}".encode())
                # all over the file: adapters merged into a model leave its first and its last layer as they were
                for place in sorted({max(0, size - _SAMPLE) * number // 16 for number in range(17)}):
                    file.seek(place)
                    digest.update(file.read(_SAMPLE))
    return digest.hexdigest()[:16]


def is_static(model: str | None) -> bool:
    """Whether a bi-encoder's name means weights in the packaged format, which read tokens and need no torch.

    Args:
        model: See `resolve`.

    Raises:
        ModelLoadError: If there is no such model.
    """
    found = resolve(model)
    return found == PACKAGED or (isinstance(found, Path) and StaticBiEncoder.is_at(found))


def is_late_interaction(model: str | None, revision: str | None = None) -> bool:
    """Say whether a model makes a vector of every token, from its configuration files, without loading it.

    Of a hub model the files are fetched, if the hub can be reached.
    """
    found = resolve(model)
    if found == PACKAGED:
        return False
    ours = _config(found, "config_sentence_transformers.json", revision).get("model_type")
    if ours is not None:
        return ours in ("MultiVectorEncoder", "ColBERT")  # the latter by PyLate
    return "HF_ColBERT" in (_config(found, "config.json", revision).get("architectures") or [])


def _config(model: str | Path, file: str, revision: str | None) -> dict[str, Any]:
    """Read a configuration file of a folder or hub model; empty if there is none that can be read."""
    try:
        if isinstance(model, Path):
            path = model / file
        else:
            from huggingface_hub import hf_hub_download

            path = Path(hf_hub_download(model, file, revision=revision))
        content = json.loads(path.read_text(encoding="utf-8"))
    except Exception:  # loading the model will say what is wrong
        return {}
    return content if isinstance(content, dict) else {}


@lru_cache(maxsize=1)
def packaged_bi_encoder() -> StaticBiEncoder:
    """Return the packaged bi-encoder, loaded once in a process."""
    return StaticBiEncoder.load(WEIGHTS / "bi_encoder")


@lru_cache(maxsize=1)
def packaged_pair_scorer() -> PairScorer:
    """Return the packaged reranker, loaded once in a process."""
    return PairScorer.load(WEIGHTS / "reranker")


def load_bi_encoder(
    model: str | None, options: ModelOptions, query_prompt: str | None = None, passage_prompt: str | None = None
) -> BiEncoder:
    """Load a bi-encoder.

    Args:
        model: See `resolve`.
        options: For models that are not in the packaged format.
        query_prompt: Put before every query; None for the model's own prompt, if it has one.
        passage_prompt: The same for passages.

    Raises:
        ModelLoadError: If there is no such model, or it cannot be loaded.
        MissingExtraError: If it needs the ``torch`` extra and that is not installed.
    """
    from langchain_klue_rerank.engine import bi_encoder

    found = resolve(model)
    if found == PACKAGED:
        return bi_encoder.PackagedBiEncoder(packaged_bi_encoder())
    if isinstance(found, Path) and StaticBiEncoder.is_at(found):
        try:
            return bi_encoder.PackagedBiEncoder(StaticBiEncoder.load(found))
        except (OSError, ValueError, TypeError) as error:
            raise ModelLoadError(f"The model in {str(found)!r} cannot be loaded: {error}") from error
    return bi_encoder.TorchBiEncoder(str(found), options, query_prompt, passage_prompt)


def load_cross_encoder(model: str | None, options: CrossEncoderOptions) -> CrossEncoder:
    """Load a cross-encoder or a late-interaction model; arguments and errors as in `load_bi_encoder`."""
    from langchain_klue_rerank.engine import cross_encoder

    found = resolve(model)
    if found == PACKAGED:
        shared_analyzer().kiwi  # noqa: B018  # loading it is a part of loading the model
        return cross_encoder.PackagedCrossEncoder(packaged_pair_scorer(), packaged_bi_encoder)
    if is_late_interaction(model, options.revision):
        from langchain_klue_rerank.engine.late_interaction import LateInteraction

        return LateInteraction(str(found), options)
    return cross_encoder.TransformerCrossEncoder(str(found), options)
