r"""Pre-train a model of klue/roberta's kind from nothing: tokenizer, RoBERTa body, masked language modelling.

    python -m training.experiments.pretrain --data ../shared/data --output runs/pretrain \
        --layers 6 --hidden 256 --heads 4 --intermediate 1024 --vocab 16000 --start warm --max-minutes 55

The result, ``output/model``, is what the other recipes take as ``--base-model``. The defaults are klue/roberta-base's
sizes for a GPU. Steps: 1. read the texts; 2. learn the tokenizer; 3. turn the texts into blocks of tokens, once;
4. make the body, with ``--start`` from the packaged bi-encoder's vectors; 5. train; 6. write model, plot and card.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    RobertaForMaskedLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from langchain_klue_rerank.engine.text.words import clean
from training import data as sets
from training.experiments import klue_tokenizer
from training.experiments.masking import Blocks, MaskedModel, WordMasking, pack
from training.experiments.warm_start import Start, make_body
from training.folders import open_folder
from training.recipes import matching_start
from training.recipes.cards import draw_history
from training.recipes.runs import Outcome, write_json
from training.settings import SettingsError, parse, require_positive, to_dict

logger = logging.getLogger("training.experiments.pretrain")


@dataclass(frozen=True)
class Settings:
    """What can be chosen; the defaults are klue/roberta-base's sizes.

    Attributes:
        data: The data folder, or a text file of your own, whose lines are read in order.
        output: Where everything goes.
        layers: Transformer layers.
        hidden: Width.
        heads: Attention heads; must divide the width.
        intermediate: Width of the feed-forward part.
        vocab: Number of tokens.
        max_positions: Positions of the body; two fewer tokens can be read.
        max_length: Tokens in a block of training text.
        masking: Share of words to be guessed.
        start: Random numbers; token embeddings from the packaged bi-encoder's vectors (warm); or these and attention
            wired to find the same and similar tokens in the other one of two texts (matching), for a cross-encoder.
        raw_characters: At most so many characters of each raw text; none for all.
        sample: Only so many documents in all, for a trial; none for all.
        batch_size: Blocks in a step on one device.
        learning_rate: The highest, after warm-up, before it falls to nothing in a straight line.
        warmup: Share of the steps in which the learning rate rises.
        weight_decay: Of AdamW.
        steps: Steps in all; none for as many as fit into the minutes, or one pass over the texts without these; 0
            writes the model as it starts.
        max_minutes: Time for everything, preparation included; none for no limit. The number of steps is planned from
            a few measured ones and kept, so that a resumed run ends at the same step.
        checkpoint_steps: Steps between checkpoints; the held-out loss is measured ten times in all.
        seed: Of everything random.
        resume: Continue from the last checkpoint in the output folder.
    """

    data: Path = Path("../shared/data")
    output: Path = Path("runs/pretrain")
    layers: int = 12
    hidden: int = 768
    heads: int = 12
    intermediate: int = 3072
    vocab: int = 32_000
    max_positions: int = 514
    max_length: int = 128
    masking: float = 0.15
    start: Start = "random"
    raw_characters: int | None = None
    sample: int | None = None
    batch_size: int = 64
    learning_rate: float = 4e-4
    warmup: float = 0.06
    weight_decay: float = 0.01
    steps: int | None = None
    max_minutes: float | None = None
    checkpoint_steps: int = 500
    seed: int = 42
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        require_positive(self, "layers", "hidden", "heads", "intermediate", "vocab", "batch_size", "learning_rate")
        require_positive(self, "raw_characters", "sample", "max_minutes", "checkpoint_steps", "max_length")
        if self.steps is not None and self.steps < 0:
            raise ValueError(f"--steps {self.steps}: give 0 or more")
        if self.hidden % self.heads:
            raise ValueError(f"--hidden {self.hidden} cannot be divided among --heads {self.heads}")
        if self.max_length > self.max_positions - 2:
            raise ValueError(f"--max-length {self.max_length} needs --max-positions {self.max_length + 2} or more")
        if self.start == "matching":
            matching_start.check_shape(self.layers, self.hidden, self.heads)
        if not 0 < self.masking < 1:
            raise ValueError(f"--masking {self.masking}: give a share between 0 and 1")


def read_documents(settings: Settings) -> list[str]:
    """Step 1: all texts that may train, in random order; no row of a validation or test set.

    Raises:
        FileNotFoundError: If there is no such data, or the data folder lacks a file.
    """
    data, generator = settings.data, random.Random(settings.seed)
    if data.is_file():
        documents = list(_join(clean(data.read_text(encoding="utf-8")).splitlines(), 1500))
        generator.shuffle(documents)
        return documents[: settings.sample]
    documents = []
    for name in sets.RAW_TEXTS:
        lines = sets.read_raw(data, name)
        # Neighbouring lines belong together: paragraphs of a page, pages of a book. Reviews do no harm to each other.
        pieces = list(_join(lines, 1500))
        generator.shuffle(pieces)
        documents += _first_characters(pieces, settings.raw_characters)
    wiki = sets.read_mrc(data) + sets.read_squad(data / "tydiqa_ko" / "korean_tydiqa_train.json")
    documents += dict.fromkeys(pair.passage for pair in wiki)
    questions = list(dict.fromkeys(pair.query for pair in wiki))
    answers = [f"{pair.query}\n{pair.passage}" for pair, _ in sets.read_welfare(data)]
    answers += [f"{pair.query}\n{pair.passage}" for pair in sets.read_strategy(data)]
    sentences = [text for row in sets.read_klue_sts(data) + sets.read_kor_sts(data) for text in (row.first, row.second)]
    sentences += [text for row in sets.read_nli(data) for text in (row.anchor, row.positive, row.negative) if text]
    sentences += [text for pair in sets.read_paraphrases(data) for text in (pair.query, pair.passage)]
    short = list(dict.fromkeys(sentences)) + questions
    generator.shuffle(short)
    documents += [*answers, *short]
    generator.shuffle(documents)
    return [clean(text) for text in documents[: settings.sample]]


def _join(lines: Sequence[str], characters: int) -> Iterator[str]:
    piece = ""
    for line in lines:
        if len(piece) + len(line) > characters and piece:
            yield piece
            piece = ""
        piece = f"{piece}\n{line}" if piece else line
    if piece:
        yield piece


def _first_characters(texts: Sequence[str], limit: int | None) -> Iterator[str]:
    total = 0
    for text in texts:
        total += len(text)
        if limit is not None and total > limit:
            return
        yield text


def prepare(settings: Settings) -> tuple[PreTrainedTokenizerBase, NDArray[np.int32], NDArray[np.int32]]:
    """Steps 1 to 3, or what an earlier run left of them.

    Returns:
        The tokenizer, and the blocks to train and to measure on, (blocks, max_length) each.
    """
    folder, ready = settings.output / "tokenizer", settings.output / "blocks.npz"
    if not (settings.resume and ready.exists()):
        # 1. Read the texts.
        documents = read_documents(settings)
        # 2. Learn the tokenizer.
        tokenizer = klue_tokenizer.learn(documents, settings.vocab, settings.max_positions - 2)
        tokenizer.save_pretrained(folder)
        # 3. Blocks of tokens; every hundredth document is held out.
        held_out = max(1, len(documents) // 100)
        _write_blocks(
            ready,
            train=pack(documents[held_out:], tokenizer, settings.max_length),
            held_out=pack(documents[:held_out], tokenizer, settings.max_length),
        )
    with np.load(ready, allow_pickle=False) as blocks:
        train, held_out = blocks["train"], blocks["held_out"]
    if not len(train) or not len(held_out):
        raise ValueError("There is too little text for two blocks; give more (--sample) or a smaller --max-length.")
    return AutoTokenizer.from_pretrained(folder), train, held_out


def _write_blocks(path: Path, **blocks: NDArray[np.int32]) -> None:
    temporary = path.with_name("blocks.new.npz")
    np.savez(temporary, **blocks)
    os.replace(temporary, path)


def plan_steps(settings: Settings, model: MaskedModel, blocks: Blocks, collate: WordMasking, left: float) -> int:
    """Return how many steps to make: what was asked for, what fits into the time left (seconds), or one pass."""
    one_pass = max(1, len(blocks) // (settings.batch_size * int(os.environ.get("WORLD_SIZE", "1"))))
    if settings.steps is not None or settings.max_minutes is None:
        return one_pass if settings.steps is None else settings.steps
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trial = copy.deepcopy(model).to(device).train()
    optimizer = torch.optim.AdamW(trial.parameters(), lr=0.0)
    times = []
    for number in range(6):
        began = time.perf_counter()
        batch = collate([blocks[(number * settings.batch_size + i) % len(blocks)] for i in range(settings.batch_size)])
        trial(**{name: column.to(device) for name, column in batch.items()}).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    seconds = float(np.median(times[1:]))
    steps = max(1, int(0.93 * left / seconds))  # the rest is for evaluation and checkpoints
    logger.info("%.2f s a step: %d steps fit", seconds, steps)
    return steps


class Budget(TrainerCallback):
    """Ends training when the time is up, if the planned steps took longer than measured."""

    def __init__(self, ends: float | None) -> None:
        self._ends = ends

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Look at the clock."""
        if self._ends is not None and time.perf_counter() > self._ends:
            logger.warning("The time is up after %d of %d steps.", state.global_step, state.max_steps)
            control.should_training_stop = control.should_save = True


