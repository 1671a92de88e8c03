"""What the model writes as it learns, from the same prompts and seeds each time."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from transformers import GPT2LMHeadModel

from app.gpt2 import Tokenizer, whole_file


class Sample(msgspec.Struct):
    prompt: str
    text: str
    ids: list[int] = []  # of the text; not kept


class Round(msgspec.Struct):
    """A line of samples.jsonl."""

    step: int
    samples: list[Sample]


PROMPTS = ("", "Once upon a time", "The door opened and")
TEMPERATURE, TOP_K = 0.8, 40


def write_samples(
    model: GPT2LMHeadModel, tokenizer: Tokenizer, prompts: Sequence[str], n_tokens: int
) -> list[Sample]:
    """A continuation of each prompt; sample n has the seed n."""
    was = model.training
    model.eval()
    samples = []
    for seed, prompt in enumerate(prompts, 1):
        ids = tokenizer.encode(prompt) or [model.config.bos_token_id]
        new = continued(model, ids, n_tokens, seed)
        samples.append(Sample(prompt, tokenizer.decode(new), new))
    model.train(was)
    return samples


@torch.no_grad()
def continued(model: GPT2LMHeadModel, ids: list[int], n_tokens: int, seed: int) -> list[int]:
    """Up to `n_tokens` more ids, within the window and until the end of a text."""
    generator = torch.Generator().manual_seed(seed)
    device, room = model.device, model.config.n_positions
    new: list[int] = []
    past, feed = None, ids[-room + 1 :]
    used = len(feed)
    while len(new) < n_tokens and used < room:
        out = model(torch.tensor([feed], device=device), past_key_values=past, use_cache=True)
        logits = out.logits[0, -1].float().cpu() / TEMPERATURE  # [V]
        best = logits.topk(min(TOP_K, len(logits)))
        choice = torch.multinomial(best.values.softmax(0), 1, generator=generator)
        past, feed = out.past_key_values, [int(best.indices[choice])]
        if feed[0] == model.config.eos_token_id:
            break
        new += feed
        used += 1
    return new


def keep_samples(run: Path, step: int, samples: list[Sample]) -> None:
    """Add a line to samples.jsonl, and write a page to read."""
    new = Round(step, [Sample(sample.prompt, sample.text) for sample in samples])
    rounds = [*(old for old in read_samples(run) if old.step < step), new]
    with whole_file(run / "samples.jsonl") as file:
        file.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in rounds))
    folder = run / "samples"
    pages = [f"{'=' * 20} {i}\n{s.prompt}{s.text}\n" for i, s in enumerate(samples, 1)]
    with whole_file(folder / f"step-{step:08d}.txt") as file:
        file.write_text("\n".join(pages), encoding="utf-8")


def read_samples(run: Path) -> list[Round]:
    """All rounds so far."""
    path = run / "samples.jsonl"
    if not path.is_file():
        return []
    with path.open("rb") as file:
        return [msgspec.json.decode(line, type=Round) for line in file]
