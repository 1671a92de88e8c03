"""How long `gpt2.load` takes and how much memory it holds, on files of the published shapes.

Each is opened in a fresh process and every page of it touched; memory is the peak of what the
process holds (VmHWM), mapped files included, less what it held before.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

SHAPES = {"124M": (768, 12), "1558M": (1600, 48)}
FORMATS = ("model.safetensors", "pytorch_model.bin", "legacy.bin")

OPEN = """
import json, sys, time
from pathlib import Path

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

import numpy, tokenizers
if sys.argv[1].endswith(".bin"):
    import torch
from app import gpt2
before, start = peak(), time.perf_counter()
opened = gpt2.load(sys.argv[1])
seconds = time.perf_counter() - start
size = 0
for array in opened.weights.values():
    size += array.nbytes
    array.reshape(-1)[::1024].sum()  # a number of every page of 4 KB
print(json.dumps({"seconds": seconds, "held": peak() - before, "size": size}))
"""


def write(path: Path, width: int, layers: int) -> None:
    import torch
    from safetensors.torch import save_file

    from app.gpt2 import Config

    shapes = Config(n_embd=width, n_layer=layers, n_head=width // 64, n_inner=4 * width).shapes()
    state = {name: torch.rand(shape) for name, shape in shapes.items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=path.stem != "legacy")


def main() -> None:
    print("| model | file | GB | seconds | memory held / weights |\n|---|---|--:|--:|--:|")
    for model, (width, layers) in SHAPES.items():
        for name in FORMATS:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / name
                write(path, width, layers)
                done = subprocess.run(
                    [sys.executable, "-c", OPEN, path], check=True, capture_output=True
                )
            said = json.loads(done.stdout)
            print(
                f"| {model} | {name} | {said['size'] / 1e9:.2f} | {said['seconds']:.2f} "
                f"| {said['held'] / said['size']:.2f} |",
                flush=True,
            )
