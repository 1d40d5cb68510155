"""An extension for griffe: pydantic models get the signature that they are called with, retrievers their `invoke`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

_ARGUMENT = re.compile(r"^ {4}(\w+): ", re.MULTILINE)
_INVOKE = """Return the documents that answer a question best, the best first.

Args:
    input: The question.
    config: LangChain's: callbacks, tags, names of runs.
    **kwargs: In place of the field of that name, for this call, or `filter`: metadata that a document must have, or a
        function of a Document.
"""
#: Classes of other packages that are pydantic models.
_MODELS = {"BaseModel", "BaseRetriever", "BaseDocumentCompressor"}
#: What `invoke` takes beside the question, by class; the fields' own types, but None for the field's value.
_INVOKED_WITH = {
    "KlueRetriever": ("k", "fetch_k", "score_threshold", "search_type", "filter"),
    "KlueBM25Retriever": ("k", "filter"),
}


class Signatures(griffe.Extension):
    """Adds ``__init__``, ``invoke`` and ``ainvoke``, which pydantic and LangChain define at run time."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Add them to the classes of a package."""
        for cls in list(_classes(pkg)):
            names = _described(cls)
            if not names or not _MODELS & _bases(cls):
                continue
            cls.set_member("__init__", _function(cls, "__init__", [_of_field(cls, name) for name in names]))
            if cls.name in _INVOKED_WITH:
                for name in ("invoke", "ainvoke"):
                    cls.set_member(name, _invoke(cls, name))


def _classes(module: griffe.Module) -> Iterator[griffe.Class]:
    for member in module.members.values():
        if member.is_alias:
            continue
        if isinstance(member, griffe.Class):
            yield member
        elif isinstance(member, griffe.Module):
            yield from _classes(member)


def _bases(cls: griffe.Class) -> set[str]:
    """Return the names of all classes that a class is made of, those of other packages too."""
    return {str(base).split(".")[-1] for each in [cls, *cls.mro()] for base in each.bases}


def _described(cls: griffe.Class) -> list[str]:
    """Return the arguments that the docstring of a class describes."""
    if cls.docstring is None or "\nArgs:\n" not in cls.docstring.value:
        return []
    described = cls.docstring.value.split("\nArgs:\n")[1].split("\n\n")[0]
    return [str(name) for name in _ARGUMENT.findall(described)]


def _fields(cls: griffe.Class) -> dict[str, griffe.Attribute]:
    """Return fields by the name that the class is called with."""
    fields = {}
    for each in [*reversed(cls.mro()), cls]:
        for name, member in each.members.items():
            if isinstance(member, griffe.Attribute) and not member.is_alias:
                fields[_keyword(member, "alias", name)] = member
    return fields


def _keyword(field: griffe.Attribute, keyword: str, default: str) -> str:
    match = re.search(rf"\b{keyword}=([^,()]+)", str(field.value or ""))
    return match[1].strip("\"'") if match and keyword == "alias" else match[1] if match else default


def _of_field(cls: griffe.Class, name: str) -> griffe.Parameter:
    field = _fields(cls)[name]
    value = str(field.value) if field.value is not None else None
    default = value
    if value is not None and value.startswith("Field("):
        factory = _keyword(field, "default_factory", "")
        default = f"{factory}()" if factory else _keyword(field, "default", "") or None
    return griffe.Parameter(name, annotation=field.annotation, kind=griffe.ParameterKind.keyword_only, default=default)


def _invoke(cls: griffe.Class, name: str) -> griffe.Function:
    fields = _fields(cls)
    kind = griffe.ParameterKind
    parameters = [
        griffe.Parameter("input", annotation="str", kind=kind.positional_or_keyword),
        griffe.Parameter("config", annotation="RunnableConfig | None", kind=kind.positional_or_keyword, default="None"),
    ]
    for each in _INVOKED_WITH[cls.name]:
        annotation = "Filter" if each == "filter" else str(fields[each].annotation)
        annotation += "" if annotation.endswith("None") else " | None"
        parameters.append(griffe.Parameter(each, annotation=annotation, kind=kind.keyword_only, default="None"))
    function = _function(cls, name, parameters)
    function.returns = "list[Document]"
    function.labels = {"async"} if name == "ainvoke" else set()
    text = _INVOKE if name == "invoke" else "Do what `invoke` does, without blocking the event loop."
    function.docstring = griffe.Docstring(text, parent=function)
    return function


def _function(cls: griffe.Class, name: str, parameters: list[griffe.Parameter]) -> griffe.Function:
    this = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    return griffe.Function(name, parameters=griffe.Parameters(this, *parameters), parent=cls, lineno=cls.lineno)
