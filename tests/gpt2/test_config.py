import json

import pytest

from app.gpt2.config import Config, ConfigError, read_config, settle

PUBLISHED = {  # width, layers, heads, parameters
    "124M": (768, 12, 12, 124_439_808),
    "355M": (1024, 24, 16, 354_823_168),
    "774M": (1280, 36, 20, 774_030_080),
    "1558M": (1600, 48, 25, 1_557_611_200),
}


@pytest.mark.parametrize("width, layers, heads, parameters", PUBLISHED.values(), ids=PUBLISHED)
def test_the_published_sizes_come_from_the_shapes_alone(width, layers, heads, parameters):
    shapes = Config(n_embd=width, n_layer=layers, n_head=heads, n_inner=4 * width).shapes()
    config = settle(shapes, {})
    assert (config.n_head, config.n_layer, config.n_parameters) == (heads, layers, parameters)


def test_a_config_that_disagrees_with_the_weights_is_an_error_naming_both():
    with pytest.raises(ConfigError, match="says n_layer 24, but the weights have 12"):
        settle(Config().shapes(), {"n_layer": 24})


def test_heads_that_cannot_be_guessed_are_asked_for():
    with pytest.raises(ConfigError, match="config.json with n_head"):
        settle(Config(n_embd=100, n_head=4, n_inner=400).shapes(), {})


def test_told_heads_are_believed():
    assert settle(Config(n_embd=100, n_head=4, n_inner=400).shapes(), {"n_head": 4}).n_head == 4


def test_hparams_and_config_json_say_the_same(tmp_path):
    hparams = {"n_vocab": 50257, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}
    (tmp_path / "hparams.json").write_text(json.dumps(hparams))
    config = {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_config(tmp_path / "hparams.json") == read_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    "said, sentence",
    [
        ({"model_type": "bert"}, "describes a 'bert' model"),
        ({"activation_function": "relu"}, "'relu' is not gelu_new"),
        ({"scale_attn_weights": False}, "not GPT-2's attention"),
        ([], "does not hold a JSON object"),
    ],
)
def test_another_architecture_is_refused_by_name(tmp_path, said, sentence):
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(ConfigError, match=sentence):
        read_config(tmp_path / "config.json")


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match="cannot be divided among n_head 5"):
        Config(n_head=5)
    with pytest.raises(ConfigError, match="n_layer is 0"):
        Config(n_layer=0)
