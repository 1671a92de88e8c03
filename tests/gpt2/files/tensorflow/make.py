"""Write, with real TensorFlow, the checkpoints and answers in this folder.

Run by hand, in an environment of its own (tensorflow-cpu 2.21.0 wrote what is committed):

    python tests/gpt2/files/tensorflow/make.py

Two folders, as their tools would have left them, of one tiny trained GPT-2:
- openai/: model.ckpt.*, beside an optimizer's variables, hparams.json, encoder.json, vocab.bpe
- sharded/: model-4000.* in two data files (the variables live on two devices), weights only
and answers.json: what TensorFlow says the variables and the logits are.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np  # noqa: E402
import tensorflow.compat.v1 as tf  # noqa: E402

HERE = Path(__file__).parent
SIZES = {"n_vocab": 260, "n_ctx": 16, "n_embd": 16, "n_head": 2, "n_layer": 2}
PROMPT = [7, 259, 0, 31, 31, 128, 2, 64]
MERGES = ["t h", "th e", "Ġ the"]


# ---- the network, from the paper's description and OpenAI's names ----


class Variables:
    """Makes each variable once, on the devices in turn, with values that a wrong reader shows."""

    def __init__(self, n_devices):
        self.random = np.random.default_rng(0)
        self.n_devices = n_devices
        self.made = {}

    def __call__(self, name, shape, mean=0.0):
        values = self.random.normal(mean, 0.3, shape).astype(np.float32)
        with tf.device(f"/cpu:{len(self.made) // 4 % self.n_devices}"):
            self.made[name] = tf.get_variable(name, initializer=values)
        return self.made[name]


def norm(variable, name, x):
    size = SIZES["n_embd"]
    mean = tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), axis=-1, keepdims=True)
    x = (x - mean) * tf.math.rsqrt(variance + 1e-5)
    return x * variable(f"{name}/g", [size], mean=1.0) + variable(f"{name}/b", [size])


def linear(variable, name, x, n_out):
    """A convolution of width 1 in OpenAI's code: hence the leading 1 of its weight."""
    w = variable(f"{name}/w", [1, int(x.shape[-1]), n_out])
    return tf.matmul(x, tf.squeeze(w, 0)) + variable(f"{name}/b", [n_out])


def attention(variable, name, x):
    T, E, H = len(PROMPT), SIZES["n_embd"], SIZES["n_head"]
    qkv = linear(variable, f"{name}/c_attn", x, 3 * E)  # [T, 3E]
    q, k, v = (
        tf.transpose(tf.reshape(part, [T, H, E // H]), [1, 0, 2])  # [H, T, D]
        for part in tf.split(qkv, 3, axis=-1)
    )
    scores = tf.matmul(q, k, transpose_b=True) / np.float32(np.sqrt(E // H))
    seen = np.tril(np.ones([T, T], np.float32))
    weights = tf.nn.softmax(scores * seen - 1e10 * (1 - seen))
    mixed = tf.reshape(tf.transpose(tf.matmul(weights, v), [1, 0, 2]), [T, E])
    return linear(variable, f"{name}/c_proj", mixed, E)


def gelu(x):
    return 0.5 * x * (1 + tf.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + 0.044715 * tf.pow(x, 3))))


def gpt2(variable, ids):
    E = SIZES["n_embd"]
    wte = variable("wte", [SIZES["n_vocab"], E])
    wpe = variable("wpe", [SIZES["n_ctx"], E])
    x = tf.gather(wte, ids) + wpe[: len(ids)]  # [T, E]
    for i in range(SIZES["n_layer"]):
        x += attention(variable, f"h{i}/attn", norm(variable, f"h{i}/ln_1", x))
        hidden = linear(variable, f"h{i}/mlp/c_fc", norm(variable, f"h{i}/ln_2", x), 4 * E)
        x += linear(variable, f"h{i}/mlp/c_proj", gelu(hidden), E)
    return tf.matmul(norm(variable, "ln_f", x), wte, transpose_b=True)  # [T, V]


# ---- training, saving ----


def session():
    return tf.Session(config=tf.ConfigProto(device_count={"CPU": 2}))


def train_and_save(folder):
    """Two steps of Adam, so that its slots hold something; everything is saved."""
    with tf.Graph().as_default(), session() as run:
        variables = Variables(n_devices=1)
        with tf.variable_scope("model"):
            logits = gpt2(variables, PROMPT)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=PROMPT[1:], logits=logits[:-1])
        step = tf.train.get_or_create_global_step()
        train = tf.train.AdamOptimizer(1e-3).minimize(tf.reduce_mean(loss), global_step=step)
        run.run(tf.global_variables_initializer())
        for _ in range(2):
            run.run(train)
        saver = tf.train.Saver(save_relative_paths=True)
        saver.save(run, str(folder / "model.ckpt"), write_meta_graph=False)
        everything = sorted(v.op.name for v in tf.global_variables())
        return run.run(variables.made), run.run(logits), everything


def save_sharded(folder, values):
    """The same weights on two devices: Saver then writes a data file for each."""
    with tf.Graph().as_default(), session() as run:
        variables = Variables(n_devices=2)
        with tf.variable_scope("model"):
            gpt2(variables, PROMPT)
        for name, variable in variables.made.items():
            run.run(tf.assign(variable, values[name]))
        saver = tf.train.Saver(
            list(variables.made.values()), sharded=True, save_relative_paths=True
        )
        saver.save(run, str(folder / "model"), global_step=4000, write_meta_graph=False)


# ---- what lies beside ----


def write_json(path, said):
    path.write_text(json.dumps(said, ensure_ascii=False) + "\n", encoding="utf-8")


def vocabulary():
    """OpenAI's 256 byte letters, three merges, and the end of a text."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in shown] + [chr(256 + i) for i in range(256 - len(shown))]
    merged = [merge.replace(" ", "") for merge in MERGES]
    return {token: id for id, token in enumerate([*letters, *merged, "<|endoftext|>"])}


def main():
    tf.disable_v2_behavior()
    for name in ("openai", "sharded"):
        shutil.rmtree(HERE / name, ignore_errors=True)
        (HERE / name).mkdir()
        write_json(HERE / name / "hparams.json", SIZES)
        write_json(HERE / name / "encoder.json", vocabulary())
        merges = "\n".join(["#version: 0.2", *MERGES]) + "\n"
        (HERE / name / "vocab.bpe").write_text(merges, encoding="utf-8")

    values, logits, everything = train_and_save(HERE / "openai")
    save_sharded(HERE / "sharded", values)
    weights = {
        f"model/{name}": {
            "shape": list(value.shape),
            "sha256": hashlib.sha256(value.tobytes()).hexdigest(),
        }
        for name, value in values.items()
    }
    others = sorted(set(everything) - set(weights))
    said = {"prompt": PROMPT, "weights": weights, "others": others, "tensorflow": tf.__version__}
    write_json(HERE / "answers.json", said)
    np.save(HERE / "logits.npy", logits)


if __name__ == "__main__":
    main()
