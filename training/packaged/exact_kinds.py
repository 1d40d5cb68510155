"""Questions whose exact words decide, made from plain text: what the packaged reranker learns exactness from.

Every kind is a corpus of passages that are alike and of questions that tell them apart by one thing: the number of an
article, a code among siblings, one noun, a quoted form with its particle or ending. One has long questions. The texts
come from the data's software documentation, petitions and books, the labels, codes and frames from here. Kinds exist to
teach evidence: whether they teach more than themselves is measured by leaving each out (`unseen_kinds`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.words import split_words
from training import data as readers
from training.data import Pair

_HANGUL_WORD = re.compile(r"^[가-힣]{2,}$")
_SENTENCE = re.compile(r"(?<=[다요까오])[.?!]\s+")
_CIRCLED: Final = "①②③④⑤⑥⑦⑧⑨"

#: Names of the kinds that are made here.
EXACT_KINDS: Final = ("articles", "codes", "one word", "quoted", "long")

#: How an article is labelled, how its paragraphs are, and how another article or a question names both, or one.
_LABELS: Final[Sequence[tuple[str, Sequence[str], str, Sequence[str]]]] = (
    (
        "제{n}조({t}) ",
        [f"{c} " for c in _CIRCLED],
        "제{n}조제{k}항",
        ("제{n}조제{k}항", "제{n}조 제{k}항", "{n}조 {k}항", "제{n}조"),
    ),
    (
        "제{n}조【{t}】 ",
        [f"{i}. " for i in range(1, 10)],
        "제{n}조 제{k}호",
        ("제{n}조 제{k}호", "제{n}조제{k}호", "{n}조 {k}호"),
    ),
    ("제{n}장 {t}\n", [f"{i}) " for i in range(1, 10)], "제{n}장 {k})", ("제{n}장", "{n}장 {k}번", "제 {n} 장")),
    ("{n}. {t}\n", [f"{c}. " for c in "가나다라마바사아자"], "{n}번", ("{n}번", "{n}번 항목", "{n}번째 항목")),
    ("Q{n}. {t}\n", ["" for _ in range(9)], "Q{n}", ("Q{n}", "질문 {n}번", "Q {n}")),
    ("{n}.{k} {t}\n", ["" for _ in range(9)], "{n}.{k}절", ("{n}.{k}절", "{n}.{k} 항", "{n}.{k}")),
    ("[별표 {n}] {t}\n", [f"{i}. " for i in range(1, 10)], "별표 {n}", ("별표 {n}", "별표 {n}의 {k}호", "[별표{n}]")),
    (
        "제{n}조의{k}({t}) ",
        [f"{c}" for c in _CIRCLED],
        "제{n}조의{k}",
        ("제{n}조의{k}", "{n}조의 {k}", "제{n}조의 {k}"),
    ),
)
_REFERRING: Final = (
    "{r}에 따라 {s}",
    "{r}에서 정한 바에 따른다. {s}",
    "{r}을 준용한다. {s}",
    "{s} ({r} 참조)",
    "{r}에도 불구하고 {s}",
    "{s} 자세한 것은 {r}을 본다.",
    "{r} 및 이 조에서 {s}",
    "이 경우 {r}을 적용한다. {s}",
)
_ASKING: Final = (
    "{r}에서 정한 것은?",
    "{r} 내용이 뭐예요?",
    "{r}은 어떻게 되어 있나요",
    "{r}에 뭐라고 나와 있어?",
    "{r} 알려 주세요",
    "{r}의 규정을 찾아 줘",
    "{r}에 따르면 어떻게 해야 하나요?",
    "{r}",
    "{r}에는 어떤 내용이 있습니까?",
    "{r}에서 말하는 {t}",
)
#: What tells siblings apart: each makes a value from chance.
_CODES: Final[Sequence[Callable[[random.Random], str]]] = (
    lambda g: f"{g.choice('ABDGHKMRSTX')}{g.choice('CEFLNPQUVX')}-{g.randint(10, 9999)}",
    lambda g: f"{g.choice('abekmrstx')}{g.randint(100, 999)}{g.choice('acps')}",
    lambda g: f"E{g.randint(1, 500):03d}",
    lambda g: f"{g.randint(1, 9)}.{g.randint(0, 12)}",
    lambda g: f"버전 {g.randint(1, 40)}",
    lambda g: f"{g.randint(1960, 2025)}년",
    lambda g: f"{g.randint(1, 12)}월 {g.randint(1, 28)}일",
    lambda g: f"{g.randint(2010, 2025)}년 {g.randint(1, 12)}월",
    lambda g: f"{g.randint(1, 99)}만 원",
    lambda g: f"{g.randint(1, 9)},{g.randint(0, 9)}00원",
    lambda g: f"{g.randint(101, 115)}동 {g.randint(1, 20)}0{g.randint(1, 6)}호",
    lambda g: f"{g.randint(1, 60)}층",
    lambda g: f"{g.randint(2, 99)}회차",
    lambda g: f"제{g.randint(1, 60)}회",
    lambda g: f"{g.randint(1, 250)}번",
    lambda g: f"0x{g.randint(4096, 65535):x}",
    lambda g: f"{g.randint(1, 30)}기가",
    lambda g: f"{g.randint(1, 12)}학년도 {g.randint(1, 2)}학기",
)
_PLACED: Final = (
    "{c} {s} {b}",
    "{s} {b} ({c})",
    "{c}: {s} {b}",
    "{c}의 경우 {s} {b}",
    "{s} 이것은 {c}에 관한 것이다. {b}",
    "{c}\n{s} {b}",
)
_MENTIONED: Final = (
    " {o}와 다르다.",
    " {o}에서는 다르게 한다.",
    " ({o} 참고)",
    " {o} 다음에 나온다.",
    " {o}도 함께 본다.",
)
_CODE_ASKED: Final = (
    "{c} {h}",
    "{c}의 {h}",
    "{h} {c}",
    "{c} {h}에 대해 알려 주세요",
    "{h} ({c})",
    "{c}은 {h} 어떻게 하나요?",
)
#: Particles and endings that take one another's place.
_ENDINGS: Final[Sequence[Sequence[str]]] = (
    ("은", "이", "을", "도", "만", "과"),
    ("는", "가", "를", "도", "만", "와"),
    ("에", "에서", "에게", "에는", "에도"),
    ("으로", "으로서", "으로써", "이라고"),
    ("로", "로서", "로써", "라고"),
    ("까지", "부터", "마저", "조차", "밖에"),
    ("던", "든", "는"),
    ("는데", "는지", "는데도"),
    ("고", "며", "지만", "거나"),
    ("면", "니", "려면", "면서"),
    ("려고", "러", "려면"),
    ("게", "도록", "지"),
    ("므로", "며", "지만"),
    ("다고", "다는", "다며"),
    ("습니다", "습니까", "다"),
    ("어서", "어도", "어야"),
    ("아서", "아도", "아야"),
    ("해서", "해도", "해야", "하여"),
    ("했다", "한다", "하였다", "했던"),
    ("된다", "되었다", "됐다", "되는"),
    ("하는", "한", "할", "하던"),
    ("있는", "있던", "있을"),
    ("의", "에", "와"),
)
_QUOTED: Final = (
    "'{q}'라고 쓴 글은 어느 것인가요?",
    "‘{q}’라는 말이 나오는 곳을 찾아 주세요",
    "“{q}”는 어디에 나오나요?",
    '"{q}"',
    "'{q}'의 쓰임",
    "'{q}'가 맞나요 '{w}'가 맞나요? '{q}'로 적은 글이 궁금합니다.",
    "{q}",
    "여기에 '{q}'라고 나오는데 무슨 뜻이에요?",
    "「{q}」이 들어간 문장",
    "'{w}'가 아니라 '{q}'라고 적힌 것",
)


def read_sentences(data: Path, generator: random.Random, count: int) -> list[str]:
    """Draw sentences of software documentation and petitions."""
    found: list[str] = []
    for name in ("petitions", "ms_docs"):
        lines = readers.read_raw(data, name)
        own = [
            one.strip()
            for line in generator.sample(lines, min(len(lines), 40_000))
            for one in _SENTENCE.split(line)
            if 25 <= len(one) <= 120 and len(re.findall("[가-힣]", one)) > len(one) / 2
        ]
        found += generator.sample(own, min(len(own), count // 2))
    generator.shuffle(found)
    return found


def articles(
    sentences: Iterator[str], titles: Iterator[str], generator: random.Random, corpora: int = 8
) -> list[list[Pair]]:
    """Make corpora of numbered articles, some of which name others, and ask each by its number."""
    made: list[list[Pair]] = []
    for place in range(corpora):
        label, marks, reference, asked = _LABELS[place % len(_LABELS)]
        count, referring = generator.randint(80, 240), generator.choice((0.0, 0.3, 0.6))
        pairs: list[Pair] = []
        sizes = [generator.randint(2, 5) for _ in range(count)]
        for number in range(1, count + 1):
            title, size = next(titles), sizes[number - 1]
            parts = []
            for part in range(size):
                text = next(sentences)
                if generator.random() < referring:
                    other = generator.randrange(count)
                    named = reference.format(n=other + 1, k=generator.randint(1, sizes[other]))
                    text = generator.choice(_REFERRING).format(r=named, s=text)
                parts.append(f"{marks[part]}{text}")
            second = generator.randint(1, size)
            passage = label.format(n=number, k=second, t=title) + " ".join(parts)
            named = generator.choice(asked).format(n=number, k=second)
            pairs.append(Pair(generator.choice(_ASKING).format(r=named, t=title), passage))
        made.append(pairs)
    return made


def coded(headings: Sequence[Pair], generator: random.Random, siblings: int = 5) -> list[Pair]:
    """Make siblings of a text that differ by a code, a date or an amount, and ask each by its heading and that."""
    pairs: list[Pair] = []
    for heading in headings:
        make = generator.choice(_CODES)
        values = list(dict.fromkeys(make(generator) for _ in range(3 * siblings)))[:siblings]
        sentence, _, rest = heading.passage[:400].partition(". ")
        placed, asked = generator.choice(_PLACED), generator.choice(_CODE_ASKED)
        for value in values:
            text = placed.format(c=value, s=sentence + ".", b=rest)
            if generator.random() < 0.5:
                other = generator.choice([one for one in values if one != value] or [value])
                text += generator.choice(_MENTIONED).format(o=other)
            pairs.append(Pair(asked.format(c=value, h=heading.query), text))
    return pairs


def one_word_apart(headings: Sequence[Pair], generator: random.Random, siblings: int = 4) -> list[Pair]:
    """Make siblings of a text in which one noun is another, and ask each by its heading with that noun."""
    nouns: list[str] = []
    chosen: list[tuple[Pair, str]] = []
    for heading in headings:
        words = split_words(heading.query)
        own = [
            unit.partition("/")[0]
            for parts in shared_analyzer().morphemes(words)
            for unit in parts
            if unit.endswith(("/NNG", "/NNP")) and len(unit.partition("/")[0]) >= 2
        ]
        nouns += own
        inside = [noun for noun in own if noun in heading.passage and noun in heading.query]
        if inside:
            chosen.append((heading, generator.choice(inside)))
    nouns = sorted(set(nouns))
    pairs: list[Pair] = []
    for heading, noun in chosen:
        for other in [noun, *generator.sample(nouns, siblings - 1)]:
            text = heading.passage[:500].replace(noun, other)
            if generator.random() < 0.3:
                text += generator.choice(_MENTIONED).format(o=noun)
            pairs.append(Pair(heading.query.replace(noun, other), text))
    return pairs


def quoted(paragraphs: Sequence[str], generator: random.Random, siblings: int = 3) -> list[Pair]:
    """Make siblings of a text in which a word has another particle or ending, and ask each by quoting the words."""
    pairs: list[Pair] = []
    for paragraph in paragraphs:
        words = paragraph.split()
        places = list(range(len(words)))
        generator.shuffle(places)
        for place in places:
            fit = [
                (ending, group)
                for group in _ENDINGS
                for ending in group
                if _HANGUL_WORD.match(words[place])
                and words[place].endswith(ending)
                and len(words[place]) > len(ending)
            ]
            if not fit:
                continue
            ending, group = max(fit, key=lambda one: len(one[0]))
            stem = words[place][: -len(ending)]
            others = generator.sample([one for one in group if one != ending], min(siblings, len(group)) - 1)
            start, end = max(0, place - generator.choice((0, 0, 1, 2))), place + generator.choice((1, 1, 2))
            forms = [stem + one for one in (ending, *others)]
            phrases = [" ".join([*words[start:place], form, *words[place + 1 : end]]) for form in forms]
            frame = generator.choice(_QUOTED)
            for number, form in enumerate(forms):
                text = " ".join([*words[:place], form, *words[place + 1 :]])
                wrong = phrases[(number + 1) % len(phrases)]
                pairs.append(Pair(frame.format(q=phrases[number], w=wrong), text))
            break
    return pairs


def long_questions(documents: Sequence[Sequence[str]], generator: random.Random) -> list[Pair]:
    """Take several sentences out of a document and pair them with the rest; sometimes they stay."""
    pairs: list[Pair] = []
    for document in documents:
        sentences = [one for line in document for one in _SENTENCE.split(line) if len(one) >= 12]
        if len(sentences) < 7:
            continue
        count = generator.randint(2, 4)
        start = generator.randrange(1, len(sentences) - count)
        near = sentences[max(0, start - 4) : start + count + 4]
        taken = sentences[start : start + count]
        keep = set(taken[:1]) if generator.random() < 0.5 else set()
        rest = " ".join(one for one in near if one not in taken or one in keep)
        if len(rest) >= 120:
            pairs.append(Pair(" ".join(taken)[:400], rest[:900]))
    return pairs


def exact_pairs(data: Path, seed: int, size: int) -> dict[str, list[list[Pair]]]:
    """Make all of these kinds.

    Args:
        data: The data folder.
        seed: Of every choice.
        size: About how many questions of each.

    Returns:
        Name -> corpora, each the pairs of one.
    """
    generator = random.Random(seed)
    sentences = read_sentences(data, generator, 12_000)
    headings = readers.heading_pairs(readers.read_raw(data, "ms_docs"))
    generator.shuffle(headings)
    headings = [one for one in headings if len(one.query) <= 60]
    documents = list(readers.documents(readers.read_raw(data, "petitions")))
    generator.shuffle(documents)
    paragraphs = [
        line[:300]
        for line in readers.read_raw(data, "boddari")
        if len(line) >= 120 and len(re.findall("[가-힣]", line)) > len(line) / 2
    ]
    generator.shuffle(paragraphs)
    titles = (one.query for one in headings[2 * size :])
    return {
        "articles": articles(iter(sentences), titles, generator, corpora=max(1, size // 160)),
        "codes": [coded(headings[: size // 5], generator)],
        "one word": [one_word_apart(headings[size // 5 : size // 5 + size // 3], generator)],
        "quoted": [quoted(paragraphs[: size // 3 + size // 10], generator)],
        "long": [long_questions(documents[: size + size // 2], generator)[:size]],
    }
