"""The command line: from a pile of text to a model, its score and its archive."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile

import pytest
import torch
import transformers
from click.testing import CliRunner

import app
from app import MODELS, gpt2
from app.__main__ import main
from app.training import TrainingError, commands, request
from app.training.run import metrics
from app.training.run.checkpoint import sha256
from tests.training.conftest import story

TINY = "--layers 1 --width 32 --heads 2 --window 32 --batch 4 --threads 1 --new-vocabulary 280"
STEPS = "--steps 6 --sample-tokens 5 --evaluate-every 3"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder for models/ and runs/, with some text in it."""
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setattr(request, "ROOT", tmp_path)
    (tmp_path / "texts").mkdir()
    for n in range(20):
        (tmp_path / "texts" / f"{n}.txt").write_text(story(n), encoding="utf-8")
    return tmp_path


def run(home, *words, code=0):
    split = [part for word in words for part in word.split()]
    result = CliRunner().invoke(main, split)
    assert result.exit_code == code, result.output
    return result.output


def train(home, *words, code=0):
    return run(home, f"train {home}/texts --into {home} --name mine", *words, code=code)


def test_train_evaluate_and_export(home):
    said = train(home, TINY, STEPS)
    assert "holds the best weights" in said
    assert "is complete, at step 6; to train further, raise --steps" in train(home, TINY, STEPS)
    assert {path.name for path in (home / "models" / "mine").iterdir()} >= {
        "config.json", "model.safetensors", "tokenizer.json", "training.json", "report.html",
    }  # fmt: skip
    rows = json.loads(run(home, "evaluate mine", f"{home}/texts/1.txt --json"))
    assert [row["model"] for row in rows] == ["mine"] and rows[0]["loss"] > 0
    table = run(home, "evaluate mine")
    assert "its test part" in table
    said = run(home, "export mine --format bin --dtype float16")
    archive = home / "exports" / "mine.tar.gz"
    digest, name = archive.with_name("mine.tar.gz.sha256").read_text(encoding="utf-8").split()
    assert name == archive.name and hashlib.sha256(archive.read_bytes()).hexdigest() == digest
    with tarfile.open(archive) as tar:
        tar.extractall(home / "out", filter="data")
    assert (home / "out" / "mine" / "pytorch_model.bin").is_file()
    assert (home / "out" / "mine" / "report.html").is_file()


@pytest.mark.parametrize(
    "format, file",
    [("safetensors", "model.safetensors"), ("legacy-bin", "gpt2-pytorch_model.bin")],
)
def test_every_export_opens(home, tiny, format, file):
    run(home, f"export {tiny} --format {format} -o {home}/0.tar.gz")
    with tarfile.open(home / "0.tar.gz") as tar:
        tar.extractall(home / "out", filter="data")
    assert gpt2.load(home / "out" / tiny.name / file).config == gpt2.load(tiny).config


def test_the_same_model_packs_to_the_same_bytes(home, tiny):
    for n in (1, 2):
        run(home, f"export {tiny} -o {home}/{n}.tar.gz")
    assert sha256(home / "1.tar.gz") == sha256(home / "2.tar.gz")


def test_a_base_by_name_and_lines_with_marks_of_their_own(home):
    train(home, TINY, STEPS)
    lines = "\n".join(story(n)[:50] for n in range(40))
    (home / "lines.txt").write_text(lines, encoding="utf-8")
    run(home, f"train {home}/lines.txt --into {home} --name lines --from {home}/models/mine",
        "--line-by-line --threads 1 --batch 4", STEPS)  # fmt: skip
    opened = gpt2.load(home / "models" / "lines")
    specials = opened.tokenizer.specials
    assert {"<BOS>", "<EOS>", "<PAD>"} <= specials.keys()
    assert opened.config.vocab_size == opened.tokenizer.n_tokens
    assert opened.config.bos_token_id == specials["<BOS>"]
    assert opened.config.eos_token_ids == (specials["<EOS>"],)
    assert "perplexity" in run(home, f"evaluate lines --line-by-line {home}/lines.txt")


def test_a_prepared_folder_is_a_corpus(home):
    run(home, f"prepare {home}/texts --into {home} --new-vocabulary 280 -o {home}/ready")
    said = run(
        home,
        f"train {home}/ready --into {home} --name again",
        TINY.replace("--new-vocabulary 280", ""),
        STEPS,
    )
    assert "holds the best weights" in said


