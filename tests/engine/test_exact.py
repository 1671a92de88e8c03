"""What the engine writes is what the model would write alone."""

import numpy as np
import pytest
import torch
import transformers
from msgspec.structs import replace

from app import gpt2
from app.engine import Engine, EngineOptions, Params
from app.gpt2 import TorchModel, continue_ids
from tests.engine.reading import ids_of, read

LENGTHS = [1, 2, 5, 31, 32, 33, 64, 70, 97, 120]
GREEDY = Params(temperature=0, max_tokens=24, ignore_eos=True)


@pytest.fixture(scope="module", params=["native", "torch"])
def engine(request, tiny):
    options = EngineOptions(
        models={"tiny": str(tiny)}, backend=request.param, precision="float32", threads=1
    )
    engine = Engine(options)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(5)
    return [rng.integers(0, 50257, length).tolist() for length in rng.permutation(LENGTHS)]


def test_greedy_output_is_the_plain_loops_beyond_the_window_too(engine, prompts, tiny):
    checkpoint = gpt2.load(tiny)
    model = TorchModel(checkpoint.config, checkpoint.weights)
    running = [engine.submit(prompt, GREEDY) for prompt in prompts]
    for prompt, completion in zip(prompts, running, strict=True):
        assert ids_of(read(completion)) == list(continue_ids(model, prompt, 24)), len(prompt)


def test_greedy_output_is_transformers(engine, prompts, tiny):
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tiny, dtype=torch.float32)
    theirs.generation_config.pad_token_id = 0
    theirs.generation_config.eos_token_id = None
    running = [engine.submit(prompt, GREEDY) for prompt in prompts]
    for prompt, completion in zip(prompts, running, strict=True):
        ours = ids_of(read(completion))
        if len(prompt) + 24 <= 128:  # transformers knows no way past the window
            ids = torch.tensor([prompt])
            made = theirs.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
            )
            assert ours == made[0, len(prompt) :].tolist(), len(prompt)


def test_sampled_tokens_have_the_models_odds(engine, tiny):
    """Chi-square over the 20 likeliest first tokens and the rest: 45.3 is passed once in 1,000."""
    checkpoint = gpt2.load(tiny)
    model = TorchModel(checkpoint.config, checkpoint.weights)
    ids = checkpoint.tokenizer.encode("The house")
    odds = model.forward(torch.tensor([ids]))[0][0, -1].softmax(-1).numpy().astype(float)
    params = Params(max_tokens=1, temperature=1, top_k=0, n=50, healing=False, ignore_eos=True)
    drawn = np.zeros(50257)
    for seed in range(40):
        events = read(engine.submit("The house", replace(params, seed=seed)))
        for choice in range(50):
            drawn[ids_of(events, choice)] += 1
    likely = np.argsort(-odds)[:20]
    expected = np.append(odds[likely], 1 - odds[likely].sum()) * drawn.sum()
    seen = np.append(drawn[likely], drawn.sum() - drawn[likely].sum())
    assert drawn.sum() == 2000
    assert ((seen - expected) ** 2 / expected).sum() < 45.3
