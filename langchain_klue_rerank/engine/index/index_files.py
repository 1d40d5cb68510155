"""The files of an index: a folder of every segment and of every part of the terms, neither of which ever changes.

A save writes those that the folder does not have yet. Beside them lie, small and new in every save, the list of their
names and, for every segment of which passages were removed, a bit for each of its passages.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from langchain_klue_rerank.engine.arrays.files import (
    SavedFiles,
    check_offsets,
    check_range,
    write_array,
    write_lines,
    write_ragged,
    write_strings,
)
from langchain_klue_rerank.engine.arrays.mapped import RESTORE
from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.arrays.strings import StringTable
from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors
from langchain_klue_rerank.engine.index.passages import PassageTable, to_json
from langchain_klue_rerank.engine.index.segments.postings import Postings
from langchain_klue_rerank.engine.index.segments.segment import Segment
from langchain_klue_rerank.engine.index.segments.snapshot import Snapshot, View
from langchain_klue_rerank.engine.index.segments.terms import Terms, TermsPart
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.threads import gently
from langchain_klue_rerank.errors import IndexFormatError

#: The list of segments and of parts of the terms, in their order; up to version 2 of the format there is none.
_NAMES: Final = "state/segments.json"
_SEGMENTS, _TERMS, _ALIVE = "segments", "terms", "state/alive"
_NAME: Final = re.compile("[0-9a-f]{12}")
_STRINGS: Final = ("words", "morphemes", "bigrams")
_POSTINGS: Final = ("terms", "offsets", "rows", "frequencies", "lengths")


def unchanging(state: Snapshot, terms: Sequence[TermsPart]) -> list[str]:
    """Return the subfolders of an index's files that are the same in every save that has them."""
    segments = [f"{_SEGMENTS}/{view.segment.name}" for view in state.views]
    return [*segments, *(f"{_TERMS}/{part.name}" for part in terms)]


def write(state: Snapshot, terms: Sequence[TermsPart], folder: Path, there: Container[str] = ()) -> None:
    """Write a state into a folder.

    Args:
        state: The state.
        terms: Its terms' parts; see `Terms.parts`.
        folder: An empty folder.
        there: Those of `unchanging` that are saved already.
    """
    for view in state.views:
        name = view.segment.name
        if f"{_SEGMENTS}/{name}" not in there:
            _write_segment(view.segment, folder / _SEGMENTS / name)
        if view.alive is not None:
            write_array(folder / _ALIVE / name, np.packbits(view.alive))
    for part in terms:
        if f"{_TERMS}/{part.name}" not in there:
            _write_terms(state.terms, part, folder / _TERMS / part.name)
    names = {"segments": [view.segment.name for view in state.views], "terms": [part.name for part in terms]}
    (folder / _NAMES).parent.mkdir(exist_ok=True)
    (folder / _NAMES).write_bytes(to_json(names))


def _write_segment(segment: Segment, folder: Path) -> None:
    segment.verify()
    folder.mkdir(parents=True)
    write_strings(folder / "ids.json", segment.passages.ids)
    with (folder / "passages.jsonl").open("wb") as file:
        for row in gently(range(len(segment))):
            file.write(segment.passages.line(row))
    if segment.tokens is not None:
        write_ragged(folder / "tokens", segment.tokens)
    for name, postings in segment.fields.items():
        for part in _POSTINGS:
            write_array(folder / "lexical" / f"{name}_{part}", getattr(postings, part))
    for name, vectors in segment.vectors.items():
        vectors.save(folder / name)
    if segment.token_vectors is not None:
        segment.token_vectors.save(folder / "token_vectors")