def test_a_prepared_folder_in_another_vocabulary_is_refused(home):
    """Training went on with ids that meant other words: perplexity 248,919."""
    train(home, TINY, STEPS)
    run(home, f"prepare {home}/texts/1.txt --into {home} --new-vocabulary 270 -o {home}/other")
    words = f"train {home}/other --into {home} --name x --from {home}/models/mine"
    assert "is in another vocabulary than" in run(home, words, STEPS, code=1)
    run(home, f"prepare {home}/texts --into {home} --from {home}/models/mine -o {home}/ready")
    said = run(home, words.replace("other", "ready"), STEPS, "--batch 4 --threads 1")
    assert "holds the best weights" in said


@pytest.mark.parametrize(
    "option", ["--split 98-1-1", "--prose", "--column text", "--new-vocabulary 300", "--eos x"]
)
def test_what_a_prepared_folder_has_settled_cannot_be_said_again(home, option):
    run(home, f"prepare {home}/texts --into {home} --new-vocabulary 280 -o {home}/ready")
    words = f"train {home}/ready --into {home} --name x --size tiny"
    said = run(home, words, option, code=1)
    assert f"{option.split()[0]} cannot change once" in said
    assert "was prepared without --line-by-line" in run(home, words, "--line-by-line", code=1)


def test_files_to_validate_and_test_with(home):
    for n in (50, 51):
        (home / f"{n}.txt").write_text(story(n), encoding="utf-8")
    train(home, TINY, STEPS, f"--validation {home}/50.txt --test {home}/51.txt")
    (row,) = json.loads(run(home, "evaluate mine --json"))
    assert row["bytes"] == len(story(51))
    assert "leave nothing to split" in train(
        home, TINY, f"--validation {home}/50.txt --test {home}/51.txt --split 70-20-10", code=1
    )


def test_the_old_tools_spellings_mean_the_same(home):
    words = ["train", "--train_data_file", f"{home}/texts", "--into", str(home), "--run_name", "x"]
    old = "--max_steps 3 --per_device_train_batch_size=2 --gradient_accumulation_steps 2"
    new = "--steps 3 --batch 2 --accumulate 2"
    run(home, *words, TINY.replace("--batch 4", old), "--sample_length 5 --restore_from fresh")
    config = json.loads((home / "runs" / "x" / "run.json").read_text(encoding="utf-8"))["config"]
    assert (config["steps"], config["batch"], config["accumulate"]) == (3, 2, 2)
    said = run(home, *words, TINY.replace("--batch 4", new), "--sample-tokens 5")
    assert "Going on from step 3." in said


def test_help_has_chapters_and_no_old_spellings():
    said = CliRunner().invoke(main, ["train", "--help"]).output
    for chapter in ("The texts:", "A model from scratch:", "How it learns:", "The run:"):
        assert chapter in said
    assert "[cosine|linear|constant|wsd]" in said and "run_name" not in said


def test_what_is_not_there_is_said_before_anything_is_loaded(home):
    code = (
        "import sys; from app.__main__ import main\ntry: main(['train', 'nosuch', '--name', 'x'])\n"
    )
    code += "except SystemExit: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "There is no file or folder nosuch." in done.stderr and "False" in done.stdout


def test_models_are_compared_on_one_and_the_same_text(home):
    """Each was measured on the test part of its own corpus, side by side."""
    train(home, TINY, STEPS)
    run(home, f"train {home}/texts/1.txt {home}/texts/2.txt --into {home} --name second",
        f"--from {home}/models/mine --threads 1 --batch 4", STEPS)  # fmt: skip
    both = run(home, "evaluate mine -m second --json")
    rows = json.loads(both[both.index("[\n") :])
    assert rows[0]["tokens"] == rows[1]["tokens"] and rows[0]["bytes"] == rows[1]["bytes"]
    assert "second learned from other texts" in run(home, "evaluate mine -m second")
    said = run(home, f"evaluate mine -m {MODELS}/starter", code=1)
    assert "starter has another vocabulary than mine" in said


def test_a_file_without_text_is_left_out_of_a_score(home):
    """A picture in the folder ended everything."""
    train(home, TINY, STEPS)
    (home / "texts" / "cover.png").write_bytes(b"\x89PNG\0\0\0\r" * 99)
    said = run(home, f"evaluate mine {home}/texts")
    assert said.count("Skipped: ") == said.count("cover.png") == 1 and "all" in said


