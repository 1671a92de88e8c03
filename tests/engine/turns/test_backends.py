"""A GPU that fails in every way ends in a sentence and an engine that writes.

The planted one computes on the CPU's tensors and takes the GPU's road: its checks, its recordings.
"""

import contextlib
import logging
import warnings

import pytest
import torch

from app import gpt2
from app.engine import Engine, EngineOptions, Failed, Params
from app.engine.turns import backends
from app.engine.turns.prepare import prepare
from app.gpt2 import DeviceLost, TorchPagedModel
from app.gpt2.torch_backend import device, graphs
from app.gpt2.torch_backend.graphs import Recording
from tests.engine.reading import ids_of, of_kind, read
from tests.gpt2.torch_backend.test_paged import FakeGraph

NOT_USED = "The GPU cannot be used, so the CPU computes: "


class Planted(TorchPagedModel):
    """A GPU with a fault."""

    fault = ""

    def __init__(self, config, weights, precision, device, max_rows, sample):
        if self.fault == "load":
            raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")
        super().__init__(config, weights, precision, "cpu", max_rows, sample)

    def allocate(self, n_pages):
        if self.fault == "allocate":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        super().allocate(n_pages)
        self.device = "planted"

    def _check_steps(self, sample):
        self._recorded_step.may_record = True
        super()._check_steps(sample)

    def _head(self, x, settings):
        if self.fault == "nan":
            x = x * float("nan")
        if self.fault == "wrong":
            x = x.roll(1, dims=-1)
        if self.fault == "first token" and len(x) == 1:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super()._head(x, settings)


def record(function, given, aside, pool):
    if Planted.fault == "capture":
        raise RuntimeError("operation not permitted when stream is capturing")
    made = tuple(torch.zeros_like(tensor) for tensor in function(given))
    graph = FakeGraph(function, given, made)
    if Planted.fault == "recording":
        graph.replay = lambda: None
    return Recording(given, made, graph)


@pytest.fixture
def open_engine(tiny, tmp_path, monkeypatch, caplog):
    """An engine on a machine with such a GPU; the warnings lie in caplog."""
    engines = []

    def open_with(fault):
        monkeypatch.setattr(Planted, "fault", fault)
        options = EngineOptions(
            models={"tiny": str(tiny)}, backend="torch", precision="float32", max_running=2
        )
        with caplog.at_level(logging.WARNING):
            engines.append(Engine(options))
        return engines[-1]

    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(backends, "GPU", tmp_path / "nvidiactl")
    monkeypatch.setattr(device, "check_driver", lambda: None)
    monkeypatch.setattr(device, "check_memory", lambda n_bytes: None)
    monkeypatch.setattr(device, "TorchPagedModel", Planted)
    monkeypatch.setattr(graphs, "record", record)
    yield open_with
    for engine in engines:
        engine.close()


def write(engine):
    return read(engine.submit("The house", Params(max_tokens=5, seed=1, healing=False)))


def test_a_gpu_that_answers_as_the_cpu_does_is_used(open_engine, engine, caplog):
    ours = open_engine("")
    assert ours.info().models[0].device == "planted" and caplog.messages == []
    assert ids_of(write(ours)) == ids_of(write(engine))


@pytest.mark.parametrize(
    "fault, why",
    [
        ("load", "CUDA error: no kernel image is available"),
        ("allocate", "CUDA out of memory. Tried to allocate 2 GiB."),
        ("first token", "CUDA error: an illegal memory access was encountered"),
        ("nan", "its logits in float32 are nan from the CPU's; up to 0.001 is rounding."),
        ("wrong", "its logits in float32 are "),
    ],
)
def test_a_gpu_that_fails_at_start_leaves_the_model_to_the_cpu(
    open_engine, engine, caplog, fault, why
):
    ours = open_engine(fault)
    [sentence] = caplog.messages
    assert sentence.startswith(NOT_USED + why)
    assert ours.info().models[0].device == "cpu"
    assert ids_of(write(ours)) == ids_of(write(engine))


