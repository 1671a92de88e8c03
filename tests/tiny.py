"""A tiny random GPT-2 as a Hugging Face folder, for tests: `python -m tests.tiny FOLDER`."""

import sys
from pathlib import Path

import numpy as np

from app import gpt2
from app.gpt2 import Config, Tokenizer

TINY = Config(n_positions=128, n_embd=64, n_layer=2, n_head=4, n_inner=256)


def random_weights(config: Config, seed: int = 0, spread: float = 0.2) -> dict[str, np.ndarray]:
    """Normal noise, layer norms near 1: wide enough that logits differ and greedy has no ties."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in config.shapes().items():
        weights[name] = rng.normal(0, spread, shape).astype(np.float32)
        if ".ln_" in f".{name}" and name.endswith("weight"):
            weights[name] += 1
    return weights


def make_tiny(folder: Path, config: Config = TINY, format: str = "safetensors") -> Path:
    gpt2.save(folder, config, random_weights(config), Tokenizer.gpt2(), format=format)
    return folder


if __name__ == "__main__":
    make_tiny(Path(sys.argv[1]))
