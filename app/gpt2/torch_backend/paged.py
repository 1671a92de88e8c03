"""GPT-2 in torch over a paged cache: for a GPU, and wherever there is no compiler.

The network is TorchModel's, except that attention reads and writes pages. Rows that feed one token
go through it together, in a step with few shapes that a GPU can record; so do chunks of prompts,
with one attention for those of similar length. Candidates and draws are computed on the device, and
logits stay there until they are read.

    B rows of one token, filled up to a power of two; T tokens of chunks, all rows flat; W wanted;
    P pages of a row, S tokens in them; R chunks looked at together, Q tokens of the longest;
    E width, H heads, D head size, V vocabulary, K candidates.
"""

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from app.gpt2.config import Config
from app.gpt2.paged import CANDIDATES, PAGE, DeviceLost, DrawRow, Feed, Logits
from app.gpt2.sampling import Draw
from app.gpt2.torch_backend import draws as torch_draws
from app.gpt2.torch_backend.check import NARROW, WIDE, Sample, WrongAnswer, compare
from app.gpt2.torch_backend.draws import N_SETTINGS, NOBODYS
from app.gpt2.torch_backend.graphs import Recorded, send
from app.gpt2.torch_backend.network import TorchModel

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LEAST_PAGES = 4  # pages in a step: 4, 8, 16, 32, for 128 to 1,024 tokens
FIRST_PAGE = 2 + N_SETTINGS  # column of a step's input: id, position, settings, pages
LONGEST = {"cpu": 512, "cuda": 4096}  # tokens of prompts in a turn
# Without cuDNN's, which plans for 0.1 s and more at every new shape, and no chunk is like the last.
CHUNKS_BACKENDS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

# From q [T, H, D], a layer's keys and values in pages [2, N, 32, H, D], and the scale: [T, H, D].
Look = Callable[[Tensor, Tensor, float], Tensor]


class Answers(NamedTuple):
    """The results for wanted tokens, on the device."""

    logits: Tensor  # [W, V] float32
    packed: Tensor  # [W, 2 K + 1] int32: candidates, their scores' bits, the id that was drawn


class Group(NamedTuple):
    """Chunks of similar length, for one attention."""

    queries: Tensor  # [R, Q] which of the T
    pages: Tensor  # [2, R, P] of keys, of values: places in a layer's flat pages
    mask: Tensor | None  # [R, 1, Q, S]; None if each chunk begins its text


class Chunks(NamedTuple):
    """The tokens of chunks and their places, on the device."""

    ids: Tensor  # [T]
    positions: Tensor  # [T]
    slots: Tensor  # [T] each token's place in the cache: page * 32 + place in the page
    wanted: Tensor  # [W] which of the T tokens
    settings: Tensor  # [W, 6] of the draws after them
    groups: list[Group]
    places: Tensor  # [T] where in the groups' results, one after the other


class FarLogits:
    """Logits [W, V] float32 on the device. A row is fetched on access, once."""

    def __init__(self, places: Sequence[tuple[Tensor, int]], n_tokens: int) -> None:
        self.places = places  # of each row: a tensor, and where in it
        self.shape = (len(places), n_tokens)
        self.fetched: dict[int, np.ndarray] = {}

    def __getitem__(self, row: int) -> np.ndarray:
        if row not in self.fetched:
            tensor, at = self.places[row]
            self.fetched[row] = tensor[at].cpu().numpy()
        return self.fetched[row]


