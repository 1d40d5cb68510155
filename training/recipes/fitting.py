"""What the recipes share: loading a model, and the trainer with its checkpoints and time budget."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from datasets import Dataset
from sentence_transformers import (
    CrossEncoder,
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
    MultiVectorEncoder,
    MultiVectorEncoderTrainer,
    MultiVectorEncoderTrainingArguments,
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import DefaultBatchSampler
from transformers import AutoConfig, TrainerCallback

from langchain_klue_rerank.engine.models.options import ModelOptions
from langchain_klue_rerank.engine.models.transformer import torch_loading
from langchain_klue_rerank.errors import KlueRerankError
from training import settings as settings_room
from training.files import write_json
from training.inputs import DataError
from training.recipes.cards import About, draw_history, write_card
from training.recipes.evaluate import Correlations
from training.recipes.precision import decide_precision
from training.recipes.runs import FitSettings, Outcome, Run
from training.settings import SettingsError

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=FitSettings)

__all__ = ["FitSettings", "Fitted", "Outcome", "Run", "finish", "fit", "load_model", "run_recipe"]


@dataclass(frozen=True)
class Fitted:
    """What the trainer did: see `Outcome` for the fields."""

    steps: int
    complete: bool
    effective_batch: int
    device: str
    precision: str


def run_recipe(cls: type[S], train: Callable[[S], Outcome], argv: Sequence[str] | None) -> None:
    """Read a recipe's settings and run it; what is wrong with settings, data or model ends it with one line."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    logging.getLogger("training").setLevel(logging.INFO)
    settings = settings_room.parse(cls, argv)
    try:
        outcome = train(settings)
    except (SettingsError, DataError, KlueRerankError) as error:
        logger.error("%s", error)
        sys.exit(2)
    logger.info("%s in %.1f minutes: %s", outcome.model, outcome.seconds / 60, outcome.after)


def load_model(
    kind: Literal["SentenceTransformer", "CrossEncoder", "MultiVectorEncoder"], name: str, max_length: int | None
) -> Any:
    """Load a model to be trained; a bare language model gets mean pooling, one output, or a projection.

    KLUE's models have a tokenizer that numbers the second text of a pair 1 and a body that knows type 0 only. The
    tokenizer is loaded without these numbers, which is saved with the model, so that it works everywhere.

    Raises:
        ModelLoadError: If it cannot be loaded.
        SettingsError: If `max_length` is more than it can read.
    """
    options: dict[str, Any] = {"num_labels": 1} if kind == "CrossEncoder" else {}
    with contextlib.suppress(OSError, ValueError):  # a model that cannot be loaded is reported below
        if getattr(AutoConfig.from_pretrained(name), "type_vocab_size", 2) == 1:
            options["processor_kwargs"] = {"model_input_names": ["input_ids", "attention_mask"]}
    rank = os.environ.get("LOCAL_RANK")
    device = f"cuda:{rank}" if rank is not None and torch.cuda.is_available() else None
    model = torch_loading.load(kind, name, ModelOptions(device=device), **options)
    pooler = getattr(model[0].auto_model, "pooler", None)
    if rank is not None and kind != "CrossEncoder" and pooler is not None:
        pooler.requires_grad_(False)  # the output passes it by, and several devices wait for every gradient
    try:
        model.max_seq_length = torch_loading.input_length(model, name, max_length)
    except ValueError as error:
        raise SettingsError(f"--max-length: {error}") from error
    if kind == "SentenceTransformer" and any((model.prompts or {}).values()):
        # The recipes train without prompts, so the trained model is to be used without them.
        model.prompts = dict.fromkeys(model.prompts, "")
    return model


