"""Model names: how a name is resolved, and a model's identity, by which its vectors are recognised."""

from __future__ import annotations

import hashlib
import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from langchain_klue_rerank.engine.arrays.litter import is_litter
from langchain_klue_rerank.engine.arrays.mapped import read_small
from langchain_klue_rerank.engine.models.options import ModelOptions
from langchain_klue_rerank.errors import ModelLoadError

#: The most bytes that a configuration may have.
_CONFIG_BYTES = 16 << 20

#: Where the weights lie that come with the package.
WEIGHTS = Path(__file__).parents[2] / "weights"


_DEFAULTS = ModelOptions()
#: The name of the packaged weights.
PACKAGED = "packaged"
#: The name of the packaged transformer encoder.
PACKAGED_ENCODER = "packaged-encoder"


_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def resolve(model: str | None) -> str | Path:
    """Find out what a model's name means.

    Args:
        model: None or ``"packaged"``, ``"packaged-encoder"``, the path of a folder, or a hub id such as
            ``"BAAI/bge-m3"``.

    Returns:
        `PACKAGED`, `PACKAGED_ENCODER`, the folder, or the hub id.

    Raises:
        ModelLoadError: If it is neither.
    """
    if model is None or model == PACKAGED:
        return PACKAGED
    if model == PACKAGED_ENCODER:
        return PACKAGED_ENCODER
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
        return folder.absolute()  # a change of the working directory changes no model
    if is_file:
        raise ModelLoadError(f"The model {model!r} is a file. Name the folder that holds it.")
    if not _HUB_ID.fullmatch(model) or model.startswith((".", "/", "~")):
        raise ModelLoadError(f"There is no folder {model!r}, and it is not a hub id such as 'BAAI/bge-m3'.")
    return model


def identity(model: str | None, revision: str | None = None) -> str:
    """Return a model's identity without loading it; vectors of models with different identities are not comparable.

    A folder and the packaged weights are known by their content, so that a folder may be moved; a hub model by its id.
    """
    found = resolve(model)
    if found == PACKAGED:
        return f"{PACKAGED}:{_fingerprint(WEIGHTS / 'bi_encoder')}"
    if found == PACKAGED_ENCODER:
        return f"{PACKAGED_ENCODER}:{_fingerprint(WEIGHTS / 'encoder')}"
    if isinstance(found, Path):
        return f"folder:{_fingerprint(found)}"
    return f"hub:{found}@{revision or 'main'}"


@lru_cache(maxsize=1)
def packaged_identity() -> str:
    """Return the identity of the packaged bi-encoder, computed once: its files do not change under a process."""
    return identity(None)


_SAMPLE = 1 << 16


def _fingerprint(folder: Path) -> str:
    """Hash names, sizes and samples of a model's files: enough to tell models apart without reading gigabytes.

    Documentation, hidden files and what operating systems leave behind (``.DS_Store``) are no part of a model.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or is_litter(part) for part in parts) or path.suffix == ".md":
            continue
        if path.is_file():
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                digest.update(f"{path.relative_to(folder).as_posix()}:{size}".encode())
                # all over the file: adapters merged into a model leave its first and its last layer as they were
                for place in sorted({max(0, size - _SAMPLE) * number // 16 for number in range(17)}):
                    file.seek(place)
                    digest.update(file.read(_SAMPLE))
    return digest.hexdigest()[:16]


def is_late_interaction(model: str | None, options: ModelOptions = _DEFAULTS) -> bool:
    """Return whether a model makes a vector of every token, from its configuration files, without loading it.

    Of a hub model the files are fetched, if they are not in the hub's cache.

    Raises:
        ModelLoadError: If it is a hub model and the hub cannot be reached.
    """
    found = resolve(model)
    if found in (PACKAGED, PACKAGED_ENCODER):
        return False
    ours = read_config(found, "config_sentence_transformers.json", options).get("model_type")
    if ours is not None:
        return ours in ("MultiVectorEncoder", "ColBERT")  # the latter by PyLate
    return "HF_ColBERT" in (read_config(found, "config.json", options).get("architectures") or [])


def read_config(model: str | Path, file: str, options: ModelOptions = _DEFAULTS) -> dict[str, Any]:
    """Read a configuration file of a folder or hub model; empty if it has none, or one that is no JSON object.

    Raises:
        ModelLoadError: If it is a hub model and the hub cannot be reached: then nothing is known. If it is a folder
            where the file is a pipe or a device, which any reader would wait for.
    """
    path = model / file if isinstance(model, Path) else _fetch(model, file, options)
    if path is None:
        return {}
    if path.exists() and not path.is_file():
        raise ModelLoadError(f"{path} is no regular file. Put the model's own file in its place.")
    try:
        content = json.loads(read_small(path, _CONFIG_BYTES))
    except (OSError, ValueError, RecursionError):  # loading the model will say what is wrong
        return {}
    return content if isinstance(content, dict) else {}


def has_file(model: str, file: str, options: ModelOptions = _DEFAULTS) -> bool:
    """Return whether a hub model has a file.

    Raises:
        ModelLoadError: If the hub cannot be reached.
    """
    return _fetch(model, file, options) is not None


def _fetch(model: str, file: str, options: ModelOptions) -> Path | None:
    """Return a hub model's file from the hub's cache or the hub; None if the model has no such file."""
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError:  # loading the model will say that an extra is missing
        return None
    try:
        return Path(hf_hub_download(model, file, revision=options.revision, cache_dir=options.cache_folder))
    except LocalEntryNotFoundError as error:
        raise ModelLoadError(
            f"The hub cannot be reached for {file!r} of {model!r} ({error}). Try again, or name a local folder."
        ) from error
    except EntryNotFoundError:
        return None
    except Exception as error:
        raise ModelLoadError(f"The model {model!r} cannot be looked up at the hub ({error}).") from error
