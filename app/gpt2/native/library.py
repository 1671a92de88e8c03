"""The built kernel in this process, and the C structures it is given: see kernel.c and matrix.h."""

import ctypes
import functools
import logging
import os
import struct
import tempfile
from ctypes import (
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_float,
    c_int32,
    c_int64,
    c_void_p,
)
from pathlib import Path

from app.gpt2.native.build import BUILT, BuildError, build, find, runnable

log = logging.getLogger(__name__)


class Matrix(Structure):
    _fields_ = [
        ("weights", c_void_p),
        ("bias", c_void_p),
        ("scales", c_void_p),
        ("sums", c_void_p),
        ("inverses", c_void_p),
        ("greatest", c_void_p),
        ("kind", c_int32),
        ("n_in", c_int32),
        ("n_out", c_int32),
    ]


class Layer(Structure):
    _fields_ = [
        ("ln_1_weight", c_void_p),
        ("ln_1_bias", c_void_p),
        ("ln_2_weight", c_void_p),
        ("ln_2_bias", c_void_p),
        ("attention", Matrix),
        ("projection", Matrix),
        ("widening", Matrix),
        ("narrowing", Matrix),
        ("cache", c_void_p),
        ("scale", c_float),
    ]


class Network(Structure):
    _fields_ = [
        ("n_layer", c_int32),
        ("n_head", c_int32),
        ("n_embd", c_int32),
        ("n_inner", c_int32),
        ("n_vocab", c_int32),
        ("n_positions", c_int32),
        ("n_candidates", c_int32),
        ("n_threads", c_int32),
        ("int8_cache", c_int32),
        ("epsilon", c_float),
        ("positions", c_void_p),
        ("ln_f_weight", c_void_p),
        ("ln_f_bias", c_void_p),
        ("layers", POINTER(Layer)),
        ("head", Matrix),
    ]


class Turn(Structure):
    _fields_ = [
        ("n_rows", c_int32),
        ("n_tokens", c_int32),
        ("n_wanted", c_int32),
        ("n_pages", c_int32),
        ("ids", c_void_p),
        ("pasts", c_void_p),
        ("begins", c_void_p),
        ("pages", c_void_p),
        ("page_begins", c_void_p),
        ("wanted", c_void_p),
        ("draws", c_void_p),
        ("logits", c_void_p),
        ("top_ids", c_void_p),
        ("top_scores", c_void_p),
        ("drawn", c_void_p),
    ]


# draws.h's `draw`: key, temperature, top_p, min_p, typical_p, xtc_threshold, top_k, is_here.
DRAW = struct.Struct("@Qdddddii")


def load(folder: Path | None = None) -> ctypes.CDLL:
    """The library for the processor's best instruction set, built into `folder` if need be."""
    reason = "no instruction set was tried"
    for isa in runnable():
        try:
            return load_for(isa, folder)
        except BuildError as error:
            reason = str(error)
            log.info("%s", reason)
    raise BuildError(reason)


@functools.cache
def load_for(isa: str, folder: Path | None = None) -> ctypes.CDLL:
    places = [BUILT] if folder is None else [BUILT, folder]
    found = find(isa, places)
    if found is not None:
        try:
            return open_library(found, isa)
        except OSError as error:
            log.warning("%s does not load and is built again: %s.", found, error)
    return open_library(_build(isa, places[-1]), isa)


def _build(isa: str, folder: Path) -> Path:
    try:
        return build(isa, folder)
    except OSError as error:
        log.warning("The kernel cannot be kept in %s: %s.", folder, error.strerror)
        return build(isa, Path(tempfile.mkdtemp(prefix="continuo-")))


def open_library(file: Path, isa: str) -> ctypes.CDLL:
    """Load a library built from this source; OSError if it cannot be loaded."""
    library = ctypes.CDLL(os.fspath(file))
    library.native_isa.restype = c_char_p
    library.native_open.restype = c_void_p
    library.native_open.argtypes = [POINTER(Network)]
    library.native_close.restype = None
    library.native_close.argtypes = [c_void_p]
    library.native_forward.restype = c_char_p
    library.native_forward.argtypes = [c_void_p, POINTER(Turn)]
    library.native_record_bytes.restype = c_int64
    library.native_record_bytes.argtypes = [c_bool, c_int32]
    library.native_draw.argtypes = [
        c_char_p, c_void_p, c_int32, c_void_p, c_void_p, c_int32, c_void_p, c_void_p, c_int32,
        c_void_p,
    ]  # fmt: skip
    sizes = (c_int32 * 5)()
    library.native_sizes(sizes)
    mirrored = [ctypes.sizeof(kind) for kind in (Network, Turn, Layer, Matrix)] + [DRAW.size]
    assert list(sizes) == mirrored, f"kernel.c has {list(sizes)} bytes, library.py {mirrored}"
    assert library.native_isa().decode() == isa, f"{file} is for {library.native_isa().decode()}"
    return library
