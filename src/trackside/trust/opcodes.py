"""Which globals a pickle imports, by walking its opcodes; nothing is loaded.

The walk follows texts, numbers, tuples and dictionaries through stack and memo as `pickle` does, since names of globals
may be put together there, and since joblib writes arrays as raw bytes between opcodes. All else is opaque. A name that
is not a text known here is a global that nobody trusts.
"""

from __future__ import annotations

import math
import pickletools
import re
from dataclasses import dataclass, field
from typing import IO, Any

from trackside.trust.trusted import Global

COMPUTED = Global("", "")
_WRAPPER = Global("joblib.numpy_pickle", "NumpyArrayWrapper")
_DTYPE = Global("numpy", "dtype")
_PADDING = 0x20
"""Bytes before an array are no more: no opcode is so small, so that plain `pickle` ends there instead of reading on."""
_TEXTS = frozenset({
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING",
})  # fmt: skip
_CALLS = frozenset({"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST", "BUILD"})
_NUMBERS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"})
_LENIENT = re.compile(
    rb"(?P<number>[ILF])?(?:(?(number)|[pg])[ \t\v\f\r]*[+-]?"
    rb"(?:(?:\.?\d|(?i:nan|inf))[0-9a-foxA-FOX_.+-]*[ \t\v\f\r]*L?)?(?:\0|\n|\Z)"
    rb"|S(?P<quote>['\"])[^\n]*(?P=quote)\s*\n)"
)
"""What pickletools cannot decode and pickle's C code can: hexadecimal numbers, a NUL for the end, other encodings."""
_LINE = 1 << 16
_EFFECTS = {one.name: (len(one.stack_before), len(one.stack_after)) for one in pickletools.opcodes}


class Ended(Exception):
    """Loading would fail here: nothing after this is run."""


class Unclear(Exception):
    """The walk cannot follow the file, though loading may go on. The message says why."""


@dataclass
class Made:
    """An object: what was called or instantiated with which arguments, and its state."""

    of: Any
    args: Any = None
    state: Any = None


