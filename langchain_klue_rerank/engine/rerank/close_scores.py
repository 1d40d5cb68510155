"""Two best scores that are too close to each other: what has read both passages decides which one comes first.

Scores order passages better than reading does, but where the first two are nearly equal their order is chance, and
reading has a say. Both numbers were chosen on questions that nothing had learned from; ``docs/encoder.md`` says what
they bring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Two scores whose log odds differ by less than this are close.
CLOSE: Final = 0.1
#: What the log odds of reading count beside those of a score.
READING_WEIGHT: Final = 0.2

_FLOOR: Final = 1e-3


def close_leaders(scores: NDArray[np.float64]) -> tuple[int, int] | None:
    """Return the places of the two best scores, the best first, if they are close; None if there is a clear first.

    Args:
        scores: (n,) in 0..1; of equals the first is the best.
    """
    if len(scores) < 2:
        return None
    first, second = np.argsort(-scores, kind="stable")[:2].tolist()
    of_first, of_second = _log_odds(scores[[first, second]])
    return (first, second) if of_first - of_second < CLOSE else None


def put_first(scores: NDArray[np.float64], leaders: tuple[int, int], odds: Sequence[float]) -> NDArray[np.float64]:
    """Return scores whose best one is that of the two leaders for which both its score and reading speak.

    Where that is the second one, it gets the score of the first, and the first one the next lower number: scores stay
    in order and change by no more than what is between the two.

    Args:
        scores: (n,) in 0..1.
        leaders: What `close_leaders` returned for them.
        odds: (2,) the log odds that they answer, by reading.
    """
    first, second = leaders
    ahead = _log_odds(scores[[first, second]]) + READING_WEIGHT * np.asarray(odds)
    if ahead[1] <= ahead[0]:
        return scores
    changed = scores.copy()
    changed[second], changed[first] = scores[first], np.nextafter(scores[first], 0)
    return changed


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    bounded = np.clip(scores, _FLOOR, 1 - _FLOOR)
    return np.log(bounded / (1 - bounded))
