"""What is reproduced, and the figures that it is reproduced from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.settings import SettingsError, require_positive

STAGES = ("sts", "mrc", "cross_encoder")
_REPOSITORIES = {"sts": "klue-sts", "mrc": "klue-sts-mrc", "cross_encoder": "klue-mrc-cross-encoder"}
#: The tutorial's figures: (Pearson, Spearman) before and after each stage, on all of KLUE, with klue/roberta.
TUTORIAL = {
    "sts": ((0.3477, 0.3556), (0.8905, 0.8906)),
    "mrc": ((0.8061, 0.8163), (0.9124, 0.8598)),
    "cross_encoder": ((-0.0117, -0.0120), (0.9830, 0.8650)),
}
#: The tutorial's closing table, 1,000 questions over their own contexts: HitRate@10 and seconds.
TUTORIAL_RETRIEVAL = {"base": (0.875, 3.87), "fine_tuned": (0.951, 3.53), "reranked": (0.977, 72.47)}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is reproduced; the defaults are the tutorial's.

    Attributes:
        data: The word hub, or a data folder with klue_sts and klue_mrc in it.
        base_model: Language model of the bi-encoder: a folder or a hub id.
        reranker_base: Language model of the cross-encoder; none for klue/roberta-small, or for the folder of
            --base-model if that is one.
        output: Folder of everything.
        protocol: tutorial trains and measures exactly as the tutorial does, and measures our way beside it; ours holds
            rows out to pick the checkpoints and measures our way only.
        language: Of the report.
        batch_size: Of all stages.
        learning_rate: Of all stages; small models learn faster, 5e-5 to 3e-4 say.
        reranker_learning_rate: Of stage 3; none for --learning-rate. A new output may need a higher one.
        sts_epochs: Passes over the sentence pairs of stage 1.
        steps: Steps of the three stages where less than all epochs is wanted; 0 for all of a stage's.
        max_length: Longest input in tokens, in training and in search; none for all that the models can read.
        reranker_max_length: The same for the cross-encoder; none for --max-length.
        questions: Questions of the closing table; fewer are reranked if the time does not suffice.
        ours_questions: Of these, questions that are reranked our way; none for all, 0 for lexical search alone.
        fetch_k: Candidates that are reranked.
        seed: Of everything random.
        sample: At most so many rows of each part, and so many questions and further passages in the closing table, for
            trying it out.
        max_minutes: Time for everything; none for all of the tutorial's epochs.
        precision: auto (with --protocol tutorial float32; otherwise bfloat16 where a GPU has it, else float16, on a CPU
            float32), bf16, fp16 or fp32. With auto, the stages' tests are computed in float32.
        resume: Go on with the run in --output; a finished one is uploaded if --push-to-hub is given.
        push_to_hub: User or organisation to which the three models are uploaded when all is done.
        private: Make the repositories private, if they are made.
    """

    data: str = "hub"
    base_model: str = "klue/roberta-base"
    reranker_base: str | None = None
    output: Path = Path("runs/reproduce")
    protocol: Literal["ours", "tutorial"] = "ours"
    language: Literal["en", "ko"] = "en"
    batch_size: int = 16
    learning_rate: float = 2e-5
    reranker_learning_rate: float | None = None
    sts_epochs: int = 4
    steps: tuple[int, ...] = ()
    max_length: int | None = None
    reranker_max_length: int | None = None
    questions: int = 1000
    ours_questions: int | None = None
    fetch_k: int = 30
    seed: int = 42
    sample: int | None = None
    max_minutes: float | None = None
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    resume: bool = False
    push_to_hub: str | None = None
    private: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.push_to_hub is not None and not re.fullmatch(r"[\w.-]+", self.push_to_hub):
            raise SettingsError(f"--push-to-hub {self.push_to_hub}: give the user or organisation, without a slash")
        require_positive(self, "batch_size", "learning_rate", "sts_epochs", "max_length", "questions", "fetch_k")
        require_positive(self, "max_minutes", "sample", "reranker_learning_rate", "reranker_max_length")
        if self.steps and (len(self.steps) != len(STAGES) or min(self.steps) < 0):
            raise SettingsError(f"--steps {' '.join(map(str, self.steps))}: give three numbers, 0 for all of a stage's")
        if self.steps and self.max_minutes is not None:
            raise SettingsError("--steps and --max-minutes both decide how long the stages train; give one of them")
        if self.ours_questions is not None and self.ours_questions < 0:
            raise SettingsError(f"--ours-questions {self.ours_questions}: give 0 or more")

    def repository(self, stage: str) -> str:
        """Return the name under which a stage's model is uploaded."""
        base = (self.reranker if stage == "cross_encoder" else self.base_model).rstrip("/").replace("/", "-")
        return f"{self.push_to_hub}/{Path(base).name}-{_REPOSITORIES[stage]}"

    @property
    def reranker(self) -> str:
        """Language model of the cross-encoder."""
        if self.reranker_base is not None:
            return self.reranker_base
        return "klue/roberta-small" if self.base_model == "klue/roberta-base" else self.base_model

    @property
    def reranker_length(self) -> int | None:
        """Longest input of the cross-encoder."""
        return self.max_length if self.reranker_max_length is None else self.reranker_max_length

    @property
    def computed_in(self) -> Literal["auto", "bf16", "fp16", "fp32"]:
        """Precision of the stages; the tutorial's is float32."""
        return "fp32" if self.protocol == "tutorial" and self.precision == "auto" else self.precision
