"""Loops over arrays as machine code: made by numba once per machine, kept on disk, loaded in milliseconds.

Takes a plain Python function over arrays, whole numbers and named tuples of both that returns nothing; gives
one that runs compiled. numba takes one and a half seconds and 70 MB to start, in every worker; what it makes is
ordinary object code, which LLVM's own loader (llvmlite, numba's other half) loads without it. Kept code is found by
a hash of the machine, the types of the arguments, the source of the function's module and of its helpers' modules, and
the values of the constants that they name.
"""

import ctypes
import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

_helpers: set[Callable[..., Any]] = set()
_registered: set[Callable[..., Any]] = set()  # the helpers that numba knows
_loaded: list[Any] = []  # what holds the code; it lives as long as the process


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that compiled functions, and other helpers, may call by its name, from any module."""
    _helpers.add(function)
    return function


class Compiled:
    """A function whose calls run as machine code, without the interpreter's lock.

    Code is made for the types of the arguments, when they are first passed. Globals are compiled in as constants: plain
    numbers only, named as globals (`NAME`, not `module.NAME`); arrays and tables must come as arguments.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._entries: dict[tuple[Any, ...], Callable[..., int]] = {}
        self.__doc__ = function.__doc__

    def __call__(self, *arguments: Any) -> None:
        types: list[Any] = []
        words: list[int] = []
        for argument in arguments:
            _flatten(argument, types, words)
        key = tuple(types)
        entry = self._entries.get(key) or self._entry(key, len(words), arguments)
        # numba's convention: where the result and where an exception go, then the flat arguments; 0 is success.
        nothing, raised = ctypes.c_void_p(), ctypes.c_void_p()
        if status := entry(ctypes.addressof(nothing), ctypes.addressof(raised), *words):
            raise RuntimeError(f"{self._function.__name__}: compiled code ended with {status}")

    def _entry(self, key: tuple[Any, ...], words: int, arguments: tuple[Any, ...]) -> Callable[..., int]:
        stored, source = f"{self._function.__module__}.{self._function.__name__}", self._function.__code__.co_filename
        sources, constants = _compiled_in(self._function)
        digest = hashlib.sha256(repr((_machine(), key, constants)).encode())
        for path in sources:
            digest.update(path.read_bytes())
        name = f"{stored}-{digest.hexdigest()[:16]}.o"
        for place in _places(Path(source)):
            try:
                symbol, _, code = (place / name).read_bytes().partition(b"\n")
                break
            except OSError:
                continue
        else:
            symbol, code = _compile(self._function, arguments)
            _keep(_places(Path(source)), name, symbol + b"\n" + code)
        made = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_int64] * (words + 2))(_load(symbol.decode(), code))
        self._entries[key] = made
        return made


def _flatten(argument: Any, types: list[Any], words: list[int]) -> None:
    """Adds an argument as numba passes it: an array as owner, parent, items, item size, address, shape, strides."""
    if isinstance(argument, np.ndarray):
        if not argument.flags.c_contiguous:
            raise TypeError("compiled code takes contiguous arrays: pass np.ascontiguousarray(values)")
        types.append((argument.dtype.str, argument.ndim, argument.flags.writeable))
        address = argument.__array_interface__["data"][0]
        words += (0, 0, argument.size, argument.itemsize, address, *argument.shape, *argument.strides)
    elif isinstance(argument, tuple):
        types.append((type(argument).__name__, getattr(argument, "_fields", ())))
        for part in argument:
            _flatten(part, types, words)
    else:
        types.append("int")
        words.append(int(argument))


def _compiled_in(function: Callable[..., None]) -> tuple[list[Path], list[tuple[str, str]]]:
    """(source files, names and values of the numbers) that the code of a function and of all its helpers comes from."""
    functions: list[Callable[..., Any]] = [function]
    constants: dict[str, str] = {}
    for each in functions:  # grows on the way
        for name in each.__code__.co_names:
            value = each.__globals__.get(name)
            if isinstance(value, FunctionType) and value in _helpers and value not in functions:
                functions.append(value)
            elif isinstance(value, int | float | np.generic):
                constants[f"{each.__module__}.{name}"] = f"{type(value).__name__} {value}"
    files = {each.__module__: Path(each.__code__.co_filename) for each in functions}
    return [files[module] for module in sorted(files)], sorted(constants.items())


@cache
def _machine() -> tuple[str, ...]:
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features().flatten()
    return version("numba"), version("llvmlite"), sys.platform, llvm.get_host_cpu_name(), features


def _places(source: Path) -> tuple[Path, ...]:
    """Where code may be kept: beside its source, else in the user's cache."""
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 (never raises)
    return source.parent / "__pycache__", Path(user) / "xmodel"


def _keep(places: tuple[Path, ...], name: str, content: bytes) -> None:
    """Where nothing is writable, every process compiles for itself."""
    for place in places:
        aside = place / f"{name}.{os.getpid()}"
        try:
            place.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(content)
            aside.replace(place / name)
            return
        except OSError:
            with suppress(OSError):
                aside.unlink()  # half a file, where the disk is full


def _compile(function: Callable[..., None], arguments: tuple[Any, ...]) -> tuple[bytes, bytes]:
    """(name of its entry, object code). Takes seconds."""
    import numba
    from numba.extending import register_jitable

    for each in _helpers - _registered:
        register_jitable(each)
        _registered.add(each)
    compiler: Any = numba.njit  # its stub does not know all of its options
    signature = numba.void(*[numba.typeof(argument) for argument in arguments])
    made = compiler(signature, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    (result,) = made.overloads.values()
    return result.fndesc.llvm_func_name.encode(), result.library._get_compiled_object()


def _load(symbol: str, code: bytes) -> int:
    """The address of the entry."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # The one name that numba leaves open: it frees arrays that numba owns, and here the caller owns them all.
    llvm.add_symbol("NRT_MemInfo_call_dtor", ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value)
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _loaded.append(engine)
    return engine.get_function_address(symbol)
