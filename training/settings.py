"""Settings of a recipe: a frozen dataclass whose values come from its defaults, then a YAML file, then flags.

A recipe writes one dataclass and describes its fields under ``Attributes:`` of the docstring. That is all: the
flags, their help and the YAML file follow from it; pydantic checks the values.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import inspect
import re
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from training.files import write_text

T = TypeVar("T")
_NONE = ("none", "null")


class SettingsError(ValueError):
    """A setting that is unknown, of the wrong type or impossible; the message names it and the remedy."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with one line instead of pages of usage."""
        self.exit(2, f"{self.prog}: error: {message} (--help lists all settings)\n")


def parse(cls: type[T], argv: Sequence[str] | None = None) -> T:
    """Return settings: defaults, replaced by those of a YAML file, replaced by flags.

    Every field becomes a flag: ``batch_size: int = 16`` is ``--batch-size 16``, ``resume: bool = False`` is
    ``--resume`` or ``--no-resume``, a tuple takes several values, an optional field takes ``none``. ``--settings FILE``
    names the YAML file. On a wrong setting the program ends with exit code 2 and one line that names it.

    Args:
        cls: A dataclass; its fields may be bool, int, float, str, Path, Literal, optional ones and tuples of these. Its
            ``__post_init__`` may raise `ValueError` for impossible values.
        argv: Flags; None for those of the command line.
    """
    parser = _parser(cls)
    given = vars(parser.parse_args(argv))
    file = given.pop("settings", None)
    try:
        values = _known(cls, read_yaml(Path(file)), file) if file is not None else {}
        values |= {name: None if value in _NONE else value for name, value in given.items()}
        missing = [_flag(name) for name in _required(cls) if name not in values]
        if missing:
            raise SettingsError(f"{' and '.join(missing)} must be given, as a flag or in the file of --settings")
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:  # a ValueError, but of several lines
        parser.error("; ".join(map(_describe, error.errors())))
    except (SettingsError, OSError) as error:
        parser.error(str(error))


def save(settings: Any, path: Path) -> None:
    """Write settings as a YAML file that ``--settings`` reads; complete or not at all."""
    write_text(path, yaml.safe_dump(to_dict(settings), allow_unicode=True, sort_keys=False))


def to_dict(settings: Any) -> dict[str, Any]:
    """Return settings as plain values: paths as strings, tuples as lists."""
    return {field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings, as it is.

    Raises:
        SettingsError: If there is none, or it holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"--settings {path}: there is no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"--settings {path} is not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict | None):
        raise SettingsError(f"--settings {path}: expected lines such as 'batch_size: 16'")
    return content or {}


def require_positive(settings: Any, *names: str) -> None:
    """Raise a `SettingsError` if one of these fields is not above zero; None is accepted."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value > 0:
            raise SettingsError(f"{_flag(name)} {value}: give a number above 0")


# From a dataclass to flags ------------------------------------------------------------------------------------------


def _parser(cls: type) -> _Parser:
    module = sys.modules[cls.__module__]
    parser = _Parser(
        prog=f"python -m {module.__spec__.name}" if module.__spec__ else None,
        description=inspect.getdoc(module),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--settings", metavar="FILE", help="YAML file of settings; flags go before it")
    texts = _descriptions(cls)
    for field in dataclasses.fields(cls):
        kind = typing.get_type_hints(cls)[field.name]
        text = texts.get(field.name, "").rstrip(".").replace("%", "%%")
        if field.name not in _required(cls):
            default = field.default_factory() if callable(field.default_factory) else field.default
            text += f" (default: {str(_plain(default)).replace('%', '%%')})"
        options: dict[str, Any] = {"help": text, "dest": field.name}
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif typing.get_origin(kind) is tuple:
            options |= {"nargs": "*", "metavar": "VALUE"}
        else:
            choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
            options["metavar"] = "{" + ",".join(map(str, choices)) + "}" if choices else "VALUE"
        parser.add_argument(_flag(field.name), **options)
    return parser


def _descriptions(cls: type) -> dict[str, str]:
    """Return what the docstrings say about each field, those of base classes first."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, section = inspect.cleandoc(base.__doc__ or "").partition("\nAttributes:\n")
        section = re.split(r"\n(?=\S)", section)[0]
        for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE):
            found[name] = " ".join(text.split()).replace("`", "")
    return found


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _required(cls: type) -> list[str]:
    missing = dataclasses.MISSING
    fields = dataclasses.fields(cls)
    return [field.name for field in fields if field.default is missing and field.default_factory is missing]


# From a file and from errors ----------------------------------------------------------------------------------------


def _known(cls: type, content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a file's settings by the names of fields; a `SettingsError` names the one that is unknown."""
    names = [field.name for field in dataclasses.fields(cls)]
    values = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
            raise SettingsError(f"{str(key)!r} in {path} is no setting; {remedy}")
        values[name] = value
    return values


def _describe(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    return f"{_flag(str(error['loc'][0]))} {error['input']!r}: {message}" if error["loc"] else message


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
