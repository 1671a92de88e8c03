import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from app import gpt2
from app.engine import (
    Ended,
    Engine,
    EngineBusy,
    EngineOptions,
    EngineStopped,
    Failed,
    Finished,
    InvalidParams,
    Params,
    Queued,
    Slid,
    Started,
    Token,
    UnknownModel,
)
from app.engine.engine import _about
from app.engine.turns import choosing
from tests.engine.conftest import ROOT
from tests.engine.reading import ended_of, ids_of, of_kind, read, started_of, text_of
from tests.waiting import wait_until

END = 50256


def ask(engine, prompt="The house", **params):
    return engine.submit(prompt, Params(**{"max_tokens": 12, "seed": 1, "healing": False} | params))


def until(completion, kind):
    """The next event of that kind."""
    while not isinstance(event := completion.next(timeout=30), kind):
        assert event is not None, f"no {kind.__name__} came"
    return event


@pytest.fixture
def small(tiny):
    """Room for one continuation at a time, and for two that wait."""
    options = EngineOptions(
        models={"tiny": str(tiny)}, precision="float32", threads=1, max_running=1, max_queue=2
    )
    engine = Engine(options)
    yield engine
    engine.close()


# ---- a request's life ----


def test_the_events_of_a_request_come_in_order(engine):
    events = read(ask(engine, max_tokens=3))
    assert [type(event) for event in events] == [Started, Token, Token, Token, Ended, Finished]
    assert events[-2] == Ended(0, "length")
    assert events[-1].usage.completion_tokens == 3


def test_the_text_in_pieces_is_the_text_of_the_tokens(engine):
    events = read(ask(engine, max_tokens=60, temperature=2, top_k=0))
    assert text_of(events) == engine.detokenize(ids_of(events))


def test_several_continuations_share_one_reading_of_the_prompt(engine):
    events = read(ask(engine, n=4))
    assert len({tuple(ids_of(events, choice)) for choice in range(4)}) == 4
    assert [event.choice for event in of_kind(events, Ended)] == [0, 1, 2, 3]
    assert events[-1].usage.prompt_tokens == 2


def test_a_drawn_seed_is_reported_and_gives_the_same_text_again(engine):
    first = read(ask(engine, seed=None, n=2))
    seeds = started_of(first).seeds
    assert seeds[0] != seeds[1]
    for choice, seed in enumerate(seeds):
        assert ids_of(read(ask(engine, seed=seed))) == ids_of(first, choice)


def test_an_empty_prompt_starts_from_the_texts_beginning(engine):
    assert ids_of(read(ask(engine, ""))) == ids_of(read(ask(engine, [END])))


def test_no_tokens_at_all_may_be_asked_for(engine):
    events = read(ask(engine, max_tokens=0))
    assert [type(event) for event in events] == [Started, Ended, Finished]


def test_a_prompt_longer_than_the_window_loses_its_beginning_and_says_so(engine):
    text = "".join(f" {word}" for word in range(100, 300))
    events = read(ask(engine, text))
    started, ids = started_of(events), engine.tokenize(text).ids
    assert (started.truncated, started.dropped_tokens) == (True, len(ids) - 128)
    assert text[started.context_start :].startswith(engine.detokenize(ids[-128:]))
    assert ids_of(events) == ids_of(read(ask(engine, ids[-128:])))


def test_a_prompt_longer_than_the_window_keeps_the_beginning_that_it_is_told_to(engine):
    text = "".join(f" {word}" for word in range(100, 300))
    events = read(ask(engine, text, keep=20, healing=False))
    started, ids = started_of(events), engine.tokenize(text).ids
    assert started.dropped_tokens == len(ids) - 128
    assert text[started.context_start :].startswith(engine.detokenize(ids[-108:]))
    assert ids_of(events) == ids_of(read(ask(engine, ids[:20] + ids[-108:], keep=20)))


