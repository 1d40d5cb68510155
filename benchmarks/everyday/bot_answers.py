"""What the bot says to everyday questions about its sample files: ``python -m benchmarks.everyday.bot_answers``.

The bot reads `sample_files` as a visitor's uploads and answers without a chat model. A first passage is right if it
holds a sentence that answers the question. Printed: of the questions with a right first passage, of those with a wrong
one, of the near and of the off-topic ones, how many are answered, and how many of these with a word of caution. Below,
what other confidences would answer, over all seen corpora.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from benchmarks.everyday.__main__ import Answers, ask, join
from benchmarks.everyday.sets import SEEN, read_corpus
from examples.qa_bot.bot import UNSURE, Bot
from examples.qa_bot.threshold import SAMPLE_FILES, shelf_of


def main() -> None:
    """Ask and print."""
    bot = Bot(shelf_of(*sorted(SAMPLE_FILES.iterdir())))
    counts: Counter[tuple[str, str]] = Counter()
    for question in read_corpus("bot").questions:
        *_, answer = bot.ask(question.text)
        first = " ".join(answer.sources[0].text.split()) if answer.sources else ""
        is_right = any(" ".join(sentence.split()) in first for sentence in question.answers)
        kind = ("right" if is_right else "wrong") if question.kind == "answerable" else question.kind
        counts[kind, "asked"] += 1
        counts[kind, "answered"] += answer.found
        counts[kind, "with caution"] += answer.found and answer.text.startswith(UNSURE)
    print("| first passage | questions | answered | with caution |\n| --- |" + " ---: |" * 3)
    for kind in ("right", "wrong", "near", "off_topic"):
        asked, answered, cautious = (counts[kind, what] for what in ("asked", "answered", "with caution"))
        print(f"| {kind} | {asked} | {answered} ({answered / asked:.0%}) | {cautious} |")
    parts = {name: ask(name) for name in SEEN}
    print("\n| confidence | " + " | ".join(f"{name}: right, near, off topic" for name in (*SEEN, "all")) + " |")
    print("| --- |" + " ---: |" * (len(SEEN) + 1))
    for confidence in np.arange(0.2, 0.8, 0.05):
        cells = [_answered(one, confidence) for one in (*parts.values(), join(list(parts.values())))]
        print(f"| {confidence:.2f} | " + " | ".join(cells) + " |")


def _answered(answers: Answers, confidence: float) -> str:
    groups = (answers.ranks == 0, answers.kinds == "near", answers.kinds == "off_topic")
    return ", ".join(f"{(answers.confidence[group] >= confidence).mean():.0%}" for group in groups)


if __name__ == "__main__":
    main()