def fit(
    model: SentenceTransformer | CrossEncoder | MultiVectorEncoder,
    rows: Dataset,
    loss: Any,
    run: Run,
    held_out: Correlations | None,
    metric: str,
    *,
    no_duplicates: bool = False,
) -> Fitted:
    """Train a model; afterwards it is the checkpoint that was best on the held-out rows.

    Args:
        model: Is changed.
        rows: In the columns that the loss wants.
        loss: Of sentence-transformers.
        run: Where checkpoints go.
        held_out: Picks the best checkpoint; None keeps the last.
        metric: Which of its metrics decides.
        no_duplicates: Whether a batch may hold no text twice.
    """
    settings = run.settings
    arguments_class: Any = SentenceTransformerTrainingArguments
    trainer_class: Any = SentenceTransformerTrainer
    if isinstance(model, CrossEncoder):
        arguments_class, trainer_class = CrossEncoderTrainingArguments, CrossEncoderTrainer
    elif isinstance(model, MultiVectorEncoder):
        arguments_class, trainer_class = MultiVectorEncoderTrainingArguments, MultiVectorEncoderTrainer
    on_cuda = model.device.type == "cuda"
    precision = decide_precision(settings.precision, on_cuda)
    world = int(os.environ.get("WORLD_SIZE", "1"))  # of `accelerate launch` or torchrun
    effective_batch = settings.batch_size * settings.accumulate * world
    steps_of_epoch = max(1, -(-len(rows) // effective_batch))
    every = max(1, min(steps_of_epoch, settings.max_steps or steps_of_epoch) // settings.evaluations)
    by_steps = held_out is not None and settings.evaluation_steps is not None
    if by_steps and settings.evaluation_steps is not None:
        every = settings.evaluation_steps
    arguments = arguments_class(
        output_dir=str(run.checkpoints),
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        weight_decay=0.01,
        max_grad_norm=settings.max_grad_norm,
        warmup_steps=settings.warmup_steps,
        use_cpu=model.device.type == "cpu",  # without it bfloat16 is refused on a CPU
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        seed=settings.seed,
        batch_sampler="no_duplicates" if no_duplicates else _ShuffledBatches,
        eval_strategy="steps" if held_out else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=held_out is not None,
        metric_for_best_model=f"eval_{metric}",
        greater_is_better=True,
        logging_steps=max(1, min(every, steps_of_epoch) // 10),
        dataloader_pin_memory=on_cuda,
        ddp_find_unused_parameters=False,  # with it, a body that reads several columns breaks on several devices
        report_to="none",
    )
    trainer = trainer_class(
        model=model,
        args=arguments,
        train_dataset=rows,
        loss=loss,
        evaluator=held_out,
        callbacks=[_Clock(run), *([_EveryEpoch()] if by_steps else [])],
    )
    checkpoint = run.last_checkpoint() if settings.resume else None
    logger.info(
        "%d rows, %d a step (%d a device, %d accumulated, %d devices), %s on %s%s",
        *(len(rows), effective_batch, settings.batch_size, settings.accumulate, world, precision, model.device),
        f", from {checkpoint.name}" if checkpoint else "",
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    state = trainer.state
    if run.is_main:
        write_json(run.folder / "history.json", state.log_history)
        draw_history(state.log_history, f"eval_{metric}", run.folder / "training.png")
    complete = state.global_step >= state.max_steps
    if not complete:
        logger.warning("The time budget ended training after %d of %d steps", state.global_step, state.max_steps)
    device = torch.cuda.get_device_name() if on_cuda else model.device.type
    return Fitted(state.global_step, complete, effective_batch, device, precision)


def finish(run: Run, model: Any, test: Correlations, before: dict[str, float], fitted: Fitted, about: About) -> Outcome:
    """Test the trained model, write it with its card, and upload it if asked to."""
    after = test(model)
    logger.info("After training: %s", after)
    folder = run.save_model(model)
    rows = {"train": len(about.data.train) - about.held_out, "held_out": about.held_out, "test": len(about.data.test)}
    outcome = Outcome(
        folder,
        before,
        after,
        round(run.seconds(), 1),
        **dataclasses.asdict(fitted),
        rows=rows,
        counts=about.data.counts,
    )
    if run.is_main:
        write_card(folder, about, run.settings, outcome)
        outcome.save(run.folder / "outcome.json")
    run.close(outcome)
    return outcome


class _ShuffledBatches(DefaultBatchSampler):
    """Batches in an order of seed and epoch alone: a resumed run sees what the uninterrupted one would have seen."""

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.sampler), generator=generator).tolist()  # type: ignore[arg-type]
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]


class _EveryEpoch(TrainerCallback):
    """Evaluates and keeps a checkpoint at each epoch's end, too, as sentence-transformers' ``fit`` does."""

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not control.should_training_stop:  # the last step was evaluated already
            control.should_evaluate = control.should_save = True


class _Clock(TrainerCallback):
    """Ends training when time is up or all steps are made, with a last evaluation and checkpoint; notes the time."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= state.max_steps or self._run.is_out_of_time():
            control.should_training_stop = True
            control.should_save = True
            control.should_evaluate = args.eval_strategy != "no"

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.log_history[-1]["seconds"] = round(self._run.seconds(), 1)