def test_text_goes_on_past_the_window(engine):
    events = read(ask(engine, max_tokens=300))
    assert len(ids_of(events)) == 300
    slides = of_kind(events, Slid)
    assert [slid.dropped_tokens for slid in slides] == [65] * len(slides)
    assert len(slides) == 3


def test_an_endless_continuation_goes_on_until_it_is_cancelled(engine):
    with ask(engine, max_tokens=None, ignore_eos=True) as completion:
        for _ in range(200):
            until(completion, Token)
        completion.cancel()
        assert until(completion, Ended).reason == "cancelled"
        assert until(completion, Finished)


# ---- what ends a continuation ----


def test_a_stop_text_ends_it_and_is_left_out_unless_wanted(engine):
    text = text_of(read(ask(engine)))
    stop = text[5:9]
    without, with_it = (read(ask(engine, stop=[stop], include_stop=keep)) for keep in (0, 1))
    assert text_of(without) == text[: text.index(stop)]
    assert text_of(with_it) == text[: text.index(stop)] + stop
    assert ended_of(without) == Ended(0, "stop", stop)


def test_a_stop_token_ends_it_and_is_left_out_unless_wanted(engine):
    ids = ids_of(read(ask(engine)))
    without = read(ask(engine, stop_token_ids=[ids[4]]))
    assert ids_of(without) == ids[:4]
    assert (ended_of(without).reason, ended_of(without).stop) == ("stop", ids[4])
    assert ids_of(read(ask(engine, stop_token_ids=[ids[4]], include_stop=True))) == ids[:5]


def test_the_end_of_text_ends_it_unless_ignored(engine):
    wanting = {"logit_bias": {END: 100}}
    events = read(ask(engine, **wanting))
    assert ids_of(events) == []
    assert ended_of(events).reason == "end_of_text"
    assert set(ids_of(read(ask(engine, **wanting, ignore_eos=True)))) == {END}


def test_a_special_tokens_text_as_stop_is_that_token(engine):
    events = read(ask(engine, logit_bias={END: 100}, ignore_eos=True, stop=["<|endoftext|>"]))
    assert ids_of(events) == []
    assert ended_of(events) == Ended(0, "stop", "<|endoftext|>")


def test_no_end_comes_before_the_fewest_tokens(engine):
    ids = ids_of(read(ask(engine)))
    events = read(ask(engine, stop_token_ids=[ids[4]], min_tokens=8))
    assert len(ids_of(events)) >= 8
    assert len(ids_of(read(ask(engine, logit_bias={END: 100}, min_tokens=5)))) == 5


def test_time_runs_out(engine):
    events = read(ask(engine, max_tokens=None, max_time=0.05))
    assert ended_of(events).reason == "deadline"


# ---- what changes the choice ----


def test_banned_tokens_are_not_written(engine):
    ids = ids_of(read(ask(engine)))
    assert ids[0] not in ids_of(read(ask(engine, banned=[ids[0]])))


def test_a_text_of_one_token_can_be_banned(engine):
    word = " house"
    [id] = engine.tokenize(word).ids
    events = read(ask(engine, banned=[word], logit_bias={id: 100}))
    assert id not in ids_of(events)


def test_penalties_keep_a_token_from_coming_again(engine):
    greedy = {"temperature": 0, "max_tokens": 60}
    plain = ids_of(read(ask(engine, **greedy)))
    for penalty in ({"presence_penalty": 10}, {"frequency_penalty": 10}):
        assert len(set(ids_of(read(ask(engine, **greedy, **penalty))))) == 60 > len(set(plain))


def test_a_bias_counts_once_for_each_row_of_a_prompt(engine):
    """Rows that fork draw from the same logits; what one row makes of them is its own."""
    [first] = of_kind(read(ask(engine, temperature=0, max_tokens=1, logprobs=2)), Token)
    best, second = first.top
    not_enough = {second.id: 0.6 * (best.logprob - second.logprob)}  # but twice would be
    events = read(ask(engine, temperature=0, max_tokens=1, n=3, logit_bias=not_enough))
    assert [ids_of(events, choice) for choice in range(3)] == [[best.id]] * 3


