"""One side of the comparison, in a process of its own; prints its speed and memory as JSON."""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from app.training.corpus import split
from app.training.corpus.tokens import TokenFile, TokenWriter

WARM = 0.25  # share of the steps that are not counted
Ends = list[tuple[int, float]]  # (steps done, seconds)


def text_of_ids(vocabulary: int, count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, vocabulary, count)


def trainer(shape: tuple, precision: str, home: Path) -> tuple[Ends, None]:
    """When each step of transformers' Trainer ended; it plans no memory."""
    from torch.utils.data import Dataset
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    layers, width, heads, vocabulary, rows, length, steps = shape
    ids = torch.from_numpy(text_of_ids(vocabulary, rows * steps * length)).view(-1, length)

    class Rows(Dataset):
        def __len__(self):
            return len(ids)

        def __getitem__(self, n):
            return {"input_ids": ids[n], "labels": ids[n]}

    ends: Ends = []

    class Clock(TrainerCallback):
        def on_step_end(self, arguments, state, control, **others):
            ends.append((state.global_step, time.perf_counter()))

    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=length,
            n_embd=width,
            n_layer=layers,
            n_head=heads,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
            use_cache=False,
            bos_token_id=0,
            eos_token_id=0,
        )  # fmt: skip
    )
    arguments = TrainingArguments(
        output_dir=str(home), per_device_train_batch_size=rows, max_steps=steps,
        optim="adamw_torch_fused", bf16=precision == "bfloat16", report_to="none",
        disable_tqdm=True, save_strategy="no", logging_steps=10_000, use_cpu=True,
        dataloader_num_workers=0,
    )  # fmt: skip
    Trainer(model, arguments, train_dataset=Rows(), callbacks=[Clock()]).train()
    return ends, None


class Vocabulary:
    """Ids without words: all that the loop asks of a tokenizer."""

    specials = {"<|endoftext|>": 0}

    def __init__(self, n_tokens: int) -> None:
        self.n_tokens = n_tokens

    def encode(self, text: str) -> list[int]:
        return [0]

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))

    def save(self, folder: Path, begin: int, end: int, pad: int | None) -> None:
        pass


def ours(shape: tuple, precision: str, home: Path) -> tuple[Ends, int]:
    """When each tenth of `continuo train`'s steps ended: batches, logging and progress included;

    and the bytes that its plan said it would need.
    """
    from app.training.config import TrainConfig
    from app.training.corpus.corpus import Corpus, Report, Rules
    from app.training.learn.model import new_model
    from app.training.learn.plan import make_plan
    from app.training.run import metrics
    from app.training.run.run import Run
    from app.training.train import train

    layers, width, heads, vocabulary, rows, length, steps = shape
    tokens = [token_file(home / part, shape, part == "train") for part in split.PARTS]
    corpus = Corpus(home, *tokens, Vocabulary(vocabulary), Report("ids", [], Rules()))
    config = TrainConfig(
        layers=layers, width=width, heads=heads, window=length, batch=rows, steps=steps,
        precision=precision, sample_tokens=1, evaluate_every=steps, print_every=max(1, steps // 10),
    )  # fmt: skip
    model = new_model(config, corpus)
    train(Run(config, corpus, home / "run", home / "model", tell=no_word), model)
    rows_of_time = [row for row in metrics.read(home / "run") if row.loss is not None]
    planned = make_plan(config, corpus, model).memory
    return [(row.step, row.seconds) for row in rows_of_time], planned


def token_file(path: Path, shape: tuple, is_full: bool) -> TokenFile:
    vocabulary, rows, length, steps = shape[3:]
    writer = TokenWriter(path, vocabulary)
    if is_full:
        writer.begin_document()
        writer.write(text_of_ids(vocabulary, rows * steps * length), rows * steps * length)
    writer.close()
    return TokenFile(path)


def no_word(line: str) -> None:
    pass


def main() -> None:
    told = json.loads(sys.argv[1])
    shape = told["shape"]
    with tempfile.TemporaryDirectory() as home:
        run = {"trainer": trainer, "ours": ours}[told["who"]]
        ends, planned = run(shape, told["precision"], Path(home))
    first, last = next(end for end in ends if end[0] >= WARM * shape[-1]), ends[-1]
    tokens = (last[0] - first[0]) * shape[4] * shape[5]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    speed = tokens / (last[1] - first[1])
    print(json.dumps({"speed": speed, "memory": memory, "planned": planned}))


if __name__ == "__main__":
    main()
