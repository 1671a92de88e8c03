from transformers.utils import logging

from app.training.config import TrainConfig
from app.training.learn.model import new_model, write


def test_a_model_that_is_written_leaves_progress_bars_as_they_were(corpus, tmp_path):
    """In a notebook, no download after a training had one."""
    assert logging.is_progress_bar_enabled()
    write(new_model(TrainConfig(layers=1, width=16, heads=1, window=8), corpus), tmp_path)
    assert logging.is_progress_bar_enabled()
