"""`continuo generate` as a person sees it: a real terminal (a pty), real engine, tiny model."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from app import gpt2
from app.gpt2 import TorchModel, continue_ids
from tests.test_main import ROOT, continuo

RED, PLAIN = "\x1b[31m", "\x1b[0m"
PROMPT = "Once upon a time"
HEARS_CTRL_C = ("env", "--default-signal=INT")  # tests in the background are started without


class Terminal:
    """A process with a terminal of its own, read until something appears in it."""

    def __init__(self, *words: object, **env: str) -> None:
        self.seen = ""
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*HEARS_CTRL_C, sys.executable, "-m", "app", *map(str, words)],
            cwd=ROOT, env={**os.environ, **env}, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def read_until(self, pattern: str) -> str:
        while not re.search(pattern, self.seen, re.DOTALL):
            try:
                self.seen += os.read(self.master, 4096).decode("utf-8", "replace")
            except OSError:  # the other end is gone
                raise AssertionError(
                    f"{pattern!r} never came; it ended with {self.seen!r}"
                ) from None
        seen, self.seen = self.seen, ""
        return seen

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        """Its exit code, once it has ended by itself."""
        return self.process.wait(timeout=30)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def plain_text(tiny: Path, n: int) -> str:
    config, weights, tokenizer, _ = gpt2.load(tiny)
    ids = continue_ids(TorchModel(config, weights), tokenizer.encode(PROMPT), n)
    return tokenizer.decode(list(ids))


def test_json_has_what_it_takes_to_have_a_text_again(tiny):
    words = ["generate", "-m", tiny, PROMPT, "--max-tokens", 8, "-n", 2, "--json"]
    first = [json.loads(line) for line in continuo(*words).stdout.splitlines()]
    assert len(first) == 2 and all(row["tokens"] == 8 for row in first)
    assert all(row["finish_reason"] == "length" and row["prompt"] == PROMPT for row in first)
    again = continuo(*words[:-3], "--seed", first[1]["seed"], "--json")
    assert json.loads(again.stdout)["text"] == first[1]["text"]


def test_a_pipe_gets_the_text_alone_and_in_no_colour(tiny):
    words = ["generate", "-m", tiny, PROMPT, "--temperature", 0, "--max-tokens", 8]
    with_prompt = continuo(*words)
    assert with_prompt.returncode == 0, with_prompt.stderr
    assert with_prompt.stdout.startswith(PROMPT) and "\x1b" not in with_prompt.stdout
    without = continuo(*words, "--no-include-prompt").stdout
    assert with_prompt.stdout == PROMPT + without


def test_several_prompts_are_continued_in_their_order_with_a_rule_between(tiny):
    words = ["generate", "-m", tiny, "One", "Two", "--max-tokens", 4, "--seed", 1]
    parts = continuo(*words).stdout.split("=" * 20 + "\n")
    assert [part[:3] for part in parts] == ["One", "Two", ""]


def test_a_prompt_may_come_from_a_file_or_a_pipe_or_not_at_all(tiny, tmp_path):
    (tmp_path / "prompt.txt").write_text("你好", encoding="utf-8")
    words = ["generate", "-m", tiny, "--max-tokens", 3]
    assert continuo(*words, "--file", tmp_path / "prompt.txt").stdout.startswith("你好")
    assert continuo(*words, "--file", "-", input="from a pipe").stdout.startswith("from a pipe")
    assert continuo(*words).returncode == 0


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--temperature", "9"], "--temperature must be from 0 to 5; got 9.0"),
        (["--max-tokens", "-1"], "--max-tokens must be from 0"),
        (["--file", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_a_bad_value_is_one_sentence(tiny, words, sentence):
    done = continuo("generate", "-m", tiny, "x", *words)
    assert done.returncode != 0 and sentence in done.stderr and "Traceback" not in done.stderr


def test_a_long_prompt_is_cut_from_the_left_and_it_says_so(tiny):
    done = continuo("generate", "-m", tiny, "word " * 300, "--max-tokens", 2)
    assert done.returncode == 0
    assert "longer than the window: its first" in done.stderr


def test_a_pipe_that_closes_early_ends_it_quietly(tiny):
    code = f"{sys.executable} -m app generate -m {tiny} hello --max-tokens 2000 | head -c 20"
    done = subprocess.run(["bash", "-c", code], cwd=ROOT, capture_output=True, timeout=120)
    assert done.stderr == b""


def test_beams_find_what_transformers_finds(tiny):
    done = continuo("generate", "-m", tiny, PROMPT, "--beams", 3, "--max-tokens", 5)
    tokenizer = gpt2.Tokenizer.gpt2()
    ids = torch.tensor([tokenizer.encode(PROMPT)])
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tiny)
    (found,) = theirs.generate(
        ids, attention_mask=ids * 0 + 1, num_beams=3, max_new_tokens=5, pad_token_id=50256
    )
    assert done.stdout == tokenizer.decode(found.tolist()) + "\n"


def test_beams_heed_stop_json_and_the_prompts_number(tiny):
    words = ["generate", "-m", tiny, PROMPT, "Hi", "--beams", 2, "--max-tokens", 4, "--json"]
    texts = [json.loads(line)["text"] for line in continuo(*words).stdout.splitlines()]
    assert len(texts) == 2
    stopped = continuo(*words, "--stop", texts[0][2:4]).stdout.splitlines()
    assert json.loads(stopped[0])["text"] == texts[0][: texts[0].index(texts[0][2:4])]


def test_beams_of_no_tokens_write_nothing(tiny):
    assert gpt2.search_beams(gpt2.load(tiny), [1, 2, 3], width=2, max_tokens=0) == []


@pytest.mark.parametrize(
    "words", [["--beams", 2, "--interactive"], ["--interactive", "--out", "x"]]
)
def test_what_excludes_each_other_is_refused(tiny, words):
    done = continuo("generate", "-m", tiny, *words)
    assert done.returncode == 2 and "only one of --beams, --interactive and --out" in done.stderr


def test_a_prompt_file_in_another_encoding_is_a_sentence(tiny, tmp_path):
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    done = continuo("generate", "-m", tiny, "--file", tmp_path / "latin.txt")
    assert done.returncode == 1
    assert done.stderr == f"Error: {tmp_path}/latin.txt is not UTF-8 text; save it as that.\n"


# ---- at a terminal ----


def test_the_continuation_is_in_colour_unless_the_reader_wants_none(tiny):
    words = ["generate", "-m", tiny, PROMPT, "--max-tokens", 3]
    with Terminal(*words) as terminal:
        assert terminal.read_until(re.escape(PLAIN)).startswith(PROMPT + RED)
    with Terminal(*words, NO_COLOR="1") as terminal:
        assert "\x1b" not in terminal.read_until(r"\n")


def test_writing_in_turns_keeps_the_text(tiny, tmp_path):
    words = ["generate", "-m", tiny, "--interactive", "--max-tokens", 4]
    with Terminal(*words, NO_COLOR="1") as terminal:
        terminal.read_until("> ")
        terminal.type("Hello there\n")
        terminal.read_until(r"Hello there\r\n.*\n> ")
        terminal.type("/retry\n")
        terminal.read_until(r"retry\r\n.*\n> ")
        terminal.type("\n")  # go on without more words
        terminal.read_until(r"\n> ")
        terminal.type(f"/save {tmp_path}/story.txt\n")
        terminal.read_until("Saved")
        terminal.type("/quit\n")
        assert terminal.end() == 0
    assert (tmp_path / "story.txt").read_text(encoding="utf-8").startswith("Hello there")


def test_writing_in_turns_begins_with_the_prompt_given_and_saves_at_home(tiny, tmp_path):
    words = ["generate", "-m", tiny, PROMPT, "--interactive", "--max-tokens", 4]
    with Terminal(*words, NO_COLOR="1", HOME=str(tmp_path)) as terminal:
        terminal.read_until(r"\n> ")
        terminal.type("/save ~/story.txt\n")
        terminal.read_until("Saved")
        terminal.type("/quit\n")
        assert terminal.end() == 0
    assert (tmp_path / "story.txt").read_text(encoding="utf-8").startswith(PROMPT)


def test_ctrl_c_stops_the_text_and_keeps_what_came(tiny):
    words = ["generate", "-m", tiny, "--interactive", "--max-tokens", 1_000_000, "--seed", 1]
    with Terminal(*words, NO_COLOR="1") as terminal:
        terminal.read_until("> ")
        terminal.type("Hello there\n")
        terminal.read_until(r"Hello there\r\n.{20}")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until(r"\n> ")
        terminal.type("/text\n")
        assert re.search("Hello there.{20}", terminal.read_until(r"\n> "), re.DOTALL)
        terminal.type("\x04")  # Ctrl-D
        assert terminal.end() == 0
