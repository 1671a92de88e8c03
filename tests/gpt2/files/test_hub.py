"""Downloads, from a small server that speaks the hub's API."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest

from app import gpt2
from app.gpt2.files import hub as hub_module
from app.gpt2.files.hub import DownloadError, download
from tests.gpt2.files.hub_server import commit, running_hub

ROOT = Path(__file__).parents[3]
TINIEST = Path(__file__).parent / "tensorflow" / "openai"


@pytest.fixture
def hub(monkeypatch):
    with running_hub() as hub:
        point_at(hub.url, monkeypatch)
        yield hub


def point_at(url: str, monkeypatch) -> None:
    """huggingface_hub reads HF_ENDPOINT when it is imported, once for the whole test run."""
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, bytes]:
    """A tiny checkpoint as it would be published."""
    folder = tmp_path_factory.mktemp("published") / "tiniest"
    config, weights, tokenizer, _ = gpt2.load(TINIEST)
    gpt2.save(folder, config, weights, tokenizer)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def large(tiny) -> dict[str, bytes]:
    """13 MB, more than the 10 MB that huggingface_hub writes at a time."""
    return {file.name: file.read_bytes() for file in tiny.iterdir()}


def refusal(name: str, models: Path, revision: str | None = None) -> str:
    with pytest.raises(DownloadError) as caught:
        download(name, models, revision)
    return str(caught.value)


# ---- what is fetched ----


@pytest.mark.parametrize(
    "name, hub_id",
    [
        ("gpt2", "openai-community/gpt2"),
        ("117M", "openai-community/gpt2"),
        ("124M", "openai-community/gpt2"),
        ("355M", "openai-community/gpt2-medium"),
        ("774M", "openai-community/gpt2-large"),
        ("1558M", "openai-community/gpt2-xl"),
        ("distilgpt2", "distilbert/distilgpt2"),
        ("some-one/Their.GPT_2", "some-one/Their.GPT_2"),
    ],
)
def test_a_name_lands_as_a_folder_that_opens(hub, files, tmp_path, name, hub_id):
    hub.publish(hub_id, files)
    folder = download(name, tmp_path / "models")
    assert folder == tmp_path / "models" / hub_id.split("/")[1]
    assert gpt2.load(folder).config == gpt2.load(TINIEST).config
    assert list(folder.parent.iterdir()) == [folder]  # nothing else stays behind


def test_only_what_is_needed_is_fetched_and_safetensors_go_first(hub, files, tmp_path):
    others = ["README.md", "tf_model.h5", "pytorch_model.bin", "model-q4.onnx"]
    hub.publish("a/b", files | dict.fromkeys(others, b"never read"))
    folder = download("a/b", tmp_path)
    assert {file.name for file in folder.iterdir()} == set(files) == set(hub.files_sent())


def test_bin_is_fetched_where_there_is_nothing_better(hub, tmp_path):
    config, weights, tokenizer, _ = gpt2.load(TINIEST)
    gpt2.save(tmp_path / "bin", config, weights, tokenizer, format="bin")
    hub.publish("a/b", {file.name: file.read_bytes() for file in (tmp_path / "bin").iterdir()})
    assert gpt2.load(download("a/b", tmp_path)).facts.format == "PyTorch"


def sharded(files: dict[str, bytes]) -> dict[str, bytes]:
    """The weights in two files, under an index."""
    from safetensors.numpy import load, save

    tensors = list(load(files["model.safetensors"]).items())
    shards = {f"model-0000{i + 1}-of-00002.safetensors": dict(tensors[i::2]) for i in range(2)}
    places = {name: file for file, held in shards.items() for name in held}
    rest = {name: said for name, said in files.items() if name != "model.safetensors"}
    index = {"model.safetensors.index.json": json.dumps({"weight_map": places}).encode()}
    return rest | index | {file: save(held) for file, held in shards.items()}


def test_shards_are_fetched_with_their_index(hub, files, tmp_path):
    hub.publish("a/b", sharded(files))
    weights = gpt2.load(download("a/b", tmp_path)).weights
    np.testing.assert_array_equal(weights["wpe.weight"], gpt2.load(TINIEST).weights["wpe.weight"])


@pytest.mark.parametrize("shard", ["lost.safetensors", "../../outside.safetensors"])
def test_a_shard_that_is_not_published_is_named(hub, files, tmp_path, shard):
    index = json.dumps({"weight_map": {"wte.weight": shard}}).encode()
    published = sharded(files) | {"model.safetensors.index.json": index}
    hub.publish("a/b", published | {"../../outside.safetensors": b"no plain name"})
    assert f"a/b lacks {shard}" in refusal("a/b", tmp_path / "models")
    assert not (tmp_path / "outside.safetensors").exists()


def test_a_revision_is_fetched_whatever_main_has(hub, files, tmp_path):
    hub.publish("a/b", {"README.md": b"moved"})
    hub.publish("a/b", files, revision="v1.0/rc")
    download("a/b", tmp_path, revision="v1.0/rc")
    assert any(path.startswith(f"/a/b/resolve/{commit('v1.0/rc')}/") for path, _ in hub.asked)


def test_the_token_goes_to_the_hub_and_nowhere_else(hub, files, tmp_path, monkeypatch):
    hub.publish("a/b", files)
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    download("a/b", tmp_path)
    for path, said in hub.asked:
        elsewhere = path.startswith("/elsewhere/")
        assert said.get("Authorization") == (None if elsewhere else "Bearer hf_secret"), path


def test_the_command_honours_mirror_and_token_and_says_where_it_landed(hub, files, tmp_path):
    hub.publish("openai-community/gpt2", files)
    hub.token = "hf_secret"
    code = (
        "import pathlib, sys, app.__main__ as m; m.MODELS = pathlib.Path(sys.argv.pop(1)); m.main()"
    )
    command = [sys.executable, "-c", code, tmp_path, "download", "124M"]
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "gpt2") in done.stdout
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert again.returncode == 1
    assert again.stderr.startswith(f"Error: {tmp_path / 'gpt2'} is there already")


def test_a_bar_shows_how_far_it_is(hub, files, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TQDM_POSITION", "-1")  # show it although this is no terminal
    hub.publish("a/b", files)
    download("a/b", tmp_path)
    assert "model.safetensors: 100%" in capsys.readouterr().err


# ---- interruptions ----


def test_a_cut_connection_is_taken_up_where_it_broke(hub, large, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    hub.publish("a/b", large)
    hub.cuts = [11_000_000]
    folder = download("a/b", tmp_path)
    assert (folder / "model.safetensors").read_bytes() == large["model.safetensors"]
    assert hub.ranges() == [None, f"bytes={10 * 2**20}-"]


def test_a_download_given_up_goes_on_when_asked_again(hub, large, tmp_path, monkeypatch):
    """Ctrl-C while huggingface_hub waits to try once more; then the same command again."""

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    hub.publish("a/b", large)
    hub.cuts = [11_000_000]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("huggingface_hub.file_download.time.sleep", interrupt)
        download("a/b", tmp_path)
    assert not (tmp_path / "b").exists()
    (tmp_path / ".b-0123456789ab.download").mkdir()  # of a revision that has moved since
    other_model = tmp_path / ".b-xl-0123456789ab.download"
    other_model.mkdir()
    folder = download("a/b", tmp_path)
    assert (folder / "model.safetensors").read_bytes() == large["model.safetensors"]
    assert hub.ranges()[1] == f"bytes={10 * 2**20}-"
    assert hub.files_sent().count("config.json") == 1  # what was whole is not fetched again
    assert set(tmp_path.iterdir()) == {folder, other_model}


def test_bytes_damaged_on_the_way_are_removed(hub, files, tmp_path):
    hub.publish("a/b", files)
    hub.damage = True
    assert "model.safetensors arrived damaged" in refusal("a/b", tmp_path)
    hub.damage = False
    gpt2.load(download("a/b", tmp_path))


def test_two_downloads_of_one_model_do_not_mix(hub, files, tmp_path):
    hub.publish("a/b", files)
    with hub_module._alone_in(tmp_path / f".b-{commit('main')[:12]}.download"):
        assert "Another download is filling" in refusal("a/b", tmp_path)


def test_another_revision_that_is_being_downloaded_stays(hub, files, tmp_path):
    hub.publish("a/b", files)
    busy, left = (tmp_path / f".b-{digit * 12}.download" for digit in "12")
    left.mkdir()
    with hub_module._alone_in(busy):
        download("a/b", tmp_path)
    assert busy.is_dir() and not left.exists()


# ---- refusals: each is one sentence, and nothing is left in models/ ----


def test_a_folder_of_the_users_is_not_overwritten(hub, files, tmp_path):
    hub.publish("openai-community/gpt2", files)
    (tmp_path / "gpt2").mkdir()
    assert "gpt2 is there already; remove or rename it" in refusal("124M", tmp_path)
    assert list((tmp_path / "gpt2").iterdir()) == [] and hub.asked == []


@pytest.mark.parametrize("name", ["gpt3", "", "..", "../x", "a/b/c", "a/..", "https://x.org/a/b"])
def test_a_name_that_cannot_be_on_the_hub_is_refused_before_asking(hub, tmp_path, name):
    assert "is not a published model; give owner/name, or one of gpt2" in refusal(name, tmp_path)
    assert hub.asked == []


@pytest.mark.parametrize(
    "name, revision, sentence",
    [
        ("no/such", None, "has no model no/such, or shows it only to those who set a HF_TOKEN"),
        ("a/b", "v9", "a/b has no revision 'v9'"),
        ("a--b/c", None, "a--b/c cannot be the name of a model"),
        ("a/images", None, "a/images has no weights that can be opened here (it has README.md)"),
    ],
)
def test_what_the_hub_does_not_have_is_said(hub, files, tmp_path, name, revision, sentence):
    hub.publish("a/b", files)
    hub.publish("a/images", {"README.md": b""})
    assert sentence in refusal(name, tmp_path, revision)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_no_gpt2_is_said_and_removed(hub, files, tmp_path):
    hub.publish("a/b", files | {"config.json": b'{"model_type": "bert"}'})
    assert refusal("a/b", tmp_path) == (
        "a/b was downloaded, but does not open: a/b/config.json describes a 'bert' model; only "
        "GPT-2 can be opened."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_gated_model_says_where_to_accept_its_terms(hub, files, tmp_path):
    hub.publish("a/b", files)
    hub.gated = True
    assert f"a/b is gated: accept its terms at {hub.url}/a/b" in refusal("a/b", tmp_path)


def test_a_wrong_token_is_said(hub, files, tmp_path, monkeypatch):
    hub.publish("a/b", files)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "answered 401 when asked for a/b; does HF_TOKEN hold" in refusal("a/b", tmp_path)


def test_no_network_is_said(tmp_path, monkeypatch):
    with running_hub() as gone:
        pass
    point_at(gone.url, monkeypatch)
    assert f"{gone.url} cannot be reached" in refusal("a/b", tmp_path)


def test_no_network_on_purpose_is_said(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    assert "HF_HUB_OFFLINE is set" in refusal("a/b", tmp_path)
    huggingface_hub.close_session()


def test_an_endpoint_that_is_no_hub_is_said(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tests.gpt2.files.hub_server.json.dumps", lambda said: "<html>Welcome</html>"
    )
    hub.publish("a/b", {})
    assert "does not answer like a hub" in refusal("a/b", tmp_path)


def test_a_file_larger_than_the_free_disk_is_not_begun(hub, files, tmp_path, monkeypatch):
    hub.publish("a/b", files)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 0))
    assert "The disk is too full" in refusal("a/b", tmp_path)
    assert hub.files_sent() == []


def test_a_disk_that_fills_up_meanwhile_is_said(hub, files, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    hub.publish("a/b", files)
    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    assert refusal("a/b", tmp_path).startswith("The disk is full; the same command resumes")
