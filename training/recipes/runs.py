"""The folder and the clock of a run, its settings and its outcome."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from accelerate import PartialState
from transformers import set_seed

from training import settings as settings_room
from training.files import replace_folder, write_json
from training.folders import check_resumed
from training.recipes.cards import check_upload, push
from training.recipes.evaluate import Correlations
from training.settings import SettingsError, require_positive

logger = logging.getLogger(__name__)

T = TypeVar("T")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
#: Settings that may differ between a run and its continuation: they do not decide what the model becomes.
_FREE = ("output", "resume", "max_minutes", "push_to_hub", "private", "keep_checkpoints")


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """Settings that all recipes have.

    Attributes:
        data: The word hub, a folder, or a csv or jsonl file of your own.
        base_model: Model to start from: a folder or a hub id.
        output: Folder of the run; the model comes to lie in its folder named model.
        batch_size: Examples of a step on each device; times --accumulate, times the number of devices, is the
            effective batch.
        accumulate: Batches whose gradients are added before a step.
        epochs: Passes over the training rows.
        warmup_steps: Steps in which the learning rate rises; afterwards it falls linearly to 0.
        learning_rate: The highest learning rate.
        max_grad_norm: Longer gradients are scaled down to this length, that of all weights taken together.
        held_out: Share of the training rows that pick the best checkpoint instead of training; 0 keeps the last one.
        evaluations: How often an epoch the held-out rows are asked and a checkpoint is kept.
        evaluation_steps: Ask them every so many steps and at each epoch's end instead, as the tutorial does.
        max_length: Longest input in tokens; none for all that the model can read.
        seed: Of every random choice.
        sample: At most so many rows of each part, for trying a recipe out.
        max_steps: End after so many steps, for trying a recipe out.
        max_minutes: End early so that the whole run, with the test at its end, takes about so long.
        resume: Go on from the last checkpoint of the run in --output.
        push_to_hub: Repository (owner/name) to which the model is uploaded in the end, also that of a finished run that
            is resumed.
        private: Make the repository private, if it is made.
        precision: Numbers to compute in: auto (bfloat16 where a GPU has it, else float16, on a CPU float32), bf16, fp16
            or fp32. With auto, tests are computed in float32.
        keep_checkpoints: Keep the checkpoints when the run is finished; they take three times the model each.
    """

    data: str = "hub"
    base_model: str = "klue/roberta-base"
    output: Path = Path("runs/model")
    batch_size: int = 16
    accumulate: int = 1
    epochs: int = 1
    warmup_steps: int = 100
    learning_rate: float = 2e-5
    max_grad_norm: float = 1.0
    held_out: float = 0.1
    evaluations: int = 1
    evaluation_steps: int | None = None
    max_length: int | None = None
    seed: int = 42
    sample: int | None = None
    max_steps: int | None = None
    max_minutes: float | None = None
    resume: bool = False
    push_to_hub: str | None = None
    private: bool = False
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    keep_checkpoints: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values.

        Raises:
            SettingsError: For the first one found.
        """
        require_positive(self, "batch_size", "accumulate", "epochs", "learning_rate", "evaluations", "max_grad_norm")
        require_positive(self, "max_length", "sample", "max_steps", "max_minutes", "evaluation_steps")
        if self.warmup_steps < 0:
            raise SettingsError(f"--warmup-steps {self.warmup_steps}: give 0 or more")
        if not 0 <= self.held_out < 1:
            raise SettingsError(f"--held-out {self.held_out}: give a share from 0 to below 1")
        if self.push_to_hub is not None and not _REPOSITORY.fullmatch(self.push_to_hub):
            raise SettingsError(f"--push-to-hub {self.push_to_hub}: give owner/name")


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        model: Folder of the model, which sentence-transformers, `KlueEmbeddings` and `KlueReranker` load.
        before: Metrics on the test rows before training.
        after: The same after training.
        seconds: Time of the whole run, interrupted parts included.
        complete: False if the time budget ended it early.
        steps: Steps made.
        effective_batch: Examples of a step, over all devices.
        device: What it ran on.
        precision: Of the computation: float32, bfloat16 or float16.
        rows: How many rows trained, were held out and tested.
        counts: Rows that were dropped or are special: see `training.inputs.NOTES`.
    """

    model: Path
    before: dict[str, float]
    after: dict[str, float]
    seconds: float
    complete: bool
    steps: int = 0
    effective_batch: int = 0
    device: str = "cpu"
    precision: str = "float32"
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, {**dataclasses.asdict(self), "model": self.model.name})

    @classmethod
    def load(cls, path: Path) -> Outcome:
        """Read what `save` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "model": path.parent / values["model"]})


