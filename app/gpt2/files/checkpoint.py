"""Any GPT-2 file or folder <-> (Config, weights, Tokenizer).

`load` looks at the files and takes no flags; a tensor that it cannot account for is an error.
Weights map OpenAI's names to NumPy arrays as stored (matrices [in, out]), which are read on access.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError

from app.gpt2.config import Config, ConfigError, read_config, settle
from app.gpt2.files import names, tensorflow
from app.gpt2.files.atomic import whole_file, whole_folder
from app.gpt2.files.tensors import SCALE, Tensors, TensorsError, open_tensors
from app.gpt2.tokenizer import END_OF_TEXT, Tokenizer, TokenizerError


class CheckpointError(ValueError):
    """Why a path cannot be opened (or written) as a GPT-2, in one sentence that names the file."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What `continuo inspect` shows of a checkpoint besides its sizes."""

    path: Path  # the file the weights came from (of a TensorFlow checkpoint, its prefix)
    format: str
    dtype: str
    vocabulary: str  # where the tokenizer came from
    ignored: tuple[str, ...]  # tensors besides weights: mask buffers, tied heads, optimizer slots
    passed_over: tuple[str, ...]  # other weights in the folder that could have been meant


class Checkpoint(NamedTuple):
    config: Config
    weights: Mapping[str, np.ndarray]
    tokenizer: Tokenizer
    facts: Facts


def load(path: str | Path) -> Checkpoint:
    """Open the checkpoint at `path`, a file or a folder of any kind that GPT-2s come in."""
    path = Path(path)
    try:
        source, passed_over = _find(path)
        tensors = _open(source)
        folder = source.parent
        ours, masks, heads = names.rename(tensors)
        shapes = {name: tensors.shapes[theirs] for name, theirs in ours.items()}
        names.check_looks(ours, shapes)
        tokenizer = Tokenizer.beside(folder)
        config = settle(shapes, *_given(folder, tokenizer, shapes["wte.weight"][0]))
        names.check_shapes(ours, shapes, config.shapes())
        _check_types(ours, tensors)
        weights = Weights(tensors, ours)
        _check_tied(tensors, heads, ours["wte.weight"])
        _check_vocabulary(tokenizer, config, folder)
    except (
        CheckpointError,
        ConfigError,
        TensorsError,
        TokenizerError,
        names.NamesError,
    ) as error:
        sentence = str(error)
        raise CheckpointError(
            sentence if str(path) in sentence else f"{path}: {sentence}"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    facts = Facts(
        path=source,
        format=tensors.format,
        dtype=tensors.dtypes[ours["wte.weight"]],
        vocabulary="GPT-2's own" if tokenizer is None else str(folder),
        ignored=(*masks, *heads, *tensors.ignored),
        passed_over=tuple(passed_over),
    )
    return Checkpoint(config, weights, tokenizer or Tokenizer.gpt2(), facts)


# ---- which file is meant ----

WEIGHTS_BY_RANK = (  # in a folder, the first of these that is there
    "model.safetensors",
    "model.safetensors.index.json",
    "model-int8.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "gpt2-pytorch_model.bin",
)
# Next, by rank; more than one of a kind is an error.
OTHER_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
NEVER_WEIGHTS = ("optimizer", "scheduler", "training_args", "rng_state", "scaler")


def _find(path: Path) -> tuple[Path, list[str]]:
    """The file (or TensorFlow prefix) to open, and the names of others that were passed over."""
    if not path.is_dir():
        prefix = tensorflow.find_prefix(path)
        if prefix is not None:
            return prefix, []
        if path.is_file():
            return path, []
        raise CheckpointError(f"{path} does not exist.")
    found = [path / name for name in WEIGHTS_BY_RANK if (path / name).is_file()]
    for ending in OTHER_WEIGHTS:
        others = sorted(f for f in path.iterdir() if _may_be_weights(f, ending) and f not in found)
        if not found and len(others) > 1:
            raise CheckpointError(
                f"{path} holds {' and '.join(f.name for f in others)}; name the one you mean."
            )
        found += others
    if not found:
        prefix = tensorflow.find_prefix(path)
        if prefix is None:
            raise CheckpointError(f"{path} holds no weights: {_what_is_there(path)}.")
        found.append(prefix)
    passed_over = [*(file.name for file in found[1:]), *tensorflow.prefixes_in(path)]
    return found[0], [name for name in passed_over if name != found[0].name]


def _may_be_weights(file: Path, ending: str) -> bool:
    is_other = file.name.startswith(NEVER_WEIGHTS) or "-of-" in file.name  # a shard
    return file.suffix == ending and file.is_file() and not is_other


def _what_is_there(folder: Path) -> str:
    there = sorted(file.name for file in folder.iterdir())[:4]
    return f"it holds {', '.join(there)}" if there else "it is empty"


# ---- what the files beside the weights say ----


def _given(folder: Path, tokenizer: Tokenizer | None, n_vocab: int) -> tuple[dict, str]:
    """What config.json or hparams.json gives; else, special ids from the vocabulary."""
    given: dict = {}
    source = "the config"
    for name in ("config.json", "hparams.json"):
        if (folder / name).is_file():
            given, source = read_config(folder / name), str(folder / name)
            break
    # Ignore ids that the weights do not have, such as transformers' default of 50256, or -1.
    ends = given.pop("eos_token_ids", None)
    kept = tuple(id for id in ends or () if id in range(n_vocab))
    if kept or ends == ():
        given["eos_token_ids"] = kept
    if given.get("bos_token_id") not in range(n_vocab):
        given.pop("bos_token_id", None)
    end = 50256 if tokenizer is None else tokenizer.specials.get(END_OF_TEXT)
    if end is not None and end < n_vocab:
        given.setdefault("eos_token_ids", (end,))
    given.setdefault("eos_token_ids", ())
    given.setdefault("bos_token_id", next(iter(given["eos_token_ids"]), 0))
    return given, source


def _open(source: Path) -> Tensors:
    return open_tensors(source) if source.is_file() else tensorflow.open_bundle(source)


# ---- accounting ----


class Weights(Mapping[str, np.ndarray]):
    """A file's tensors under OpenAI's names."""

    def __init__(self, tensors: Tensors, theirs: Mapping[str, str]) -> None:
        self._tensors = tensors
        self._theirs = theirs

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            return self._tensors[self._theirs[name]]
        except TensorsError as error:  # TensorFlow's checksums are verified as tensors are read
            raise CheckpointError(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._theirs)

    def __len__(self) -> int:
        return len(self._theirs)


FLOATS = ("float32", "float16", "bfloat16", "float64", "int8")  # int8 with its scales, see tensors


def _check_types(ours: Mapping[str, str], tensors: Tensors) -> None:
    for theirs in ours.values():
        if tensors.dtypes[theirs] not in FLOATS:
            raise CheckpointError(f"{theirs} holds {tensors.dtypes[theirs]}; weights are floats.")


def _check_tied(tensors: Tensors, heads: list[str], embedding: str) -> None:
    """GPT-2's output head is its embedding; refuse a different head, which would be lost."""
    for head in heads:
        if tensors.shapes[head] != tensors.shapes[embedding]:
            raise CheckpointError(f"{head} has another shape than wte.weight, to which it is tied.")
        if not np.array_equal(tensors[head], tensors[embedding]):
            raise CheckpointError(f"{head} differs from wte.weight; in a GPT-2 they are the same.")


def _check_vocabulary(tokenizer: Tokenizer | None, config: Config, folder: Path) -> None:
    n_tokens = 50257 if tokenizer is None else tokenizer.n_tokens
    if n_tokens > config.vocab_size:
        whose = "GPT-2's own vocabulary" if tokenizer is None else f"the vocabulary in {folder}"
        raise CheckpointError(
            f"The weights have {config.vocab_size} tokens, but {whose} has {n_tokens}; put the "
            "tokenizer.json, or vocab.json and merges.txt, that belong to the weights beside them."
        )


# ---- writing ----

FORMATS = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}
INT8 = "model-int8.safetensors"  # transformers, which would ignore the scales, does not open it


