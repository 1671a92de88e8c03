"""Saves checkpoint after checkpoint; before each thing that a save does to the disk it says what,

and waits for an answer: there a test kills it.
"""

import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from app.training.run import checkpoint

TOUCHES = ("open", "os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir")


def main(run: Path, pipe: Connection) -> None:
    run.mkdir(parents=True, exist_ok=True)
    newest, _ = checkpoint.newest(run)
    step = int(newest.name[-8:]) if newest else 0

    def touched(event: str, args: tuple) -> None:  # Python calls this before it does it
        if event in TOUCHES and str(run) in str(args[0]):
            pipe.send(f"{event} {os.path.basename(str(args[0]))}")
            pipe.recv()

    sys.addaudithook(touched)
    while True:
        step += 1
        weights = {"w": torch.full((50_000,), float(step))}
        state = {"step": step, "best_step": step}
        checkpoint.save(run, weights, {"moment": weights["w"]}, state, keep=99)