def train(settings: Settings) -> Outcome:
    """Run the recipe.

    Returns:
        Where the model is, and its held-out loss before and after.
    """
    began = time.perf_counter()
    ends = None if settings.max_minutes is None else began + 60 * settings.max_minutes
    open_folder(settings)
    outcome_file = settings.output / "outcome.json"
    if outcome_file.exists() and (done := Outcome.load(outcome_file)).complete:
        return done
    # 1. to 3. Texts, tokenizer, blocks.
    tokenizer, train_rows, held_out_rows = prepare(settings)
    logger.info("%d blocks to train on, %d held out", len(train_rows), len(held_out_rows))
    collate = WordMasking(tokenizer, settings.masking)
    hidden = collate.hide(torch.from_numpy(held_out_rows[:512]).long(), torch.Generator().manual_seed(settings.seed))
    train_set = Blocks({"input_ids": train_rows}, settings.seed)
    held_out = Blocks({name: column.numpy() for name, column in hidden.items()})
    # 4. The body.
    model = make_body(
        tokenizer,
        **{name: getattr(settings, name) for name in ("layers", "hidden", "heads", "intermediate", "max_positions")},
        start=settings.start,
        seed=settings.seed,
    )
    # 5. Train.
    plan_file = settings.output / "plan.json"
    if not (settings.resume and plan_file.exists()):
        shutil.rmtree(settings.output / "checkpoints", ignore_errors=True)
        left = 0.0 if ends is None else ends - time.perf_counter()
        plan = {"steps": plan_steps(settings, model, train_set, collate, left)}
        write_json(plan_file, plan)
    steps = json.loads(plan_file.read_text(encoding="utf-8"))["steps"]
    cuda = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(settings.output / "checkpoints"),
        max_steps=max(1, steps),
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=max(1, int(settings.warmup * steps)),
        weight_decay=settings.weight_decay,
        lr_scheduler_type="linear",
        adam_beta2=0.98,
        optim="adamw_torch_fused",
        bf16=cuda and torch.cuda.is_bf16_supported(including_emulation=False),
        fp16=cuda and not torch.cuda.is_bf16_supported(including_emulation=False),
        eval_strategy="steps",
        eval_steps=max(1, steps // 10),
        save_steps=settings.checkpoint_steps,
        save_total_limit=2,
        logging_steps=max(1, min(100, steps // 20)),
        prediction_loss_only=True,
        remove_unused_columns=False,
        seed=settings.seed,
        report_to=[],
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=collate,
        train_dataset=train_set,
        eval_dataset=held_out,
        callbacks=[Budget(ends)],
    )
    checkpoint = get_last_checkpoint(arguments.output_dir) if settings.resume else None
    before_file = settings.output / "before.json"
    if checkpoint is None:
        write_json(before_file, {"held-out loss": trainer.evaluate()["eval_loss"]})
    if steps:
        set_seed(settings.seed)  # the test before has drawn random numbers: the order of rows must not depend on it
        trainer.train(resume_from_checkpoint=checkpoint)
    # 6. Write model, plot and card.
    state = trainer.state
    outcome = Outcome(
        model=settings.output / "model",
        before=json.loads(before_file.read_text(encoding="utf-8")),
        after={"held-out loss": trainer.evaluate()["eval_loss"]},
        seconds=round(time.perf_counter() - began, 1),
        complete=state.global_step >= steps,
        steps=state.global_step,
        effective_batch=settings.batch_size * trainer.accelerator.num_processes,
        device=torch.cuda.get_device_name() if cuda else "cpu",
        precision="bfloat16" if arguments.bf16 else "float16" if arguments.fp16 else "float32",
    )
    if trainer.is_world_process_zero():
        write_model(trainer.accelerator.unwrap_model(trainer.model), tokenizer, outcome.model)
        write_card(settings, outcome, len(train_rows))
        draw_history(state.log_history, "eval_loss", settings.output / "training.png")
        outcome.save(outcome_file)
    return outcome


def write_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the body as a plain `RobertaForMaskedLM`, beside its tokenizer; complete or not at all."""
    temporary = folder.with_name(folder.name + ".new")
    shutil.rmtree(temporary, ignore_errors=True)
    plain = RobertaForMaskedLM(model.config)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def write_card(settings: Settings, outcome: Outcome, blocks: int) -> None:
    """Write the model's README."""
    loss = "held-out loss"
    seen = outcome.steps * outcome.effective_batch * settings.max_length
    lines = [
        "---",
        "language: ko",
        "license: cc-by-sa-4.0",
        "library_name: transformers",
        "pipeline_tag: fill-mask",
        "---",
        "# A Korean language model of klue/roberta's kind",
        "",
        "Made from nothing with `python -m training.experiments.pretrain`: RoBERTa body, KLUE-style WordPiece "
        "tokenizer, masked language modelling of whole words. A base for the other recipes, not a model to be "
        "used as it is.",
        "",
        f"- Text: {blocks * settings.max_length:,} tokens; seen in training: {seen:,}, in {outcome.steps:,} steps.",
        f"- Held-out loss: {outcome.before[loss]:.3f} before, {outcome.after[loss]:.3f} after.",
        f"- {outcome.precision} on {outcome.device}, {outcome.seconds / 60:.0f} minutes.",
        "- Data: training rows of KLUE (MRC, STS, NLI), KorSTS and TyDi QA, paraKQC, sae4k and other open sets, and "
        "raw text under CC BY, CC BY-SA, CC0, KOGL type 1, Apache-2.0 and MIT. No validation or test row.",
        "- The tokenizer numbers the second text of a pair 1, the body knows type 0 only, as with klue/roberta: load "
        "it for pairs with `model_input_names=['input_ids', 'attention_mask']`.",
        "",
        "| setting | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in to_dict(settings).items()),
    ]
    (outcome.model / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        outcome = train(parse(Settings, argv))
    except (SettingsError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    logger.info("%s: held-out loss %s -> %s", outcome.model, outcome.before, outcome.after)


if __name__ == "__main__":
    main()
