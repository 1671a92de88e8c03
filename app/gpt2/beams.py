"""Beam search, by transformers' own generate: the text that is likeliest as a whole."""

from collections.abc import Sequence

import torch

from app.gpt2.files.checkpoint import Checkpoint, CheckpointError
from app.gpt2.transformers_network import transformers_model


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
    if max_tokens == 0:  # which transformers refuses
        return []
    model = transformers_model(checkpoint).eval()
    found = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        num_beams=width,
        max_new_tokens=room if max_tokens is None else min(max_tokens, room),
        do_sample=False,
        use_cache=True,
        eos_token_id=list(config.eos_token_ids) or None,
        pad_token_id=config.bos_token_id,
    )
    new = found[0, len(prompt) :].tolist()
    return new[:-1] if new[-1] in config.eos_token_ids else new
