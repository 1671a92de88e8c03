"""GPT-2 as an OpenVINO graph with paged attention: the fast path on a CPU.

The same network as torch_model.py, built node by node from the weights; no exporter, no torch.
Shapes in comments: T tokens of the turn, all rows flat; W wanted ones; E width, V vocabulary.

A row's result has to be the same bits alone and in any company, so all arithmetic is in float32
or in whole numbers. (In bfloat16 the kernels that the plugin picks depend on how many rows there
are.) Two more things depended on that number: see `_no_rows` and `_mlp`.
"""

import ctypes
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from app.gpt2.config import Config
from app.gpt2.openvino_backend.runtime import PagedAttention, op, ov
from app.gpt2.paged import CANDIDATES, PAGE, Feed, Logits

Type = ov.Type

EXACT = {"INFERENCE_PRECISION_HINT": "f32"}  # or the plugin would take bfloat16 where it can
# Each token's keys are rounded by themselves; by channels of a page, as the plugin would, what has
# been rounded is rounded again with each token that comes, and prompts could be cut at pages only.
SMALL_CACHE = {"KV_CACHE_PRECISION": "u8", "KEY_CACHE_QUANT_MODE": "BY_TOKEN"}
MOST = 127  # steps either way of zero that an int8 takes

PER_TURN = (  # name, type, rank
    ("input_ids", Type.i64, 1),  # [T]
    ("position_ids", Type.i64, 1),  # [T]
    ("past_lens", Type.i32, 1),  # [rows]
    ("subsequence_begins", Type.i32, 1),  # [rows + 1] where each row's tokens begin
    ("block_indices", Type.i32, 1),  # pages of all rows
    ("block_indices_begins", Type.i32, 1),  # [rows + 1]
    ("max_context_len", Type.i32, 0),
    ("sample_rows", Type.i64, 1),  # [W] which of the T tokens need logits
)


class Quantized(NamedTuple):
    """A matrix as whole numbers and what to multiply them by."""

    whole: np.ndarray  # [out, in] int8, -127 to 127
    scales: np.ndarray  # [out, 1] float16
    by_groups: bool = False  # whether what it is multiplied with is rounded by groups, or by rows


Weights = Mapping[str, np.ndarray | Quantized]


