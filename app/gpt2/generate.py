"""The plain loop: one prompt, one token at a time. Slow and obvious; the engine must match it."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from app.gpt2.torch_backend.network import TorchModel


def greedy(logits: Tensor) -> int:
    return int(logits.argmax())


def continue_ids(
    model: TorchModel,
    ids: Sequence[int],
    max_tokens: int,
    pick: Callable[[Tensor], int] = greedy,
    stop: Sequence[int] = (),
) -> Iterator[int]:
    """Ids that continue `ids`; `pick` chooses each from the logits [V]. A token in `stop` ends it.

    An empty prompt starts from nothing. When the window is full the oldest half is dropped and the
    rest read again, since GPT-2's positions are absolute.
    """
    window = model.config.n_positions
    seen = list(ids)[-window:] or [model.config.bos_token_id]
    new, cache = seen, None
    for _ in range(max_tokens):
        logits, cache = model.forward(torch.tensor([new], device=model.device), cache)
        id = pick(logits[0, -1])
        if id in stop:
            return
        yield id
        seen.append(id)
        new = [id]
        if len(seen) > window:
            seen = seen[-(window // 2) :]
            new, cache = seen, None