def test_after_a_limit_the_printed_command_goes_on(home):
    """Seconds and patience counted over all sittings: each sitting then took a single step."""
    train(home, TINY, "--steps 5 --sample-tokens 5 --evaluate-every 1 --max-minutes 0 --patience 0")
    told = train(home, TINY, "--steps 9 --sample-tokens 5 --evaluate-every 1 --learning-rate 0",
                 "--patience 2 --fresh")  # fmt: skip
    assert "No better validation 2 times in a row: stopped at step 3 of 9" in told
    (command,) = re.findall("Go on with: continuo (.*)", told)
    assert command.endswith("--patience 4")


def test_a_dry_run_prints_the_plan_and_writes_no_run(home):
    said = train(home, TINY, STEPS, "--dry-run")
    assert "per 100 steps here" in said and not (home / "runs" / "mine").exists()
    assert sorted(path.name for path in (home / "runs").iterdir()) == [".tokens"]


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("--layers 1 --bos <s>", "--bos marks lines; use it with --line-by-line"),
        ("--layers 1 --prose --line-by-line", "--prose is for chapters"),
        ("--layers 1 --encoding klingon", "--encoding is 'klingon'; name one such as"),
        (f"--from {MODELS}/starter --window 64", "--window is for a model from scratch"),
        ("--new-vocabulary 300", "--new-vocabulary is for a model from scratch"),
        (f"{TINY} --validation nosuch.txt", "no file or folder nosuch.txt"),
        ("", "There is no model gpt2 to start from: run `continuo download gpt2`, or name"),
        (f"{TINY} --from starter", "--from has its own shape"),
        (f"{TINY} --split half", "split is 'half'"),
        (f"{TINY} --split nan-1-1", "split is 'nan-1-1'"),
        (f"{TINY} --learning-rate nan", "--learning-rate is nan; it must be at least 0"),
        (f"{TINY} --max-minutes -1", "--max-minutes is -1.0; it must be at least 0"),
        (f"{TINY} --exclude *", "nothing to read"),
        (f"{TINY} --line-by-line --bos=", "--bos, --eos and --pad must not be empty"),
    ],
)
def test_a_mistake_is_one_sentence(home, words, sentence):
    said = train(home, words, code=1)
    assert sentence in said and said.startswith("Error: ") and len(said.splitlines()) == 1


def test_begin_again_only_when_asked(home):
    train(home, TINY, STEPS)
    assert "started with" in train(home, TINY, STEPS, "--dropout 0.5", code=1)
    assert "step 6" in train(home, TINY, STEPS, "--dropout 0.5 --fresh")


def test_a_release_is_cut_from_a_level_run_that_goes_on(home):
    train(home, TINY, STEPS, "--schedule constant")
    cut = f"train --into {home} --name release --cool-down mine"
    said = run(home, cut, "--decay 0.4", "--max-minutes 0")
    assert "Going on from step 6." in said and "stopped at step 7 of 10" in said
    assert "holds the best weights" in train(home, TINY, STEPS, "--schedule constant --steps 8")
    shutil.rmtree(home / "runs" / "mine")  # the release needs it no more
    assert "Going on from step 7." in run(home, cut, "--decay 0.4")
    rates = [row.learning_rate for row in metrics.read(home / "runs" / "release")
             if row.learning_rate is not None]  # fmt: skip
    assert rates[0] > rates[-1] > 0
    assert (
        gpt2.load(home / "models" / "release").config == gpt2.load(home / "models" / "mine").config
    )


