"""Settings of a recipe: what wins over what, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from training import settings as room


@dataclass(frozen=True, kw_only=True)
class Common:
    """What several recipes have.

    Attributes:
        data: Where the data lies,
            in a folder.
        rate: How fast to learn.
    """

    data: Path
    rate: float = 0.5

    def __post_init__(self) -> None:
        room.require_positive(self, "rate")


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """What one recipe has.

    Attributes:
        loss: What to minimise.
    """

    batch_size: int = 16
    loss: Literal["mean", "sum"] = "mean"
    resume: bool = False
    minutes: float | None = None
    widths: tuple[int, ...] = (8, 4)
    name: str = "모델"


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("data: texts\nbatch-size: 32\nminutes: 5\nresume: true\n", encoding="utf-8")
    found = room.parse(Settings, ["--settings", str(file), "--batch-size", "64", "--no-resume"])
    assert found == Settings(data=Path("texts"), batch_size=64, minutes=5.0, resume=False)


def test_every_type_has_a_flag() -> None:
    flags = "--data d --rate 1e-3 --loss sum --resume --minutes none --widths 1 2 3 --name a"
    expected = Settings(data=Path("d"), rate=0.001, loss="sum", resume=True, widths=(1, 2, 3), name="a")
    assert room.parse(Settings, flags.split()) == expected


def test_saved_settings_can_be_read_again(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, minutes=None, widths=(3,), name="한국어: 'yes'")
    room.save(settings, tmp_path / "run" / "settings.yaml")
    assert room.parse(Settings, ["--settings", str(tmp_path / "run" / "settings.yaml")]) == settings
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["settings.yaml"]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("data: d\nbatchsize: 3", ["'batchsize'", "did you mean 'batch_size'"]),
        ("data: d\nbatch_size: many", ["--batch-size", "'many'", "valid integer"]),
        ("data: d\nbatch_size: 1.5", ["--batch-size", "valid integer"]),
        ("data: d\nresume: maybe", ["--resume", "'maybe'", "valid boolean"]),
        ("data: d\nloss: max", ["--loss", "'mean' or 'sum'"]),
        ("data: d\nwidths: 3", ["--widths", "valid tuple"]),
        ("data: d\nrate: 0", ["--rate", "above 0"]),
        ("rate: 1", ["--data must be given"]),
        ("- data", ["expected lines such as"]),
        ("data: [", ["not a YAML file"]),
    ],
)
def test_a_wrong_file_ends_with_one_line_that_names_the_key(
    content: str, parts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        room.parse(Settings, ["--settings", str(file)])
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert message.count("\n") == 1
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--settings", "missing.yaml"], "no such file"),
        (["--data", "d", "--batch-size", "x"], "--batch-size 'x'"),
        (["--data", "d", "--rate", "nan"], "--rate nan"),
        (["--data", "d", "--bach-size", "3"], "--bach-size"),
        (["--data", "d", "--batch", "3"], "--batch"),
    ],
)
def test_a_wrong_flag_ends_with_exit_code_2(flags: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        room.parse(Settings, flags)
    assert end.value.code == 2
    assert part in capsys.readouterr().err


def test_help_comes_from_the_docstrings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        room.parse(Settings, ["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Where the data lies, in a folder" in text
    assert "What to minimise (default: mean)" in text