def test_logprobs_tell_the_chosen_and_the_likeliest(engine):
    for event in of_kind(read(ask(engine, temperature=0, logprobs=3)), Token):
        assert event.top[0].id == event.id
        assert event.top[0].logprob == event.logprob > event.top[1].logprob
        assert len(event.top) == 3


def test_prompt_logprobs_tell_each_token_but_the_first(engine):
    events = read(ask(engine, "One two three four", prompt_logprobs=2, max_tokens=1))
    prompt = started_of(events).prompt
    assert b"".join(token.bytes for token in prompt) == b"One two three four"
    assert [token.logprob is None for token in prompt] == [True, False, False, False]
    assert [len(token.top) for token in prompt] == [0, 2, 2, 2]


def test_a_sentence_is_finished_beyond_the_length_but_not_for_ever(engine):
    full_stop = engine.tokenize(".").ids[0]
    long = ids_of(read(ask(engine, max_tokens=40)))
    assert full_stop not in long
    finished = {"max_tokens": 10, "finish_sentence": 20}
    assert ids_of(read(ask(engine, **finished))) == long[:30]
    ended = read(ask(engine, **finished, logit_bias={full_stop: 8.0}))
    assert 10 <= len(ids_of(ended)) < 30
    assert text_of(ended).endswith(".") and ended_of(ended).reason == "length"