@dataclass
class Walk:
    """One pickle. `names` are its globals, `called` whether anything but an import may have been run; in `strict` mode
    loading ends where `pickle` would fail for certain.
    """

    file: IO[bytes]
    strict: bool
    names: set[Global] = field(default_factory=set)
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    called: bool = False

    def run(self) -> None:
        """Up to STOP, behind which the file is left.

        Raises:
            Ended: the stream does not decode, or (strict) takes what is not there.
            Unclear: joblib's raw bytes cannot be told apart from opcodes, or loaders read an opcode differently.
        """
        opcodes = pickletools.genops(self.file)
        while True:
            at = self.file.tell()
            try:
                opcode, argument, _ = next(opcodes)
            except StopIteration:
                return
            except (ValueError, UnicodeError, OverflowError, MemoryError) as error:
                self.file.seek(at)
                if not self._leniently(at):
                    raise Ended(str(error)) from error
                opcodes = pickletools.genops(self.file)
                continue
            self._step(opcode.name, argument)
            self.called = self.called or opcode.name in _CALLS

    def _step(self, name: str, argument: Any) -> None:
        if name in _TEXTS or name in _NUMBERS:
            self.stack.append(argument)
        elif name in ("GLOBAL", "INST"):
            module, _, attribute = str(argument).partition(" ")
            if name == "INST":
                self._to_mark()
            self._import(Global(module, attribute))
        elif name == "STACK_GLOBAL":
            attribute, module = self._pop(), self._pop()
            known = isinstance(module, str) and isinstance(attribute, str)
            self._import(Global(module, attribute) if known else COMPUTED)
        elif name in ("EXT1", "EXT2", "EXT4"):
            self._import(Global("copyreg extension", str(argument)))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[int(argument)] = self._top()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self._top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if int(argument) not in self.memo and self.strict:
                raise Ended(f"nothing is stored as {argument}")
            self.stack.append(self.memo.get(int(argument)))
        elif not self._containers(name):
            self._objects(name)

    def _leniently(self, at: int) -> bool:
        """Take an opcode that pickletools cannot read and some loader can; False where none can."""
        data = self.file.read(_LINE)
        self.file.seek(at)
        if beyond := _beyond_ascii(data):
            self._import(Global(*beyond))
        elif not (found := _LENIENT.match(data)):
            return False
        elif self.strict and found["number"]:
            self.stack.append(None)
        else:
            raise Unclear("a number or text that not every loader reads alike")
        return all(self.file.readline().endswith(b"\n") for _ in range(2 if beyond else 1))

    def _import(self, found: Global) -> None:
        self.names.add(found)
        self.stack.append(found)

    def _containers(self, name: str) -> bool:
        """Marks, tuples and dictionaries; False for any other opcode."""
        if name == "MARK":
            self.marks.append(len(self.stack))
        elif name == "POP" and self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        elif name == "POP_MARK":
            self._to_mark()
        elif name == "DUP":
            self.stack.append(self._top())
        elif name in ("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            size = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}[name]
            self.stack.append(tuple([self._pop() for _ in range(size)][::-1]))
        elif name == "TUPLE":
            self.stack.append(tuple(self._to_mark()))
        elif name == "EMPTY_DICT":
            self.stack.append({})
        elif name == "DICT":
            self.stack.append(_pairs(self._to_mark()))
        elif name == "SETITEM":
            value, key = self._pop(), self._pop()
            self._fill([key, value])
        elif name in ("SETITEMS", "APPENDS", "ADDITEMS"):
            items = self._to_mark()
            if name == "SETITEMS":
                self._fill(items)
        else:
            return False
        return True

    def _objects(self, name: str) -> None:
        """Calls and states; an opcode without meaning here takes and leaves its fixed number of opaque values."""
        if name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
            if name == "NEWOBJ_EX":
                self._pop()
            args, of = self._pop(), self._pop()
            if not isinstance(of, Global):  # an object with `__call__` may call what has no name here
                self.names.add(COMPUTED)
            self.stack.append(Made(of, args))
        elif name == "OBJ":
            items = self._to_mark()
            if not items or not isinstance(items[0], Global):
                self.names.add(COMPUTED)
            self.stack.append(Made(items[0] if items else None))
        elif name in ("NONE", "NEWTRUE", "NEWFALSE"):
            self.stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
        elif name in ("LIST", "FROZENSET"):
            self._to_mark()
            self.stack.append(None)
        elif name == "BUILD":
            state, top = self._pop(), self._top()
            if isinstance(top, Global):
                raise Unclear("a class that is changed")
            if isinstance(top, Made):
                top.state = state
            if _WRAPPER in self.names:
                self._maybe_array(top, state)
        else:
            before, after = _EFFECTS[name]
            for _ in range(before):
                self._pop()
            self.stack.extend([None] * after)

    def _top(self) -> Any:
        if not self.stack:
            self._nothing()
            return None
        return self.stack[-1]

    def _pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            self._nothing()
        return self.stack.pop() if self.stack else None

    def _nothing(self) -> None:
        if self.strict:
            raise Ended("the stack is empty")

    def _to_mark(self) -> list[Any]:
        if not self.marks:
            self._nothing()
        start = self.marks.pop() if self.marks else 0
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _fill(self, items: list[Any]) -> None:
        top = self._top()
        if isinstance(top, dict):
            top.update(_pairs(items))

    def _maybe_array(self, top: Any, state: Any) -> None:
        if not isinstance(top, Made) or not isinstance(top.of, Global):
            raise Unclear("an object of unknown type beside arrays of joblib")
        plain = isinstance(state, dict) or (isinstance(state, tuple) and len(state) != 2)
        if not plain and not _random(top):
            raise Unclear("a state beside arrays of joblib that may set any attribute, as the class")
        if top.of == _WRAPPER or (isinstance(top.args, tuple) and _WRAPPER in top.args):
            self._array(state)

    def _array(self, state: Any) -> None:
        """Leave joblib's raw bytes of an array behind, or walk the pickle of one of objects."""
        if not isinstance(state, dict):
            raise Unclear("an array of joblib without a description")
        item, shape = _dtype(state.get("dtype")), state.get("shape")
        if item is None or not isinstance(shape, tuple) or not all(isinstance(one, int) and one >= 0 for one in shape):
            raise Unclear("an array of joblib whose size is not written plainly")
        if item == 0:
            nested = Walk(self.file, strict=False)
            try:
                nested.run()
            finally:
                self.names |= nested.names
            return
        if not isinstance(state.get("numpy_array_alignment_bytes"), int):
            raise Unclear("an array of a joblib older than 1.1: load and dump it again with a newer one")
        padding = self.file.read(1)
        if not padding or padding[0] > _PADDING:
            raise Unclear("an array of joblib with bytes before it that could be opcodes")
        size = padding[0] + item * math.prod(shape)
        while size > 0:
            if not (read := self.file.read(min(size, 1 << 24))):
                raise Ended("an array ends early")
            size -= len(read)


def _beyond_ascii(data: bytes) -> tuple[str, str] | None:
    """Module and name of the opcode GLOBAL in UTF-8, of which pickletools knows ASCII alone."""
    lines = data[1:].split(b"\n", 2)
    if data[:1] != b"c" or len(lines) < 3:
        return None
    try:
        return lines[0].decode(), lines[1].decode()
    except UnicodeDecodeError:
        return None


def _random(made: Made) -> bool:
    """A generator of numpy, whose state is a pair, or such a class made by its constructor."""
    args = made.args if isinstance(made.args, tuple) else ()
    parts = [made.of, *(one for one in args if not isinstance(one, str | int))]
    return all(isinstance(one, Global) and one.module.startswith("numpy.random.") for one in parts)


def _pairs(items: list[Any]) -> dict[str, Any]:
    """What has a text as its key."""
    return {key: value for key, value in zip(items[::2], items[1::2], strict=False) if isinstance(key, str)}


_ITEM = re.compile(r"[<>=|]?([biufcmMSUVO])(\d*)")
_REFERENCES = 0x01
"""numpy's flag of items that are Python objects, which joblib writes as a pickle instead of raw bytes."""


def item_bytes(code: Any) -> int | None:
    """Bytes of an item by numpy's code of its type, 0 for objects; None for what is not written as numpy writes it."""
    found = _ITEM.fullmatch(code) if isinstance(code, str) else None
    if found is None or (found[1] != "O" and int(found[2] or 0) == 0):
        return None
    return 0 if found[1] == "O" else int(found[2]) * (4 if found[1] == "U" else 1)


def _dtype(made: Any) -> int | None:
    """Bytes of an item, 0 for objects; None for what is not written as numpy writes it."""
    if not isinstance(made, Made) or made.of != _DTYPE or not isinstance(made.args, tuple) or not made.args:
        return None
    state, size = made.state, item_bytes(made.args[0])
    if size is None or (state is not None and (not isinstance(state, tuple) or len(state) < 8)):
        return None
    if size == 0 or state is None:
        return size
    names, fields, length, flags = state[3], state[4], state[5], state[7]
    if not isinstance(flags, int) or flags & _REFERENCES or length not in (-1, size):
        return None
    if names is None and fields is None:
        return size
    if "V" not in made.args[0] or not isinstance(fields, dict):
        return None
    plain = all(isinstance(one, tuple) and one and _dtype(one[0]) for one in fields.values())
    return size if plain else None
