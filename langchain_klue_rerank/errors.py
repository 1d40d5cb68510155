"""The errors that this package raises. Each message names the value and the remedy."""

from __future__ import annotations


class KlueRerankError(Exception):
    """Base of all errors of this package."""


class IndexFormatError(KlueRerankError, ValueError):
    """A folder is not an index, or is damaged, edited, or written by a newer version."""


class IndexLockedError(KlueRerankError, OSError):
    """Another process or thread is writing an index."""


class IndexChangedError(KlueRerankError, RuntimeError):
    """A folder was saved by somebody else since the index that is to be saved there was loaded from it."""


class ModelMismatchError(KlueRerankError, ValueError):
    """An index was written with another model than the one given."""


class ModelLoadError(KlueRerankError, OSError):
    """A model cannot be found or loaded."""


class ExportRefusedError(ModelLoadError):
    """A model's ONNX export does not give the scores of the model itself."""


class ModelOutputError(KlueRerankError, RuntimeError):
    """A model returned something unusable, such as NaN or a vector of another size."""


class MissingExtraError(KlueRerankError, ImportError):
    """An optional dependency is not installed.

    Attributes:
        package: Its name.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.package = package
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f'Install it with: pip install "langchain-klue-rerank[{extra}]"'
        )
