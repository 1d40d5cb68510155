"""How large an index is: passages, segments, and bytes by part, in memory, mapped from files, and on disk."""

from __future__ import annotations

import mmap
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from langchain_klue_rerank.engine.arrays import manifest
from langchain_klue_rerank.engine.index.segments.snapshot import Snapshot
from langchain_klue_rerank.errors import IndexFormatError

#: Files of the vocabulary; the others belong to the part that their folder is named after.
_TERMS = ("words", "morphemes", "bigrams", "word_morphemes", "word_bigrams")
_PARTS = {"ids": "passages", "lexical": "postings", "state": "passages"}
#: The folders of a segment's files and of those of a part of the vocabulary.
_PLACE = re.compile("(segments|terms)/[0-9a-f]+/")
#: What the names of the files of one table end with.
_PIECE = re.compile("(_coarse)?_(values|offsets|scales|bits|center)$")


@dataclass(frozen=True, slots=True)
class IndexStats:
    """How large an index is.

    Parts are ``passages`` (texts and metadata), ``terms``, ``tokens``, ``postings``, ``vectors``, ``second_vectors``
    and ``token_vectors``, as far as they are kept.

    Attributes:
        passages: How many passages can be found.
        removed: Removed ones that still take space, until their segments are merged.
        segments: How many segments it has.
        folder: Where it was last loaded from or saved to; None for an index that is in memory only.
        memory: Bytes in memory by part.
        mapped: Bytes by part that are mapped from files: the system reads them as they are needed and may drop them.
        disk: Bytes of the files in `folder`, as it is now, by part; empty without.
        models: Identities of the models whose vectors it keeps: ``embeddings``, ``second_embeddings``,
            ``late_interaction``.
    """

    passages: int
    removed: int
    segments: int
    folder: str | None
    memory: dict[str, int]
    mapped: dict[str, int]
    disk: dict[str, int]
    models: dict[str, str]

    @classmethod
    def of(cls, state: Snapshot, folder: Path | None) -> IndexStats:
        """Measure a state of an index, in time linear in the passages that are not saved.

        Args:
            state: The state.
            folder: Where it was last loaded from or saved to.
        """
        settings = state.settings
        segments = [view.segment for view in state.views]
        parts: dict[str, list[Any]] = {"passages": [one.passages for one in segments]}
        if settings.lexical:
            parts["terms"] = [state.terms]
            parts["tokens"] = [one.tokens for one in segments]
            parts["postings"] = [[one.fields, one.norms_in_use] for one in segments]
        for name in settings.vector_fields:
            parts[name] = [one.vectors.get(name) for one in segments]
        if settings.token_vectors is not None:
            parts["token_vectors"] = [one.token_vectors for one in segments]
        sizes = {name: _bytes(part) for name, part in parts.items()}
        models = {
            "embeddings": settings.model,
            "second_embeddings": settings.second_model,
            "late_interaction": settings.token_vectors,
        }
        return cls(
            passages=len(state),
            removed=state.size - len(state),
            segments=len(segments),
            folder=None if folder is None else str(folder),
            memory={name: size[0] for name, size in sizes.items()},
            mapped={name: size[1] for name, size in sizes.items()},
            disk={} if folder is None else _on_disk(folder),
            models={role: model for role, model in models.items() if model is not None},
        )


def _on_disk(folder: Path) -> dict[str, int]:
    try:
        _, files, _ = manifest.parse(folder)
    except IndexFormatError:
        return {}
    sizes: dict[str, int] = {}
    for path, file in files.items():
        name = _PLACE.sub("", path)
        first, *_, last = [_PIECE.sub("", piece) for piece in name.partition(".")[0].split("/")] * 2
        part = "terms" if last in _TERMS else _PARTS.get(first, first)
        sizes[part] = sizes.get(part, 0) + file.size
    return sizes


def _bytes(root: Any) -> tuple[int, int]:
    """Return the bytes in memory and in mapped files of everything that an object holds."""
    memory, mapped, seen = 0, 0, set()
    waiting = [root]
    while waiting:
        one = waiting.pop()
        while isinstance(one, np.ndarray | memoryview) and (base := _base(one)) is not None:
            one = base
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, mmap.mmap):
            mapped += len(one)
        elif isinstance(one, np.ndarray):
            memory += one.nbytes
        else:
            memory += sys.getsizeof(one)
            waiting += _held(one)
    return memory, mapped


def _base(view: np.ndarray[Any, Any] | memoryview) -> Any:
    return view.obj if isinstance(view, memoryview) else view.base


def _held(one: Any) -> Iterator[Any]:
    if isinstance(one, Mapping):
        yield from one.keys()
        yield from one.values()
    elif isinstance(one, list | tuple | set | frozenset):
        yield from one
    elif type(one).__module__.startswith("langchain_klue_rerank."):
        yield from getattr(one, "__dict__", {}).values()
        for kind in type(one).__mro__:
            for name in getattr(kind, "__slots__", ()):
                yield getattr(one, name, None)
