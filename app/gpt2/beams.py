"""Beam search: the text with the greatest mean log-probability of its tokens.

Chooses as transformers' generate does (a test compares them), so that serving needs no
transformers.
"""

from collections.abc import Sequence

import torch

from app.gpt2.files.checkpoint import Checkpoint, CheckpointError
from app.gpt2.torch_backend.network import TorchModel


def search_beams(
    checkpoint: Checkpoint, ids: Sequence[int], width: int, max_tokens: int | None
) -> list[int]:
    """Ids that continue `ids`: at most `max_tokens`, or what the window has room for."""
    config = checkpoint.config
    prompt = list(ids) or [config.bos_token_id]
    room = config.n_positions - len(prompt)
    if room < 1:
        raise CheckpointError(
            f"Beam search needs a prompt of fewer than {config.n_positions} tokens; "
            f"this one has {len(prompt)}."
        )
    most = room if max_tokens is None else min(max_tokens, room)
    if most == 0:
        return []
    model = TorchModel(config, checkpoint.weights)
    # Enough that `width` of them go on even if each beam's likeliest tokens end it.
    n_candidates = width * max(2, 1 + len(config.eos_token_ids))
    logits, cache = model.forward(torch.tensor([prompt]))  # [1, T, V]
    sums = torch.zeros(1)  # [B] log-probability of each beam
    beams: list[list[int]] = [[]]  # their ids
    finished: list[tuple[float, list[int]]] = []  # mean log-probability and ids, the best first
    for n in range(1, most + 1):
        scores = sums[:, None] + logits[:, -1].log_softmax(-1)  # [B, V]
        likeliest = scores.flatten().topk(min(n_candidates, scores.numel()))
        going = []  # (sum, beam, id) of those that go on
        for rank, (score, at) in enumerate(zip(*map(torch.Tensor.tolist, likeliest), strict=True)):
            beam, id = divmod(at, config.vocab_size)
            if n < most and id not in config.eos_token_ids:
                going.append((score, beam, id))
            elif rank < width:  # a less likely beam may end only after those before it
                finished.append((score / n, [*beams[beam], id]))
        going = going[:width]
        finished = sorted(finished, key=lambda pair: -pair[0])[:width]
        if not going or (len(finished) == width and going[0][0] / n <= finished[-1][0]):
            break
        origins = [beam for _, beam, _ in going]
        beams = [[*beams[beam], id] for _, beam, id in going]
        sums = torch.tensor([score for score, _, _ in going])
        cache = [(keys[origins], values[origins]) for keys, values in cache]
        logits, cache = model.forward(torch.tensor([[id] for _, _, id in going]), cache)
    found = finished[0][1]
    return found[:-1] if found[-1] in config.eos_token_ids else found
