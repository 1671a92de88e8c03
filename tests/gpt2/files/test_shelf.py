import pytest

from app.gpt2 import CheckpointError, ModelNotFound, find, name_of, open_all
from tests.tiny import make_tiny


def test_a_name_in_models_goes_before_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("models/friends", "friends"):
        (tmp_path / place).mkdir(parents=True)
    assert find("friends", tmp_path / "models") == tmp_path / "models" / "friends"
    assert find("./models", tmp_path / "models").name == "models"


def test_a_word_that_means_nothing_is_told_what_there_is(tmp_path):
    (tmp_path / "marx").mkdir()
    with pytest.raises(ModelNotFound, match="no model 'freinds'.*holds: marx"):
        find("freinds", tmp_path)


def test_the_list_has_what_opens_and_why_the_rest_does_not(tmp_path):
    make_tiny(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "README.md").write_text("no model")
    listed = dict(open_all(tmp_path))
    assert list(listed) == ["bad", "good"]
    assert isinstance(listed["bad"], CheckpointError)
    assert listed["good"].config.n_layer == 2


def test_without_a_word_the_tutorials_file_goes_before_the_starter(tmp_path):
    (tmp_path / "starter").mkdir()
    assert find(None, tmp_path).name == "starter"
    (tmp_path / "gpt2-pytorch_model.bin").touch()
    assert find(None, tmp_path).name == "gpt2-pytorch_model.bin"


def test_a_tensorflow_prefix_is_found_by_its_index(tmp_path):
    (tmp_path / "model-4000.index").touch()
    assert find(tmp_path / "model-4000", tmp_path / "models") == tmp_path / "model-4000"


def test_a_model_is_called_by_its_folder_or_its_file(tmp_path):
    assert name_of(tmp_path / "friends") == "friends"
    assert name_of(tmp_path / "gpt2-pytorch_model.bin") == "gpt2-pytorch_model"