class TorchPagedModel:
    backend = "torch"
    instruction_set = None
    perplexity_loss: float | None = None
    notes: Sequence[str] = ()
    same_bits = "same batch"  # torch chooses kernels by the size of the batch
    n_guesses = 0  # a chunk has other bits than single tokens
    draw_row: DrawRow | None = None  # draws what the device does not, if there is a kernel

    def __init__(
        self,
        config: Config,
        weights: Mapping[str, np.ndarray],
        precision: str = "float32",
        device: str = "cpu",
        max_rows: int = 1,
        sample: Sample | None = None,
    ) -> None:
        """With a sample, allocate() checks the device and its steps of up to `max_rows` rows."""
        self.config = config
        self.precision = self.cache_precision = precision
        self.device = device
        self.threads = torch.get_num_threads()
        self.max_rows, self.sample = max_rows, sample
        self.longest = LONGEST.get(device, LONGEST["cpu"])
        self.dtype = DTYPES[precision]
        self.net = TorchModel(config, weights, device, self.dtype)
        self.page_bytes = 2 * config.n_layer * PAGE * config.n_embd * self.dtype.itemsize
        self.n_candidates = min(CANDIDATES, config.vocab_size)
        self.window_pages = -(-config.n_positions // PAGE)

    def allocate(self, n_pages: int) -> None:
        """Allocates one page more, for the silent rows."""
        c = self.config
        shape = (c.n_layer, 2, n_pages + 1, PAGE, c.n_head, c.head_size)
        self.cache = torch.zeros(shape, dtype=self.dtype, device=self.device)
        self._silent_page = n_pages
        self._recorded_step = Recorded(self._step, self.net.device)
        if self.sample is not None:
            self._check_steps(self.sample)

    # ---- before the first turn ----

    def _check_steps(self, sample: Sample) -> None:
        """Raise if the device computes wrongly; if only its recordings do, go without them."""
        step = self._recorded_step
        may_record, step.may_record = step.may_record, False
        self._check_unrecorded(sample)
        step.may_record = may_record
        try:
            for n_rows, n_pages in self._shapes() if may_record else ():
                at = [i % len(sample.ids) for i in range(n_rows)]
                self._check(sample, [(i, i + 1) for i in at], NARROW, n_pages)
                if not step.may_record:
                    break
        except WrongAnswer as error:
            log.warning("Steps are not recorded, so turns are slower: %s", error)
            step.may_record = False
        if may_record and not step.may_record:
            step.forget()
            self._check_unrecorded(sample)

    def _check_unrecorded(self, sample: Sample) -> None:
        """Check chunks from the beginning and from further on, then single tokens."""
        n = len(sample.ids)
        cuts = sorted({0, n // 2, *range(max(0, n - 6), n + 1)})
        for piece in itertools.pairwise(cuts):
            self._check(sample, [piece], WIDE)

    def _check(
        self,
        sample: Sample,
        pieces: Sequence[tuple[int, int]],
        kinds: Sequence[Draw],
        least_pages: int = LEAST_PAGES,
    ) -> None:
        """Compare a turn of these pieces of the sample with the CPU's."""
        pages = range(-(-len(sample.ids) // PAGE))
        feeds = [
            Feed(sample.ids[begin:end], begin, pages, end - begin, kinds[end % len(kinds)])
            for begin, end in pieces
        ]
        places = [at for begin, end in pieces for at in range(begin, end)]
        draws = [draw for feed in feeds for draw in _draws(feed)]
        turn = self._forward(feeds, least_pages)
        compare(turn, draws, sample.logits[places], self.precision)

    def _shapes(self) -> list[tuple[int, int]]:
        """Rows and pages of every step, the largest first, in whose memory the others fit."""
        rows = [1 << i for i in range(_step_up(self.max_rows).bit_length())]
        pages = sorted({min(self.window_pages, LEAST_PAGES << i) for i in range(self.window_pages)})
        return [(n_rows, n_pages) for n_rows in rows[::-1] for n_pages in pages[::-1]]

    def copy_page(self, source: int, target: int) -> None:
        self.cache[:, :, target] = self.cache[:, :, source]

    def forward(self, feeds: Sequence[Feed]) -> Logits:
        try:
            return self._forward(feeds)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(
                "The GPU ran out of memory in this turn. Serve with a smaller --cache-mb, or send "
                "fewer and shorter texts at a time."
            ) from error
        except Exception as error:
            self._check_alive(error)
            raise

    def _check_alive(self, error: Exception) -> None:
        """Some faults of a GPU leave it unusable for the rest of this process."""
        if self.net.device.type != "cuda":
            return
        try:
            torch.cuda.synchronize(self.net.device)
        except Exception:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]  # advice follows
            raise DeviceLost(f"The GPU has stopped answering: {why}") from error

    @torch.inference_mode()
    def _forward(self, feeds: Sequence[Feed], least_pages: int = LEAST_PAGES) -> Logits:
        single = [feed for feed in feeds if len(feed.ids) == 1]
        longer = [feed for feed in feeds if len(feed.ids) > 1]
        parts: list[Answers] = []
        if single:
            answers = Answers(*self._recorded_step(self._pack(single, least_pages)))
            parts.append(Answers(*(tensor[: len(single)] for tensor in answers)))
            self._draw_wide(parts[-1], [_draw_here(feed) for feed in single])
        if longer:
            parts.append(self._read(self._lay_out(longer)))
            self._draw_wide(parts[-1], [draw for feed in longer for draw in _draws(feed)])
        return self._in_order(feeds, parts)

    # ---- rows of one token ----

    def _pack(self, feeds: Sequence[Feed], least_pages: int) -> Tensor:
        """[B, 8 + P]: each row's id, position, settings and pages.

        Silent rows pad B; they write to a page of their own, and their results are not read.
        """
        needed = [feed.past // PAGE + 1 for feed in feeds]
        P = min(self.window_pages, _step_up(max(needed + [least_pages]), LEAST_PAGES))
        given = self._silent_rows(_step_up(len(feeds)), P)
        rows = []
        for feed, n in zip(feeds, needed, strict=True):
            settings = torch_draws.settings(_draw_here(feed) or NOBODYS)
            silent = [self._silent_page] * (P - n)
            rows.append([feed.ids[0], feed.past, *settings, *feed.pages[:n], *silent])
        given[: len(rows)] = rows
        return torch.from_numpy(given)

    def _silent_rows(self, B: int, P: int) -> np.ndarray:
        given = np.full((B, FIRST_PAGE + P), self._silent_page, np.int64)
        given[:, :2] = 0
        given[:, 2:FIRST_PAGE] = torch_draws.settings(NOBODYS)
        return given

    def _step(self, given: Tensor) -> Answers:
        """The results after the B tokens in `given`."""
        ids, positions, pages = given[:, 0], given[:, 1], given[:, FIRST_PAGE:]
        page = pages.gather(1, positions[:, None] // PAGE)[:, 0]  # [B]
        both = self._keys_and_values(pages)
        places = torch.arange(pages.shape[1] * PAGE, device=given.device)  # [S]
        is_later = places > positions[:, None]  # [B, S]
        mask = torch.zeros(is_later.shape, dtype=self.dtype, device=given.device)
        mask = mask.masked_fill(is_later, float("-inf"))[:, None, None]  # [B, 1, 1, S]

        def look(q: Tensor, paged: Tensor, scale: float) -> Tensor:
            k, v = _gather(paged, both)  # [B, H, S, D]
            seen = F.scaled_dot_product_attention(q.unsqueeze(2), k, v, mask, scale=scale)
            return seen.squeeze(2)

        x = self._layers(ids, positions, page * PAGE + positions % PAGE, look)
        return self._head(x, given[:, 2:FIRST_PAGE])

    # ---- chunks of prompts ----

    def _lay_out(self, feeds: Sequence[Feed]) -> Chunks:
        ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        wanted: list[int] = []
        begins: list[int] = []
        for feed in feeds:
            end = feed.past + len(feed.ids)
            begins.append(len(ids))
            ids += feed.ids
            positions += range(feed.past, end)
            slots += [feed.pages[at // PAGE] * PAGE + at % PAGE for at in range(feed.past, end)]
            wanted += range(len(ids) - feed.wanted, len(ids))
        draws = [draw or NOBODYS for feed in feeds for draw in _draws(feed)]
        settings = np.array([torch_draws.settings(draw) for draw in draws], np.int64)
        groups, places, n_before = [], np.zeros(len(ids), np.int64), 0
        for members in _alike(feeds):
            group = self._group([(feeds[i], begins[i]) for i in members])
            R, Q = group.queries.shape
            for r, i in enumerate(members):
                length = len(feeds[i].ids)
                places[begins[i] : begins[i] + length] = n_before + r * Q + np.arange(length)
            n_before += R * Q
            groups.append(group)
        return Chunks(
            self._send(ids),
            self._send(positions),
            self._send(slots),
            self._send(wanted),
            self._send(settings.reshape(-1, N_SETTINGS)),
            groups,
            self._send(places),
        )

    def _group(self, members: list[tuple[Feed, int]]) -> Group:
        Q = max(len(feed.ids) for feed, _ in members)
        P = max(_n_pages(feed) for feed, _ in members)
        queries = np.zeros((len(members), Q), np.int64)
        pages = np.full((len(members), P), self._silent_page, np.int64)
        for r, (feed, begin) in enumerate(members):
            queries[r] = begin + np.minimum(np.arange(Q), len(feed.ids) - 1)
            pages[r, : _n_pages(feed)] = feed.pages[: _n_pages(feed)]
        mask = None
        if any(feed.past for feed, _ in members):
            past = self._send([feed.past for feed, _ in members])
            at = past[:, None] + torch.arange(Q, device=self.net.device)  # [R, Q]
            mask = torch.arange(P * PAGE, device=self.net.device) <= at[:, None, :, None]
        return Group(self._send(queries), self._keys_and_values(self._send(pages)), mask)

    def _read(self, chunks: Chunks) -> Answers:
        """The results after the wanted tokens."""

        def look(q: Tensor, paged: Tensor, scale: float) -> Tensor:
            seen = [_look_back(q, paged, group, scale) for group in chunks.groups]
            return torch.cat(seen)[chunks.places]

        with sdpa_kernel(CHUNKS_BACKENDS):
            x = self._layers(chunks.ids, chunks.positions, chunks.slots, look)
        return self._head(x[chunks.wanted], chunks.settings)

    def _send(self, numbers: Sequence[int] | np.ndarray) -> Tensor:
        return send(torch.tensor(numbers, dtype=torch.int64), self.net.device)

    # ---- the network ----

    def _keys_and_values(self, pages: Tensor) -> Tensor:
        """Indices [2, R, P] of the keys and values of pages [R, P] in a layer's flat pages."""
        return torch.stack([pages, pages + self.cache.shape[2]])

    def _layers(self, ids: Tensor, positions: Tensor, slots: Tensor, look: Look) -> Tensor:
        net = self.net
        x = net.w["wte.weight"][ids] + net.w["wpe.weight"][positions]  # [T, E]
        for i in range(self.config.n_layer):
            x = x + self._attend(i, net.norm(x, f"h.{i}.ln_1"), slots, look)
            x = x + net.mlp(i, net.norm(x, f"h.{i}.ln_2"))
        return x

    def _attend(self, i: int, x: Tensor, slots: Tensor, look: Look) -> Tensor:
        c = self.config
        qkv = self.net.linear(x, f"h.{i}.attn.c_attn").unflatten(1, (3, c.n_head, c.head_size))
        paged = self.cache[i]  # [2, N, 32, H, D]
        paged.flatten(1, 2)[:, slots] = qkv[:, 1:].transpose(0, 1)  # [2, T, H, D]
        scale = c.head_size**-0.5 / (i + 1 if c.scale_attn_by_inverse_layer_idx else 1)
        return self.net.linear(look(qkv[:, 0], paged, scale).flatten(1), f"h.{i}.attn.c_proj")

    def _head(self, x: Tensor, settings: Tensor) -> Answers:
        """Logits of x [W, E], their candidates, and for each row the id that `settings` draw."""
        logits = (self.net.norm(x, "ln_f") @ self.net.w["wte.weight"].T).float()
        ids, scores = likeliest(logits, self.n_candidates)
        drawn = torch_draws.draw_among(ids, scores, settings)
        # All as 32-bit integers, so that one copy brings them to the host.
        return Answers(
            logits, torch.cat([ids.int(), scores.view(torch.int32), drawn.int()[:, None]], dim=1)
        )

    def _draw_wide(self, answers: Answers, draws: Sequence[Draw | None]) -> None:
        """Draw from all logits for the rows that candidates alone might not settle."""
        wide = [
            (at, draw)
            for at, draw in enumerate(draws)
            if draw is not None and not torch_draws.is_narrow(draw, self.n_candidates)
        ]
        if not wide:
            return
        rows = self._send([at for at, _ in wide])
        settings = self._send(np.array([torch_draws.settings(draw) for _, draw in wide], np.int64))
        is_ordered = any(draw.top_k or draw.top_p < 1 for _, draw in wide)
        drawn = torch_draws.draw_from_all(answers.logits[rows], settings, is_ordered)
        answers.packed[rows, -1] = drawn.int()

    # ---- to the host ----

    def _in_order(self, feeds: Sequence[Feed], parts: list[Answers]) -> Logits:
        """Put the results of single tokens and of chunks into the order of the feeds."""
        places = [(logits, at) for logits, _ in parts for at in range(len(logits))]
        single = itertools.count()
        longer = itertools.count(sum(len(feed.ids) == 1 for feed in feeds))
        order: list[int] = []
        for feed in feeds:
            if len(feed.ids) == 1:
                order += [next(single)] * feed.wanted
            else:
                order += itertools.islice(longer, feed.wanted)
        K = self.n_candidates
        packed = np.concatenate([packed.cpu().numpy() for _, packed in parts])  # [W, 2 K + 1]
        packed = packed[order]
        ids, scores, drawn = packed[:, :K], packed[:, K : 2 * K].view(np.float32), packed[:, -1]
        if not np.isfinite(scores[:, :1]).all():
            self._clean(feeds)
        is_drawn = [draw is not None for feed in feeds for draw in _draws(feed)]
        far = FarLogits([places[at] for at in order], n_tokens=self.config.vocab_size)
        return Logits(
            far, ids, scores, np.where(is_drawn, drawn, torch_draws.NOT_DRAWN), self.draw_row
        )

    def _clean(self, feeds: Sequence[Feed]) -> None:
        """Clear nan from pages: even masked it would spoil the next row that uses them."""
        pages = self._send(sorted({page for feed in feeds for page in feed.pages}))
        self.cache[:, :, pages] = self.cache[:, :, pages].nan_to_num_(0.0, 0.0, 0.0)


def likeliest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Ids and scores [W, k] of the greatest in falling order, equals by rising id.

    topk orders equals arbitrarily, so it gets integers that are never equal: the score's bits
    above, and below them how far the id is from the last one.
    """
    last = logits.shape[1] - 1
    bits = (logits + 0.0).view(torch.int32)  # + 0.0 makes -0.0 the 0.0 that it equals
    # The bits of negative numbers are in reverse order.
    rising = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    from_last = torch.arange(last, -1, -1, device=logits.device)
    keys = rising.long().bitwise_left_shift_(32).add_(from_last)  # [W, V], in place: it is large
    ids = last - (keys.topk(k, dim=1).values & 0xFFFFFFFF)
    return ids, logits.gather(1, ids)


def _draws(feed: Feed) -> list[Draw | None]:
    """The draw after each wanted token: only after the last of a feed."""
    return [*[None] * (feed.wanted - 1), _draw_here(feed)] if feed.wanted else []


def _draw_here(feed: Feed) -> Draw | None:
    """The feed's draw if the device can draw it."""
    return feed.draw if feed.draw is not None and torch_draws.can_draw(feed.draw) else None


def _n_pages(feed: Feed) -> int:
    return -(-(feed.past + len(feed.ids)) // PAGE)


def _alike(feeds: Sequence[Feed]) -> Iterator[list[int]]:
    """Group chunks for one attention: beginnings apart, padded to less than twice their size."""
    alike: dict[tuple[bool, int, int], list[int]] = {}
    for i, feed in enumerate(feeds):
        key = feed.past == 0, _step_up(len(feed.ids)), _step_up(_n_pages(feed))
        alike.setdefault(key, []).append(i)
    yield from alike.values()


def _step_up(n: int, least: int = 1) -> int:
    """The first of least, 2 * least, 4 * least, ... that is at least n."""
    return least << max(0, (-(-n // least) - 1).bit_length())


def _gather(paged: Tensor, pages: Tensor) -> Tensor:
    """Keys and values [2, R, H, S, D] of pages [2, R, P], from a layer's [2, N, 32, H, D].

    With one-dimensional indices torch copies whole pages; indexing the second dimension computes
    the address of each number, which took most of a large turn.
    """
    return paged.flatten(0, 1)[pages].flatten(2, 3).transpose(2, 3)


def _look_back(q: Tensor, paged: Tensor, group: Group, scale: float) -> Tensor:
    """Attention of a group's tokens to their own texts: [R * Q, H, D] from q [T, H, D]."""
    q = q[group.queries].transpose(1, 2)  # [R, H, Q, D]
    k, v = _gather(paged, group.pages)  # [R, H, S, D]
    if group.mask is None:  # query i of each chunk sees keys 0 to i, which needs no mask
        k, v = k[:, :, : q.shape[2]], v[:, :, : q.shape[2]]
    seen = F.scaled_dot_product_attention(
        q, k, v, group.mask, is_causal=group.mask is None, scale=scale
    )
    return seen.transpose(1, 2).flatten(0, 1)
