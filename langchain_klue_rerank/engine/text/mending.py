"""Text from PDF files: words split by line breaks, syllables separated by spaces or lines.

Of texts that somebody gives, only the words that are searched are mended (`mend`), those of questions and passages; the
text itself stays as it is. Pages that we read ourselves become paragraphs again (`unwrap`).
"""

from __future__ import annotations

import re

from langchain_klue_rerank.engine.text.kiwi import Analyzer
from langchain_klue_rerank.engine.text.words import clean

#: Single syllables, each on its own, with spaces or ends of lines between them: a heading, a narrow column.
_APART = re.compile(r"(?<!\S)[가-힣](?:[ \t]{0,2}[ \n][ \t]{0,2}[가-힣]){2,29}(?!\S)")
#: Syllables that a morpheme of such a word has on average, at least: what is read one by one, such as the days of the
#: week, has one.
_SYLLABLES = 1.5
#: A word that may go on in the next line.
_BREAK = re.compile(r"([가-힣]{1,12})\n(?=([가-힣]{1,12}))")
#: A line was broken by the page's width if it fills this share of the longest, or of a column; others are titles and
#: items. Texts of short lines tell nothing.
_FULL, _COLUMN, _SHORT = 0.6, 40, 20
#: Minimum gain in log-likelihood for joining two words. Of words that a space parts in running text 0.4% are
#: joined, of words cut anywhere 89%.
_GAIN = 4.0
#: The same for pages, whose lines do not say whether they ended in a space: the likelier of both.
_GAIN_OF_PAGES = 0.0
#: A line of a page that fills this share of the longest one was wrapped, a shorter one has ended by itself.
_FULL_LINE = 0.75
#: Longest part of a word at the end of a line that Kiwi is asked about.
_WORD = 32
_LAST_SYLLABLES, _FIRST_SYLLABLES = re.compile(r"[가-힣]{1,12}$"), re.compile(r"[가-힣]{1,12}")
#: Ends of lines looked at in a text; each takes Kiwi a fraction of a millisecond.
_MOST = 2000


def mend(text: str, analyzer: Analyzer) -> str:
    """Join words that a page's layout has split.

    Args:
        text: Any text.
        analyzer: Tells likely words from unlikely ones.
    """
    text = clean(text)
    if "\n" not in text and _APART.search(text) is None:
        return text
    text = _APART.sub(lambda match: _together(match.group(), analyzer), text)
    longest = max(map(len, text.split("\n")))
    full = 0 if longest <= _SHORT else _FULL * min(longest, _COLUMN)
    asked = 0

    def joined(match: re.Match[str]) -> str:
        nonlocal asked
        if asked == _MOST or match.end(1) - text.rfind("\n", 0, match.start()) - 1 < full:
            return match.group()
        asked += 1
        return match[1] if analyzer.gain_of_joining(match[1], match[2]) > _GAIN else match.group()

    return _BREAK.sub(joined, text)


def _together(apart: str, analyzer: Analyzer) -> str:
    word = "".join(apart.split())
    if "\n" not in apart and len(word) < 4:
        return apart
    return word if len(word) >= _SYLLABLES * analyzer.count(word) else apart


def unwrap(lines: list[str], analyzer: Analyzer) -> list[str]:
    """Join lines that a page's width has broken, in the middle of a word too.

    Args:
        lines: The lines of one page.
        analyzer: Tells likely words from unlikely ones.

    Returns:
        The paragraphs: PDF files keep neither them nor the spaces at the ends of lines.
    """
    longest = max(map(len, lines), default=0)
    paragraphs: list[list[str]] = []
    last = ""  # the line that another one may continue
    for line in lines:
        if last and line:
            paragraphs[-1] += (_between(last, line, analyzer), line)
        else:
            paragraphs.append([line])
        last = line if len(line) >= _FULL_LINE * longest and not re.search(r"[.!?:]$", line) else ""
    return ["".join(parts) for parts in paragraphs]


def _between(before: str, after: str, analyzer: Analyzer) -> str:
    """Return what stood between two lines, nothing or a space."""
    left, right = before[-4 * _WORD :].split()[-1][-_WORD:], after[: 4 * _WORD].split()[0][:_WORD]
    if re.match(r"[.,!?)\]]", right) or (left[-1].isdigit() and not right[0].isdigit()):
        return ""
    cut, rest = _LAST_SYLLABLES.search(left), _FIRST_SYLLABLES.match(right)
    if cut and rest:
        left, right = cut.group(), rest.group()
    return "" if analyzer.gain_of_joining(left, right) > _GAIN_OF_PAGES else " "