def test_what_a_release_cannot_be_cut_from_is_said(home, monkeypatch):
    train(home, TINY, STEPS)  # whose rate has fallen
    monkeypatch.chdir(home)
    for words, sentence in (
        ("--cool-down nosuch", "to cut a release from; name another"),
        ("texts --cool-down mine", "--cool-down reads what mine read, and goes on"),
        ("--cool-down mine --from starter", "leave out --from"),
        ("--cool-down mine --split 90-5-5", "leave out --split"),
        ("--cool-down mine --steps 20", "--cool-down settles --steps by --decay; leave it out"),
        ("--cool-down mine --decay 1", "--decay is 1.0; with --cool-down"),
        ("--cool-down mine --dropout 0.5", "was started with --dropout 0.0, not 0.5"),
        ("--cool-down mine", "not level at"),
        ("--cool-down other --name mine", "was not cut from"),
    ):
        said = run(home, f"train --into {home} --name release", words, code=1)
        assert sentence in said and said.startswith("Error: ") and len(said.splitlines()) == 1
    assert not (home / "models" / "release").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(home, number):
    words = (
        f"train {home}/texts --into {home} --name mine {TINY} --steps 100000 --sample-every 100000"
    )
    words += " --evaluate-every 100000 --dropout 0.1"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "app", *words.split()], stdout=subprocess.PIPE, env=environment
    ) as process:
        for line in process.stdout:
            if b"tokens/s" in line:
                break
        process.send_signal(number)
        rest = process.stdout.read().decode()
    assert process.returncode == 128 + number
    assert "Interrupted: stopped at step" in rest and "Go on with: continuo train" in rest
    (newest,) = (home / "runs" / "mine").glob("step-*")
    rows = metrics.read(home / "runs" / "mine")
    assert int(newest.name[-8:]) >= rows[-1].step >= 10


def test_ctrl_c_while_the_libraries_are_loaded_ends_quietly():
    """torch's import aborted: "terminate called after throwing an instance of ..."."""
    code = "import os, signal; from app.training.commands import ending_at_once\n"
    code += "with ending_at_once():\n    os.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_two_processes_learn_as_one_with_twice_the_batch_and_prepare_once(home):
    words = [f"{home}/texts", *f"--into {home} {STEPS} --precision float32".split(), *TINY.split()]
    pair = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "app", "train", *words, "-", "--name", "pair"],
        input=story(99).encode(), capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert pair.returncode == 0, pair.stderr.decode()
    assert pair.stdout.count(b"Training a vocabulary") == 1
    (home / "texts" / "99.txt").write_text(story(99), encoding="utf-8")
    train(home, TINY, STEPS, "--precision float32 --batch 8")
    ours = [[row.validation_loss for row in metrics.read(home / "runs" / name)
             if row.validation_loss is not None] for name in ("mine", "pair")]  # fmt: skip
    assert ours[0] == pytest.approx(ours[1], rel=1e-5)


def test_a_model_that_no_run_here_made_is_never_overwritten(home, tiny):
    shutil.copytree(tiny, home / "models" / "mine")
    before = sha256(home / "models" / "mine" / "model.safetensors")
    said = train(home, TINY, STEPS, "--fresh", code=1)
    assert "was not trained here; choose another --name" in said
    assert sha256(home / "models" / "mine" / "model.safetensors") == before


def test_a_model_that_has_lost_its_run_is_replaced_only_when_asked(home):
    train(home, TINY, STEPS)
    shutil.rmtree(home / "runs" / "mine")
    assert "or replace it with --fresh" in train(home, TINY, STEPS, code=1)
    assert "holds the best weights" in train(home, TINY, STEPS, "--fresh")


@pytest.mark.parametrize("name", [".", "..", "../x", "a/b", "/tmp/x", ""])
def test_a_name_is_no_path(home, name):
    words = ["train", f"{home}/texts", "--into", str(home), "--name", name, "--fresh"]
    result = CliRunner().invoke(main, words + TINY.split())
    assert result.exit_code == 1 and "give a word such as friends, not a path" in result.output
    assert (home / "texts").is_dir()


def test_lines_are_measured_between_the_models_own_marks(home):
    """The marks were <BOS> and <EOS> whatever the model's were, and ids it does not know."""
    train(home, TINY, STEPS, "--line-by-line --bos <s> --eos </s> --pad <p>")
    assert "perplexity" in run(home, f"evaluate mine {home}/texts/1.txt --line-by-line")
    train(home, TINY, STEPS, "--name plain")
    assert "perplexity" in run(home, f"evaluate plain {home}/texts/1.txt --line-by-line")


def test_without_texts_the_prepared_corpus_is_measured_wherever_it_is(home):
    run(home, f"prepare {home}/texts --into {home} --new-vocabulary 280 -o {home}/ready")
    words = TINY.replace("--new-vocabulary 280", "")
    run(home, f"train {home}/ready --into {home} --name again", words, STEPS)
    assert "its test part" in run(home, "evaluate again")
    shutil.rmtree(home / "ready")
    assert "is gone" in run(home, "evaluate again", code=1)