class OpenVINOModel:
    backend = "openvino"
    instruction_set = None
    device = "cpu"
    same_bits = "always"
    longest = 512
    perplexity_loss: float | None = None  # where it has been measured
    notes: Sequence[str] = ()  # what that found

    def __init__(
        self,
        config: Config,
        weights: Weights,
        precision: str = "float32",
        threads: int | None = None,
        probed: Collection[str] = (),
    ) -> None:
        """Matrices in `weights` that are quantized are int8, the others bfloat16 or float32."""
        self.config = config
        self.precision = precision
        self.probed = probed  # matrices whose inputs `forward` keeps, in `inputs`
        self.inputs: dict[str, np.ndarray] = {}
        self.cache_precision = "float32" if precision == "float32" else "int8"
        settings = {
            "NUM_STREAMS": 1,
            **EXACT,
            **({"KV_CACHE_PRECISION": "f32"} if precision == "float32" else SMALL_CACHE),
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        graph = _Graph(config, weights, precision, probed)
        compiled = ov.Core().compile_model(graph.build(), "CPU", settings)
        self._arrays = graph.arrays
        self._threads = compiled.get_property("INFERENCE_NUM_THREADS")
        self._request = compiled.create_infer_request()
        self._caches = [port for port in compiled.inputs if "_cache." in port.any_name]
        self._tensors: list[ov.Tensor] = []
        self.page_bytes = sum(_bytes(port, 1) for port in self._caches)

    def allocate(self, n_pages: int) -> None:
        self._tensors = []
        for port in self._caches:
            tensor = ov.Tensor(port.element_type, _shape(port, n_pages))
            tensor.data[:] = 0  # touched now: memory that is promised is memory that is there
            self._request.set_tensor(port.any_name, tensor)
            self._tensors.append(tensor)

    def copy_page(self, source: int, target: int) -> None:
        for tensor in self._tensors:
            tensor.data[target] = tensor.data[source]

    def forward(self, feeds: Sequence[Feed]) -> Logits:
        for name, array in self._flatten([*feeds, *self._no_rows(feeds)]).items():
            self._request.set_tensor(name, ov.Tensor(array))
        self._request.infer()
        self.inputs = {n: self._request.get_tensor(f"input.{n}").data for n in self.probed}
        logits = self._request.get_tensor("logits").data  # [W, V]
        top_ids = self._request.get_tensor("top_ids").data  # [W, K]
        # The graph's own stable order would be a full sort of the vocabulary: 8 ms a row.
        scores = np.take_along_axis(logits, top_ids, axis=1)
        falling = np.lexsort((top_ids, -scores))
        return Logits(
            logits,
            np.take_along_axis(top_ids, falling, axis=1),
            np.take_along_axis(scores, falling, axis=1),
        )

    def _no_rows(self, feeds: Sequence[Feed]) -> list[Feed]:
        """Rows without a token, where otherwise the plugin would sum in another order.

        With at most as many rows as threads, and a single token in each, the plugin spreads a row's
        pages over the threads and adds up their parts; in any other turn each row's attention is
        computed in one piece. The same bits need the same way every time.
        """
        if len(feeds) > self._threads or any(len(feed.ids) > 1 for feed in feeds):
            return []
        return [Feed(ids=(), past=0, pages=(), wanted=0)] * self._threads

    def _flatten(self, feeds: Sequence[Feed]) -> dict[str, np.ndarray]:
        ids: list[int] = []
        positions: list[int] = []
        pages: list[int] = []
        wanted: list[int] = []
        row_begins, page_begins = [0], [0]
        for feed in feeds:
            end = feed.past + len(feed.ids)
            ids += feed.ids
            positions += range(feed.past, end)
            pages += feed.pages[: -(-end // PAGE)]
            wanted += range(len(ids) - feed.wanted, len(ids))
            row_begins.append(len(ids))
            page_begins.append(len(pages))
        return {
            "input_ids": np.array(ids, np.int64),
            "position_ids": np.array(positions, np.int64),
            "past_lens": np.array([feed.past for feed in feeds], np.int32),
            "subsequence_begins": np.array(row_begins, np.int32),
            "block_indices": np.array(pages, np.int32),
            "block_indices_begins": np.array(page_begins, np.int32),
            "max_context_len": np.array(max(f.past + len(f.ids) for f in feeds), np.int32),
            "sample_rows": np.array(wanted, np.int64),
        }


def _shape(port: ov.ConstOutput, n_pages: int) -> ov.Shape:
    """[pages, heads, 32 tokens, head size or more where scales are stored beside them]"""
    return ov.Shape([n_pages, *(size.get_length() for size in list(port.partial_shape)[1:])])


def _bytes(port: ov.ConstOutput, n_pages: int) -> int:
    return int(np.prod(_shape(port, n_pages))) * port.element_type.size


class _Graph:
    """The network, with parameters for the turn's rows and each layer's pages."""

    def __init__(
        self, config: Config, weights: Weights, precision: str, probed: Collection[str]
    ) -> None:
        self.config = config
        self.weights = weights
        self.precision = precision
        self.arrays: list[np.ndarray] = []  # memory that the compiled graph goes on using
        self.wholes: dict[str, ov.Node] = {}  # one constant each, also where both ends use it
        self.probed = probed
        self.probes: list[ov.Node] = []
        self.inputs = {name: _parameter(name, type, [-1] * r) for name, type, r in PER_TURN}
        self.caches: list[ov.Node] = []

    def build(self) -> ov.Model:
        x = self._embed()  # [T, E]
        for i in range(self.config.n_layer):
            x = op.add(x, self._attend(i, self._norm(x, f"h.{i}.ln_1")))
            x = op.add(x, self._mlp(i, self._norm(x, f"h.{i}.ln_2")))
        x = op.gather(x, self.inputs["sample_rows"], _constant(0, np.int64))  # [W, E]
        x = self._probe(self._norm(x, "ln_f"), "wte.weight")
        logits = self._times(x, "wte.weight")  # [W, V]
        k = min(CANDIDATES, self.config.vocab_size)
        top = op.topk(logits, _constant(k, np.int64), -1, "max", "none", "i32")
        logits.output(0).set_names({"logits"})
        top.output(1).set_names({"top_ids"})
        results = [op.result(logits), op.result(top.output(1)), *map(op.result, self.probes)]
        return ov.Model(results, [*self.inputs.values(), *self.caches], "gpt2")

    def _embed(self) -> ov.Node:
        axis, ids = _constant(0, np.int64), self.inputs["input_ids"]
        head = self.weights["wte.weight"]
        if isinstance(head, Quantized):  # only the rows asked for are ever unpacked
            whole = op.convert(op.gather(self._whole("wte.weight", head), ids, axis), Type.f32)
            scales = op.convert(op.gather(op.constant(head.scales), ids, axis), Type.f32)
            tokens = op.multiply(whole, scales)
        else:
            tokens = op.gather(self._matrix("wte.weight"), ids, axis)
        table = _constant(self.weights["wpe.weight"], np.float32)
        return op.add(tokens, op.gather(table, self.inputs["position_ids"], axis))

    def _attend(self, i: int, x: ov.Node) -> ov.Node:
        c, turn = self.config, self.inputs
        keys = _parameter(f"key_cache.{i}", Type.dynamic, None)
        values = _parameter(f"value_cache.{i}", Type.dynamic, None)
        self.caches += [keys, values]
        qkv = self._linear(x, f"h.{i}.attn.c_attn")  # [T, 3E]
        scale = c.head_size**-0.5 / (i + 1 if c.scale_attn_by_inverse_layer_idx else 1)
        attention = PagedAttention(
            [
                *op.split(qkv, _constant(1, np.int64), 3).outputs(),  # each [T, E]
                keys.output(0),
                values.output(0),
                turn["past_lens"].output(0),
                turn["subsequence_begins"].output(0),
                turn["block_indices"].output(0),
                turn["block_indices_begins"].output(0),
                _constant(scale, np.float32).output(0),
                _constant(0, np.int32).output(0),  # sliding window: none
                _empty(np.float32),  # alibi slopes: none
                turn["max_context_len"].output(0),
                *_unused(),
            ]
        )
        about = attention.get_rt_info()
        about["num_k_heads"] = about["num_v_heads"] = c.n_head
        about["k_head_size"] = about["v_head_size"] = c.head_size
        return self._linear(attention.output(0), f"h.{i}.attn.c_proj")

    def _mlp(self, i: int, x: ov.Node) -> ov.Node:
        hidden = self._linear(x, f"h.{i}.mlp.c_fc")
        # Changes nothing, and keeps gelu out of the matrix's node: with it the plugin takes kernels
        # whose sums depend on how many rows there are, and slower ones, on AVX2 at least.
        hidden = op.gelu(op.maximum(hidden, _constant(-100, np.float32)), "tanh")  # gelu: 0 there
        return self._linear(hidden, f"h.{i}.mlp.c_proj")

    def _linear(self, x: ov.Node | ov.Output, name: str) -> ov.Node:
        y = self._times(self._probe(x, f"{name}.weight"), f"{name}.weight")
        return op.add(y, _constant(self.weights[f"{name}.bias"], np.float32))

    def _times(self, x: ov.Node | ov.Output, name: str) -> ov.Node:
        weight = self.weights[name]
        if isinstance(weight, Quantized) and not weight.by_groups:
            return _in_whole_numbers(x, self._whole(name, weight), weight.scales, sums_fit())
        return op.matmul(x, self._matrix(name), False, self._is_turned(name))

    def _matrix(self, name: str) -> ov.Node:
        weight = self.weights[name]
        if isinstance(weight, Quantized):
            return _unpacked(self._whole(name, weight), weight.scales)
        if self.precision == "float32":
            return self._shared(np.ascontiguousarray(weight, np.float32))
        return _bfloat16(rows(name, weight))

    def _whole(self, name: str, weight: Quantized) -> ov.Node:
        if name not in self.wholes:
            self.wholes[name] = self._shared(weight.whole)
        return self.wholes[name]

    def _is_turned(self, name: str) -> bool:
        """float32 is used as stored, in the file's own memory; the others are made [out, in]."""
        return self.precision != "float32" or name == "wte.weight"

    def _shared(self, array: np.ndarray) -> ov.Node:
        self.arrays.append(array)
        # OpenVINO shares none but writeable arrays, and a mapped file's is not; it never writes.
        memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
        writeable = np.frombuffer(memory, array.dtype).reshape(array.shape)
        return op.constant(writeable, shared_memory=True)

    def _probe(self, x: ov.Node, name: str) -> ov.Node:
        if name in self.probed:
            probe = op.convert(x, Type.f32)  # a node of its own, to have a name of its own
            probe.output(0).set_names({f"input.{name}"})
            self.probes.append(probe)
        return x

    def _norm(self, x: ov.Node, name: str) -> ov.Node:
        axes = _constant([-1], np.int64)
        y = op.mvn(x, axes, True, self.config.layer_norm_epsilon, "inside_sqrt")
        y = op.multiply(y, _constant(self.weights[f"{name}.weight"], np.float32))
        return op.add(y, _constant(self.weights[f"{name}.bias"], np.float32))


# ---- matrices ----


def matrices(config: Config) -> frozenset[str]:
    """All that is multiplied with: four in each layer, and the token table as the head."""
    shapes = config.shapes()
    return frozenset(n for n, shape in shapes.items() if len(shape) == 2) - {"wpe.weight"}


def rows(name: str, matrix: np.ndarray) -> np.ndarray:
    """[out, in] of a matrix as stored: [in, out], but the token table has its outputs as rows."""
    return np.ascontiguousarray(matrix if name == "wte.weight" else matrix.T, np.float32)


def _bfloat16(matrix: np.ndarray) -> ov.Node:
    bits = matrix.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # to the nearest, halves to even
    tensor = ov.Tensor(Type.bf16, ov.Shape(bits.shape))
    tensor.data[:] = rounded.astype(np.uint16).view(np.float16)  # NumPy's name for any 16 bits
    return op.convert(op.constant(tensor), Type.f32)


def _unpacked(whole: ov.Node, scales: np.ndarray) -> ov.Node:
    """The pattern of nodes that the plugin has kernels for. With VNNI they round x by groups."""
    scaled = op.multiply(op.convert(whole, Type.f16), op.constant(scales))
    return op.convert(scaled, Type.f32)


def _in_whole_numbers(
    x: ov.Node | ov.Output, whole: ov.Node, scales: np.ndarray, as_int8: bool
) -> ov.Node:
    """x [T, in] times a matrix [out, in], both as whole numbers: [T, out].

    Each row of x is divided by its own greatest number and rounded to 127 steps either way. Sums
    of whole numbers are the same in any order, so no kernel and no neighbour changes a row's bits:
    those of int8 are whole numbers themselves, and float32 holds them exactly up to 2^24, which is
    127 x 127 a thousand times over, or what 10,000 inputs of ordinary sizes come to.
    """
    greatest = op.reduce_max(op.abs(x), _constant([-1], np.int64), True)  # [T, 1]
    size = op.maximum(greatest, _constant(1e-20, np.float32))  # a row may be all zeros
    if as_int8:
        one, minus_one = _constant(1, np.float32), _constant(-1, np.float32)
        rounded = op.fake_quantize(op.divide(x, size), minus_one, one, minus_one, one, 2 * MOST + 1)
        matrix = op.multiply(op.convert(whole, Type.f32), _constant(scales, np.float32))
        return op.multiply(op.matmul(rounded, matrix, False, True), greatest)
    step = op.multiply(size, _constant(1 / MOST, np.float32))
    rounded = op.round(op.divide(x, step), "half_to_even")
    # Powers of two change no digit; without any, or all alike, the plugin would unpack for good.
    power = np.where(np.arange(len(scales)) % 2, 1.0, 0.5)[:, None]
    sums = op.matmul(rounded, _unpacked(whole, power.astype(np.float16)), False, True)
    return op.multiply(op.multiply(sums, step), _constant((scales / power).T, np.float32))


@functools.cache
def sums_fit() -> bool:
    """Whether this processor multiplies int8 by int8 without error.

    Without VNNI (Intel's before 2019, AMD's before 2022) it adds two products of an unsigned and a
    signed byte in 16 bits and cuts off what is over: 2 x 255 x 127 is.
    """
    x = op.parameter([1, 64], Type.f32)
    largest = op.constant(np.full((64, 64), MOST, np.int8))
    product = _in_whole_numbers(x, largest, np.ones((64, 1), np.float16), as_int8=True)
    compiled = ov.Core().compile_model(ov.Model([product], [x], "largest sums"), "CPU", EXACT)
    [sums] = compiled(np.ones((1, 64), np.float32)).values()
    return np.allclose(sums, 64 * MOST)


def _constant(value: object, dtype: type) -> ov.Node:
    return op.constant(np.ascontiguousarray(value, dtype).reshape(np.shape(value)))


def _empty(dtype: type, rank: int = 1) -> ov.Output:
    return op.constant(np.zeros([0] * rank, dtype)).output(0)


def _parameter(name: str, type: Type, shape: list[int] | None) -> ov.Node:
    node = op.parameter(ov.PartialShape.dynamic() if shape is None else shape, type, name)
    node.output(0).set_names({name})
    return node


def _unused() -> list[ov.Output]:
    """The fifteen inputs of paged attention that GPT-2 has no use for."""
    none, zero = _empty(np.int32), _constant(0, np.int32).output(0)
    return [
        none,  # score aggregation window
        none,  # rotated block indices
        none,  # rotation deltas
        _empty(np.float32),  # rotation table
        _empty(np.float32),  # xattention threshold
        zero,  # xattention block size
        zero,  # xattention stride
        _empty(np.float32, rank=4),  # sinks
        zero,  # adaptive eviction: start size
        none,  # adaptive eviction: evictable sizes
        none,  # adaptive eviction: diversity block indices
        none,  # and where each begins
        none,  # token types
        _empty(np.uint8),  # bias between queries
        none,  # and where each begins
    ]
