"""Scores: how likely texts are after a prompt, from requests that only read them."""

from collections.abc import Sequence
from typing import NamedTuple

from app.engine import EngineError, Params, PromptToken

from ..errors import bad_value
from ..run.lists import collect_all
from ..run.run import Run
from ..service import service


class Coded(NamedTuple):
    ids: list[int]  # of prompt and text together
    n_scored: int  # of the last of these, which reach past the prompt


def score(
    prompt: str, texts: Sequence[str], field: str, top: int, model: str | None
) -> list[list[PromptToken]]:
    """Each text's tokens. `field` is where the caller put the texts."""
    coded = [_encode(prompt, text, field, model) for text in texts]
    params = Params(max_tokens=0, prompt_logprobs=top)
    runs = collect_all([ids for ids, _ in coded], params, model)
    return [_scored(run, n_scored) for run, (_, n_scored) in zip(runs, coded, strict=True)]


def _encode(prompt: str, text: str, field: str, name: str | None) -> Coded:
    here = service()
    model = here.model(name)
    tokenized = here.engine.tokenize(prompt + text, name)
    ids = tokenized.ids
    n_scored = sum(end > len(prompt) for _, end in tokenized.offsets)
    if n_scored >= model.n_positions:
        raise bad_value(
            field,
            f"{field} has a text of {n_scored} tokens after the prompt; it must be fewer than "
            f"the model's window of {model.n_positions}.",
        )
    if n_scored == len(ids):  # the first token is scored too, so something must precede it
        ids = [model.bos_token_id, *ids]
    return Coded(ids[-model.n_positions :], n_scored)


def _scored(run: Run, n_scored: int) -> list[PromptToken]:
    [choice] = run.choices
    if choice.reason == "deadline":
        raise EngineError("The text was not scored within max_time; try a shorter one.")
    if run.started is None or run.started.prompt is None:
        raise EngineError("The score was cancelled.")
    tokens = run.started.prompt
    return tokens[len(tokens) - n_scored :]