def _write_terms(terms: Terms, part: TermsPart, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, strings, first, last in zip(
        _STRINGS, (terms.words, terms.morphemes, terms.bigrams), part.first, part.last, strict=True
    ):
        write_lines(folder / f"{name}.txt", strings.between(first, last))
    for name, rows in (("word_morphemes", terms.word_morphemes.rows), ("word_bigrams", terms.word_bigrams.rows)):
        write_ragged(folder / name, rows.between(part.first[0], part.last[0]))


def read(files: SavedFiles, config: dict[str, Any]) -> Snapshot:
    """Read what `write` wrote; the settings say what must be there. Arrays and texts stay on disk until needed.

    Raises:
        IndexFormatError: If something is missing or does not fit together.
    """
    settings = IndexSettings.from_config(config, files.where)
    if _NAMES not in files:
        return _read_single(files, settings)
    files.under("state").verify()
    names = files.json(_NAMES)
    try:
        segments, parts = list(names["segments"]), list(names["terms"])
        if not all(map(_NAME.fullmatch, [*segments, *parts])) or len({*segments, *parts}) < len(segments) + len(parts):
            raise ValueError("it names what can be no part of an index")
    except (KeyError, TypeError, ValueError) as error:
        raise IndexFormatError(f"{_NAMES!r} of the index at {files.where!r} is damaged ({error}). {RESTORE}") from error
    if not segments:
        return Snapshot.empty(settings)
    terms = _read_terms(files, parts) if settings.lexical else Terms()
    views = []
    for name in segments:
        segment = _read_segment(files.under(f"{_SEGMENTS}/{name}"), settings, terms, "tokens")
        alive = None
        if f"{_ALIVE}/{name}.npy" in files:
            bits = files.array(f"{_ALIVE}/{name}", np.uint8)
            if len(bits) != (len(segment) + 7) // 8:
                raise IndexFormatError(f"The removed passages of {name!r} are not those of it. {RESTORE}")
            alive = np.unpackbits(bits, count=len(segment)).astype(bool)
        views.append(View.of(replace(segment, name=name), alive))
    files.release()
    return Snapshot(settings, terms).with_views(views)


def _read_terms(files: SavedFiles, names: Sequence[str]) -> Terms:
    strings: tuple[list[StringTable], ...] = ([], [], [])
    rows: tuple[list[Ragged], list[Ragged]] = ([], [])
    known = [0, 0]
    for name in names:
        own = files.under(f"{_TERMS}/{name}")
        tables = [own.lines(f"{kind}.txt").strings for kind in _STRINGS]
        for kept, table in zip(strings, tables, strict=True):
            kept.append(table)
        for number, kind in enumerate(("word_morphemes", "word_bigrams")):
            known[number] += len(tables[number + 1])
            rows[number].append(own.ragged(kind, len(tables[0]), known[number]))
        own.verify()
    if not names:
        raise IndexFormatError(f"The index at {files.where!r} has passages and no words. {RESTORE}")
    return Terms.of_parts(names, strings[0], strings[1], strings[2], *rows)


def _read_single(files: SavedFiles, settings: IndexSettings) -> Snapshot:
    """Read what a version up to 2 of the format holds: one segment."""
    terms = Terms()
    if settings.lexical:
        words, morphemes = files.lines("tokens/words.txt"), files.lines("tokens/morphemes.txt")
        bigrams = files.lines("lexical/bigrams.txt")
        terms = Terms(
            [words.strings],
            [morphemes.strings],
            [bigrams.strings],
            files.ragged("tokens/word_morphemes", len(words), len(morphemes)),
            files.ragged("lexical/word_bigrams", len(words), len(bigrams)),
        )
    segment = _read_segment(files, settings, terms, "tokens/passages")
    return Snapshot(settings, terms).with_views([View.of(segment)])


def _read_segment(files: SavedFiles, settings: IndexSettings, terms: Terms, tokens_name: str) -> Segment:
    identifiers = files.json("ids.json")
    if not isinstance(identifiers, list) or not all(isinstance(identifier, str) for identifier in identifiers):
        raise IndexFormatError(f"'ids.json' of the index at {files.where!r} is no list of strings. {RESTORE}")
    lines = files.lines("passages.jsonl").table
    rows = len(identifiers)
    if not len(lines) == rows == len(set(identifiers)):
        raise IndexFormatError(
            f"The index at {files.where!r} holds {len(lines)} passages for {len(set(identifiers))} identifiers. "
            f"{RESTORE}"
        )
    tokens, fields = None, {}
    if settings.lexical:
        tokens = files.ragged(tokens_name, None, len(terms.words))
        if len(tokens) != rows:
            raise IndexFormatError(f"The index has tokens of {len(tokens)} passages but holds {rows}.")
        fields["bigram"] = _postings(files, "lexical/bigram", rows, len(terms.bigrams))
        if settings.kiwi:
            fields["morpheme"] = _postings(files, "lexical/morpheme", rows, len(terms.morphemes))
    vectors, token_vectors = {}, None
    if rows:  # an empty index of an earlier version has no vectors
        vectors = {name: PassageVectors.load(files, name, rows) for name in settings.vector_fields}
        if settings.token_vectors is not None:
            token_vectors = TokenVectors.load(files, "token_vectors", rows)
    passages = PassageTable(StringTable.of(identifiers), lines=lines)
    segment = Segment(passages, tokens, fields, vectors, token_vectors, files)
    if rows:
        segment.check(settings)
    files.release()
    return segment


def _postings(files: SavedFiles, name: str, passages: int, terms: int) -> Postings:
    offsets = files.array(f"{name}_offsets", np.int64)
    rows = files.array(f"{name}_rows", np.int32)
    frequencies = files.array(f"{name}_frequencies", np.uint16)
    lengths = files.array(f"{name}_lengths", np.float32)
    check_offsets(name, offsets, len(rows))
    files.check(f"{name}_rows", lambda: check_range(name, rows, passages))
    check_range(name, lengths, np.inf)
    if f"{name}_terms.npy" in files:
        used = files.array(f"{name}_terms", np.int32)
        check_range(name, used, terms)
        fits = len(used) == len(offsets) - 1 and not (used[1:] <= used[:-1]).any()
    else:  # up to version 2 every term of the index has a place
        fits = len(offsets) <= terms + 1
        used = np.flatnonzero(np.diff(offsets)).astype(np.int32)
        offsets = np.append(offsets[used], len(rows))
    if not fits or len(frequencies) != len(rows) or len(lengths) != passages:
        raise IndexFormatError(f"The postings {name!r} are not those of {passages} passages. {RESTORE}")
    files.release()
    return Postings(used, offsets, rows, frequencies, lengths)
