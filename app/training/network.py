"""The model that is trained: transformers' GPT2LMHeadModel, new or from any checkpoint."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

from app.gpt2 import Checkpoint, Config
from app.training.config import TrainConfig

GELU = "gelu_pytorch_tanh"  # OpenAI's formula as one kernel; "gelu_new" is eight, and 1.5 x slower


def hugging_face(config: Config, dropout: float = 0.0) -> GPT2Config:
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
        eos_token_id=list(config.eos_token_ids)[0] if config.eos_token_ids else None,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        activation_function=GELU,
        use_cache=False,
    )


def new_model(config: TrainConfig, n_vocabulary: int, end: int) -> GPT2LMHeadModel:
    """Weights as GPT-2 was begun: normal with 0.02, smaller where the residual stream is fed."""
    shape = Config(
        vocab_size=n_vocabulary,
        n_positions=config.window,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        n_inner=4 * config.width,
        bos_token_id=end,
        eos_token_ids=(end,),
    )
    torch.manual_seed(config.seed)
    return GPT2LMHeadModel(hugging_face(shape, config.dropout))


def from_checkpoint(checkpoint: Checkpoint, config: TrainConfig, n_vocabulary: int):
    """The checkpoint's weights; new tokens, such as <BOS>, get the mean of the others."""
    model = GPT2LMHeadModel(hugging_face(checkpoint.config, config.dropout))
    state = {f"transformer.{name}": tensor(w) for name, w in checkpoint.weights.items()}
    model.load_state_dict(state | {"lm_head.weight": state["transformer.wte.weight"]})
    if n_vocabulary > checkpoint.config.vocab_size:
        torch.manual_seed(config.seed)
        model.resize_token_embeddings(n_vocabulary)
    return model


def tensor(weights: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(weights, np.float32))  # a copy: files are mapped read-only


def weights_of(model: nn.Module) -> Mapping[str, torch.Tensor]:
    """Every tensor once: the head is the embedding."""
    return {
        name: value.detach().contiguous().cpu()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }


def write(model: GPT2LMHeadModel, folder: Path) -> None:
    """config.json and model.safetensors, as everybody reads them."""
    model.config.activation_function = "gelu_new"
    model.config.use_cache = True
    logging.disable_progress_bar()  # of one file; it would fall into the middle of ours
    model.save_pretrained(folder)
    model.config.activation_function = GELU
    model.config.use_cache = False
