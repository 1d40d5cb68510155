r"""The tutorial's stages at full size in ten minutes of a rented GPU that reaches no network.

    python -m training.experiments.rented_gpu pack --base-model runs/base --data ../shared/data --output runs/packed
    python -m training.experiments.rented_gpu train --packed runs/packed --output OUT --minutes 9      # on the GPU
    python -m training.experiments.rented_gpu unpack --packed OUT/mrc.zip --output runs/mrc

What travels is small (`LARGEST` either way): the two data sets and one base model, its weights as bytes with a scale
for each row; back come the report, every figure, and the two models that search needs. The cross-encoder starts from
every second layer of the same base. The stages' steps are planned so that all fits into the minutes; when these are
over nevertheless, the run ends and what is finished comes back.
"""

from __future__ import annotations

import argparse
import io
import logging
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

logger = logging.getLogger("training.experiments.rented_gpu")

#: Bytes of what is sent, and of what comes back.
LARGEST = 64 * 2**20
_WEIGHTS = "model.safetensors"
_SETS = {"klue_sts": ("train.csv", "validation.csv"), "klue_mrc": ("train.jsonl", "validation.jsonl", "test.jsonl")}
#: Share of the minutes that the run plans with.
_PLANNED = 0.9
#: Seconds that are kept for packing what comes back.
_RESERVE = 30


def pack_model(folder: Path, file: Path) -> None:
    """Write a model's folder as one zip file, its matrices as bytes with a scale for each row.

    Args:
        folder: A model with ``model.safetensors``.
        file: The zip file to write.
    """
    from safetensors.numpy import load_file

    arrays: dict[str, Any] = {}
    for name, value in load_file(folder / _WEIGHTS).items():
        if value.ndim == 2 and value.dtype == np.float32:
            scales = np.maximum(np.abs(value).max(axis=1, keepdims=True), 1e-12) / 127
            arrays[f"bytes/{name}"] = np.rint(value / scales).astype(np.int8)
            arrays[f"scales/{name}"] = scales.astype(np.float32)
        else:
            arrays[f"plain/{name}"] = value
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("weights.npz", buffer.getvalue())
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != _WEIGHTS:
                packed.write(path, path.relative_to(folder).as_posix())


def unpack_model(file: Path, folder: Path) -> None:
    """Write the model's folder that `pack_model` has packed."""
    from safetensors.numpy import save_file

    with zipfile.ZipFile(file) as packed:
        packed.extractall(folder)
    tensors = {}
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
        for key in arrays.files:
            kind, _, name = key.partition("/")
            if kind == "bytes":
                tensors[name] = arrays[key].astype(np.float32) * arrays[f"scales/{name}"]
            elif kind == "plain":
                tensors[name] = arrays[key]
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    (folder / "weights.npz").unlink()


def pack(base_model: Path, data: Path, output: Path) -> None:
    """Pack the base model and the data sets.

    Raises:
        SystemExit: If they are larger than what may travel.
    """
    output.mkdir(parents=True, exist_ok=True)
    pack_model(base_model, output / "base.zip")
    with zipfile.ZipFile(output / "data.zip", "w", zipfile.ZIP_LZMA) as packed:
        for name, files in _SETS.items():
            for file in files:
                packed.write(data / name / file, f"{name}/{file}")
    _check_size(output)


def train(packed: Path, output: Path, minutes: float, others: Sequence[str] = ()) -> int:
    """Run the reproduction on what was packed, and pack what came of it, however far it came.

    Args:
        packed: Folder of `pack`.
        output: Folder that comes back.
        minutes: Time for everything.
        others: Further options of `training.reproduce`.

    Returns:
        Its exit status; -1 if the time ended it.
    """
    from training.recipes.base import cut_folder

    output.mkdir(parents=True, exist_ok=True)
    work = output.with_name(output.name + ".work")
    unpack_model(packed / "base.zip", work / "base")
    cut_folder(work / "base", work / "base6", 6)
    with zipfile.ZipFile(packed / "data.zip") as data:
        data.extractall(work / "data")
    models = ["--base-model", str(work / "base"), "--reranker-base", str(work / "base6")]
    command = [sys.executable, "-m", "training.reproduce", "--protocol", "tutorial", "--data", str(work / "data")]
    command += [*models, "--learning-rate", "5e-5", "--precision", "bf16", *others]
    command += ["--output", str(work / "run"), "--resume", "--max-minutes", str(minutes * _PLANNED)]
    try:
        with (output / "log.txt").open("wb") as log:
            status = subprocess.run(command, stdout=log, stderr=log, timeout=60 * minutes - _RESERVE).returncode
    except subprocess.TimeoutExpired:
        logger.warning("The %g minutes are over; what is finished comes back", minutes)
        status = -1
    collect(work / "run", output)
    return status


def collect(run: Path, output: Path) -> None:
    """Copy report and figures, and pack the models that search needs."""
    for path in sorted(run.glob("*/*.json")) + sorted(run.glob("*.json")):
        target = output / path.relative_to(run)
        if path.name != "wrong_passages.json":  # texts, and large
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    if (run / "report").is_dir():
        shutil.copytree(run / "report", output / "report", dirs_exist_ok=True)
    for stage in ("mrc", "cross_encoder"):
        if (run / stage / "model" / _WEIGHTS).exists():
            pack_model(run / stage / "model", output / f"{stage}.zip")
    _check_size(output)


def _check_size(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    logger.info("%s: %.1f MiB", folder, size / 2**20)
    if size > LARGEST:
        raise SystemExit(f"{folder} has {size / 2**20:.0f} MiB, more than {LARGEST / 2**20:.0f} may travel")


def main(argv: Sequence[str] | None = None) -> None:
    """Pack, train or unpack."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("pack", "train", "unpack"))
    parser.add_argument("--base-model", type=Path, help="pack: folder of the base model")
    parser.add_argument("--data", type=Path, help="pack: the data folder")
    parser.add_argument("--packed", type=Path, help="train: the packed folder; unpack: a packed model")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0, help="train: time for everything")
    chosen, others = parser.parse_known_args(argv)
    needed = {"pack": ("base_model", "data"), "train": ("packed",), "unpack": ("packed",)}[chosen.step]
    for name in needed:
        if getattr(chosen, name) is None:
            parser.error(f"{chosen.step} needs --{name.replace('_', '-')}")
    if others and chosen.step != "train":
        parser.error(f"unknown: {' '.join(others)}")
    if chosen.step == "pack":
        pack(chosen.base_model, chosen.data, chosen.output)
    elif chosen.step == "unpack":
        unpack_model(chosen.packed, chosen.output)
    else:
        sys.exit(train(chosen.packed, chosen.output, chosen.minutes, others))


if __name__ == "__main__":
    main()
