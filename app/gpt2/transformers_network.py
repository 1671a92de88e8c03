"""A checkpoint as transformers' GPT2LMHeadModel, for training."""

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from app.gpt2.config import Config
from app.gpt2.files.checkpoint import Checkpoint

GELU = "gelu_pytorch_tanh"  # OpenAI's formula as one kernel; "gelu_new" is eight, and 1.5 x slower


def transformers_config(config: Config, dropout: float = 0.0) -> GPT2Config:
    return GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=config.n_positions,
        n_embd=config.n_embd,
        n_layer=config.n_layer,
        n_head=config.n_head,
        n_inner=config.n_inner,
        layer_norm_epsilon=config.layer_norm_epsilon,
        scale_attn_by_inverse_layer_idx=config.scale_attn_by_inverse_layer_idx,
        bos_token_id=config.bos_token_id,
        eos_token_id=next(iter(config.eos_token_ids), None),
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        activation_function=GELU,
        use_cache=False,
    )


def transformers_model(checkpoint: Checkpoint, dropout: float = 0.0) -> GPT2LMHeadModel:
    model = GPT2LMHeadModel(transformers_config(checkpoint.config, dropout))
    state = {f"transformer.{name}": tensor(w) for name, w in checkpoint.weights.items()}
    model.load_state_dict(state | {"lm_head.weight": state["transformer.wte.weight"]})
    return model


def tensor(weights: np.ndarray) -> torch.Tensor:
    # Copied, since files are mapped read-only.
    return torch.from_numpy(np.array(weights, np.float32))
