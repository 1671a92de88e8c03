"""Check that a device computes what the CPU does, on a few tokens, in float32 there.

A broken GPU, or one that some kernel does not fit, may answer quickly and wrongly.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from app.gpt2 import sampling
from app.gpt2.config import Config
from app.gpt2.paged import Logits
from app.gpt2.sampling import Draw
from app.gpt2.torch_backend.network import TorchModel

N_TOKENS = 40  # more than a page
# Of |logits - the CPU's| / |the CPU's|, each row minus its mean: several times what rounding does,
# and far below the 1.4 of unrelated logits.
TOLERANCE = {"float32": 1e-3, "float16": 0.02, "bfloat16": 0.1}

NARROW = [Draw(7, 0, temperature=0), Draw(7, 1, 1.5, top_k=40, top_p=0.9, min_p=0.01)]
WIDE = [Draw(7, 2), Draw(7, 3, 1.5, top_p=0.9), Draw(7, 4, top_k=100), Draw(7, 5, min_p=0.01)]


class WrongAnswer(RuntimeError):
    """How the device's answer differs from the CPU's, in one sentence."""


class Sample(NamedTuple):
    """Some tokens, and the CPU's logits for them."""

    ids: list[int]
    logits: np.ndarray  # [N, V] float32


def cpu_sample(config: Config, weights: Mapping[str, np.ndarray]) -> Sample:
    n = min(N_TOKENS, config.n_positions)
    ids = np.random.default_rng(0).integers(0, config.vocab_size, n).tolist()
    logits, _ = TorchModel(config, weights).forward(torch.tensor([ids]))
    return Sample(ids, logits[0].numpy())


def compare(
    turn: Logits, draws: Sequence[Draw | None], expected: np.ndarray, precision: str
) -> None:
    """Raise WrongAnswer unless logits are as expected, and draws match the CPU's."""
    logits = np.stack([turn.logits[row] for row in range(len(expected))])
    distance = how_far(logits, expected)
    if not distance <= TOLERANCE[precision]:  # nan is not
        raise WrongAnswer(
            f"its logits in {precision} are {distance:.2g} from the CPU's; up to "
            f"{TOLERANCE[precision]:g} is rounding."
        )
    rows = [row for row, draw in enumerate(draws) if draw is not None]
    there = Logits(logits[rows], turn.top_ids[rows], turn.top_scores[rows])
    ids = sampling.choose(there, [draw for draw in draws if draw is not None])
    if turn.drawn is None or (turn.drawn[rows] != ids).any():
        raise WrongAnswer("it draws other tokens than the CPU from the same logits.")


def how_far(logits: np.ndarray, expected: np.ndarray) -> float:
    """The greatest relative distance of a row [V] from the expected one."""
    centered = logits - logits.mean(axis=1, keepdims=True)
    right = expected - expected.mean(axis=1, keepdims=True)
    distances = np.linalg.norm(centered - right, axis=1) / np.linalg.norm(right, axis=1)
    return float(distances.max())
