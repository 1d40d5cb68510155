"""Readers of the training data: every data set becomes pairs, scored pairs or triplets of plain text.

All readers take the data folder (``shared/data``; see its README for sources and licences) and read training rows only.
Validation and test rows are read by `read_mrc` and `read_klue_sts` when asked for by name, for choosing settings.
"""

from __future__ import annotations

import csv
import json
import lzma
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

#: The plain texts of `raw/`, one file each.
RAW_TEXTS = ("boddari", "petitions", "tech_docs", "ms_docs", "nsmc_reviews")

#: Corpora of questions written for this project.
EVERYDAY, PARAPHRASED = (Path(__file__).parent / "packaged" / name for name in ("everyday", "paraphrased"))
#: Everyday corpora that ask as people do; the others avoid the words of their passages.
USUAL_CORPORA = ("bank", "exam", "gym", "museum", "pension", "purifier", "telecom")
#: Everyday corpora that the packaged encoder learns nothing of: what is fitted on its scores needs questions that it
#: does not know by heart.
FRESH_CORPORA = (
    *("cityhall", "driving_school", "factory_rules", "farming", "festival"),
    *("heritage", "movingcompany", "restaurant", "software_manual"),
)

_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
_HANGUL = re.compile("[가-힣]")
# Spoken and written sentences alike: many lines of petitions have no full stop after "다" and "요".
_ANY_SENTENCE_END = re.compile(r"(?<=[다요])[.?!]*[\"'”’]*\s+|(?<=[.?!])\s+")
_DATED = re.compile(r"\d{4}-\d\d-\d\d,")
_ADDRESS = re.compile(r"\"?https?://[^\s,]+,?")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts that belong together.

    Attributes:
        query: A question, a title or a sentence.
        passage: What answers or continues it.
        answer: The part of `passage` that answers, empty when unknown; a crop of the passage should contain it.
    """

    query: str
    passage: str
    answer: str = ""


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """Two sentences and how alike they are, 0 (unrelated) to 5 (the same)."""

    first: str
    second: str
    score: float


@dataclass(frozen=True, slots=True)
class Triplet:
    """A sentence, one that follows from it, and one that contradicts it (empty when there is none)."""

    anchor: str
    positive: str
    negative: str


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON Lines file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def with_title(title: str, text: str) -> str:
    """Put the title before the text, as `KlueRetriever` searches them."""
    return f"{title}\n{text}"


def read_mrc(data: Path, split: str = "train") -> list[Pair]:
    """Return question and passage (with its title) of our part of KLUE-MRC.

    Args:
        data: The data folder.
        split: ``train``, ``validation`` or ``test``. Only ``train`` may train. Default ``train``.

    Returns:
        One pair per question; for ``train`` the back-translated questions too.
    """
    rows = read_jsonl(data / "klue_mrc" / f"{split}.jsonl")
    passages = {row["id"]: with_title(row["title"], row["context"]) for row in rows}
    answers = {row["id"]: row["answer"] if isinstance(row["answer"], str) else "" for row in rows}
    pairs = [Pair(row["question"], passages[row["id"]], answers[row["id"]]) for row in rows]
    if split == "train":
        for row in read_jsonl(data / "klue_mrc" / "train_paraphrased_questions.jsonl"):
            if row["id"] in passages:
                pairs.append(Pair(row["paraphrase"], passages[row["id"]], answers[row["id"]]))
    return pairs


def read_squad(path: Path) -> list[Pair]:
    """Return question and passage (with its title, where it has one) of a file in SQuAD's format."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    return [
        Pair(qa["question"], with_title(article.get("title", ""), paragraph["context"]), qa["answers"][0]["text"])
        for article in articles
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]


def read_boolq(data: Path) -> list[Pair]:
    """Return yes-no questions and statements, each with the paragraph that it is about; training rows only."""
    with (data / "kobest_boolq" / "train.tsv").open(encoding="utf-8", newline="") as file:
        return [Pair(row["Question"], row["Text"]) for row in csv.DictReader(file, delimiter="\t")]


def read_welfare(data: Path) -> list[tuple[Pair, str]]:
    """Return question and answer of the welfare help desk, each with the programme it is about."""
    rows = read_jsonl(data / "welfare_qa" / "train.jsonl")
    return [(Pair(row["question"], row["answer"]), row["programme"]) for row in rows]


