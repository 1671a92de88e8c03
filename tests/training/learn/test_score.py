"""Every token is scored once, whatever the windows."""

import math

import numpy as np
import pytest
import torch

from app.training.config import TrainConfig
from app.training.evaluate import Result, table
from app.training.learn.batches import IGNORED
from app.training.learn.loss import SummedLoss
from app.training.learn.model import new_model
from app.training.learn.score import Score, score, stream_rows
from tests.training.conftest import SMALL


@pytest.mark.parametrize("window, stride", [(16, 16), (16, 8), (16, 5), (100, 50), (7, 1)])
@pytest.mark.parametrize("length", [2, 16, 17, 18, 61])
def test_every_token_is_a_label_once_and_in_order(length, window, stride):
    ids = np.arange(length)
    labels = [
        label
        for _, batch in stream_rows(ids, window, stride, batch=3)
        for row in batch
        for label in row
        if label != IGNORED
    ]
    assert labels == list(range(1, length))


def test_inputs_stand_before_their_labels():
    for inputs, labels in stream_rows(np.arange(50), 16, 8, batch=2):
        known = labels != IGNORED
        assert (inputs[known] + 1 == labels[known]).all()


def test_the_score_is_the_models_own_loss(corpus):
    model = new_model(TrainConfig(**SMALL), corpus).eval()
    ids = corpus.validation.ids[:32].astype(np.int64)
    rows = stream_rows(ids, 32, 32, batch=4)
    ours = score(SummedLoss(model), rows, 10, torch.device("cpu"))
    logits = model(torch.tensor(ids[None, :-1])).logits[0].detach()
    theirs = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]))
    assert math.isclose(ours.loss, theirs.item(), rel_tol=1e-5)
    assert ours.tokens == 31


def test_bits_per_byte_do_not_ask_for_the_vocabulary():
    assert Score(nats=math.log(2) * 80, tokens=20, bytes=40).bits_per_byte == pytest.approx(2.0)
    assert Score(nats=math.log(2) * 80, tokens=40, bytes=40).bits_per_byte == pytest.approx(2.0)


def test_the_table_has_a_line_for_each_model():
    head, line = table([Result("starter", "books/a.txt", 20, 30, 0.5, 1.65, 0.4809)]).splitlines()
    assert head.split() == ["model", "text", "tokens", "bytes", "loss", "perplexity", "bits/byte"]
    assert line.split() == ["starter", "a.txt", "20", "30", "0.5000", "1.65", "0.4809"]
