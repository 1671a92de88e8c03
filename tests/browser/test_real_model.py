"""The page with the real engine on the tiny model: what it writes, replays and reads."""

import pytest
from playwright.sync_api import expect

from app.engine import Engine, EngineOptions


@pytest.fixture(scope="module")
def real_engine(tiny):
    engine = Engine(EngineOptions(models={"tiny": str(tiny)}, precision="float32", threads=1))
    yield engine
    engine.close()


@pytest.fixture
def engine(real_engine):
    return real_engine


def test_a_seed_replays_exactly_beside_other_readers(desk):
    desk.type("On the evening the fair left town").continue_()
    desk.press("Alt+g")
    expect(desk.status).to_have_text("Reproduced exactly ✓")


def test_every_word_has_its_odds_and_every_character_its_place(desk):
    desk.length(24).type("Zwölf 🙂 灯").continue_()
    written = desk.text.removeprefix("Zwölf 🙂 灯")
    assert written and "".join(desk.painted()) == written.replace("\n", "")
    desk.press("Control+.")
    expect(desk.page.locator("#word button").nth(3)).to_contain_text("%")
    desk.press("Escape", "Alt+h")
    expect(desk.page.locator("#heat-legend output")).to_contain_text("bits per character")
    assert desk.painted("heat-5")


def test_past_the_window_the_horizon_moves_with_the_text(desk):
    desk.paste("The lamp went out over the river. " * 40)
    expect(desk.page.locator("#horizon")).to_have_text("128 / 128")
    expect(desk.page.locator("#horizon-line")).not_to_have_attribute("hidden", "")
    desk.continue_()


def test_three_requests_run_side_by_side(desk):
    desk.length(8).type("Once").press("Alt+Shift+Enter")
    desk.idle()
    cards = desk.page.locator("#several article p")
    expect(cards).to_have_count(3)
    assert all(text for text in cards.all_inner_texts())
