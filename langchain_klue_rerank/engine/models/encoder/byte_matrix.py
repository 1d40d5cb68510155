"""Matrices of bytes, for products with vectors of bytes: one scale an output, one step an input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ByteMatrix:
    """An (n, k) matrix, and how the k numbers of its input become bytes.

    Number j of an input x becomes the byte ``round((x[j] - lows[j]) / steps[j])``. Every input has a step of its own,
    so that the few that are far larger than the others do not cost these their precision. Weight (i, j) is
    ``values[i, j] * scales[i] / steps[j]``.

    Attributes:
        values: (n, k) int8, -127..127.
        scales: (n,) float32.
        lows: (k,) float32, the lowest value of each input that is told apart; lower ones count as this.
        steps: (k,) float32, above 0. The highest value that is told apart is ``lows + 255 * steps``.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    lows: NDArray[np.float32]
    steps: NDArray[np.float32]

    def floats(self) -> NDArray[np.float32]:
        """Return the matrix in float32."""
        return self.values * self.scales[:, None] / self.steps

    def product(self, rounded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Multiply bytes by the matrix.

        Args:
            rounded: (m, k) what `to_bytes` returns.

        Returns:
            (m, n), as if the numbers that the bytes stand for were multiplied.
        """
        return (rounded @ self.values.T.astype(np.float32)) * self.scales + self.floats() @ self.lows
