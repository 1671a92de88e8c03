import subprocess
import sys

import pytest

import app
from app.settings import Settings, SettingsError


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A models/ of our own, with the starter in it."""
    (tmp_path / "models" / "starter").mkdir(parents=True)
    monkeypatch.setattr(app, "MODELS", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


def test_without_a_name_the_starter_is_served(models):
    assert app.find_models(()) == {"starter": str(models / "starter")}


def test_but_the_tutorials_file_if_somebody_put_it_there(models):
    (models / "gpt2-pytorch_model.bin").touch()
    assert list(app.find_models(())) == ["gpt2-pytorch_model"]


def test_a_word_is_a_name_or_any_path_a_tensorflow_prefix_included(models, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model-40.index").touch()
    found = app.find_models(("starter", "run", "run/model-40"))
    assert found == {
        "starter": str(models / "starter"),
        "run": str(tmp_path / "run"),
        "model-40": str(tmp_path / "run" / "model-40"),
    }


def test_what_cannot_be_served_is_said(models, tmp_path):
    with pytest.raises(ValueError, match="'nothing'"):
        app.find_models(("nothing",))
    (tmp_path / "other" / "starter").mkdir(parents=True)
    with pytest.raises(SettingsError, match="two models are called 'starter'"):
        app.find_models(("starter", "other/starter"))


def test_the_engine_is_told_what_the_settings_say(models):
    options = app.engine_options(Settings(cache_mb=3, precision="int8", max_queue=5, threads=2))
    assert options.cache_bytes == 3 * 2**20
    assert (options.precision, options.max_queue, options.threads) == ("int8", 5, 2)


def test_a_web_worker_loads_no_heavy_library():
    code = """
import sys, app
from app.engine import connect
from app.settings import Settings
from tests.fake_engine import FakeEngine
app.create_app(Settings(), FakeEngine()).test_client().get("/livez")
print([name for name in ("torch", "transformers", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=app.MODELS.parent, capture_output=True)
    assert done.stdout.strip() == b"[]", done.stderr
