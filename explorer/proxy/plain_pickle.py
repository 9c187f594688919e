"""What a pickle of plain data and NumPy arrays holds, read without unpickling: nothing is imported, nothing is called.

A pickle is a program for a small stack machine. Here its instructions are only listed, by `pickletools.genops`, and the
few that data needs are followed. A function that is named stays a name and its call a `Called`; any name that NumPy
does not need for an array of bytes ends the reading, and so does any other instruction.
"""

from __future__ import annotations

import pickletools
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.document import short

MOST = 2_000_000  # instructions, ten times those of the largest published file: bounds the time and the memory
LONGEST = 1000  # characters of a text

NAMES = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy._core.multiarray", "_reconstruct"): "array",
    ("numpy.core.numeric", "_frombuffer"): "buffer",
    ("numpy._core.numeric", "_frombuffer"): "buffer",
    ("_codecs", "encode"): "encode",  # how protocol 2 spells bytes
}
VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True, eq=False)
class Name:
    """A function or class that the pickle names, by what NAMES makes of it."""

    what: str


@dataclass(eq=False)
class Called:
    """A call that the pickle asks for and nobody makes, and the state that its result was to be given."""

    name: Name
    arguments: tuple[object, ...]
    state: object = None


def read_plain(content: bytes) -> object:
    """What the pickle holds: dicts with text as keys, lists, tuples, numbers, texts, bytes, and Called for an array.

    A text of Python 2 is bytes. `text` and `byte_array` read what may be spelt in several ways.

    Raises:
        ValueError: it is torn, is no pickle, or holds anything that data does not need.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pickletools' own, of a backslash in a name
        return _read(content)


def _read(content: bytes) -> object:
    stack: list[object] = []
    below: list[list[object]] = []  # the stacks under each mark
    memo: dict[int | None, object] = {}
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count == MOST:
                raise ValueError(f"more than {MOST:,} instructions")
            name = opcode.name
            if name in VALUES:
                stack.append(argument)
            elif name in CONSTANTS:
                stack.append(CONSTANTS[name])
            elif name in ("BINPUT", "LONG_BINPUT"):
                memo[argument] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name in ("BINSTRING", "SHORT_BINSTRING"):
                stack.append(str(argument).encode("latin-1"))  # the bytes again that genops made characters of
            elif name == "MARK":
                below.append(stack)
                stack = []
            elif name in ("TUPLE", "APPENDS", "SETITEMS"):
                items, stack = stack, below.pop()
                _gather(name, stack, items)
            elif name in ("APPEND", "SETITEM"):
                _gather(name + "S", stack, _popped(stack, 1 if name == "APPEND" else 2))
            elif name in TUPLES:
                stack.append(tuple(_popped(stack, TUPLES[name])))
            elif name == "EMPTY_TUPLE":
                stack.append(())
            elif name == "EMPTY_LIST":
                stack.append([])
            elif name == "EMPTY_DICT":
                stack.append({})
            elif name == "GLOBAL":
                module, _, function = str(argument).partition(" ")
                stack.append(_named(module, function))
            elif name == "STACK_GLOBAL":
                stack.append(_named(*_popped(stack, 2)))
            elif name in ("REDUCE", "BUILD"):
                _call(name, stack, *_popped(stack, 2))
            elif name not in ("PROTO", "FRAME", "STOP"):
                raise ValueError(f"the instruction {name}, which data does not need")
    except (IndexError, KeyError):
        raise ValueError("its instructions do not fit together") from None
    if len(stack) != 1 or below:
        raise ValueError("its instructions do not fit together")
    return stack[0]


def text(value: object) -> str:
    """A text in any of its spellings: str, Python 2's bytes, or bytes in protocol 2.

    Raises:
        ValueError: it is none, or a very long one.
    """
    match value:
        case Called(Name("encode"), (str() as found, "latin1")) | (str() as found):
            pass
        case bytes() if len(value) <= LONGEST:
            found = value.decode("latin-1")
        case _:
            raise ValueError("no text where one has to be")
    if len(found) > LONGEST:
        raise ValueError(f"a text of more than {LONGEST:,} characters")
    return found


def byte_array(value: object) -> NDArray[np.uint8]:
    """An array of bytes in any of NumPy's spellings; read-only.

    Raises:
        ValueError: it is no array, or one of other numbers, or its size is not that of its shape.
    """
    match value:
        case Called(Name("array"), (Name("ndarray"), *_), (_, tuple() as shape, dtype, bool() as fortran, content)):
            pass
        case Called(Name("buffer"), (content, dtype, tuple() as shape, str() as order)):
            fortran = order == "F"
        case _:
            raise ValueError("no array where one has to be")
    match dtype:
        case Called(Name("dtype"), ("u1" | b"u1", *_)):
            pass
        case _:
            raise ValueError("an array of other numbers than bytes")
    match content:
        case bytes() | bytearray():
            flat = np.frombuffer(content, np.uint8)
        case Called(Name("encode"), (str() as characters, "latin1")):
            flat = np.frombuffer(characters.encode("latin-1"), np.uint8)
        case _:
            raise ValueError("an array without its bytes")
    sizes = [size for size in shape if isinstance(size, int) and 0 < size <= flat.size]
    if len(sizes) != len(shape) or np.prod(sizes, dtype=object) != flat.size:
        raise ValueError(f"an array of {flat.size:,} bytes that do not fill its shape")
    return flat.reshape(sizes, order="F" if fortran else "C")


def _popped(stack: list[object], count: int) -> list[object]:
    if len(stack) < count:
        raise IndexError
    items = stack[-count:]
    del stack[-count:]
    return items


def _gather(name: str, stack: list[object], items: list[object]) -> None:
    if name == "TUPLE":
        stack.append(tuple(items))
        return
    match name, stack[-1]:
        case "APPENDS", list() as row:
            row.extend(items)
        case "SETITEMS", dict() as table if len(items) % 2 == 0:
            table.update({text(key): value for key, value in zip(items[::2], items[1::2], strict=True)})
        case _:
            raise IndexError


def _named(module: object, function: object) -> Name:
    if not (isinstance(module, str) and isinstance(function, str)):
        raise IndexError
    if (module, function) not in NAMES:
        raise ValueError(f"a call of {short(f'{module[:60]}.{function[:60]}')}, which data does not need")
    return Name(NAMES[module, function])


def _call(name: str, stack: list[object], target: object, given: object) -> None:
    match name, target, given:
        case "REDUCE", Name(), tuple():
            stack.append(Called(target, given))
        case "BUILD", Called(state=None), tuple():
            target.state = given
            stack.append(target)
        case _:
            raise IndexError
