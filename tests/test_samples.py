import os
import subprocess
import sys

import pytest

from app import continue_texts
from app.engine import Engine, EngineOptions, Params
from app.samples import SamplesError, open_engine, write_samples
from tests.test_main import ROOT, continuo

PROMPTS = ["How are you today?", "Hi i am here"]
PARAMS = Params(seed=7, max_tokens=8)


@pytest.fixture(scope="module")
def engine(tiny):
    with open_engine(tiny) as engine:
        yield engine


def write(engine, path, n=5, **given):
    return list(write_samples(engine, path, PROMPTS, PARAMS, n, **given))


def test_texts_are_continued_as_the_old_notebooks_had_it(tiny):
    texts = continue_texts(tiny, PROMPTS, seed=1, max_tokens=5)
    assert list(texts) == PROMPTS
    assert all(text.startswith(prompt) and text != prompt for prompt, text in texts.items())
    assert continue_texts(tiny, PROMPTS[0], seed=1, max_tokens=5)[PROMPTS[0]] == texts[PROMPTS[0]]


def test_several_texts_of_a_prompt_are_a_list(tiny):
    """The tokens of both were interleaved into one text."""
    one = continue_texts(tiny, PROMPTS, seed=1, max_tokens=5)
    two = continue_texts(tiny, PROMPTS, seed=1, max_tokens=5, n=2)
    assert [texts[0] for texts in two.values()] == list(one.values())
    assert all(len(texts) == 2 and texts[0] != texts[1] for texts in two.values())


def test_a_file_has_n_samples_of_each_prompt(engine, tmp_path):
    path = tmp_path / "samples.txt"
    assert write(engine, path) == list(range(11))
    samples = path.read_text(encoding="utf-8").split("=" * 20 + "\n")
    assert samples.pop() == ""
    assert [sample.startswith(PROMPTS[0]) for sample in samples] == [True] * 5 + [False] * 5
    assert len(set(samples)) == 10
    assert os.listdir(tmp_path) == ["samples.txt"]


def test_a_sample_is_the_row_that_one_request_would_have_given(engine, tmp_path):
    path = tmp_path / "samples.txt"
    write(engine, path, n=3, include_prompt=False, delimiter="|")
    samples = [sample.strip("\n") for sample in path.read_text(encoding="utf-8").split("|")]
    texts = {}
    for event in engine.submit(PROMPTS[0], Params(seed=7, max_tokens=8, n=3)):
        if hasattr(event, "text"):
            texts[event.choice] = texts.get(event.choice, "") + event.text
    assert samples[:3] == [texts[k].strip("\n") for k in range(3)]


def test_what_was_broken_off_goes_on_to_the_same_file(engine, tmp_path):
    whole, broken = tmp_path / "whole.txt", tmp_path / "broken.txt"
    write(engine, whole)
    for done in write_samples(engine, broken, PROMPTS, PARAMS, 5):
        if done == 4:
            break
    with broken.open("ab") as file:
        file.write(b"half a sam")  # as a crash in mid-write would leave it
    assert write(engine, broken)[0] == 4
    assert broken.read_bytes() == whole.read_bytes()


def test_a_file_that_is_there_is_left_alone(engine, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("my own words")
    with pytest.raises(SamplesError, match="mine.txt is there already"):
        write(engine, path)
    assert path.read_text() == "my own words"


def test_another_request_does_not_go_on_in_the_same_file(engine, tmp_path):
    path = tmp_path / "samples.txt"
    next(write_samples(engine, path, PROMPTS, PARAMS, 5))
    with pytest.raises(SamplesError, match="started with other prompts or options"):
        write(engine, path, n=6)


WRITER = """
import sys
from pathlib import Path
from tests.test_samples import open_engine, PARAMS, PROMPTS, write_samples
with open_engine(sys.argv[1]) as engine:
    for done in write_samples(engine, Path(sys.argv[2]), PROMPTS, PARAMS, 30):
        print(done, flush=True)
"""


def test_a_writer_killed_at_work_is_gone_on_from(engine, tiny, tmp_path):
    whole, killed = tmp_path / "whole.txt", tmp_path / "killed.txt"
    write(engine, whole, n=30)
    words = [sys.executable, "-c", WRITER, str(tiny), str(killed)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        while process.stdout.readline() != "9\n":
            assert process.poll() is None
        process.kill()
    assert 9 <= write(engine, killed, n=30)[0] < 60
    assert killed.read_bytes() == whole.read_bytes()


def test_the_command_writes_a_file(tiny, tmp_path):
    path = tmp_path / "samples.txt"
    words = ["--out", path, "-n", 100, "--max-tokens", 3, "--delimiter", "|~|\\n"]
    done = continuo("generate", "Once", "-m", tiny, *words)
    assert done.returncode == 0, done.stderr
    assert "Wrote 100 samples" in done.stderr
    assert path.read_text(encoding="utf-8").count("|~|\n") == 100


def test_more_samples_than_the_engine_will_queue_wait_their_turn(tiny, tmp_path):
    options = EngineOptions(models={"tiny": str(tiny)}, precision="float32", cache_bytes=1,
                            max_queue=2)  # fmt: skip
    engine = Engine(options)
    assert write(engine, tmp_path / "samples.txt", n=20)[-1] == 40
    engine.close()
