"""Evaluations come out as the model computes them: lm-eval's local-completions, by its own words
and with the server's tokenizer."""

import pytest

from app.gpt2 import TorchModel, continue_ids

CHOICES = [
    {"text": "Once upon a", "choices": [" time", " house", " very long way"], "answer": 0},
    {"text": "The naïve café 🙂 was", "choices": [" closed.", " très 好"], "answer": 1},
    {"text": "2 + 2 =", "choices": [" 4", " 5", " 22"], "answer": 0},
]
DOCUMENTS = ["A short text.", "One much longer than the window. " * 40]


@pytest.fixture(scope="module")
def said(drive):
    return drive("with_lm_eval.py", choices=CHOICES, documents=DOCUMENTS)


def score(context, continuation, odds):
    """Sum of log-probabilities, and whether each token was the likeliest."""
    ids = context + continuation
    table = odds(ids)[len(context) - 1 : -1]
    rows = range(len(continuation))
    greedy = all(table[i].argmax().item() == continuation[i] for i in rows)
    return sum(table[i, continuation[i]].item() for i in rows), greedy


def test_every_choice_has_the_score_the_model_gives(said, checkpoint, odds):
    encode = checkpoint.tokenizer.encode
    best = 0
    for given, sample in zip(CHOICES, said["choices"], strict=True):
        context = encode(given["text"])
        expected = []
        for choice, [[logprob, is_greedy]] in zip(given["choices"], sample["resps"], strict=True):
            whole = encode(given["text"] + choice)
            total, greedy = score(context, whole[len(context) :], odds)
            assert float(logprob) == pytest.approx(total, abs=1e-4)
            assert is_greedy in (greedy, str(greedy))
            expected.append(total)
        best += expected.index(max(expected)) == given["answer"]
    assert said["accuracy"] == pytest.approx(best / len(CHOICES))


def test_long_documents_are_scored_window_by_window(said, checkpoint, odds):
    """Windows of 126 tokens (128, less the one to be written, less the one before)."""
    for text, sample in zip(DOCUMENTS, said["rolling"], strict=True):
        ids = [50256, *checkpoint.tokenizer.encode(text)]
        [[found]] = sample["resps"]
        assert float(found) == pytest.approx(rolled(ids, odds, 126), abs=1e-4 * len(ids))


def rolled(ids, odds, window):
    """Every token once, after as many before it as fit; the first after <|endoftext|>."""
    total, at = 0.0, 1
    while at < len(ids):
        end = min(len(ids), at + window)
        start = max(0, end - window - 1)
        table = odds(ids[start : end - 1])
        total += sum(table[i - start - 1, ids[i]].item() for i in range(at, end))
        at = end
    return total


def test_what_is_written_is_greedy_and_stops(said, checkpoint):
    model = TorchModel(checkpoint.config, checkpoint.weights)
    for given, sample in zip(CHOICES, said["written"], strict=True):
        ids = continue_ids(model, checkpoint.tokenizer.encode(given["text"]), 8)
        text = checkpoint.tokenizer.decode(list(ids))
        assert sample["resps"] == [[text.split("\n")[0]]]
