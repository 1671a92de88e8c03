"""Draw in C what sampling.py would draw, from any backend's logits: see draws.h."""

import ctypes
from pathlib import Path

import numpy as np

from app.gpt2.native import library
from app.gpt2.native.build import BuildError
from app.gpt2.native.library import DRAW
from app.gpt2.sampling import LEAST_TEMPERATURE, Draw, key_of

NEVER = 2.0  # a threshold that no probability reaches
NOT_HERE = DRAW.pack(0, 1.0, 1.0, 0.0, 1.0, NEVER, 0, 0)  # a token that the kernel does not draw


def pack(draw: Draw) -> bytes:
    return DRAW.pack(
        key_of(draw),
        max(draw.temperature, LEAST_TEMPERATURE),
        draw.top_p,
        draw.min_p,
        draw.typical_p,
        draw.xtc_threshold if draw.drops_top else NEVER,
        draw.top_k if draw.temperature > 0 else 1,
        1,
    )


class Drawer:
    def __init__(self, kernel: ctypes.CDLL, n_tokens: int) -> None:
        self._draw = kernel.native_draw
        self._n_tokens = n_tokens
        self._scratch = np.empty(2 * (n_tokens + 16), np.int64)

    def __call__(
        self,
        draw: Draw,
        logits: np.ndarray,
        top_ids: np.ndarray,
        top_scores: np.ndarray,
        ids: np.ndarray,
        scores: np.ndarray,
    ) -> int:
        """Draw by logits [V] whose likeliest are top_ids [K]; -1 if sampling.py must draw instead.

        `ids` [N], all different, have these `scores` [N] instead of their logits.
        """
        assert logits.shape == (self._n_tokens,) and logits.flags.writeable
        assert len(ids) == len(scores)
        floats = [logits, top_scores, scores]
        logits, top_scores, scores = (np.ascontiguousarray(a, np.float32) for a in floats)
        top_ids, ids = (np.ascontiguousarray(a, np.int32) for a in (top_ids, ids))
        return self._draw(
            pack(draw),
            *(logits.ctypes.data, len(logits)),
            *(top_ids.ctypes.data, top_scores.ctypes.data, len(top_ids)),
            *(ids.ctypes.data, scores.ctypes.data, len(ids)),
            self._scratch.ctypes.data,
        )


def open_drawer(n_tokens: int, folder: Path | None = None) -> Drawer | None:
    """For logits of another backend; None if the kernel can be neither found nor built."""
    try:
        return Drawer(library.load(folder), n_tokens)
    except BuildError:
        return None
