"""Tables at four bits: blocks of 32 numbers with a scale each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Weights of a block.
BLOCK: Final = 32


@dataclass(frozen=True, slots=True)
class BlockMatrix:
    """An (n, k) matrix; a weight is ``(four bits - 8) * scale``.

    Attributes:
        packed: (n, k / 32, 16) uint8, the weights of a block two by two, the even ones in the low bits.
        scales: (n, k / 32) float16.
    """

    packed: NDArray[np.uint8]
    scales: NDArray[np.float16]

    @classmethod
    def rounded(cls, matrix: NDArray[np.float32]) -> BlockMatrix:
        """Round a matrix whose rows are a multiple of 32 long.

        The weight of a block that is farthest from 0 gets the lowest value, as in llama.cpp's Q4_0, so that a matrix in
        that format is not changed.
        """
        blocks = matrix.reshape(len(matrix), -1, BLOCK).astype(np.float32)
        farthest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)[..., 0]
        scales = (farthest / -8).astype(np.float16)
        divisors = np.where(scales == 0, 1, scales).astype(np.float32)
        values = np.clip(np.rint(blocks / divisors[..., None]) + 8, 0, 15).astype(np.uint8)
        return cls(values[..., 0::2] | (values[..., 1::2] << 4), scales)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.packed.shape[0], self.packed.shape[1] * BLOCK

    def rows(self, numbers: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return some rows in float32."""
        return BlockMatrix(self.packed[numbers], self.scales[numbers]).floats()

    def floats(self) -> NDArray[np.float32]:
        """Return the matrix in float32."""
        values = np.empty((*self.packed.shape[:2], BLOCK), np.float32)
        np.subtract(self.packed & 15, 8, out=values[..., 0::2], dtype=np.float32)
        np.subtract(self.packed >> 4, 8, out=values[..., 1::2], dtype=np.float32)
        values *= self.scales[..., None].astype(np.float32)
        return values.reshape(len(values), -1)
