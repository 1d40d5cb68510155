"""The losses that the recipes choose from, all of sentence-transformers, and what a teacher contributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer
from sentence_transformers.cross_encoder import losses as pair_losses
from sentence_transformers.multi_vector_encoder import losses as token_losses
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.util import batch_to_device, pairwise_cos_sim
from torch import Tensor, nn
from tqdm import tqdm

from langchain_klue_rerank.engine.contracts import ScoreRequest
from langchain_klue_rerank.engine.models.opening import load_cross_encoder
from langchain_klue_rerank.engine.models.options import CrossEncoderOptions

#: Cosines times this are as far apart as logits; the multiple-negatives loss has the same factor.
_SCALE = 20.0
#: Probabilities this close to 0 or 1 are taken for it.
_SURE = 1e-6
#: Questions that a teacher is asked at a time.
_CHUNK = 8


def bi_encoder_loss(
    model: SentenceTransformer,
    loss: Literal["multiple-negatives", "cached"],
    mini_batch_size: int,
    distillation: Literal["margin-mse", "kl"] | None,
) -> tuple[Any, str]:
    """Return the loss of a bi-encoder and its name.

    - multiple negatives ranking: (question, passage[, wrong passages]), against all passages of the batch;
    - the same cached (GradCache, Gao et al. 2021): any batch size in the memory of a small one;
    - with a teacher (`distillation`), rows have its logits as ``label``, those of the right passage first:
      margin-MSE (Hofstaetter et al. 2020) learns their differences, KL the distribution over the passages.
    """
    if distillation == "margin-mse":
        return losses.MarginMSELoss(model, similarity_fct=scaled_cosine), "margin-MSE with a teacher's scores"
    if distillation == "kl":
        return losses.DistillKLDivLoss(model, similarity_fct=scaled_cosine), "KL divergence from a teacher's scores"
    if loss == "cached":
        cached = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=mini_batch_size)
        return cached, "cached multiple-negatives ranking loss"
    return losses.MultipleNegativesRankingLoss(model), "multiple-negatives ranking loss"


def cross_encoder_loss(
    model: CrossEncoder, loss: Literal["binary-cross-entropy", "listwise"], has_teacher: bool, batch_size: int
) -> tuple[Any, str]:
    """Return the loss of a cross-encoder and its name.

    - binary cross-entropy: rows (question, passage, label);
    - listwise: rows (question, passages, labels), LambdaLoss (Wang et al. 2018), `batch_size` pairs at a time;
    - with a teacher: rows (question, passage, its logit), mean squared error;
    - listwise with a teacher: rows (question, passages, their logits), see `ListDistillation`.
    """
    if has_teacher and loss == "listwise":
        return ListDistillation(model, batch_size), "a teacher's order and probabilities of all passages"
    if has_teacher:
        return pair_losses.MSELoss(model), "mean squared error to a teacher's logits"
    if loss == "listwise":
        return pair_losses.LambdaLoss(model, mini_batch_size=batch_size), "LambdaLoss over all passages"
    return pair_losses.BinaryCrossEntropyLoss(model), "binary cross-entropy"


def late_interaction_loss(
    model: MultiVectorEncoder, mini_batch_size: int, distillation: Literal["margin-mse", "kl"] | None
) -> tuple[Any, str]:
    """Return the loss of a late-interaction model (sum of best cosines) and its name; rows as for a bi-encoder's."""
    losses_and_names: dict[str | None, tuple[Callable[..., Any], str]] = {
        "margin-mse": (token_losses.MultiVectorMarginMSELoss, "margin-MSE with a teacher's scores"),
        "kl": (token_losses.MultiVectorDistillKLDivLoss, "KL divergence from a teacher's scores"),
        None: (
            token_losses.MultiVectorMultipleNegativesRankingLoss,
            "multiple-negatives ranking loss over best cosines",
        ),
    }
    loss, name = losses_and_names[distillation]
    return loss(model, mini_batch_size=mini_batch_size), name


class ListDistillation(nn.Module):
    """A teacher's opinion of all passages of a question: their order, and how likely each answers.

    The sum of two cross-entropies: of the softmax over a question's passages (ListNet, Cao et al. 2007), and of each
    passage's sigmoid, without which the scores of two questions could not be compared.

    Args:
        model: Is trained.
        mini_batch_size: Pairs computed at a time.
    """

    def __init__(self, model: CrossEncoder, mini_batch_size: int) -> None:
        super().__init__()
        self.model = model
        self._mini_batch_size = mini_batch_size

    def forward(self, inputs: list[Any], labels: list[Tensor], **_: Any) -> Tensor:
        """Return the mean loss of some questions.

        Args:
            inputs: The questions, and for each its passages, as many for all.
            labels: For each question its passages' logits.
        """
        questions, passages = inputs
        pairs = [(question, text) for question, own in zip(questions, passages, strict=True) for text in own]
        # Pairs of one length together: less padding.
        order = sorted(range(len(pairs)), key=lambda number: len(pairs[number][1]))
        found = []
        for start in range(0, len(pairs), self._mini_batch_size):
            part = [pairs[number] for number in order[start : start + self._mini_batch_size]]
            features = batch_to_device(self.model.preprocess(part), self.model.device)
            found.append(self.model(features)["scores"].view(-1))
        back = torch.as_tensor(np.argsort(order), device=self.model.device)
        logits = torch.cat(found)[back].view(len(questions), -1).float()
        wanted = torch.stack([torch.as_tensor(own) for own in labels]).to(logits)
        by_list = nn.functional.cross_entropy(logits, wanted.softmax(dim=1))
        return by_list + nn.functional.binary_cross_entropy_with_logits(logits, wanted.sigmoid())


def scaled_cosine(first: Tensor, second: Tensor) -> Tensor:
    """Return 20 times the cosine of each row with its counterpart, on the scale of a teacher's logits."""
    return _SCALE * pairwise_cos_sim(first, second)


def teacher_logits(teacher: str, questions: Sequence[str], passages: Sequence[Sequence[str]]) -> list[list[float]]:
    """Ask a cross-encoder, which reads long passages whole, in windows.

    Args:
        teacher: ``"packaged"``, a folder or a hub id.
        questions: Questions.
        passages: For each question its passages.

    Returns:
        For each question its passages' logits.
    """
    model = load_cross_encoder(teacher, CrossEncoderOptions())
    found = []
    for start in tqdm(range(0, len(questions), _CHUNK), desc="asking the teacher", mininterval=1):
        part = slice(start, start + _CHUNK)
        requests = [ScoreRequest(one, texts) for one, texts in zip(questions[part], passages[part], strict=True)]
        for scores in model.score(requests):
            sure = np.clip(scores.values.astype(np.float64), _SURE, 1 - _SURE)
            found.append(np.log(sure / (1 - sure)).tolist())
    return found
