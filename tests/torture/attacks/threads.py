"""Threads that change and search one index at a time, against a model that does the same one by one."""

from __future__ import annotations

import random
import threading
from pathlib import Path

from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from tests.torture import versions
from tests.torture.attack import Attack, Trials
from tests.unit_tests.engine.helpers import SETTINGS, add, passage, search

_THREADS, _STEPS = 6, 12


def work(index: PassageIndex, model: dict[str, str], name: str, chance: random.Random, folder: Path) -> None:
    """Add, replace, delete, search and save; only passages of this thread's own are changed."""
    for step in range(_STEPS):
        identifier = f"{name} {chance.randrange(5)}"
        kind = chance.randrange(6)
        if kind < 3:
            text = f"{name} {step} 번째에 고친 글"
            add(index, passage(identifier, text))
            model[identifier] = text
        elif kind == 3:
            removed = index.delete([identifier])
            if removed != (model.pop(identifier, None) is not None):
                raise AssertionError(f"{identifier} was removed {removed} times")
        elif kind == 4:
            found = search(index, f"{name} 번째 글", 50)
            if any(not 0 <= score <= 1.0001 for _, score in found):
                raise AssertionError(f"scores {found}")
        else:
            index.save(folder)
        kept = {one.id: one.text for one in index.get(list(model))}
        if kept != model:
            raise AssertionError(f"{kept} instead of {model}")


def trials(chance: random.Random, folder: Path) -> Trials:
    """Let threads work, and compare with what each of them did."""
    place = folder / "index"
    while True:
        index = PassageIndex(SETTINGS)
        models: list[dict[str, str]] = [{} for _ in range(_THREADS)]
        faults: list[str] = []

        def run(
            number: int,
            seed: float,
            index: PassageIndex = index,
            models: list[dict[str, str]] = models,
            faults: list[str] = faults,
        ) -> None:
            try:
                work(index, models[number], f"실 {number}", random.Random(seed), place)
            except BaseException as error:
                faults.append(repr(error))

        threads = [threading.Thread(target=run, args=(number, chance.random())) for number in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        index.save(place)
        expected = {identifier: text for model in models for identifier, text in model.items()}
        for one in (index, PassageIndex.load(place)):
            kept = {each.id: each.text for each in one.get(one.find(lambda _: True))}
            if kept != expected:
                faults.append(f"{len(kept)} passages instead of {len(expected)}")
            elif kept and (fault := versions.parts_fault(one)):
                faults.append(fault)
        yield faults[0] if faults else None


ATTACKS = [
    Attack(
        f"{_THREADS} threads against a sequential model",
        "Every thread finds what it wrote, and in the end, in memory and on disk, there is what all of them wrote",
        trials,
        short=4,
        full=60,
    )
]