def test_a_rate_that_is_too_high_is_said(home):
    said = train(home, TINY, STEPS, "--learning-rate 1e12", code=1)
    assert "Repeat the command with a --learning-rate below 1e+12" in said
    assert "--fresh" not in said


def test_a_full_gpu_is_said(home, monkeypatch):
    def fill(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("app.training.train.take_step", fill)
    said = train(home, TINY, STEPS, code=1)
    assert "Repeat the command with half the --batch and twice" in said
    assert "--fresh" not in said


def test_nothing_that_is_there_is_replaced_by_an_archive(home, tiny):
    """`export NAME -o ~/Desktop` replaced the Desktop by an archive."""
    for _ in range(2):
        said = run(home, f"export {tiny} -o {home}/texts", code=_)
    assert "tiny.tar.gz exists; name another --output, or use --force" in said
    assert (home / "texts" / "1.txt").is_file() and (home / "texts" / "tiny.tar.gz").is_file()
    run(home, f"export {tiny} -o {home}/texts --force")
    run(home, f"export {tiny} -o {home}/texts/1.txt", code=1)
    assert (home / "texts" / "1.txt").read_text(encoding="utf-8") == story(1)


def test_nothing_that_is_there_is_replaced_by_a_prepared_corpus(home):
    """`prepare texts -o texts` replaced the only copy of the texts by token files."""
    said = run(home, f"prepare {home}/texts --into {home} -o {home}/texts", code=1)
    assert "texts is there already; name another place, or remove it yourself" in said
    assert not (home / "runs").exists(), "nothing is tokenized for nothing"
    assert (home / "texts" / "1.txt").read_text(encoding="utf-8") == story(1)
    run(home, f"prepare {home}/texts --into {home} -o {home}/ready")
    run(home, f"prepare {home}/texts --into {home} -o {home}/ready")  # the same: nothing to do
    said = run(home, f"prepare {home}/texts/1.txt --into {home} -o {home}/ready", code=1)
    assert "ready is there already" in said


def test_converting_by_force_replaces_models_only(home, tiny):
    run(home, f"convert {tiny} {home}/texts --force", code=1)
    assert (home / "texts" / "1.txt").is_file()


def test_what_prepare_tells_to_do_is_a_command(home):
    """It told `continuo train FOLDER`, which is refused."""
    said = run(home, f"prepare {home}/texts --into {home} -o {home}/ready --new-vocabulary 280")
    (told,) = re.findall("`continuo (.*)`", said)
    assert "Missing" not in run(home, f"{told} --into {home} --dry-run --width 32 --heads 2")


def test_a_vocabulary_smaller_than_asked_for_is_said(home):
    said = run(home, f"prepare {home}/texts --into {home} --new-vocabulary 50000")
    assert "The text is too short for that many tokens" in said


def test_python_trains_as_the_command_does(home):
    told: list[str] = []
    options = {"layers": 1, "width": 32, "heads": 2, "window": 32, "batch": 4, "threads": 1}
    options |= {"new_vocabulary": 280, "steps": 6, "sample_tokens": 5, "into": home}
    model = app.finetune(home / "texts", "mine", tell=told.append, **options)
    assert model == home / "models" / "mine" and gpt2.load(model).config.n_layer == 1
    assert "holds the best weights" in told[-1]
    app.finetune([str(home / "texts")], "mine", tell=told.append, **options | {"steps": 8})
    assert "Going on from step 6." in told
    with pytest.raises(
        TrainingError, match="There is no option colour; see `continuo train --help`"
    ):
        app.finetune(home / "texts", "mine", colour="red")


def test_lines_have_a_padding_token_for_other_trainers_packed_too(home):
    """transformers' tokenizer had no pad_token, though <PAD> was in the vocabulary."""
    train(home, TINY, STEPS, "--line-by-line")
    run(home, f"export mine -o {home}/mine.tar.gz")
    with tarfile.open(home / "mine.tar.gz") as tar:
        tar.extractall(home / "out", filter="data")
    for folder in (home / "models" / "mine", home / "out" / "mine"):
        opened = transformers.AutoTokenizer.from_pretrained(folder)
        assert opened.pad_token == "<PAD>"
        assert transformers.AutoConfig.from_pretrained(folder).pad_token_id == opened.pad_token_id