class Run:
    """The folder and the clock of one run.

    Args:
        settings: The recipe's.

    Raises:
        SettingsError: If the folder holds a run and the settings do not ask to resume it, or are other ones.
    """

    def __init__(self, settings: FitSettings) -> None:
        self._started = time.monotonic()
        self.settings = settings
        self.folder = settings.output
        self.checkpoints = self.folder / "checkpoints"
        self.is_main = os.environ.get("RANK", "0") == "0"  # of `accelerate launch` or torchrun
        self.reserve = 0.0
        self._check_folder()
        if settings.push_to_hub:
            check_upload(settings.push_to_hub)
        if self.is_main:
            if not settings.resume:
                for stale in self.folder.glob("*.json"):
                    stale.unlink()
            settings_room.save(settings, self.folder / "settings.yaml")
        set_seed(settings.seed)
        state = self._last_state() if settings.resume else {}
        self._earlier = max((row.get("seconds", 0.0) for row in state.get("log_history", [])), default=0.0)

    def finished(self) -> Outcome | None:
        """Return the outcome of the run that is to be resumed, if it is complete; uploads its model if asked to."""
        path = self.folder / "outcome.json"
        outcome = Outcome.load(path) if self.settings.resume and path.exists() else None
        if outcome is None or not outcome.complete or not outcome.model.is_dir():
            return None
        self.close(outcome)
        return outcome

    def close(self, outcome: Outcome) -> None:
        """Upload the model if asked to, and remove what only an unfinished run needs."""
        if not self.is_main:
            return
        if outcome.complete and not self.settings.keep_checkpoints:
            shutil.rmtree(self.checkpoints, ignore_errors=True)
        if self.settings.push_to_hub:
            push(outcome.model, self.settings.push_to_hub, self.settings.private)

    def remember(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` returns; a resumed run takes it from the run's folder. It must be JSON."""
        path = self.folder / f"{name}.json"
        if self.settings.resume and path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        value = make()
        if self.is_main:
            write_json(path, value)
        return value

    def test_before(self, test: Correlations, model: Any, held_out: Correlations | None) -> dict[str, float]:
        """Return the untrained model's metrics, and keep as much of the time budget for the tests to come."""
        for one in (test, held_out):
            if one is not None and self.settings.precision != "auto":
                one.precision = self.settings.precision
        began = time.monotonic()
        found = self.remember("before", lambda: {**test(model), "seconds": time.monotonic() - began})
        self.reserve = found.pop("seconds") * (1 + (len(held_out) if held_out else 0) / max(len(test), 1))
        logger.info("Before training: %s", found)
        return found

    def seconds(self) -> float:
        """Return how long the run has taken, its earlier parts included."""
        return self._earlier + time.monotonic() - self._started

    def is_out_of_time(self) -> bool:
        """Return whether the time budget of this part of the run is spent, on any device."""
        minutes = self.settings.max_minutes
        if minutes is None:
            return False
        is_late = time.monotonic() - self._started + self.reserve > 60 * minutes
        if torch.distributed.is_initialized():  # all devices stop at the same step
            votes = torch.tensor(int(is_late), device=PartialState().device)
            torch.distributed.all_reduce(votes, op=torch.distributed.ReduceOp.MAX)
            is_late = bool(votes)
        return is_late

    def last_checkpoint(self) -> Path | None:
        """Return the newest complete checkpoint."""
        found = [path for path in self.checkpoints.glob("checkpoint-*") if (path / "trainer_state.json").exists()]
        return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)

    def save_model(self, model: Any) -> Path:
        """Write the model in place of an older one; returns its folder."""
        fresh, folder = self.folder / "model.new", self.folder / "model"
        if self.is_main:
            shutil.rmtree(fresh, ignore_errors=True)
            model.save_pretrained(str(fresh), create_model_card=False)
            replace_folder(fresh, folder)
        return folder

    def _check_folder(self) -> None:
        kept = self.folder / "settings.yaml"
        if self.settings.resume:
            if kept.exists():
                check_resumed(self.settings, kept, _FREE)
        elif any((self.folder / name).exists() for name in ("model", "checkpoints")):
            raise SettingsError(
                f"--output {self.folder} holds a run; give --resume to go on with it, or another folder"
            )

    def _last_state(self) -> dict[str, Any]:
        checkpoint = self.last_checkpoint()
        return json.loads((checkpoint / "trainer_state.json").read_text()) if checkpoint else {}
