"""Which rows a step takes: each once an epoch, and the same however many processes share them."""

import numpy as np
import pytest

from app.training.config import TrainConfig
from app.training.learn.batches import IGNORED, Batches, Lines, Stream
from app.training.learn.model import new_model
from app.training.learn.plan import make_plan
from app.training.learn.score import line_rows
from tests.training.conftest import SMALL


@pytest.fixture
def plan(corpus):
    def plan(**told):
        config = TrainConfig(**(SMALL | told))
        return make_plan(config, corpus, new_model(config, corpus))

    return plan


def test_an_epoch_takes_every_token_at_most_once(corpus):
    stream = Stream(corpus.train, 16, seed=1)
    places = np.concatenate([stream._epoch(3)[:, None] + np.arange(16)]) % len(corpus.train)
    assert len(np.unique(places)) == places.size == len(corpus.train) // 16 * 16


def test_labels_are_the_next_tokens(corpus):
    ids, labels = Stream(corpus.train, 16, seed=1).rows(5, 3)
    assert ids.shape == labels.shape == (3, 16)
    assert (ids[:, 1:] == labels[:, :-1]).all()


def test_two_processes_take_together_what_one_takes_alone(corpus, plan):
    alone = Batches(corpus, plan(batch=8, accumulate=3), 0, 1)
    halves = [Batches(corpus, plan(batch=4, accumulate=3), rank, 2) for rank in (0, 1)]
    for step in (0, 7):
        whole = np.concatenate([ids for ids, _ in alone.at(step)])
        parts = [np.concatenate([h.at(step)[m][0] for h in halves]) for m in range(3)]
        assert (whole == np.concatenate(parts)).all()


def test_every_nth_step_takes_long_rows(corpus, plan):
    batches = Batches(corpus, plan(block=16, window=32, long_every=3, batch=4), 0, 1)
    shapes = [batches.at(step)[0][0].shape for step in range(6)]
    assert shapes == [(4, 16), (4, 16), (2, 32)] * 2
    firsts = [batches.at(step)[0][0].tolist() for step in range(6)]
    assert len({str(rows) for rows in firsts}) == 6


def test_lines_are_padded_and_the_padding_is_not_learned(corpus):
    lines = Lines(corpus.train, 10_000, seed=1, pad=7)
    ids, labels = lines.rows(0, 4)
    lengths = (labels != IGNORED).sum(axis=1)
    assert len(set(lengths)) > 1 and ids.shape[1] == lengths.max()
    assert all((ids[row, length + 1 :] == 7).all() for row, length in enumerate(lengths))


def test_every_line_is_taken_once_an_epoch(corpus):
    lines = Lines(corpus.train, 10_000, seed=1, pad=7)
    assert sorted(lines._epoch(0)) == list(range(len(corpus.train.starts)))


def test_the_ends_of_long_lines_are_learned_too(corpus):
    """A line longer than a row was learned up to there and no further."""
    lines = Lines(corpus.train, 16, seed=1, pad=7)
    _, labels = lines.rows(0, lines.n_rows)  # one epoch
    learned = sorted(labels[labels != IGNORED].tolist())
    firsts = corpus.train.starts.astype(int)
    assert learned == sorted(np.delete(corpus.train.ids, firsts).tolist())


@pytest.mark.parametrize("block", [7, 16, 10_000])
def test_pieces_of_long_lines_have_every_token_as_a_label_once(corpus, block):
    """Their ends were left out of the loss, and their bytes were counted all the same."""
    lines = Lines(corpus.train, block, seed=1, pad=7)
    labels = [ids for _, batch in line_rows(lines, 3) for ids in batch[batch != IGNORED]]
    firsts = corpus.train.starts.astype(int)
    assert labels == np.delete(corpus.train.ids, firsts).tolist()


def test_reshuffled_documents_stay_whole_and_lie_in_another_order(corpus):
    stream = Stream(corpus.train, 16, seed=1, reshuffle=True)
    n = len(corpus.train)
    bounds = [0, *corpus.train.starts[1:].tolist(), n]
    whole = {tuple(corpus.train.ids[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)}
    laid = []
    for epoch in (0, 1):
        row = np.empty(n, np.int64)
        stream._fill(row, 0, *stream._laid(epoch))
        begins = [*stream._laid(epoch)[0].tolist(), n]
        laid.append([tuple(row[a:b]) for a, b in zip(begins, begins[1:], strict=False)])
        assert set(laid[-1]) == whole and len(laid[-1]) == len(bounds) - 1
    assert laid[0] != laid[1]


def test_a_reshuffled_epoch_takes_the_tokens_of_the_plain_one(corpus):
    block = 16
    n_rows = len(corpus.train) // block
    stream = Stream(corpus.train, block, seed=1, reshuffle=True)
    ids, labels = stream.rows(0, n_rows)
    assert (ids[:, 1:] == labels[:, :-1]).all()
    counts = np.bincount(ids.ravel(), minlength=300)
    plain = np.bincount(corpus.train.ids, minlength=300)
    assert (counts <= plain).all() and (plain - counts).sum() == len(corpus.train) - n_rows * block


def test_rows_made_ready_are_the_step_s_own(corpus, plan):
    batches = Batches(corpus, plan(), 0, 1)
    plainly = batches.at(5)
    batches.prepare(5)
    for step in (5, 4):
        pairs = zip(plainly, batches.at(step), strict=True)
        assert all(np.array_equal(a[0], b[0]) for a, b in pairs) == (step == 5)
