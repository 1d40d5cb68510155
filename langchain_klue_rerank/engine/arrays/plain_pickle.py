"""Reading the values of a pickle without unpickling it.

A pickle is a program: for Python's own reader it calls functions, builds values that crash the interpreter when they
are hashed, compared or printed, and asks for memory by the gigabyte. Here its binary instructions are read one by one,
and only those that build plain values and instances of known classes are carried out; an instance is a record of its
fields. Time and memory are bounded by the file's size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from typing import Any, Final

#: Instructions and values that any file may have, and how many more for each byte.
_FREE, _OF_A_BYTE = 1 << 20, 0.25
#: Most values and characters of what was read, written out with every shared value repeated, for each read one.
_REPEATS: Final = 64
#: Deepest nesting of values.
_DEPTH: Final = 64
#: Longest whole number, in bytes.
_LONG: Final = 32
#: Keys that are whole numbers may not be larger: numbers that collide on purpose make a dictionary slow.
_LARGEST_KEY: Final = 1 << 40

_SCALARS: Final = (str, int, float, bool, type(None), bytes)


class PickleError(ValueError):
    """A pickle is damaged, too large for its size, or holds what is not read; the message says what."""


class RefusedError(PickleError):
    """A pickle names a function or a class that is not among the known ones."""


class Record:
    """An instance of a known class.

    Attributes:
        kind: What `read_plain_pickle` was told that its class is.
        fields: Its fields.
    """

    __slots__ = ("fields", "kind")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.fields: dict[Any, Any] = {}


class _Class:
    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


_MARK = object()


def read_plain_pickle(content: bytes, classes: dict[tuple[str, str], str]) -> Any:
    """Read a pickle of protocol 2 or newer.

    Args:
        content: The pickle.
        classes: Module and name of each known class, and the kind that its records get.

    Returns:
        Strings, bytes, numbers, None, lists, tuples, sets, dictionaries and records, nested no deeper than 64. Values
        may be shared, but written out they are not many times as long as the file.

    Raises:
        RefusedError: If it names anything else.
        PickleError: If it is damaged or has instructions that plain values do not need.
    """
    value = _Reader(content, classes).read()
    _check_extent(value, len(content))
    return value


class _Reader:
    def __init__(self, content: bytes, classes: dict[tuple[str, str], str]) -> None:
        self._content = content
        self._classes = classes
        self._place = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._left = int(_FREE + _OF_A_BYTE * len(content))

    def read(self) -> Any:
        content, instructions = self._content, _INSTRUCTIONS
        try:
            while True:
                code = content[self._place]
                self._place += 1
                if code == 0x2E:  # STOP
                    return self._pop()
                self._left -= 1
                if self._left < 0:
                    raise PickleError("it has too many instructions for its size")
                instruction = instructions.get(code)
                if instruction is None:
                    raise PickleError(f"plain values need no instruction {bytes([code])!r}")
                instruction(self)
        except PickleError:
            raise
        except (IndexError, KeyError, ValueError, struct.error) as error:
            raise PickleError(f"it is damaged near byte {self._place}") from error

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        if not 0 <= size <= len(self._content) - self._place:
            raise PickleError("it ends too early")
        self._place += size
        return self._content[self._place - size : self._place]

    def number(self, form: struct.Struct) -> Any:
        """Return the next number."""
        return form.unpack(self.take(form.size))[0]

    def line(self) -> str:
        """Return the text until the end of the line."""
        end = self._content.index(b"\n", self._place, self._place + 1000)
        text = self.take(end - self._place).decode()
        self._place += 1
        return text

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise PickleError("its values do not fit together")
        return value

    def pops(self, count: int) -> tuple[Any, ...]:
        """Take values from the stack, the lowest first."""
        return tuple([self._pop() for _ in range(count)][::-1])

    def to_mark(self) -> list[Any]:
        """Take the values down to the last mark."""
        values = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        values.reverse()
        return values

    def top(self, kind: type) -> Any:
        """Return what lies on the stack, of a certain type."""
        value = self._stack[-1]
        if type(value) is not kind:
            raise PickleError(f"it has a {type(value).__name__} in the place of a {kind.__name__}")
        return value

    def remember(self, number: int) -> None:
        """Keep what lies on the stack under a number."""
        self._memo[number] = self._stack[-1]

    def recall(self, number: int) -> None:
        """Put a kept value on the stack."""
        self._stack.append(self._memo[number])

    def memoize(self) -> None:
        """Keep what lies on the stack under the next number."""
        self._memo[len(self._memo)] = self._stack[-1]

    def find(self, module: Any, name: Any) -> None:
        """Put a known class on the stack."""
        kind = self._classes.get((module, name)) if type(module) is type(name) is str else None
        if kind is None:
            raise RefusedError(f"{str(module)[:100]}.{str(name)[:100]}" if type(module) is str else "no name")
        self._stack.append(_Class(kind))

    def make(self) -> None:
        """Make a record of a class and no arguments."""
        known, arguments = self.pops(2)
        if type(known) is not _Class or type(arguments) is not tuple or arguments:
            raise PickleError("it makes an object in an unusual way")
        self._stack.append(Record(known.kind))

    def build(self) -> None:
        """Give a record its fields."""
        state = self._pop()
        record = self.top(Record)
        if type(state) is not dict:
            raise PickleError("an object of it has no fields")
        if record.fields:
            raise PickleError("an object of it gets its fields twice")
        record.fields = state

    def set_items(self, items: Collection[Any]) -> None:
        """Put keys and values into the dictionary on the stack."""
        table = self.top(dict)
        pairs = iter(items)
        for key, value in zip(pairs, pairs, strict=True) if len(items) % 2 == 0 else [_odd()]:
            table[_key(key)] = value

    def add_items(self, items: Collection[Any]) -> None:
        """Put values into the set on the stack."""
        self.top(set).update(map(_key, items))

    def append(self, items: Collection[Any]) -> None:
        """Put values into the list on the stack."""
        self.top(list).extend(items)

    def whole(self, size: int) -> None:
        """Put a whole number of some bytes on the stack."""
        if size > _LONG:
            raise PickleError(f"it has a whole number of {size} bytes")
        self._stack.append(int.from_bytes(self.take(size), "little", signed=True))


def _odd() -> tuple[Any, Any]:
    raise PickleError("a dictionary of it has a key without a value")


def _key(value: Any) -> Any:
    """Return a value that can be a key without harm: tuples can be nested until hashing them crashes."""
    if type(value) is int and abs(value) > _LARGEST_KEY:
        raise PickleError("a key of it is a very large number")
    if type(value) not in _SCALARS:
        raise PickleError(f"a key of it is a {type(value).__name__}")
    return value


_U1, _U2, _U4, _U8, _I4, _F8 = (struct.Struct(form) for form in ("<B", "<H", "<I", "<Q", "<i", ">d"))


def _text(size: struct.Struct) -> Callable[[_Reader], None]:
    return lambda reader: reader.push(str(reader.take(reader.number(size)), "utf-8", "surrogatepass"))


def _bytes(size: struct.Struct) -> Callable[[_Reader], None]:
    return lambda reader: reader.push(reader.take(reader.number(size)))


def _constant(value: Any) -> Callable[[_Reader], None]:
    return lambda reader: reader.push(value)


def _number(form: struct.Struct) -> Callable[[_Reader], None]:
    return lambda reader: reader.push(reader.number(form))


def _global(reader: _Reader) -> None:
    module = reader.line()
    reader.find(module, reader.line())


def _persistent(_: _Reader) -> None:
    raise RefusedError("an object from elsewhere")


def _call(reader: _Reader) -> None:
    raise RefusedError("a function to be called")


_INSTRUCTIONS: Final[dict[int, Callable[[_Reader], Any]]] = {
    0x80: lambda reader: reader.take(1),  # PROTO
    0x95: lambda reader: reader.take(8),  # FRAME
    ord("("): _constant(_MARK),
    ord("0"): lambda reader: reader.pops(1),
    ord("1"): lambda reader: reader.to_mark(),
    ord("N"): _constant(None),
    0x88: _constant(True),
    0x89: _constant(False),
    ord("J"): _number(_I4),
    ord("K"): _number(_U1),
    ord("M"): _number(_U2),
    0x8A: lambda reader: reader.whole(reader.number(_U1)),  # LONG1
    0x8B: lambda reader: reader.whole(reader.number(_I4)),  # LONG4
    ord("G"): _number(_F8),
    0x8C: _text(_U1),
    ord("X"): _text(_U4),
    0x8D: _text(_U8),
    ord("C"): _bytes(_U1),
    ord("B"): _bytes(_U4),
    0x8E: _bytes(_U8),
    ord(")"): _constant(()),
    0x85: lambda reader: reader.push(reader.pops(1)),
    0x86: lambda reader: reader.push(reader.pops(2)),
    0x87: lambda reader: reader.push(reader.pops(3)),
    ord("t"): lambda reader: reader.push(tuple(reader.to_mark())),
    ord("]"): lambda reader: reader.push([]),
    ord("a"): lambda reader: reader.append(reader.pops(1)),
    ord("e"): lambda reader: reader.append(reader.to_mark()),
    ord("}"): lambda reader: reader.push({}),
    ord("s"): lambda reader: reader.set_items(reader.pops(2)),
    ord("u"): lambda reader: reader.set_items(reader.to_mark()),
    0x8F: lambda reader: reader.push(set()),
    0x90: lambda reader: reader.add_items(reader.to_mark()),
    0x91: lambda reader: reader.push(frozenset(map(_key, reader.to_mark()))),
    0x94: lambda reader: reader.memoize(),
    ord("q"): lambda reader: reader.remember(reader.number(_U1)),
    ord("r"): lambda reader: reader.remember(reader.number(_U4)),
    ord("h"): lambda reader: reader.recall(reader.number(_U1)),
    ord("j"): lambda reader: reader.recall(reader.number(_U4)),
    ord("c"): _global,
    0x93: lambda reader: reader.find(*reader.pops(2)),  # STACK_GLOBAL
    0x81: lambda reader: reader.make(),  # NEWOBJ
    ord("b"): lambda reader: reader.build(),
    ord("R"): _call,
    ord("P"): _persistent,
    ord("Q"): _persistent,
}


def _check_extent(value: Any, size: int) -> None:
    """Check that values are not nested too deep, nor shared so often that writing them out never ends.

    Raises:
        PickleError: If they are.
    """
    extents: dict[int, tuple[int, int]] = {}
    most = _FREE + _REPEATS * size

    def extent(value: Any, depth: int) -> tuple[int, int]:
        """Return how long a value is written out, and how deep."""
        if type(value) in _SCALARS:
            return 1 + (len(value) if type(value) in (str, bytes) else 0), 0
        total, height = extents.get(id(value), (0, 0))
        if depth + height > _DEPTH:
            raise PickleError(f"its values are nested deeper than {_DEPTH}, or contain themselves")
        if total:
            return total, height
        if type(value) is dict:
            parts = [*value.keys(), *value.values()]
        elif type(value) is Record:
            parts = [value.fields]
        elif type(value) in (list, tuple, set, frozenset):
            parts = list(value)
        else:
            raise PickleError("it holds a class in the place of a value")
        total, height = 1, 0
        for part in parts:
            of_part, below = extent(part, depth + 1)
            total, height = total + of_part, max(height, below + 1)
        if total > most:
            raise PickleError("its values are shared so often that they have no end")
        extents[id(value)] = total, height
        return total, height

    extent(value, 0)
