"""Write all questions that may train, of every data set, where the recipes read them; KLUE-MRC's validation rows test.

    python -m training.questions --data ../shared/data --output runs/questions
    python -m training.recipes.cross_encoder --data runs/questions ...

Questions of KLUE-MRC (and paraphrases of them), TyDi QA, a welfare help desk and StrategyQA: see the data's README.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training import data as sets
from training.files import write_jsonl
from training.inputs import Question
from training.settings import parse, require_positive

logger = logging.getLogger("training.questions")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is written.

    Attributes:
        data: The data folder.
        output: Folder to write train.jsonl and validation.jsonl into.
        most: At most so many questions of the welfare help desk, and of StrategyQA; none for all.
        seed: Of the draw and the order.
    """

    data: Path = Path("../shared/data")
    output: Path = Path("runs/questions")
    most: int | None = 2500
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        require_positive(self, "most")


def training_questions(settings: Settings) -> list[Question]:
    """Read the questions of all sets, in random order."""
    data, generator = settings.data, random.Random(settings.seed)
    titled = sets.read_mrc(data) + sets.read_squad(data / "tydiqa_ko" / "korean_tydiqa_train.json")
    rows = [_without_title(pair) for pair in titled]
    welfare, strategy = sets.read_welfare(data), sets.read_strategy(data)
    drawn = generator.sample(welfare, min(len(welfare), settings.most or len(welfare)))
    rows += [Question(pair.query, pair.passage, programme) for pair, programme in drawn]
    facts = generator.sample(strategy, min(len(strategy), settings.most or len(strategy)))
    rows += [Question(pair.query, pair.passage) for pair in facts]
    rows = [row for row in rows if row.question.strip() and row.passage.strip()]
    generator.shuffle(rows)
    return rows


def _without_title(pair: sets.Pair) -> Question:
    """Take the title, the first line, out of the passage."""
    title, _, passage = pair.passage.partition("\n")
    return Question(pair.query, passage, title, pair.answer)


def write(rows: Iterable[Question], path: Path) -> None:
    """Write questions as JSON Lines that `training.inputs.read_questions` reads."""
    names = ("question", "passage", "title", "answer")
    write_jsonl(path, ({name: getattr(row, name) for name in names} for row in rows))


def main(argv: Sequence[str] | None = None) -> None:
    """Write the files."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = parse(Settings, argv)
    try:
        rows = training_questions(settings)
        test = [_without_title(pair) for pair in sets.read_mrc(settings.data, "validation")]
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    write(rows, settings.output / "train.jsonl")
    write(test, settings.output / "validation.jsonl")
    logger.info("%s: %d questions to learn from, %d to be tested on", settings.output, len(rows), len(test))


if __name__ == "__main__":
    main()
