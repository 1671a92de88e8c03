"""The model that is trained: transformers' GPT2LMHeadModel, new or from any checkpoint."""

import copy
from pathlib import Path

import torch
from torch import nn
from transformers import GPT2LMHeadModel
from transformers.utils import logging

from app.gpt2 import GELU, Checkpoint, Config, transformers_config, transformers_model
from app.training.config import TrainConfig
from app.training.corpus.corpus import Corpus
from app.training.errors import TrainingError


def new_model(config: TrainConfig, corpus: Corpus) -> GPT2LMHeadModel:
    """Initialized like GPT-2: normal, 0.02, and smaller where weights feed the residual stream."""
    shape = Config(
        vocab_size=corpus.tokenizer.n_tokens,
        n_positions=config.window,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        n_inner=4 * config.width,
        bos_token_id=corpus.begin,
        eos_token_ids=(corpus.end,),
    )
    torch.manual_seed(config.seed)
    model = GPT2LMHeadModel(transformers_config(shape, config.dropout))
    fit_out(model, config)
    return model


def tuned_model(checkpoint: Checkpoint, config: TrainConfig, corpus: Corpus) -> GPT2LMHeadModel:
    """The checkpoint's weights; new tokens, such as <BOS>, start as the mean of the others."""
    model = transformers_model(checkpoint, config.dropout)
    n_tokens = corpus.tokenizer.n_tokens
    n_new = n_tokens - checkpoint.config.vocab_size
    if n_new > 0:
        if config.freeze or config.lora:
            raise TrainingError(
                f"--freeze and --lora train no tokens, but {n_new} would be new; leave them out, "
                "or name tokens that the base has with --bos, --eos and --pad."
            )
        model.resize_token_embeddings(n_tokens, mean_resizing=False)
        embeddings = model.transformer.wte.weight.data
        embeddings[-n_new:] = embeddings[:-n_new].mean(dim=0)
    model.config.bos_token_id, model.config.eos_token_id = corpus.begin, corpus.end
    fit_out(model, config)
    return model


def fit_out(model: GPT2LMHeadModel, config: TrainConfig) -> None:
    """Choose which parameters are trained, and whether activations are recomputed."""
    if config.checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if config.freeze:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = ".h." in name
    if config.lora:
        add_lora(model, config.lora)


def add_lora(model: GPT2LMHeadModel, rank: int) -> None:
    """Add LoRA's matrices to the blocks, in place; only they are trained."""
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(
        LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            target_modules=["c_attn", "c_proj", "c_fc"],
            fan_in_fan_out=True,  # GPT-2's matrices are [in, out]
        ),
        model,
    )


def merged(model: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """The model to write: a copy with LoRA's matrices merged in, or the model itself."""
    if not any("lora_" in name for name, _ in model.named_parameters()):
        return model
    from peft.tuners.lora import LoraLayer

    whole = copy.deepcopy(model)
    for name, layer in list(whole.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            whole.set_submodule(name, layer.get_base_layer())
    return whole


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every tensor once; the head is the embedding."""
    return {
        name: value.detach().cpu().contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }


def write(model: GPT2LMHeadModel, folder: Path, pad: int | None = None) -> None:
    """Write config.json and model.safetensors in the usual layout."""
    model = merged(model)
    model.config.pad_token_id = pad
    model.config.activation_function = "gelu_new"
    model.config.use_cache = True
    shows_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a bar for one file would interrupt ours
    model.save_pretrained(folder)
    if shows_bars:
        logging.enable_progress_bar()
    model.config.activation_function = GELU
    model.config.use_cache = False
    model.config.pad_token_id = None  # else transformers looks for padding in every batch
