"""Masked language modelling: texts into blocks of tokens, hidden words, and a model that guesses only those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import RobertaForMaskedLM
from transformers.modeling_outputs import MaskedLMOutput

from training.experiments import klue_tokenizer


def pack(documents: Sequence[str], tokenizer: Any, length: int) -> NDArray[np.int32]:
    """Join documents, separated by [SEP], and cut them into full blocks: nothing is padded.

    Returns:
        int32, (blocks, length): [CLS], tokens, [SEP].
    """
    pieces: list[NDArray[np.int32]] = []
    for start in range(0, len(documents), 1000):
        found = tokenizer(documents[start : start + 1000], add_special_tokens=False, verbose=False)["input_ids"]
        pieces += [np.asarray([*ids, tokenizer.sep_token_id], np.int32) for ids in found if ids]
    tokens = np.concatenate(pieces) if pieces else np.zeros(0, np.int32)
    inner = length - 2
    count = len(tokens) // inner
    blocks = np.empty((count, length), np.int32)
    blocks[:, 0], blocks[:, -1] = tokenizer.cls_token_id, tokenizer.sep_token_id
    blocks[:, 1:-1] = tokens[: count * inner].reshape(count, inner)
    return blocks


class WordMasking:
    """Hides whole words: of every hundred words `share` are to be guessed, with all their tokens.

    As in BERT, of the hidden words' tokens 80% become [MASK], 10% a random token, 10% stay.

    Args:
        tokenizer: Its tokens that start with ``##`` continue a word.
        share: Of the words.
    """

    def __init__(self, tokenizer: Any, share: float) -> None:
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        self._continues = torch.tensor([token.startswith("##") for token in tokens])
        self._special = torch.zeros(len(tokens), dtype=torch.bool)
        self._special[tokenizer.all_special_ids] = True
        self._mask, self._share = tokenizer.mask_token_id, share

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate rows of ``input_ids``; rows that have ``labels`` are hidden already."""
        if "labels" in rows[0]:
            return {name: torch.from_numpy(np.stack([row[name] for row in rows])).long() for name in rows[0]}
        ids = torch.from_numpy(np.stack([row["input_ids"] for row in rows])).long()
        return self.hide(ids, torch.Generator().manual_seed(int(rows[0]["seed"])))

    def hide(self, ids: torch.Tensor, generator: torch.Generator | None = None) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` and ``labels`` (-100 where nothing is to be guessed) for (rows, length) tokens."""
        words = torch.cumsum(~self._continues[ids], dim=1)  # all tokens of a word get its number
        chosen = torch.rand(ids.shape[0], ids.shape[1] + 1, generator=generator) < self._share
        hidden = chosen.gather(1, words) & ~self._special[ids]
        labels = torch.where(hidden, ids, -100)
        chance = torch.rand(ids.shape, generator=generator)
        noise = torch.randint(len(klue_tokenizer.SPECIAL_TOKENS), len(self._special), ids.shape, generator=generator)
        shown = torch.where(hidden & (chance < 0.8), self._mask, ids)
        shown = torch.where(hidden & (chance >= 0.8) & (chance < 0.9), noise, shown)
        return {"input_ids": shown, "labels": labels}


class Blocks(torch.utils.data.Dataset[dict[str, Any]]):
    """Rows of equally long columns, each with the seed of what is hidden in it.

    The seed depends on row and epoch alone, so that a resumed run hides what an uninterrupted one would have hidden.

    Args:
        columns: ``input_ids`` and, where words are hidden already, ``labels``: (rows, length) each.
        seed: Of everything.
    """

    def __init__(self, columns: dict[str, NDArray[Any]], seed: int = 0) -> None:
        self._columns = columns
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Hide other words from now on; the trainer calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._columns["input_ids"])

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return one row."""
        values = {name: column[row] for name, column in self._columns.items()}
        return values if "labels" in values else {**values, "seed": (self._seed + self._epoch) * len(self) + row}


class MaskedModel(RobertaForMaskedLM):
    """RoBERTa that computes scores over the vocabulary only where a token is to be guessed: half the work of a step."""

    def forward(
        self, input_ids: torch.Tensor, labels: torch.Tensor | None = None, **others: Any
    ) -> MaskedLMOutput | tuple[torch.Tensor]:
        """Return the loss; without labels everything, as `RobertaForMaskedLM` does."""
        if labels is None:
            return super().forward(input_ids, **others)
        hidden = self.roberta(input_ids)[0]
        asked = labels != -100
        loss = torch.nn.functional.cross_entropy(self.lm_head(hidden[asked]), labels[asked])
        return MaskedLMOutput(loss=loss)
