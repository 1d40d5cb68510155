"""Cache of exported models: one complete folder for each model and precision, writable by its owner alone."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from langchain_klue_rerank.errors import ExportRefusedError, ModelLoadError

logger = logging.getLogger(__name__)

#: Raised when an older export is not to be used any more.
FORMAT_VERSION: Final = 3
#: The variable of the environment that names another cache folder.
CACHE_VARIABLE: Final = "KLUE_RERANK_CACHE"
CONFIG_FILE: Final = "config.json"
MODEL_FILE: Final = "model.onnx"
TOKENIZER_FILE: Final = "tokenizer.json"
#: Seconds that a process waits for another one that exports the same model, before it exports it, too.
_LOCK_TIMEOUT = 600.0
#: What an export's description must hold, and of which type.
_FIELDS: dict[str, type] = {
    "model": str,
    "template": dict,
    "padding": int,
    "reads_types": bool,
    "positions": int,
    "max_length": int,
}


def cache_folder() -> Path:
    """Return where exports are kept: ``$KLUE_RERANK_CACHE``, or a folder in the user's cache.

    Raises:
        ExportRefusedError: If the user has no home folder, as in containers that run under any number.
    """
    own = os.environ.get(CACHE_VARIABLE)
    try:
        if own:
            return Path(own).expanduser()
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise _no_place(error) from error
    return Path(base) / "langchain-klue-rerank"


def _no_place(error: Exception) -> ExportRefusedError:
    return ExportRefusedError(
        f"The model cannot be kept as ONNX: {error}. Name a folder that can be written in ${CACHE_VARIABLE}."
    )


@dataclass(frozen=True)
class CachedExport:
    """The export of a model in the cache folder, made or not.

    Attributes:
        identity: Identity of the model's weights.
        precision: ``"fp32"`` or ``"int8"``.
    """

    identity: str
    precision: str

    @property
    def folder(self) -> Path:
        """The folder of the export."""
        key = hashlib.sha256(f"{self.identity}:{FORMAT_VERSION}".encode()).hexdigest()[:20]
        return cache_folder() / "onnx" / key / self.precision

    def read(self) -> dict[str, Any] | None:
        """Return the export's description; None if there is no export, or it is damaged or of another model.

        Raises:
            ModelLoadError: If it belongs to another user, or others may write it.
        """
        folder = self.folder
        try:
            if not folder.is_dir():
                return None
        except OSError as error:
            raise _no_place(error) from error
        for path in (folder.parent, folder, *folder.iterdir()):
            _check_owner(path)
        try:
            config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            self._check(config)
            for file, expected in config["sha256"].items():
                if _sha256(folder / file) != expected:
                    raise ValueError(f"{file} was changed")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            logger.warning("The export in %s is damaged (%s); it is exported again", folder, error)
            return None
        return config

    def _check(self, config: dict[str, Any]) -> None:
        if config["checksum"] != _checksum(config):
            raise ValueError(f"{CONFIG_FILE} was changed")
        if (config["identity"], config["precision"]) != (self.identity, self.precision):
            raise ValueError(f"it is the {config['precision']} export of another model")
        if "refused" in config:
            if not isinstance(config["refused"], str) or config["sha256"]:
                raise ValueError("it is neither refused nor an export")
            return
        if set(config["sha256"]) != {MODEL_FILE, TOKENIZER_FILE}:
            raise ValueError(f"it has no checksums of {MODEL_FILE} and {TOKENIZER_FILE}")
        for name, kind in _FIELDS.items():
            if type(config[name]) is not kind:
                raise ValueError(f"{name!r} is {config[name]!r}")

    def make(self, write: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """Make the export, completely or not at all.

        Args:
            write: Writes the model and its tokenizer into an empty folder and returns the description. It may raise
                `ExportRefusedError`, which is kept, so that the next start need not find out again.

        Returns:
            The description; another process's, if that was faster.
        """
        folder = self.folder
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _no_place(error) from error
        _check_owner(folder.parent)
        with self._lock():
            if (found := self.read()) is not None:
                return found
            part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=self._part))
            try:
                try:
                    config = write(part)
                    config["sha256"] = {file: _sha256(part / file) for file in (MODEL_FILE, TOKENIZER_FILE)}
                except ExportRefusedError as error:
                    for path in part.iterdir():
                        path.unlink()
                    config = {"refused": str(error), "sha256": {}}
                config |= {"identity": self.identity, "precision": self.precision}
                config["checksum"] = _checksum(config)
                (part / CONFIG_FILE).write_text(json.dumps(config, ensure_ascii=False, indent=1), encoding="utf-8")
                if folder.exists():
                    if (found := self.read()) is not None:  # made by one who did not wait
                        return found
                    shutil.rmtree(folder)
                part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            return config

    @property
    def _part(self) -> str:
        return f"{self.precision}-part-"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Be the only one that makes this export, and clear away what killed processes left of it."""
        lock = FileLock(self.folder.with_name(f".{self.precision}.lock"))
        try:
            lock.acquire(timeout=_LOCK_TIMEOUT)
        except Timeout:  # it may be suspended: two exports at once do no harm, nothing is cleared away
            yield
            return
        try:
            for path in self.folder.parent.glob(f"{self._part}*"):
                shutil.rmtree(path, ignore_errors=True)
            yield
        finally:
            lock.release()


def _check_owner(path: Path) -> None:
    """Check that only the current user or the administrator can have written a file.

    Raises:
        ModelLoadError: If another user can.
    """
    if not hasattr(os, "getuid"):  # Windows
        return
    try:
        found = path.stat()
    except OSError as error:
        raise ModelLoadError(f"The cached export {str(path)!r} cannot be read ({error}).") from error
    if found.st_uid not in (os.getuid(), 0) or found.st_mode & stat.S_IWOTH:
        raise ModelLoadError(
            f"The cached export {str(path)!r} belongs to another user, or every user may write it, so that it may "
            f"hold anything. Change its owner or its mode, or name a folder of your own in ${CACHE_VARIABLE}."
        )


def _checksum(config: dict[str, Any]) -> str:
    content = {key: value for key, value in config.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