@pytest.mark.parametrize(
    "fault, why",
    [
        ("capture", "Recording a CUDA graph failed, so turns are slower: operation not"),
        ("recording", "Steps are not recorded, so turns are slower: its logits"),
    ],
)
def test_a_gpu_whose_recordings_fail_does_without_them(open_engine, engine, caplog, fault, why):
    ours = open_engine(fault)
    [sentence] = caplog.messages
    assert sentence.startswith(why)
    assert ours.info().models[0].device == "planted"
    assert ids_of(write(ours)) == ids_of(write(engine))


def test_numbers_that_go_wrong_in_mid_turn_fail_who_was_in_it(open_engine, engine, monkeypatch):
    ours = open_engine("")
    monkeypatch.setattr(Planted, "fault", "nan")
    assert "not numbers" in of_kind(write(ours), Failed)[0].message
    monkeypatch.setattr(Planted, "fault", "")
    assert ids_of(write(ours)) == ids_of(write(engine))


def test_memory_that_runs_out_in_mid_turn_fails_who_was_in_it(open_engine, engine, monkeypatch):
    ours = open_engine("")

    def run_out(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr(Planted, "_head", run_out)
        message = of_kind(write(ours), Failed)[0].message
    assert "The GPU ran out of memory in this turn." in message
    assert ids_of(write(ours)) == ids_of(write(engine))


@pytest.mark.parametrize("setting", [{"top_k": 0, "typical_p": 0.8}, {"repetition_penalty": 1.3}])
def test_torchs_logits_are_drawn_from_by_the_kernel_and_as_well_without_it(tiny, setting):
    options = EngineOptions(models={"tiny": str(tiny)}, backend="torch", precision="float32")
    with contextlib.closing(Engine(options)) as engine:
        [lane] = engine._lanes.values()
        assert lane.model.draw_row is not None
        params = Params(seed=1, max_tokens=20, **setting)
        by_kernel = ids_of(read(engine.submit("A", params)))
        lane.model.draw_row = None
        assert ids_of(read(engine.submit("A", params))) == by_kernel


def test_a_gpu_that_is_lost_ends_the_turn_and_then_the_engines_thread(tiny, monkeypatch):
    """The process starts anew, and looks at the GPU anew."""
    engine = Engine(EngineOptions(models={"tiny": str(tiny)}, backend="torch", max_running=2))
    [lane] = engine._lanes.values()
    engine.close()
    lane.model.forward = lose
    events = []
    lane.add(prepare("A", Params(), lane.config, lane.vocabulary, "", events.append, 0.0, 1e12))
    with pytest.raises(DeviceLost):
        lane.step()
    assert isinstance(events[-1], Failed) and "does not answer" in events[-1].message


def lose(feeds):
    raise DeviceLost("The GPU does not answer any more: CUDA error: unspecified launch failure")


# ---- what a GPU lacks, told before it is tried ----


def test_a_torch_for_cpus_only_says_so(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(device.GPUUnusable, match="is built for CPUs only; install its CUDA build"):
        device.check_driver()


def test_an_old_driver_is_told_in_torchs_own_words(monkeypatch):
    def is_available():
        warnings.warn("The NVIDIA driver on your system is too old (found 11040).", stacklevel=1)
        return False

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    with pytest.raises(device.GPUUnusable, match="driver on your system is too old"):
        device.check_driver()


def test_too_little_memory_is_told_in_gigabytes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 2**34))
    with pytest.raises(device.GPUUnusable, match=r"need 2\.1 GB of its memory, and 1\.1 GB are"):
        device.check_memory(2**30)


@pytest.mark.parametrize("has_bfloat16, precision", [(True, "bfloat16"), (False, "float16")])
def test_a_gpu_without_bfloat16_computes_in_float16(tiny, monkeypatch, has_bfloat16, precision):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)
    monkeypatch.setattr(device, "check_driver", lambda: None)
    monkeypatch.setattr(device, "check_memory", lambda n_bytes: None)
    monkeypatch.setattr(device, "TorchPagedModel", Planted)
    checkpoint = gpt2.load(tiny)
    model = gpt2.open_on_gpu(checkpoint.config, checkpoint.weights, "auto", 1, 0)
    assert model.precision == precision
    model.allocate(4)