def save(
    folder: Path,
    config: Config,
    weights: Mapping[str, np.ndarray],
    tokenizer: Tokenizer,
    format: str = "safetensors",
    dtype: str | None = None,
    force: bool = False,
) -> None:
    """Write a Hugging Face folder, whole or not at all.

    `force` replaces an existing folder, but never one without a config.json.
    """
    if dtype == "int8" and format != "safetensors":
        raise CheckpointError("int8 needs --format safetensors.")
    with _in_sentences(folder, force), whole_folder(folder, "config.json") as new:
        _write_config(new / "config.json", config, dtype or str(weights["wte.weight"].dtype))
        tokenizer.save(new, config.bos_token_id, next(iter(config.eos_token_ids), None))
        if dtype == "int8":
            from safetensors.numpy import save_file as save_arrays

            save_arrays(_quantized(weights), new / INT8)
            return
        state = _torch_state(weights, "transformer.", dtype)
        if format == "safetensors":
            from safetensors.torch import save_file

            save_file(state, new / FORMATS[format], metadata={"format": "pt"})
        else:
            import torch

            torch.save(state, new / FORMATS[format])


def save_legacy(
    file: Path, weights: Mapping[str, np.ndarray], dtype: str | None = None, force: bool = False
) -> None:
    """Write one unprefixed gpt2-pytorch_model.bin in torch's old pickle format, as in 2019."""
    import torch

    with _in_sentences(file, force), whole_file(file) as new:
        torch.save(_torch_state(weights, "", dtype), new, _use_new_zipfile_serialization=False)


def _quantized(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Matrices as int8 with a scale for each output: a column, of the token table a row.

    A scale is the output's largest number / 127, so quantizing them again, as the kernel does,
    gives the same numbers. Positions, which are few, and vectors stay float16.
    """
    state: dict[str, np.ndarray] = {}
    for name, array in weights.items():
        if array.ndim != 2 or name == "wpe.weight":
            state[f"transformer.{name}"] = array.astype(np.float16)
            continue
        array = array.astype(np.float32)
        largest = np.abs(array).max(axis=1 if name == "wte.weight" else 0, keepdims=True)
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        state[f"transformer.{name}"] = np.rint(array / scale).astype(np.int8)
        state[f"transformer.{name}{SCALE}"] = scale
    return state


def _torch_state(weights: Mapping[str, np.ndarray], prefix: str, dtype: str | None) -> dict:
    import torch

    kind = None if dtype is None else getattr(torch, dtype)
    return {f"{prefix}{n}": torch.tensor(np.asarray(w)).to(kind) for n, w in weights.items()}


def _write_config(path: Path, config: Config, dtype: str) -> None:
    """config.json, with transformers' names."""
    fields = dataclasses.asdict(config)
    ends = fields.pop("eos_token_ids")
    fields |= {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "n_ctx": config.n_positions,
        "eos_token_id": ends[0] if len(ends) == 1 else list(ends) or None,
        "tie_word_embeddings": True,
        "dtype": dtype,
    }
    path.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _in_sentences(target: Path, force: bool) -> Iterator[None]:
    """Turn a failed write into one sentence; refuse an existing `target` unless `force`."""
    if target.exists() and not force:
        raise CheckpointError(f"{target} is there already; remove it, or say --force.")
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # each library has its own
        why = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise CheckpointError(f"{target} could not be written: {why}.") from None
