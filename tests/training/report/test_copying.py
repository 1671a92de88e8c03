"""What is copied from the corpus is found, to the letter."""

import numpy as np

from app.training.report import copying
from app.training.report.copying import SHINGLE, copied


def test_a_copied_run_is_found_and_measured(corpus):
    run = corpus.train.ids[40:60].tolist()
    strange = [3, 5, 3, 5]
    found = copied([strange + run + strange, strange], corpus.train, corpus.tokenizer)
    assert found.longest == corpus.tokenizer.decode(run)
    assert found.share == len(run) / (len(run) + 3 * len(strange))


def test_common_phrases_are_no_copies(corpus):
    short = corpus.train.ids[40 : 40 + SHINGLE - 1].tolist()
    assert copied([[3, *short, 3]], corpus.train, corpus.tokenizer).share == 0


def test_a_copy_across_the_pieces_of_a_large_corpus(corpus, monkeypatch):
    monkeypatch.setattr(copying, "PIECE", 50)
    run = corpus.train.ids[30:130].tolist()
    found = copied([run], corpus.train, corpus.tokenizer)
    assert found.share == 1.0 and found.longest == corpus.tokenizer.decode(run)


def test_nothing_is_copied_into_nothing(corpus):
    assert copied([[], [1, 2]], corpus.train, corpus.tokenizer).share == 0
    assert copied([], corpus.train, corpus.tokenizer).longest == ""


def test_equal_runs_have_equal_numbers():
    ids = np.arange(100) % 20
    numbers = copying._hashes(ids)
    assert (numbers[:20] == numbers[20:40]).all() and len(set(numbers[:20].tolist())) == 20