def test_a_banned_phrase_is_taken_back_and_written_otherwise(engine):
    """What came before it stays, and the same seed gives the same text again."""
    plain = text_of(read(ask(engine, max_tokens=40)))
    phrase = plain[len(plain) // 2 :][:12]
    events = read(ask(engine, max_tokens=40, banned_phrases=[phrase.upper()]))
    text = text_of(events)
    assert len(ids_of(events)) == 40 and engine.detokenize(ids_of(events)) == text
    assert phrase.lower() not in text.lower()
    begin = plain.lower().index(phrase.lower())
    assert text[: begin - 12] == plain[: begin - 12]
    again = read(ask(engine, max_tokens=40, banned_phrases=[phrase.upper()]))
    assert ids_of(again) == ids_of(events)


def test_single_letters_can_be_banned_even_from_what_is_held_at_a_stop(engine):
    banned = {"banned_phrases": ["e", "a", "i", "o", "u"], "max_tokens": 30}
    text = text_of(read(ask(engine, **banned)))
    assert text and not set("aeiou") & set(text.lower())
    stop = text[5:7]
    assert text_of(read(ask(engine, **banned, stop=[stop]))) == text[: text.index(stop)]


def test_a_stop_text_ends_it_though_a_banned_phrase_is_part_of_it(engine):
    """What stops is not written, so nothing banned is."""
    plain = text_of(read(ask(engine, max_tokens=40)))
    at = len(plain) // 2
    stop, phrase = plain[at - 1 : at + 12], plain[at : at + 12]
    events = read(ask(engine, max_tokens=40, stop=[stop], banned_phrases=[phrase]))
    assert (text_of(events), ended_of(events).stop) == (plain[: plain.index(stop)], stop)


# ---- healing ----


def test_a_word_cut_at_the_prompts_end_is_healed(engine):
    """The tokens drawn spell the cut end, which is not repeated in the text."""
    for prompt in ("The hou", "Once upon a ", "a\n", "Cut in the mid"):
        for seed in range(8):
            events = read(ask(engine, prompt, seed=seed, max_tokens=3, healing=True))
            first, *others = ids_of(events)
            written, text = engine.detokenize([first]), text_of(events)
            new = text.removesuffix(engine.detokenize(others))
            assert len(others) == 2
            assert written == new or (prompt + new).endswith(written)


def test_ids_are_not_healed(engine):
    prompt = "The hou"
    ids = engine.tokenize(prompt).ids
    assert ids_of(read(ask(engine, ids))) == ids_of(read(ask(engine, prompt)))


def test_the_token_that_ends_a_text_has_its_logprob(engine):
    """TGI's clients were told null for it."""
    greedy = {"temperature": 0, "max_tokens": 3, "logprobs": 0}
    first, *_ = [event for event in read(ask(engine, **greedy)) if isinstance(event, Token)]
    ended = ended_of(read(ask(engine, **greedy, stop_token_ids=[first.id])))
    assert (ended.reason, ended.logprob) == ("stop", first.logprob)


# ---- scores, tokenize ----


def test_more_scores_than_can_be_read_in_time_are_refused_and_texts_are_not(engine, monkeypatch):
    """They ran all at once, and whoever came with a prompt waited for every one of them."""
    [lane] = engine._lanes.values()
    monkeypatch.setattr(lane.model, "forward", gate := Gate(lane.model.forward))
    lane.speed.scored_per_s = 2.0
    scores = [ask(engine, "a b c " * 8, prompt_logprobs=0) for _ in range(3)]
    with pytest.raises(EngineBusy):
        for _ in range(60):
            scores.append(ask(engine, "a b c " * 8, prompt_logprobs=0))
    text = ask(engine)
    gate.open.set()
    assert ended_of(read(text)).reason == "length"
    for score in scores:
        score.cancel()


class Gate:
    """A model that does nothing until it is open."""

    def __init__(self, forward):
        self.forward, self.open = forward, threading.Event()

    def __call__(self, feeds):
        self.open.wait()
        return self.forward(feeds)


def test_offsets_count_characters(engine):
    coded = engine.tokenize("né 🙂")
    assert "".join("né 🙂"[a:b] for a, b in coded.offsets[:2]) == "né"
    assert engine.detokenize(coded.ids) == "né 🙂"
    assert b"".join(engine.pieces(coded.ids)) == "né 🙂".encode()


# ---- what cannot be done ----

BAD = [
    ({"prompt": [50257]}, "prompt", "prompt holds 50257; this model's tokens are 0 to 50256."),
    ({"prompt": "\ud800"}, "prompt", "half a character"),
    ({"logit_bias": {60000: 1}}, "logit_bias", "logit_bias holds 60000"),
    ({"banned": [60000]}, "banned", "banned holds 60000"),
    ({"banned": ["two words"]}, "banned", "is 2 tokens; it must be one"),
    ({"stop_token_ids": [60000]}, "stop_token_ids", "stop_token_ids holds 60000"),
]


@pytest.mark.parametrize("asked, field, sentence", BAD)
def test_what_only_the_model_can_judge_is_refused_by_name(engine, asked, field, sentence):
    with pytest.raises(InvalidParams, match=sentence) as caught:
        ask(engine, **asked)
    assert caught.value.field == field


def test_more_rows_than_there_is_room_for_are_refused(small):
    with pytest.raises(InvalidParams, match="needs more memory than the server has") as caught:
        ask(small, n=2)
    assert caught.value.field == "n"


def test_an_unknown_model_is_named(engine):
    with pytest.raises(UnknownModel, match="No model 'other' is served; name one of: tiny."):
        engine.submit("a", Params(), model="other")


def test_an_id_in_use_is_refused(engine):
    with engine.submit("a", Params(max_tokens=None), id="mine"):
        with pytest.raises(InvalidParams, match="'mine' is in use"):
            engine.submit("a", Params(), id="mine")


# ---- many at once ----


def test_who_waits_is_told_how_many_are_before_him(small):
    running = ask(small, max_tokens=None)
    until(running, Token)
    waiting = [ask(small, max_tokens=1) for _ in range(2)]
    assert until(waiting[1], Queued).ahead == 1
    running.cancel()
    assert until(waiting[1], Queued).ahead == 0
    assert until(waiting[1], Finished)


def test_a_full_queue_is_refused_with_an_estimate(small):
    with ask(small, max_tokens=None) as running:
        until(running, Token)
        waiting = [ask(small, max_tokens=1) for _ in range(2)]
        with pytest.raises(EngineBusy) as caught:
            ask(small)
        assert caught.value.ahead == 2
        assert caught.value.retry_after > 0
        assert small.stats().outcomes["busy"] == 1
    for completion in waiting:
        assert until(completion, Finished)


def test_what_gives_way_ends_for_who_waits(small):
    giving = ask(small, max_tokens=None, gives_way=True)
    until(giving, Token)
    assert until(ask(small, max_tokens=1), Finished)
    assert until(giving, Ended).reason == "cancelled"


def test_what_gives_way_never_waits(small):
    with ask(small, max_tokens=None) as running:
        until(running, Token)
        with pytest.raises(EngineBusy):
            ask(small, gives_way=True)


def test_what_gives_way_goes_on_where_there_is_room(engine):
    with ask(engine, max_tokens=None) as running:
        until(running, Token)
        assert until(ask(engine, gives_way=True), Ended).reason == "length"


def test_a_long_text_does_not_close_the_door_to_others(engine):
    """Requests that only had to be taken in were counted as waiting for all that ran."""
    asked = [ask(engine, max_tokens=100_000) for _ in range(3)]
    for completion in asked:
        until(completion, Token)
        completion.cancel()


def test_a_queued_request_can_be_cancelled(small):
    with ask(small, max_tokens=None) as running:
        until(running, Token)
        queued = ask(small)
        queued.cancel()
        assert ended_of(read(queued)).reason == "cancelled"
        assert not small.cancel(queued.id)


def test_nothing_is_told_after_a_cancel_but_the_end(engine):
    completion = ask(engine, max_tokens=None)
    until(completion, Token)
    completion.cancel()
    n_before = completion.unread
    rest = read(completion)
    assert len(of_kind(rest[n_before:], Token)) <= 1
    assert ended_of(rest).reason == "cancelled"


def test_a_fault_in_one_requests_sampling_fails_that_request_alone(engine, monkeypatch):
    whole = choosing.Adjuster.change

    def faulty(adjuster, logits):
        if adjuster._row.seed == 666:
            raise ZeroDivisionError("a planted fault")
        return whole(adjuster, logits)

    monkeypatch.setattr(choosing.Adjuster, "change", faulty)
    here = {"repetition_penalty": 1.1}
    others = [ask(engine, seed=seed, max_tokens=20, **here) for seed in range(3)]
    failed = ask(engine, seed=666, **here)
    assert "a planted fault" in until(failed, Failed).message
    for completion in others:
        assert ended_of(read(completion)).reason == "length"


def test_a_fault_of_the_model_fails_its_requests_and_the_next_are_served(engine, monkeypatch):
    [lane] = engine._lanes.values()
    with monkeypatch.context() as planted:
        planted.setattr(lane.model, "forward", lambda feeds: 1 / 0)
        assert until(ask(engine), Failed).kind == "engine_error"
    assert ended_of(read(ask(engine))).reason == "length"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_the_engines_thread_dies_its_readers_are_told(tiny, monkeypatch):
    """They waited for ever, and the engine said that it was ready."""
    engine = Engine(EngineOptions(models={"tiny": str(tiny)}, precision="float32"))
    endless = ask(engine, max_tokens=None)
    until(endless, Token)
    monkeypatch.setattr(engine._lanes["tiny"].scheduler, "plan", lambda: 1 / 0)
    assert "division by zero" in until(endless, Failed).message
    assert engine.state().name == "failed"
    with pytest.raises(EngineStopped, match="division by zero"):
        ask(engine)
    engine.close()


def test_a_turn_that_does_not_end_is_noticed(engine, monkeypatch):
    [lane] = engine._lanes.values()
    monkeypatch.setattr(lane.model, "forward", gate := Gate(lane.model.forward))
    monkeypatch.setattr("app.engine.engine.STUCK_S", 0.0)
    running = ask(engine)
    wait_until(lambda: engine.state().name == "stuck")
    gate.open.set()
    assert ended_of(read(running)).reason == "length"


def test_the_same_request_from_many_threads_gives_the_same_text(engine):
    texts = []
    threads = [
        threading.Thread(target=lambda: texts.append(text_of(read(ask(engine))))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(texts)) == 1


# ---- several models, opening and closing ----


def test_two_models_are_served_by_their_names(tiny, tmp_path):
    checkpoint = gpt2.load(tiny)
    config = checkpoint.config
    weights = {name: -checkpoint.weights[name] for name in config.shapes()}
    gpt2.save(tmp_path / "other", config, weights, checkpoint.tokenizer)
    options = EngineOptions(
        models={"tiny": str(tiny), "other": str(tmp_path / "other")}, precision="float32"
    )
    engine = Engine(options)
    assert engine.models() == ["tiny", "other"]
    both = [engine.submit("The house", Params(seed=1, max_tokens=9), m) for m in engine.models()]
    ours, theirs = (ids_of(read(completion)) for completion in both)
    assert ours != theirs
    assert ids_of(read(engine.submit("The house", Params(seed=1, max_tokens=9)))) == ours
    assert [model.name for model in engine.info().models] == ["tiny", "other"]
    engine.close()


def test_closing_lets_what_runs_end_within_its_grace(tiny):
    engine = Engine(EngineOptions(models={"tiny": str(tiny)}))
    running = ask(engine, max_tokens=50)
    engine.close(grace=60)
    assert ended_of(read(running)).reason == "length"


def test_closing_without_grace_fails_what_runs_and_takes_nothing_new(tiny):
    engine = Engine(EngineOptions(models={"tiny": str(tiny)}))
    endless = ask(engine, max_tokens=None)
    until(endless, Token)
    engine.close()
    assert of_kind(read(endless), Failed)[0].kind == "engine_stopped"
    with pytest.raises(EngineStopped):
        ask(engine)
    assert engine.state().name == "failed"
    engine.close()


def test_torch_serves_the_same_interface(tiny, engine):
    ours = Engine(EngineOptions(models={"tiny": str(tiny)}, backend="torch", precision="float32"))
    greedy = {"temperature": 0, "max_tokens": 150}
    assert ids_of(read(ask(ours, **greedy))) == ids_of(read(ask(engine, **greedy)))
    assert ours.info().models[0].same_bits == "same batch"
    ours.close()


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_it_says_how_many_threads_compute(tiny, monkeypatch, backend):
    """It named all cores of the machine, whatever a container's quota left."""
    before = torch.get_num_threads()
    monkeypatch.setattr("app.gpt2.native.model.n_cores", lambda: 1)
    monkeypatch.setattr("os.cpu_count", lambda: 32)
    monkeypatch.setattr("app.engine.turns.backends.GPU", Path("/dev/none"))
    options = EngineOptions(models={"tiny": str(tiny)}, backend=backend, precision="float32")
    engine = Engine(options)
    assert engine.info().threads == 1
    engine.close()
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "text, about",
    [('{"about": "Lullabies."}', "Lullabies."), ('{"about": 5}', ""), ("not JSON", ""), ("{}", "")],
)
def test_a_model_says_what_it_was_trained_on(tmp_path, text, about):
    (tmp_path / "training.json").write_text(text, encoding="utf-8")
    assert _about(tmp_path) == about


IN_A_FORK = """
import os, sys
from app.engine import Engine, EngineOptions, EngineStopped, Params
engine = Engine(EngineOptions(models={"tiny": sys.argv[1]}, precision="float32", threads=1))
if os.fork() == 0:
    try:
        print(engine.state().name, flush=True)
        engine.submit("The house", Params())
    except EngineStopped as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""


def test_in_a_fork_an_engine_says_that_it_stayed_behind(tiny):
    """As an app with an engine of its own under `gunicorn --preload`: it took what no thread read,
    and its readers heard nothing."""
    command = [sys.executable, "-c", IN_A_FORK, str(tiny)]
    state, sentence = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    assert state == "failed" and "make the engine after the fork" in sentence