def read_written() -> Iterator[tuple[str, list[Pair]]]:
    """Yield the corpora of questions written for this project, in other words than their passages.

    Yields:
        A name, and the questions with the titles and texts of the passages that answer them.
    """
    for folder in sorted(path for room in (EVERYDAY, PARAPHRASED) for path in room.iterdir() if path.is_dir()):
        texts = {row["id"]: f"{row['title']}\n{row['text']}" for row in read_jsonl(folder / "passages.jsonl")}
        asked = read_jsonl(folder / "questions.jsonl")
        yield folder.name, [Pair(row["question"], texts[one]) for row in asked for one in row["passages"]]


def read_strategy(data: Path) -> list[Pair]:
    """Return yes-no questions and the facts that decide them, which seldom use the question's words."""
    pairs = []
    for row in read_jsonl(data / "strategyqa_ko" / "pairs.jsonl"):
        facts = re.sub(r"사실\s*\d+\s*:", " ", row["facts"])
        pairs.append(Pair(row["question"], f"{row['term']} {row['description']}\n{facts}"))
    return pairs


def read_klue_sts(data: Path, split: str = "train") -> list[ScoredPair]:
    """Return sentence pairs of KLUE-STS; `split` is ``train`` or ``validation`` (which never trains)."""
    with (data / "klue_sts" / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        return [ScoredPair(r["sentence1"], r["sentence2"], float(r["label"])) for r in csv.DictReader(file)]


def read_kor_sts(data: Path, split: str = "train") -> list[ScoredPair]:
    """Return sentence pairs of KorSTS; `split` is ``train``, ``dev`` or ``test``."""
    with (data / "kor_sts" / f"sts-{split}.tsv").open(encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    return [ScoredPair(row[5], row[6], float(row[4])) for row in rows[1:] if len(row) == 7]


def read_nli(data: Path) -> list[Triplet]:
    """Return KLUE-NLI's entailments, each with a contradiction of the same premise where there is one."""
    rows = json.loads((data / "klue_nli" / "train.json").read_text(encoding="utf-8"))
    by_label: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_label[row["premise"]][row["gold_label"]].append(row["hypothesis"])
    return [
        Triplet(premise, hypothesis, (labels.get("contradiction") or [""])[0])
        for premise, labels in by_label.items()
        for hypothesis in labels.get("entailment", [])
    ]


def read_paraphrases(data: Path, seed: int = 0) -> list[Pair]:
    """Return sentences that mean the same: paraKQC, sae4k and Question_pair.

    In Question_pair ``is_duplicate`` 0 marks the duplicates and 1 the unrelated ones (read by eye over the whole file).
    Of each of paraKQC's groups of ten every sentence is paired with another one of the group.
    """
    folder = data / "paraphrase"
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for line in (folder / "paraKQC_v1.txt").read_text(encoding="utf-8-sig").splitlines():
        topic, intent, sentence = line.split("\t")
        groups[topic, intent].append(sentence)
    # A group is a thousand sentences of one topic and intent; consecutive tens mean the same.
    pairs: list[Pair] = []
    generator = random.Random(seed)
    for sentences in groups.values():
        for start in range(0, len(sentences), 10):
            ten = sentences[start : start + 10]
            shuffled = generator.sample(ten, len(ten))
            pairs += [Pair(a, b) for a, b in pairwise(shuffled)]
    for line in (folder / "sae4k_v1.txt").read_text(encoding="utf-8-sig").splitlines():
        utterance, argument, _ = line.split("\t")
        pairs.append(Pair(utterance, argument))
    with (folder / "kor_pair_train.csv").open(encoding="utf-8-sig", newline="") as file:
        pairs += [Pair(r["question1"], r["question2"]) for r in csv.DictReader(file) if r["is_duplicate"] == "0"]
    return pairs


def read_raw(data: Path, name: str) -> list[str]:
    """Return the lines of a raw text: ``boddari``, ``petitions``, ``ms_docs``, ``tech_docs`` or ``nsmc_reviews``."""
    with lzma.open(data / "raw" / f"{name}.txt.xz", "rt", encoding="utf-8") as file:
        return [line.strip() for line in file]


def title_pairs(lines: list[str], limit: int = 800) -> Iterator[Pair]:
    """Find titles by their shape and pair each with the text below it.

    A title is a line of at most 60 characters that starts with ``#`` or does not end like a sentence; what follows,
    up to the next title, has at least 100 characters.

    Args:
        lines: Lines of a raw text, in order.
        limit: Longest passage in characters; default 800.
    """
    title, body = "", ""
    for line in [*lines, "# end"]:
        ends, starts = line.endswith((".", ",", ":", ";")), line.startswith(("-", "|", "*"))
        short = 2 <= len(line) <= 60 and not ends and not starts
        if line.startswith("#") or (short and (len(body) >= 100 or not body)):
            if title and len(body) >= 100 and _HANGUL.search(title):
                yield Pair(title, body[:limit])
            title, body = line.lstrip("# "), ""
        elif len(body) < limit:
            body = f"{body} {line}" if body else line


def heading_pairs(lines: list[str], shortest: int = 150, limit: int = 900) -> list[Pair]:
    """Pair headings, lines that start with ``#``, with the text below them.

    Args:
        lines: Lines of a raw text, in order.
        shortest: Shortest text in characters; default 150.
        limit: Where a longer one is cut; default 900.

    Returns:
        One pair for each heading of three words or more that stands over one text only.
    """
    pairs: list[Pair] = []
    heading, body = "", ""
    for line in [*lines, "# end"]:
        if line.startswith("#"):
            if len(heading.split()) >= 3 and len(body) >= shortest:
                pairs.append(Pair(heading, body[:limit]))
            heading, body = line.lstrip("# "), ""
        elif len(body) < limit:
            body = f"{body} {line}" if body else line
    counts = Counter(pair.query for pair in pairs)
    return [pair for pair in pairs if counts[pair.query] == 1]


def cloze_pairs(lines: list[str], generator: random.Random, limit: int = 600) -> Iterator[Pair]:
    """Take one sentence out of each paragraph and pair it with the rest (the inverse cloze task).

    Short neighbouring lines are joined into one paragraph first. One time in ten the sentence stays in the paragraph,
    so that word overlap keeps its meaning.

    Args:
        lines: Lines of a raw text, in order.
        generator: Where chance comes from.
        limit: About the longest paragraph in characters; default 600.
    """
    paragraph = ""
    for line in lines:
        if line.startswith("#") or len(paragraph) + len(line) > limit:
            sentences = [s for s in _SENTENCE_END.split(paragraph[: 2 * limit]) if len(_HANGUL.findall(s)) >= 8]
            if len(sentences) >= 3:
                chosen = generator.randrange(len(sentences))
                keep = generator.random() < 0.1
                rest = " ".join(s for i, s in enumerate(sentences) if keep or i != chosen)
                yield Pair(sentences[chosen][:200], rest[:limit])
            paragraph = ""
        paragraph = f"{paragraph} {line}" if paragraph else line.lstrip("# ")


def documents(lines: list[str], shortest: int = 120) -> Iterator[list[str]]:
    """Cut a raw text into documents, each a list of its lines.

    A document begins with a date (rows of ``boddari``), or with a line shorter than `shortest` characters after a
    longer one (titles of ``petitions``).

    Args:
        lines: Lines of a raw text, in order.
        shortest: See above; default 120.
    """
    document: list[str] = []
    for line in lines:
        if _DATED.match(line) or (document and len(line) < shortest <= len(document[-1])):
            if document:
                yield document
            document = []
        document.append(_ADDRESS.sub(" ", _DATED.sub("", line)))
    if document:
        yield document


def near_pairs(document: list[str], generator: random.Random) -> Iterator[Pair]:
    """Pair every sentence, or two, with up to five of those before and after.

    Args:
        document: Lines.
        generator: Where chance comes from.
    """
    sentences = [one for line in document for one in _ANY_SENTENCE_END.split(line) if len(one) >= 8]
    place = 0
    while place < len(sentences):
        end = place + generator.choice((1, 1, 2))
        before = sentences[max(0, place - generator.randint(2, 5)) : place]
        after = sentences[end : end + generator.randint(2, 5)]
        query, rest = " ".join(sentences[place:end]), " ".join(before + after)
        if len(_HANGUL.findall(query)) >= 10 and len(_HANGUL.findall(rest)) >= 40:
            yield Pair(query[:250], rest[:900])
        place = end


def sentences(line: str) -> list[str]:
    """Cut a line into sentences, spoken and written ones alike."""
    return [one.strip() for one in _ANY_SENTENCE_END.split(line)]


def hangul(text: str) -> int:
    """Return how many syllables of Hangul a text has."""
    return len(_HANGUL.findall(text))


def halves(lines: list[str], shortest: int = 10) -> Iterator[Pair]:
    """Pair the first half of each line with the second; lines of at least `shortest` words (default 10)."""
    for line in lines:
        words = line.split()
        if len(words) >= shortest:
            yield Pair(" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :]))
