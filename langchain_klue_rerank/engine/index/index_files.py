"""The files of an index: one folder with the passages, tokens, postings and vectors of one segment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from langchain_klue_rerank.engine.arrays.files import (
    SavedFiles,
    check_offsets,
    check_range,
    write_array,
    write_lines,
    write_ragged,
)
from langchain_klue_rerank.engine.arrays.mapped import RESTORE
from langchain_klue_rerank.engine.arrays.quantized import TokenVectors
from langchain_klue_rerank.engine.arrays.strings import StringTable
from langchain_klue_rerank.engine.index.passages import to_json
from langchain_klue_rerank.engine.index.segments.passage_table import PassageTable
from langchain_klue_rerank.engine.index.segments.postings import Postings
from langchain_klue_rerank.engine.index.segments.segment import Segment, index_tokens
from langchain_klue_rerank.engine.index.segments.snapshot import Snapshot, View
from langchain_klue_rerank.engine.index.segments.terms import Terms
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.text.tokenized import tokenize
from langchain_klue_rerank.errors import IndexFormatError


def write(state: Snapshot, folder: Path) -> None:
    """Write a state that has one segment without removed rows, or none, into an empty folder."""
    segment = state.views[0].segment if state.views else None
    passages = segment.passages if segment is not None else PassageTable.of(())
    (folder / "ids.json").write_bytes(to_json(list(passages.ids)))
    with (folder / "passages.jsonl").open("wb") as file:
        for row in range(len(passages)):
            file.write(passages.line(row))
    if state.settings.lexical:
        _write_terms(state, folder)
    if segment is None:
        return
    for name, vectors in segment.vectors.items():
        vectors.save(folder / name)
    if segment.token_vectors is not None:
        segment.token_vectors.save(folder / "token_vectors")


def _write_terms(state: Snapshot, folder: Path) -> None:
    terms = state.terms
    if state.views:
        tokens, fields = state.views[0].segment.tokens, state.views[0].segment.fields
    else:
        tokens, fields = index_tokens(terms, tokenize((), None), morphemes=state.settings.kiwi)
    assert tokens is not None
    # Another thread may be adding: its words come after their morphemes and bigrams, so these are all there.
    count = len(terms.words)
    word_morphemes, word_bigrams = terms.word_morphemes.first(count), terms.word_bigrams.first(count)
    write_lines(folder / "tokens/words.txt", terms.words.first(count))
    write_lines(folder / "tokens/morphemes.txt", terms.morphemes.first(len(terms.morphemes)))
    write_ragged(folder / "tokens/word_morphemes", word_morphemes)
    write_ragged(folder / "tokens/passages", tokens)
    write_lines(folder / "lexical/bigrams.txt", terms.bigrams.first(len(terms.bigrams)))
    write_ragged(folder / "lexical/word_bigrams", word_bigrams)
    for name, postings in fields.items():
        counts = np.zeros(int(postings.terms[-1]) + 1 if len(postings.terms) else 0, np.int64)
        counts[postings.terms] = np.diff(postings.offsets)
        path = folder / "lexical" / name
        write_array(path.with_name(f"{name}_offsets"), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
        write_array(path.with_name(f"{name}_rows"), postings.rows)
        write_array(path.with_name(f"{name}_frequencies"), postings.frequencies)
        write_array(path.with_name(f"{name}_lengths"), postings.lengths)
        write_array(path.with_name(f"{name}_document_frequency"), counts)


def read(files: SavedFiles, config: dict[str, Any]) -> Snapshot:
    """Read what `write` wrote; the settings say what must be there. Arrays and texts stay on disk until needed.

    Raises:
        IndexFormatError: If something is missing or does not fit together.
    """
    settings = IndexSettings.from_config(config, files.where)
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
    terms, tokens, fields = Terms(), None, {}
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
        tokens = files.ragged("tokens/passages", None, len(words))
        if len(tokens) != rows:
            raise IndexFormatError(f"The index has tokens of {len(tokens)} passages but holds {rows}.")
        fields["bigram"] = _postings(files, "lexical/bigram", rows, len(bigrams))
        if settings.kiwi:
            fields["morpheme"] = _postings(files, "lexical/morpheme", rows, len(morphemes))
    if not rows:
        return Snapshot.empty(settings)
    vectors = {name: PassageVectors.load(files, name, rows) for name in settings.vector_fields}
    token_vectors = TokenVectors.load(files, "token_vectors", rows) if settings.token_vectors is not None else None
    passages = PassageTable(StringTable.of(identifiers), lines=lines)
    segment = Segment(passages, tokens, fields, vectors, token_vectors, files)
    segment.check(settings)
    files.release()
    return Snapshot(settings, terms, (View.of(segment),))


def _postings(files: SavedFiles, name: str, passages: int, terms: int) -> Postings:
    offsets = files.array(f"{name}_offsets", np.int64)
    rows = files.array(f"{name}_rows", np.int32)
    frequencies = files.array(f"{name}_frequencies", np.uint16)
    lengths = files.array(f"{name}_lengths", np.float32)
    document_frequency = files.array(f"{name}_document_frequency", np.int64)
    check_offsets(name, offsets, len(rows))
    files.check(f"{name}_rows", lambda: check_range(name, rows, passages))
    check_range(name, document_frequency, passages + 1)
    check_range(name, lengths, np.inf)
    if len(frequencies) != len(rows) or len(lengths) != passages or len(offsets) > terms + 1:
        raise IndexFormatError(f"The postings {name!r} are not those of {passages} passages. {RESTORE}")
    if len(document_frequency) != len(offsets) - 1 or (document_frequency != np.diff(offsets)).any():
        raise IndexFormatError(f"The document frequencies of {name!r} are not those of its postings. {RESTORE}")
    files.release()
    used = np.flatnonzero(document_frequency)
    return Postings(used.astype(np.int32), np.append(offsets[used], len(rows)), rows, frequencies, lengths)
