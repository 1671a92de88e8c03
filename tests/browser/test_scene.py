"""A scene: the writer speaks as one of the cast, and a model that knows the play as the others."""

import numpy as np
import pytest
from playwright.sync_api import expect

from app import gpt2
from app.engine import Engine, EngineOptions
from app.gpt2 import Card, Config, Tokenizer, card_toml

from .desk import SETTLED, SHOWN, Desk

PLAY = """\
ANNA: Who put the lamp out?
TOM: The wind did.
MR. REED: I saw no wind.
ANNA: Then it was you.
TOM: It was the cat.
ANNA: We have no cat.
"""
CAST = ["ANNA:", "TOM", "MR. REED"]


def make_player(folder, play: str, instead: str):
    """A model that recites a play by heart: what stands at a place depends on the place alone.

    Its layers add nothing; each position holds the next token, and `instead` for second best.
    """
    config = Config(n_positions=128, n_embd=96, n_layer=1, n_head=1, n_inner=8)
    rng = np.random.default_rng(0)
    weights = {name: np.zeros(shape, np.float32) for name, shape in config.shapes().items()}
    tokens = rng.normal(0, 1, weights["wte.weight"].shape).astype(np.float32)
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    weights["wte.weight"] = tokens
    weights["ln_f.weight"] += 1
    tokenizer = Tokenizer.gpt2()
    ids, (second, *_) = tokenizer.encode(play), tokenizer.encode(instead)
    for place in range(config.n_positions):
        following = ids[(place + 1) % len(ids)]
        weights["wpe.weight"][place] = 20 * tokens[following] + 14 * tokens[second]
    gpt2.save(folder, config, weights, tokenizer)
    card = Card(title="The lamp", speakers=CAST, settings={"temperature": 0})
    (folder / "card.toml").write_text(card_toml(card), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def player(tmp_path_factory):
    folder = make_player(tmp_path_factory.mktemp("models") / "lamp", PLAY, "MR")
    engine = Engine(EngineOptions(models={"lamp": str(folder)}, precision="float32", threads=1))
    yield engine
    engine.close()


@pytest.fixture
def engine(player):
    return player


def be(desk: Desk, name: str) -> Desk:
    desk.page.locator("#cast").get_by_role("button", name=name).click()
    return desk


def test_the_writer_types_a_line_and_the_others_answer_until_it_is_their_turn(desk):
    expect(desk.page.locator("#invite")).to_contain_text("Choose who you are: the others answer.")
    be(desk, "ANNA")
    assert desk.text == "ANNA: "
    desk.type("Who put the lamp out?").press("Enter")
    desk.wait_for_text("MR. REED: I saw no wind.\nANNA: ").idle()
    lines = PLAY.splitlines()
    assert desk.text == "\n".join([*lines[:3], "ANNA: "])
    desk.type("Then it was you.").press("Enter")
    desk.wait_for_text("cat.\nANNA: ").idle()
    assert desk.text == "\n".join([*lines[:5], "ANNA: "])


def test_a_scene_is_played_in_other_browsers(person, url):
    person.resize(1200, 800)
    person.goto(url)
    person.wait(SHOWN, "#cast button").click("#cast button")
    person.wait(SETTLED, "ANNA: ").type("Who put the lamp out?").press("Enter")
    lines = PLAY.splitlines()
    person.wait(SETTLED, "\n".join([*lines[:3], "ANNA: "]))
    person.type("Then it was you.").press("Enter")
    person.wait(SETTLED, "\n".join([*lines[:5], "ANNA: "]))


def test_each_speaker_has_a_shade_and_the_writers_own_words_are_ink(desk):
    be(desk, "ANNA").type("Who put the lamp out?").press("Enter")
    desk.wait_for_text("wind.\nANNA: ").idle()
    assert desk.painted("shade-1") == ["ANNA:", "ANNA:"]
    assert desk.painted("shade-2") == ["TOM:", " The wind did."]
    assert desk.painted("shade-3") == ["MR. REED:", " I saw no wind."]
    assert "".join(desk.painted("machine")) == "TOM: The wind did.MR. REED: I saw no wind."
    assert desk.painted("name") == ["ANNA:", "TOM:", "MR. REED:", "ANNA:"]


def test_an_answer_is_never_the_writers_own_line(desk):
    """Tom has spoken, and by heart the next line were Anna's."""
    desk.paste("ANNA: Who put the lamp out?\nTOM: The wind did.\nMR. REED: I saw no wind.")
    be(desk, "ANNA").press("Enter")
    desk.idle()
    desk.page.wait_for_function("document.querySelectorAll('#text p').length > 3")
    answer = desk.text.split("\n")[3]
    assert answer.startswith("MR") and "ANNA:" not in answer


def test_undo_retry_and_plain_lines_go_on_working(desk):
    be(desk, "ANNA").type("Who put the lamp out?").press("Enter")
    whole = desk.wait_for_text("wind.\nANNA: ").idle().text
    desk.press("Control+z", "Control+z")
    assert desk.text == "ANNA: Who put the lamp out?\n"
    desk.press("Control+y", "Control+y")
    assert desk.text == whole
    desk.press("Control+Shift+Enter")
    expect(desk.page.locator("#way")).to_have_text("2 / 2")
    desk.wait_for_text("wind.\nANNA: ").idle()
    assert desk.text == whole
    desk.press("Shift+Enter").type("(a pause)").press("Control+Home", "Enter")
    assert desk.text == f"\n{whole}\n(a pause)"


def test_the_writer_may_pass_and_may_speak_as_another(desk):
    be(desk, "ANNA").type("Who put the lamp out?").press("Enter")
    desk.wait_for_text("wind.\nANNA: ").idle()
    be(desk, "TOM")
    assert desk.text.endswith("wind.\nTOM: ")
    be(desk, "TOM")  # as nobody: the text stays, and Enter is a line's end again
    expect(desk.page.locator("#cast [aria-pressed=true]")).to_have_count(0)
    desk.press("Enter").type("x")
    assert desk.text.endswith("wind.\nTOM: \nx")


def test_the_part_is_kept_with_the_story(desk):
    be(desk, "TOM").type("It was the cat.").saved().page.reload()
    desk.ready()
    expect(desk.page.locator("#cast [aria-pressed=true]")).to_have_text("TOM")


def test_ctrl_enter_and_several_at_once_hand_the_turn_over_too(desk):
    be(desk, "ANNA").type("Who put the lamp out?").press("Alt+Enter")
    desk.idle()
    cards = desk.page.locator("#several article p")
    expect(cards).to_have_count(3)
    expect(cards.first).to_have_text("TOM: The wind did.\nMR. REED: I saw no wind.")
