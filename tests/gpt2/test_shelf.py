import pytest

from app.gpt2 import CheckpointError, find, open_all
from tests.tiny import make_tiny


def test_a_name_in_models_goes_before_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("models/friends", "friends"):
        (tmp_path / place).mkdir(parents=True)
    assert find("friends", tmp_path / "models") == tmp_path / "models" / "friends"
    assert find("./models", tmp_path / "models").name == "models"


def test_a_word_that_means_nothing_is_told_what_there_is(tmp_path):
    (tmp_path / "marx").mkdir()
    with pytest.raises(CheckpointError, match="no model 'freinds'.*holds marx"):
        find("freinds", tmp_path)


def test_the_list_has_what_opens_and_why_the_rest_does_not(tmp_path):
    make_tiny(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "README.md").write_text("no model")
    listed = dict(open_all(tmp_path))
    assert list(listed) == ["bad", "good"]
    assert isinstance(listed["bad"], CheckpointError)
    assert listed["good"].config.n_layer == 2
