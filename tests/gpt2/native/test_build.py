"""How the kernel is compiled, kept and found again; and that it touches nothing but its own."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.gpt2.native import build, library
from app.gpt2.native.build import BuildError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def nothing_loaded_before():
    library.load_for.cache_clear()
    yield
    library.load_for.cache_clear()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The library in plain C, compiled once for all of these."""
    return build.build("plain", tmp_path_factory.mktemp("built"))


@pytest.fixture
def alone(tmp_path, monkeypatch, built):
    """A folder that is the only place to look; what would be compiled is taken from `built`."""

    def build_again(isa, folder):
        folder.mkdir(exist_ok=True)
        return Path(shutil.copy(built, folder))

    monkeypatch.setattr(library, "BUILT", tmp_path / "nothing")
    monkeypatch.setattr(library, "build", build_again)
    return tmp_path / "cache"


def test_it_is_built_once_and_found_again(alone, monkeypatch):
    assert library.load_for("plain", alone).native_isa() == b"plain"
    library.load_for.cache_clear()
    monkeypatch.setattr(library, "build", lambda *args: pytest.fail("built again"))
    assert library.load_for("plain", alone).native_isa() == b"plain"


def test_another_process_finds_what_this_one_has_built(tmp_path):
    """The flags' hash went by the order of a set: every start compiled the kernel again."""
    isa = build.runnable()[0]
    path = build.build(isa, tmp_path)
    program = (
        "import sys; from pathlib import Path; from app.gpt2.native.build import find;"
        "print(find(sys.argv[1], [Path(sys.argv[2])]))"
    )
    for hash_seed in "123":
        found = subprocess.run(
            [sys.executable, "-c", program, isa, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
        )
        assert found.stdout.strip() == str(path)


def test_the_best_that_the_processor_has_is_taken(alone, monkeypatch):
    monkeypatch.setattr(library, "runnable", lambda: ["plain"])
    assert library.load(alone).native_isa() == b"plain"


def test_another_source_is_another_library(built, monkeypatch, tmp_path):
    changed = tmp_path / "source"
    shutil.copytree(build.SOURCE, changed, ignore=shutil.ignore_patterns("built", "*.py"))
    with (changed / "matrix.h").open("a") as file:
        file.write("/* changed */\n")
    assert build.find("plain", [built.parent]) == built
    monkeypatch.setattr(build, "SOURCE", changed)
    assert build.find("plain", [built.parent]) is None


@pytest.mark.parametrize("harm", ["cut", "changed", "empty", "not a library"])
def test_a_library_that_is_damaged_is_built_again(alone, built, harm):
    alone.mkdir()
    data = bytearray(built.read_bytes())
    data[len(data) // 2] ^= 1
    text = b"no library"
    harmed = {
        "cut": data[:-100],
        "changed": data,
        "empty": b"",
        "not a library": text + hashlib.sha256(text).digest(),
    }
    (alone / built.name).write_bytes(harmed[harm])
    assert library.load_for("plain", alone).native_isa() == b"plain"


def test_without_a_compiler_what_was_built_is_used(alone, built, monkeypatch):
    alone.mkdir()
    shutil.copy(built, alone)
    monkeypatch.setattr(build, "_compiler", lambda: None)
    assert library.load_for("plain", alone).native_isa() == b"plain"


def test_without_a_compiler_and_a_library_one_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "BUILT", tmp_path)
    monkeypatch.setattr(build, "_compiler", lambda: None)
    with pytest.raises(BuildError, match="There is no C compiler here"):
        library.load(tmp_path)


def test_a_folder_that_cannot_be_written_is_done_without(alone, caplog):
    alone.write_text("no folder")
    assert library.load_for("plain", alone).native_isa() == b"plain"
    assert "cannot be kept" in caplog.text


# ---- under the sanitizers, in processes of their own ----

WORK = """
import sys, ctypes
import numpy as np
from app.gpt2 import Config, NativeModel
from app.gpt2.native.quantize import quantize
from app.gpt2.native import library
from app.gpt2.paged import Feed
from app.gpt2.sampling import Draw
from pathlib import Path
from tests.tiny import random_weights

DRAWS = [
    {}, {"top_k": 200}, {"top_p": 0.3}, {"min_p": 1e-6}, {"typical_p": 0.2},
    {"xtc_probability": 1, "xtc_threshold": 0.01},
    {"top_k": 40, "typical_p": 0.5, "xtc_probability": 1},
]
kernel = library.open_library(Path(sys.argv[1]), sys.argv[2])
for config in (
    Config(vocab_size=77, n_positions=50, n_embd=60, n_layer=2, n_head=5, n_inner=100),
    Config(vocab_size=300, n_positions=320, n_embd=64, n_layer=1, n_head=1, n_inner=256),
):
    weights = random_weights(config)
    n = config.n_positions
    ids = [id % config.vocab_size for id in range(n)]
    n_pages = -(-n // 32)
    for precision in ("float32", "bfloat16", "int8"):
        kept = quantize(config, weights) if precision == "int8" else weights
        model = NativeModel(config, kept, precision, 3, kernel=kernel)
        model.allocate(2 * n_pages)
        one, two = range(n_pages), range(n_pages, 2 * n_pages)
        model.forward([Feed(ids, 0, one, n)])
        for turn in range(4):
            model.forward([Feed(ids[:5], 0, two, 2), Feed(ids[-1:], n - 1, one, 1)])
        for asked in DRAWS:
            draw = Draw(seed=1, position=n, **asked)
            feeds = [Feed(ids[:5], 0, two, 2, draw), Feed(ids[-1:], n - 1, one, 1, draw)]
            turn = model.forward(feeds)
            for some in ([], [0, 7, config.vocab_size - 1], range(config.vocab_size)):
                change = np.array(some, np.int32), np.zeros(len(some), np.float32)
                model.draw_row(draw, turn.logits[1], turn.top_ids[1], turn.top_scores[1], *change)
print("done")
"""


def run_under(sanitizer, isa, folder):
    """The whole forward pass, with odd shapes, in every precision."""
    more = [
        f"-fsanitize={sanitizer}",
        "-fno-omit-frame-pointer",
        "-g",
        "-O1",
        "-fno-tree-vectorize",
    ]
    kernel = build.build(isa, folder, more)
    name = "libtsan.so" if sanitizer == "thread" else "libasan.so"
    compiler = build._compiler()
    runtime = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True)
    command = [sys.executable, "-c", WORK, str(kernel), isa]
    if sanitizer == "thread" and shutil.which("setarch"):
        command = ["setarch", "-R", *command]  # its memory map is fixed
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={
            "LD_PRELOAD": runtime.stdout.strip(),
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
            "TSAN_OPTIONS": "halt_on_error=1",
            "OPENBLAS_NUM_THREADS": "1",
            "PATH": "/usr/bin:/bin",
        },
    )


def test_nothing_outside_an_array_is_touched(tmp_path):
    done = run_under("address,undefined", build.runnable()[0], tmp_path)
    assert done.stdout == "done\n", done.stderr[-4000:]


def test_threads_never_touch_the_same_place_at_once(tmp_path):
    done = run_under("thread", build.runnable()[0], tmp_path)
    assert done.stdout == "done\n", done.stderr[-4000:]
