"""Where sentences and words stand in a text, in its own characters: for showing and marking them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from langchain_klue_rerank.engine.text.kiwi import Analyzer
from langchain_klue_rerank.engine.text.words import clean, split_words

#: A place in a text: its first character, and the one after its last.
Span = tuple[int, int]

#: A line's end that ends a sentence: unless a long line goes on in the next, as where a page's width cut it. It begins
#: where its spaces begin, as looking from each of them would take quadratic time.
_LINE_END = re.compile(
    r"(?<![^\S\n])(?:(?<=[.?!…:。])|(?<![^\n]{30})|(?=[^\S\n]*+\n[^\S\n]*+(?:[-*•·○●▪#>|]|\(?\d+[.)]|\n)))[^\S\n]*+\n\s*"
)
#: A sentence and, after it, the quoted word with which the next one begins.
_QUOTED_TAIL = re.compile(
    r"[.?!\u2026\u3002](\s+)(?:['\u2018\u300c\u300e\"\u201c\u300a\u3008]([^'\"\u2019\u201d\u300d\u300f\u300b\u3009.?!]{1,30})"
    r"['\u2019\u300d\u300f\"\u201d\u300b\u3009])$"
)
#: What stands between the cells of a row, as `files` writes them.
_BAR = " | "
_PIECE = re.compile(r"\s+|\S+")
_RUN = re.compile(r"[^\W_]+")
#: Characters of a run without a space that are mapped one by one; the sentences of longer ones are found roughly.
_LONGEST_EXACT = 1024
#: Morphemes that stand in nearly every question and say nothing about its subject.
LIGHT = frozenset(
    re.findall(
        r"\S+",
        """
        하/VV 되/VV 있/VA 있/VV 없/VA 것/NNB 거/NNB 수/NNB 데/NNB 등/NNB 때/NNG 안/NNG 경우/NNG 안/MAG 좀/MAG
        그/MM 이/MM 저/NP 제/NP 나/NP 내/NP 우리/NP 어떻/VA 어떠/VA 무엇/NP 뭐/NP 무슨/MM 언제/NP 언제/MAG 어디/NP
        얼마/NNG 얼마나/MAG 몇/MM 왜/MAG 누구/NP 어느/MM 알/VV 주/VV 가/VV 오/VV 받/VV 괜찮/VA
        """,
    )
)


def sentence_spans(text: str, analyzer: Analyzer) -> list[Span]:
    """Return where the sentences of a text stand, in order; a text without one has none.

    Args:
        text: Any string; need not be normalised.
        analyzer: What splits it.
    """
    cleaned = clean(text)
    spans: list[Span] = []
    begin = 0
    for line in _lines(cleaned):
        begin = cleaned.index(line, begin)
        spans += [(begin + start, begin + end) for start, end in _in_line(line.replace("\n", " "), analyzer)]
        begin += len(line)
    if cleaned == text:
        return spans
    places = _places(text, [place for span in spans for place in span])
    return list(zip(places[::2], places[1::2], strict=True))


def _lines(text: str) -> Iterator[str]:
    """Yield parts of a text in which no sentence ends with a line: a row of a table, its cells between bars, is one."""
    for part in _LINE_END.split(text):
        if _BAR not in part:
            yield part
            continue
        prose: list[str] = []
        for line in part.split("\n"):
            if _BAR not in line:
                prose.append(line)
                continue
            yield "\n".join(prose)
            yield line
            prose = []
        yield "\n".join(prose)


def _in_line(line: str, analyzer: Analyzer) -> list[Span]:
    """Return where the sentences of a line stand.

    Kiwi puts a quoted word with the sentence before it ("끝납니다. '예약'" and "을 누르면 ..."): it begins the next.
    """
    spans: list[Span] = []
    end = 0
    for sentence in analyzer.sentences(line):
        sentence = sentence.strip()
        start = line.find(sentence, end) if sentence else -1
        if start < 0:
            continue
        end = start + len(sentence)
        tail = _QUOTED_TAIL.search(line[spans[-1][0] : spans[-1][1]]) if spans else None
        if tail:
            before, _ = spans.pop()
            spans.append((before, before + tail.start(1)))
            start = before + tail.end(1)
        spans.append((start, end))
    return spans


def _places(text: str, places: Sequence[int]) -> list[int]:
    """Turn places in a cleaned text into places in the text itself."""
    starts, cleaned_starts = [0], [0]
    for piece in _PIECE.findall(text):
        starts.append(starts[-1] + len(piece))
        cleaned_starts.append(cleaned_starts[-1] + len(clean(piece)))
    found = []
    for place in places:
        number = bisect_right(cleaned_starts, place) - 1
        start, inside = starts[number], place - cleaned_starts[number]
        if inside:
            piece = text[start : starts[min(number + 1, len(starts) - 1)]]
            start += _inside(piece, inside)
        found.append(min(start, len(text)))
    return found


def _inside(piece: str, cleaned_length: int) -> int:
    """Return how many characters of a piece become so many cleaned ones."""
    if len(piece) > _LONGEST_EXACT:
        return min(cleaned_length, len(piece))
    lengths = [len(clean(piece[:end])) for end in range(1, len(piece) + 1)]
    return bisect_right(lengths, cleaned_length)


def subjects(words: Sequence[str], morphemes: Sequence[Sequence[str]]) -> list[str]:
    """Return what a question is about: its distinct content morphemes, in order, and words that have none.

    Args:
        words: Its words, as `split_words` makes them.
        morphemes: The content morphemes of each.
    """
    found = [unit for word, units in zip(words, morphemes, strict=True) for unit in (units or (word,))]
    return [unit for unit in dict.fromkeys(found) if unit not in LIGHT]


def marked_words(text: str, wanted: Sequence[str], analyzer: Analyzer) -> Iterator[tuple[Span, str]]:
    """Find morphemes in a text.

    Args:
        text: The text.
        wanted: Content morphemes, or words that have none.
        analyzer: What takes words apart.

    Yields:
        Each place and the morpheme that stands there: the place of its form where the word has it as it is, else of the
        whole word.
    """
    runs = [(match.start(), match.group()) for match in _RUN.finditer(text)]
    words = [split_words(run) for _, run in runs]
    units = dict(zip(distinct := sorted({w for run in words for w in run}), analyzer.morphemes(distinct), strict=True))
    looked_for = set(wanted)
    for (start, run), parts in zip(runs, words, strict=True):
        for unit in dict.fromkeys(unit for word in parts for unit in (units[word] or (word,))):
            if unit in looked_for:
                form = unit.rpartition("/")[0] or unit
                at = run.lower().find(form)
                yield ((start + at, start + at + len(form)) if at >= 0 else (start, start + len(run))), unit
