"""A table of vectors that learns one linear map for all its rows, and a weight for each.

What is known of a morpheme beforehand is a few hundred numbers (`training.packaged.morpheme_vectors`). Learning rows
one by one would change those that the training texts use and forget what was known of them; one map changes all alike,
so that what is learned of common words holds for words that no training text has. It also cannot learn
training questions by heart. The mean of the map before and after training does better on texts unlike the
training's than either (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse


class MappedTable(torch.nn.Module):
    """Rows of known numbers, a map that all rows share, and a weight of each row.

    Args:
        known: float32, (rows, numbers): what is known of each row.
        weights: (rows,), above 0: the first weights.
        dimension: Of the vectors; the map begins as the projection onto so many principal components of the weighted
            rows.
        importance: (rows,): how much each row counts in them.
    """

    def __init__(
        self, known: NDArray[np.float32], weights: NDArray[np.float64], dimension: int, importance: NDArray[np.float64]
    ) -> None:
        super().__init__()
        self._known = torch.from_numpy(known)
        scaled = known * (weights * np.sqrt(importance))[:, None]
        directions = np.linalg.eigh(scaled.T @ scaled)[1][:, ::-1][:, :dimension]
        self.first = torch.from_numpy(np.ascontiguousarray(directions, np.float32))
        self.map = torch.nn.Parameter(self.first.clone())
        self.log_weight = torch.nn.Parameter(torch.from_numpy(np.log(weights).astype(np.float32)))
        self.touched = np.zeros(len(known), np.int64)

    def forward(self, texts: sparse.csr_matrix) -> torch.Tensor:
        """Return the unit vectors of texts, (texts, dimension).

        Args:
            texts: (texts, rows): how much of each row is in each text. Only rows that occur are read.
        """
        rows, columns = np.unique(texts.indices, return_inverse=True)
        self.touched[rows] += 1
        counts = torch.sparse_csr_tensor(
            torch.from_numpy(texts.indptr.astype(np.int64)),
            torch.from_numpy(columns.astype(np.int64)),
            torch.from_numpy(texts.data.astype(np.float32)),
            size=(texts.shape[0], len(rows)),
        )
        chosen = torch.from_numpy(rows)
        sums = counts @ (torch.exp(self.log_weight[chosen])[:, None] * self._known[chosen])
        return torch.nn.functional.normalize(sums @ self.map, dim=1)

    def vectors(self, share: float = 1.0, groups: tuple[slice, ...] = ()) -> NDArray[np.float32]:
        """Return the whole table, (rows, dimension).

        Args:
            share: Of the trained map in the mean with the first one. Default 1.
            groups: Stretches of rows of one kind: rows in them that no batch touched get the median weight of the
                rarest touched ones.
        """
        log_weight = self.log_weight.detach().numpy().copy()
        for rows in groups:
            touched = self.touched[rows]
            if touched.any():
                rare = (touched > 0) & (touched <= np.quantile(touched[touched > 0], 0.1))
                log_weight[rows][touched == 0] = np.median(log_weight[rows][rare])
        mixed = share * self.map.detach() + (1 - share) * self.first
        vectors: NDArray[np.float32] = (self._known @ mixed).numpy() * np.exp(log_weight)[:, None]
        return vectors

    def store(self, path: Path, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write what was learned, completely or not at all."""
        part = path.with_name(path.name + ".part")
        state = {"map": self.map.detach(), "log_weight": self.log_weight.detach(), "step": step}
        torch.save({**state, "touched": torch.from_numpy(self.touched), "optimizer": optimizer.state_dict()}, part)
        os.replace(part, path)

    def restore(self, path: Path, optimizer: torch.optim.Optimizer) -> int:
        """Read what `store` wrote, and return the step."""
        state = torch.load(path, weights_only=True)
        with torch.no_grad():
            self.map.copy_(state["map"])
            self.log_weight.copy_(state["log_weight"])
        self.touched = state["touched"].numpy()
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])
