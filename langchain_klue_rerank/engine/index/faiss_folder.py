"""Reading a folder that langchain-community's FAISS wrote, without running anything that is in it.

Such a folder has two files, and neither may be trusted: ``index.pkl``, which as a pickle can name any function of
Python to be called, and ``index.faiss``, of which FAISS's own reader believes every size. So the pickle gets two
stand-ins for the two classes that it needs and nothing else, and of the FAISS file only the flat layout is read, by
ourselves, with its sizes checked against the file's.
"""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.errors import IndexFormatError

#: Where the two classes lived over the years.
_DOCSTORES = {
    ("langchain_community.docstore.in_memory", "InMemoryDocstore"),
    ("langchain.docstore.in_memory", "InMemoryDocstore"),
}
_DOCUMENTS = {
    ("langchain_core.documents.base", "Document"),
    ("langchain_core.documents", "Document"),
    ("langchain.schema.document", "Document"),
    ("langchain.schema", "Document"),
    ("langchain.docstore.document", "Document"),
}

#: FAISS's names of its flat indexes: of inner products, of L2 distances, of other metrics.
_FLAT = {b"IxFI", b"IxF2", b"IxFl"}
#: After the name, packed: dimension, rows, two unused numbers, trained, metric.
_HEADER = struct.Struct("<iqqq?i")
_INNER_PRODUCT, _L2 = 0, 1


@dataclass(frozen=True, slots=True)
class CommunityFolder:
    """What such a folder holds.

    Attributes:
        passages: The n documents, in the order of the index.
        vectors: Their vectors, (n, dim) float32, as they were stored; None if they were not asked for.
        cosine_order: Whether FAISS ranked them as the cosine does: always with unit vectors, otherwise never. True
            without vectors.
    """

    passages: list[Passage]
    vectors: NDArray[np.float32] | None
    cosine_order: bool


def read_community_folder(folder: Path, index_name: str = "index", *, with_vectors: bool = True) -> CommunityFolder:
    """Read what ``FAISS.save_local`` wrote.

    Args:
        folder: The folder.
        index_name: The name of the two files without their endings.
        with_vectors: Whether to read the FAISS file; without, it need not be there.

    Raises:
        IndexFormatError: If a file is missing or damaged, the pickle names anything but the two classes of a normal
            file, the FAISS index is not a flat one, or documents and vectors do not fit together.
    """
    passages = _read_pickle(folder / f"{index_name}.pkl")
    if not with_vectors:
        return CommunityFolder(passages, None, True)
    path = folder / f"{index_name}.faiss"
    vectors = _read_flat(path)
    if len(vectors) != len(passages):
        raise IndexFormatError(f"{str(path)!r} holds {len(vectors)} vectors for {len(passages)} documents.")
    lengths = np.linalg.norm(vectors, axis=1)
    return CommunityFolder(passages, vectors, bool(np.allclose(lengths[lengths > 0], 1, atol=1e-3)))


class _RestrictedUnpickler(pickle.Unpickler):
    """Knows two classes, made for this one file, so that nothing in it can reach anything that outlives it."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.docstore = type("InMemoryDocstore", (), {})
        self.document = type("Document", (), {})

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) in _DOCSTORES:
            return self.docstore
        if (module, name) in _DOCUMENTS:
            return self.document
        raise _RefusedError(f"{module}.{name}")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        raise _RefusedError(f"an object from elsewhere, {pid!r}")


class _RefusedError(Exception):
    """The pickle names something that no normal file has."""


def _read_pickle(path: Path) -> list[Passage]:
    try:
        with path.open("rb") as file:
            unpickler = _RestrictedUnpickler(file)
            content = unpickler.load()
    except FileNotFoundError as error:
        raise IndexFormatError(f"There is no {str(path)!r}; give the folder that FAISS.save_local wrote.") from error
    except _RefusedError as error:
        raise IndexFormatError(
            f"{str(path)!r} names {error}, which a FAISS folder of langchain-community does not need; nothing of it "
            "was run. If the file is yours and this is a value in a document's metadata, turn such values into text or "
            "numbers and save the folder again."
        ) from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise IndexFormatError(f"{str(path)!r} is damaged ({type(error).__name__}: {error}).") from error
    if not (isinstance(content, tuple) and len(content) == 2):
        raise IndexFormatError(f"{str(path)!r} does not hold a docstore and a dictionary of ids.")
    docstore, identifiers = content
    documents = _state(docstore).get("_dict") if type(docstore) is unpickler.docstore else None
    if not isinstance(documents, dict) or not isinstance(identifiers, dict):
        raise IndexFormatError(f"{str(path)!r} does not hold a docstore and a dictionary of ids.")
    if sorted(map(repr, identifiers)) != sorted(map(repr, range(len(identifiers)))):
        raise IndexFormatError(f"{str(path)!r} does not number its {len(identifiers)} documents from 0 up.")
    in_order = [identifiers[row] for row in range(len(identifiers))]
    if not all(isinstance(one, str) for one in in_order) or {*in_order} != documents.keys():
        raise IndexFormatError(f"{str(path)!r} holds {len(documents)} documents for {len({*map(repr, in_order)})} ids.")
    if len({*in_order}) != len(in_order):
        raise IndexFormatError(f"{str(path)!r} gives the same id to several vectors.")
    return [_to_passage(identifier, documents[identifier], unpickler.document, path) for identifier in in_order]


def _to_passage(identifier: str, document: Any, kind: type, path: Path) -> Passage:
    state = _state(document) if type(document) is kind else {}
    text, metadata = state.get("page_content"), state.get("metadata", {})
    if not isinstance(text, str) or not isinstance(metadata, dict):
        raise IndexFormatError(f"{str(path)!r} holds no text and metadata under the id {identifier!r}.")
    return Passage(identifier, text, metadata)


def _state(instance: Any) -> dict[str, Any]:
    """Return an object's fields; pydantic, old and new, pickles them as ``__dict__`` beside its own."""
    own = vars(instance)
    nested = own.get("__dict__")
    return nested if isinstance(nested, dict) else own


def _read_flat(path: Path) -> NDArray[np.float32]:
    """Read the vectors of a flat FAISS index, (n, dim) float32."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            name = file.read(4)
            if name not in _FLAT:
                raise IndexFormatError(
                    f"{str(path)!r} is no flat FAISS index (it begins with {name!r}); read its documents and embed "
                    "them anew with re_embed=True."
                )
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size:
                raise IndexFormatError(f"{str(path)!r} is damaged: it ends after {size} bytes.")
            dimension, rows, _, _, _, metric = _HEADER.unpack(head)
            if metric not in (_INNER_PRODUCT, _L2):
                file.read(4)  # the metric's argument
            [count] = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
            if dimension < 1 or rows < 0 or count != dimension * rows or size - file.tell() != 4 * count:
                raise IndexFormatError(
                    f"{str(path)!r} is damaged: it says that it holds {rows} vectors of {dimension} numbers and has "
                    f"{size} bytes."
                )
            return np.fromfile(file, "<f4", count).astype(np.float32, copy=False).reshape(rows, dimension)
    except FileNotFoundError as error:
        raise IndexFormatError(
            f"There is no {str(path)!r}; give the folder that FAISS.save_local wrote, or embed its documents anew with "
            "re_embed=True."
        ) from error
