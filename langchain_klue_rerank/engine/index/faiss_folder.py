"""Reading a folder that langchain-community's FAISS wrote, without running anything that is in it.

Such a folder has two files, and neither may be trusted: ``index.pkl``, which as a pickle can name any function of
Python to be called, and ``index.faiss``, of which FAISS's own reader believes every size. So the pickle is not
unpickled (see `plain_pickle`), and of the FAISS file only the flat layout is read, by ourselves, with its sizes checked
against the file's.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.mapped import map_file, open_regular
from langchain_klue_rerank.engine.arrays.plain_pickle import PickleError, Record, RefusedError, read_plain_pickle
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

#: The kinds of their records.
_DOCSTORE, _DOCUMENT = "docstore", "document"
_CLASSES = {**dict.fromkeys(_DOCSTORES, _DOCSTORE), **dict.fromkeys(_DOCUMENTS, _DOCUMENT)}

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


def _read_pickle(path: Path) -> list[Passage]:
    try:
        content = read_plain_pickle(bytes(map_file(path)), _CLASSES)
    except FileNotFoundError as error:
        raise IndexFormatError(f"There is no {str(path)!r}; give the folder that FAISS.save_local wrote.") from error
    except RefusedError as error:
        raise IndexFormatError(
            f"{str(path)!r} names {error}, which a FAISS folder of langchain-community does not need; nothing of it "
            "was run. If the file is yours and this is a value in a document's metadata, turn such values into text or "
            "numbers and save the folder again."
        ) from None
    except (PickleError, OSError) as error:
        raise IndexFormatError(f"{str(path)!r} is damaged or no FAISS folder's pickle: {error}.") from error
    docstore, identifiers = content if type(content) is tuple and len(content) == 2 else (None, None)
    documents = _fields(docstore, _DOCSTORE).get("_dict")
    if type(documents) is not dict or type(identifiers) is not dict:
        raise IndexFormatError(f"{str(path)!r} does not hold a docstore and a dictionary of ids.")
    rows = range(len(identifiers))
    if not all(type(row) is int for row in identifiers) or identifiers.keys() != set(rows):
        raise IndexFormatError(f"{str(path)!r} does not number its {len(identifiers)} documents from 0 up.")
    in_order = [identifiers[row] for row in rows]
    if not all(type(one) is str for one in in_order) or {*in_order} != documents.keys():
        distinct = len({one for one in in_order if type(one) in (str, int)})
        raise IndexFormatError(f"{str(path)!r} holds {len(documents)} documents for {distinct} ids.")
    if len({*in_order}) != len(in_order):
        raise IndexFormatError(f"{str(path)!r} gives the same id to several vectors.")
    return [_to_passage(identifier, documents[identifier], path) for identifier in in_order]


def _to_passage(identifier: str, document: Any, path: Path) -> Passage:
    fields = _fields(document, _DOCUMENT)
    text, metadata = fields.get("page_content"), fields.get("metadata", {})
    if type(text) is not str or type(metadata) is not dict:
        raise IndexFormatError(f"{str(path)!r} holds no text and metadata under the id {identifier!r}.")
    try:
        return Passage(identifier, text, metadata).plain()
    except ValueError as error:
        raise IndexFormatError(f"{str(path)!r}: {error}") from error


def _fields(record: Any, kind: str) -> dict[Any, Any]:
    """Return an object's fields; pydantic, old and new, pickles them as ``__dict__`` beside its own."""
    if type(record) is not Record or record.kind != kind:
        return {}
    nested = record.fields.get("__dict__")
    return nested if type(nested) is dict else record.fields


def _read_flat(path: Path) -> NDArray[np.float32]:
    """Read the vectors of a flat FAISS index, (n, dim) float32."""
    try:
        with open(open_regular(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            name = file.read(4)
            if name not in _FLAT:
                raise IndexFormatError(
                    f"{str(path)!r} is no flat FAISS index (it begins with {name!r}); read its documents and embed "
                    "them again with re_embed=True."
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
            vectors = np.fromfile(file, "<f4", count).astype(np.float32, copy=False).reshape(rows, dimension)
    except FileNotFoundError as error:
        raise IndexFormatError(
            f"There is no {str(path)!r}; give the folder of FAISS.save_local, or embed its documents again with "
            "re_embed=True."
        ) from error
    except OSError as error:
        raise IndexFormatError(f"{str(path)!r} cannot be read ({error}).") from error
    if not np.isfinite(vectors).all():
        raise IndexFormatError(f"{str(path)!r} holds vectors that are no finite numbers.")
    return vectors
