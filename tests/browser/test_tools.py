"""What the page shows of the model, and the controls."""

import re

from playwright.sync_api import expect

from app.gpt2 import Card

from .desk import Desk

POINT_IN_WORD = """() => {
  const range = new Range();
  range.setStart(document.querySelector('#text p').firstChild, 6);
  range.setEnd(range.startContainer, 9);
  const {x, y} = range.getBoundingClientRect();
  return [x + 4, y + 8];
}"""


def test_a_machine_word_shows_what_else_it_could_have_been_and_branches(desk, engine):
    engine.story = [" upon", " a", " time"]
    desk.length(3).type("Once").continue_().press("ArrowLeft", "ArrowLeft", "Control+.")
    word = desk.page.locator("#word")
    expect(word).to_be_visible()
    assert desk.painted("word") == [" time"]
    expect(word.locator("button").first).to_contain_text("%")
    choice = word.locator("button:not(.drawn)").first
    chosen = choice.locator("span").inner_text()
    engine.story = ["!"]
    choice.click()
    desk.wait_for_text(f"Once upon a {chosen}!" if chosen.isalpha() else "Once upon a").idle()
    expect(desk.page.locator("#way")).to_have_text("2 / 2")
    desk.press("Alt+ArrowLeft")
    assert desk.text == "Once upon a time"


def test_another_word_can_be_taken_while_the_machine_still_writes(desk, engine):
    engine.allow(4)
    desk.length(12).type("Once").press("Control+Enter")
    desk.wait_for_tokens(4).press("Control+.")
    desk.page.locator("#word button:not(.drawn)").first.click()
    engine.flow()
    desk.wait_for_tokens(12).idle()
    expect(desk.page.locator("#way")).to_have_text("2 / 2")


def test_hovering_shows_the_list_and_leaving_takes_it_away(desk, engine):
    engine.story = [" lamplighter"]
    desk.length(1).type("The").continue_()
    desk.page.mouse.move(*desk.page.evaluate(POINT_IN_WORD))
    expect(desk.page.locator("#word")).to_be_visible()
    assert "lamplighter" in desk.page.locator("#word .drawn").inner_text()
    desk.page.mouse.move(5, 5)
    expect(desk.page.locator("#word")).to_be_hidden()


def test_a_finger_on_a_word_opens_the_list_as_a_sheet(browser, url, engine):
    engine.story = [" lamplighter"]
    context = browser.new_context(
        viewport={"width": 375, "height": 700}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(url)
    desk = Desk(page).ready().length(1)
    desk.type("The").continue_()
    page.touchscreen.tap(*page.evaluate(POINT_IN_WORD))
    expect(page.locator("#word .drawn")).to_contain_text("lamplighter")
    page.wait_for_timeout(500)  # a hover would be over by now
    assert page.locator("#word").bounding_box()["width"] > 340
    context.close()


def test_several_at_once_stream_side_by_side_and_a_key_takes_one(desk, engine):
    engine.allow(3)
    desk.type("Once").press("Alt+Enter")
    cards = desk.page.locator("#several article")
    expect(cards).to_have_count(3)
    desk.wait_for_tokens(9)
    assert desk.text == "Once"
    assert cards.first.locator("p").text_content()[0] != " "  # it stands for itself
    engine.flow()
    desk.idle()
    second = cards.nth(1).locator("p").inner_text()
    desk.press("2")
    expect(desk.page.locator("#several")).to_be_hidden()
    desk.wait_for_text(second)
    expect(desk.page.locator("#way")).to_have_text("2 / 3")
    assert desk.page.evaluate("document.activeElement.id") == "text"


def test_candidates_of_one_story_do_not_stay_over_another(desk):
    desk.type("Once").press("Alt+Enter")
    expect(desk.page.locator("#several article")).to_have_count(3)
    desk.press("Alt+n")
    expect(desk.page.locator("#several")).to_be_hidden()
    assert desk.text == ""


def test_several_temperatures_share_a_seed_and_wait_for_the_first(desk, engine):
    engine.begin.clear()
    desk.type("Once").press("Alt+Shift+Enter")
    expect(desk.page.locator("#several article")).to_have_count(3)
    expect(desk.status).to_have_text("2 ahead, about 3 s")
    assert len(engine.requests) == 1
    engine.begin.set()
    desk.idle()
    first, *later = [params.temperature for _, params in engine.requests]
    assert (first, sorted(later)) == (0.4, [0.7, 1.1])  # the later two are on their way at once
    assert len({params.seed for _, params in engine.requests}) == 1


def test_the_tree_shows_every_branch_and_keys_walk_it(desk):
    desk.type("Once").continue_()
    first = desk.text
    desk.press("Control+Shift+Enter")
    desk.wait_for_other_text(first).idle()
    dots = desk.page.locator("#map .dot")
    expect(dots).to_have_count(4)
    desk.page.locator('#map .dot[aria-current="true"]').focus()
    desk.press("ArrowLeft")
    assert desk.text == first
    desk.press("ArrowUp")
    assert desk.text == "Once"
    expect(desk.page.locator("#map")).to_contain_text("2 continuations from here")
    assert "dot" in desk.page.evaluate("document.activeElement.className")


def test_heat_shades_every_word_and_measures_a_selection(desk):
    desk.type("Nobody had seen the lamp go out that night.").continue_()
    desk.press("Alt+h")
    legend = desk.page.locator("#heat-legend output")
    expect(legend).to_contain_text("bits per character")
    shaded = [word for level in range(1, 6) for word in desk.painted(f"heat-{level}")]
    assert any(word.strip() in "Nobody had seen the lamp go out that night." for word in shaded)
    desk.press("Control+Home", "Control+Shift+ArrowRight", "Control+Shift+ArrowRight")
    expect(legend).to_contain_text("in the selection")
    desk.press("Alt+h")
    assert desk.painted("heat-3") == []


def test_heat_is_a_table_too(desk):
    desk.type("Nobody had seen the lamp.").continue_().press("Alt+l")
    rows = desk.page.locator("table.heat tbody tr")
    expect(rows.nth(1)).to_contain_text("had")
    expect(rows.nth(1)).to_contain_text("you")
    expect(rows.last).to_contain_text("machine")
    expect(rows.nth(1).locator("td").first).to_have_text(re.compile(r"\d"))


def test_the_horizon_counts_as_one_types_and_marks_the_text(desk):
    desk.type("one two three")
    expect(desk.page.locator("#horizon")).to_have_text("3 / 1,024")
    expect(desk.page.locator("#horizon-line")).to_be_hidden()
    desk.paste("and so it went on\n" * 250)
    expect(desk.page.locator("#horizon")).to_have_text("1,024 / 1,024")
    expect(desk.page.locator("#horizon-line")).not_to_have_attribute("hidden", "")


def test_a_loop_is_noticed_and_broken(desk, engine):
    engine.story = [" and", " then", " he", " slept."]
    desk.length(32).type("He went home").continue_()
    expect(desk.notice("loop")).to_contain_text("and then he slept.")
    engine.story = [" Morning came."]
    desk.length(1)
    desk.notice("loop").get_by_role("button", name="Break the loop").click()
    desk.wait_for_text("Morning came.").idle()
    assert desk.text == "He went home and then he slept. Morning came."
    assert engine.requests[-1][1].repetition_penalty == 1.3
    expect(desk.notice("loop")).to_have_count(0)


def test_a_loop_is_broken_where_it_is_now_though_the_text_before_it_has_grown(desk, engine):
    engine.story = [" and", " then", " he", " slept."]
    desk.length(32).type("He went home").continue_()
    expect(desk.notice("loop")).to_be_visible()
    desk.press("Control+Home").type("At nine ").press("Delete").type("h")
    engine.story = [" Morning came."]
    desk.length(1)
    desk.notice("loop").get_by_role("button", name="Break the loop").click()
    desk.wait_for_text("Morning came.").idle()
    assert desk.text == "At nine he went home and then he slept. Morning came."


def test_a_writer_who_repeats_is_left_alone(desk):
    desk.type("-" * 30)
    expect(desk.page.locator("#horizon")).to_have_text("30 / 1,024")
    expect(desk.notice("loop")).to_have_count(0)


def test_controls_are_the_servers_parameters(desk, engine):
    desk.page.fill("#knob-temperature", "1.1")
    desk.page.fill("#knob-seed", "42")
    desk.page.click("#knobs .more")
    expect(desk.page.locator("#far")).to_contain_text("Drop tokens less probable than this share")
    desk.page.fill("#knob-min_p", "0.05")
    desk.page.fill("#knob-stop", "END\nline\\nbreak")
    desk.page.locator("#text").focus()
    desk.type("Once").continue_()
    params = engine.requests[-1][1]
    assert (params.temperature, params.seed, params.min_p) == (1.1, 42, 0.05)
    assert params.stop == ["END", "line\nbreak"]
    expect(desk.page.locator("#knob-seed")).to_have_value("42")


def test_a_value_holds_from_the_key_on_that_typed_it(desk, engine):
    desk.type("Once")
    desk.page.locator("#knob-max_tokens").select_text()
    desk.type("7").press("Control+Enter")
    desk.wait_for_tokens(7).idle()
    assert engine.requests[-1][1].max_tokens == 7


def test_undo_in_a_field_is_the_fields_own(desk):
    desk.type("Once").page.locator("#knob-seed").focus()
    desk.type("1").press("Control+z")
    assert desk.text == "Once"
    expect(desk.page.locator("#knob-seed")).to_have_value("")


def test_presets_set_several_at_once_and_are_remembered(desk, engine):
    desk.page.click("#knobs .more")
    desk.page.get_by_role("button", name="wild").click()
    expect(desk.page.locator("#knob-temperature")).to_have_value("1.2")
    desk.page.reload()
    desk.ready()
    expect(desk.page.locator("#knob-temperature")).to_have_value("1.2")


def test_the_seed_is_shown_and_same_again_replays_exactly(desk):
    desk.type("Once").continue_()
    text = desk.text
    assert desk.page.locator("#knob-seed").get_attribute("placeholder").isdigit()
    desk.press("Alt+g")
    expect(desk.status).to_have_text("Reproduced exactly ✓")
    assert desk.text == text
    expect(desk.page.locator("#way")).to_have_text("2 / 2")


def test_same_again_knows_a_continuation_that_was_stopped(desk, engine):
    engine.allow(3)
    desk.length(9).type("Once").press("Control+Enter")
    desk.wait_for_tokens(3).press("Escape").idle()
    engine.flow()
    desk.press("Alt+g")
    expect(desk.status).to_have_text("Reproduced exactly ✓")


def test_another_model_can_be_picked(desk, engine):
    expect(desk.page.locator("#model")).to_have_text("fake · 0.1 M · int8")
    desk.page.click("#model")
    expect(desk.page.locator("#models")).to_contain_text("sees 1,024 tokens")
    desk.page.get_by_role("radio", name="other").check()
    desk.press("Escape")
    expect(desk.page.locator("#model")).to_have_text("other · 0.1 M · int8")
    desk.page.reload()
    expect(desk.page.locator("#model")).to_have_text("other · 0.1 M · int8")


def test_an_empty_page_invites_and_a_starter_begins(desk):
    invitation = desk.page.locator("#invite")
    expect(invitation).to_contain_text("Begin with a sentence of your own")
    invitation.get_by_role("button").first.click()
    assert desk.text.startswith("On the evening the fair left town")
    expect(invitation).to_be_hidden()
    desk.continue_()


def test_heat_reads_a_chinese_page_that_has_no_space(desk):
    """It looked for a space that was not there, for ever."""
    desk.paste("灯塔的灯熄了，村里没有一个人看见。" * 100).press("Alt+h")
    expect(desk.page.locator("#heat-legend output")).to_contain_text("bits per character")
    desk.type("好")
    assert desk.text.endswith("好")


def test_the_list_of_alternatives_stays_while_the_machine_writes_behind_it(desk, engine):
    engine.allow(3)
    desk.length(9).type("Once").press("Control+Enter")
    desk.wait_for_tokens(3).press("Control+.")
    word = desk.page.locator("#word")
    expect(word).to_be_visible()
    engine.flow()
    desk.wait_for_tokens(9).idle()
    expect(word).to_be_visible()
    desk.press("Escape").type("x")
    expect(word).to_be_hidden()


def test_a_list_of_stops_comes_back_as_it_was_typed(desk, engine):
    desk.page.click("#knobs .more")
    stop = desk.page.locator("#knob-stop")
    stop.fill('He said "\nC:\\\\new\n\ttab')
    desk.page.reload()
    desk.ready().page.click("#knobs .more")
    expect(stop).to_have_value('He said "\nC:\\\\new\n\ttab')
    desk.page.locator("#text").focus()
    desk.type("Once").continue_()
    assert engine.requests[-1][1].stop == ['He said "', "C:\\new", "\ttab"]


def test_words_open_by_pointer_where_the_browser_knows_only_the_older_way(
    context, open_desk, engine
):
    """Safari before 26.2 has caretRangeFromPoint alone."""
    context.add_init_script("document.caretPositionFromPoint = undefined")
    engine.story = [" lamplighter"]
    desk = open_desk().length(1).type("The").continue_()
    desk.page.mouse.move(*desk.page.evaluate(POINT_IN_WORD))
    expect(desk.page.locator("#word")).to_be_visible()


def test_memory_and_note_go_before_what_the_model_reads(desk, engine):
    desk.type("One.").press("Enter").type("Two.").press("Enter").type("Three").press("Alt+p")
    desk.page.get_by_label("Memory", exact=True).fill("Anna is a lamplighter.")
    desk.page.get_by_label("Note", exact=True).fill("[It rains.]")
    desk.page.get_by_label("Lines above the cursor").fill("2")
    desk.page.get_by_role("button", name="OK", exact=True).click()
    desk.continue_()
    expected = "Anna is a lamplighter.\nOne.\n[It rains.]\nTwo.\nThree"
    assert engine.requests[-1][0] == expected
    assert desk.text.startswith("One.\nTwo.\nThree")
    expect(desk.page.locator("#horizon")).to_have_text(re.compile(r"\d+ / 1,024"))
    desk.saved().page.reload()
    desk.ready().continue_()
    assert engine.requests[-1][0].startswith("Anna is a lamplighter.\n")


def test_selecting_by_mouse_past_the_memorys_edge_leaves_it_open(desk):
    """The release counted as a click beside the dialog, which closed with all that was typed."""
    desk.press("Alt+p")
    memory = desk.page.get_by_role("textbox", name="Memory")
    memory.fill("Anna is a lamplighter.")
    box = memory.bounding_box()
    desk.page.mouse.move(box["x"] + 60, box["y"] + 15)
    desk.page.mouse.down()
    desk.page.mouse.move(5, box["y"] + 15)
    desk.page.mouse.up()
    expect(memory).to_have_value("Anna is a lamplighter.")


def test_escape_asks_before_it_discards_a_changed_memory(desk):
    desk.press("Alt+p")
    memory = desk.page.get_by_role("textbox", name="Memory")
    desk.press("Escape")
    expect(memory).to_have_count(0)
    desk.press("Alt+p")
    memory.fill("Anna is a lamplighter.")
    desk.press("Escape")
    expect(memory).to_have_value("Anna is a lamplighter.")
    expect(desk.page.get_by_role("alert").filter(has_text="closing once more")).to_be_in_viewport()
    desk.page.locator("#dialog").get_by_role("button", name="Close").click()
    expect(memory).to_have_count(0)


def test_a_line_of_the_world_is_read_while_its_name_is_mentioned(desk, engine):
    desk.type("The lamp").press("Alt+p")
    desk.page.get_by_label("World", exact=True).fill("lamp: it never goes out.\nAnna: a girl.")
    desk.page.get_by_role("button", name="OK", exact=True).click()
    desk.continue_()
    assert engine.requests[-1][0] == "lamp: it never goes out.\nThe lamp"
    desk.saved().page.reload()
    desk.ready().press("Control+a", "Delete").type("Nobody").continue_()
    assert engine.requests[-1][0] == "Nobody"


def test_the_memory_is_read_however_long_the_story_grows(desk, engine):
    desk.paste("and so it went on\n" * 400).press("Alt+p")
    desk.page.get_by_label("Memory", exact=True).fill("Anna is a lamplighter.")
    desk.page.get_by_role("button", name="OK", exact=True).click()
    desk.continue_()
    prompt = engine.requests[-1][0]
    assert prompt.startswith("Anna is a lamplighter.\n")
    assert len(engine.tokenize(prompt).ids) <= 1024 - 128


def test_an_alternative_is_taken_by_its_number(desk, engine):
    engine.story = [" upon"]
    desk.length(1).type("Once").continue_().press("Control+.")
    second = desk.page.locator("#word button").nth(1)
    chosen = second.locator("span").inner_text()
    is_written = "drawn" in (second.get_attribute("class") or "")
    desk.press("2")
    expect(desk.page.locator("#word")).to_be_hidden()
    desk.idle()
    assert is_written or chosen.strip() in desk.text


def test_a_preset_of_ones_own_is_saved_used_and_forgotten(desk):
    desk.page.click("#knobs .more")
    desk.page.fill("#knob-temperature", "1.3")
    desk.page.get_by_role("button", name="Save these as").click()
    desk.page.get_by_role("textbox", name="Name").fill("storm")
    desk.press("Enter")
    desk.page.get_by_role("button", name="careful").click()
    expect(desk.page.locator("#knob-temperature")).to_have_value("0.4")
    desk.page.reload()
    desk.ready().page.click("#knobs .more")
    desk.page.get_by_role("button", name="storm", exact=True).click()
    expect(desk.page.locator("#knob-temperature")).to_have_value("1.3")
    desk.page.get_by_role("button", name="Delete: storm").click()
    expect(desk.page.get_by_role("button", name="storm", exact=True)).to_have_count(0)


def test_a_preset_may_have_any_name(desk):
    desk.page.click("#knobs .more")
    desk.page.get_by_role("button", name="Save these as").click()
    desk.page.get_by_role("textbox", name="Name").fill("__proto__")
    desk.press("Enter")
    desk.page.reload()
    desk.ready().page.click("#knobs .more")
    expect(desk.page.get_by_role("button", name="__proto__", exact=True)).to_be_visible()


def test_a_storys_file_brings_its_settings_to_who_wants_them(desk, tmp_path):
    desk.page.fill("#knob-temperature", "1.3")
    desk.page.locator("#text").focus()
    desk.type("Once").page.click("#menu-open")
    with desk.page.expect_download() as download:
        desk.page.get_by_role("button", name=".json", exact=True).click()
    path = tmp_path / "story.json"
    download.value.save_as(path)
    desk.page.fill("#knob-temperature", "0.5")
    desk.page.click("#menu-open")
    with desk.page.expect_file_chooser() as chooser:
        desk.page.get_by_role("button", name="Import…").click()
    chooser.value.set_files(path)
    desk.notice("imported").get_by_role("button", name="Use its settings").click()
    expect(desk.page.locator("#knob-temperature")).to_have_value("1.3")


def test_ghost_text_comes_after_a_pause_and_tab_takes_a_word(desk, engine):
    engine.story = [" upon", " a", " time"]
    desk.press("Alt+j").type("Once")
    ghost = desk.page.locator("#ghost")
    expect(ghost).to_have_text(re.compile("^ upon a time"))
    assert engine.requests[-1][1].max_tokens == 12
    assert engine.requests[-1][1].gives_way
    desk.press("Tab")
    assert (desk.text, desk.painted()) == ("Once upon", [" upon"])
    expect(ghost).to_have_text(re.compile("^ a time"))
    desk.press("Shift+Tab")
    assert desk.text.startswith("Once upon a time upon")
    desk.type("!")
    expect(ghost).to_be_hidden()
    desk.press("Alt+j").type("?")
    asked = len(engine.requests)
    expect(desk.page.locator("#horizon")).not_to_have_text("0 / 1,024")
    desk.continue_()
    assert len(engine.requests) == asked + 1


def test_ghost_text_stands_on_the_line_that_it_continues(desk):
    top = """(place) => {
      const range = new Range();
      range.selectNodeContents(place);
      return range.getClientRects()[0].top;
    }"""
    desk.press("Alt+j").type("Once")
    expect(desk.page.locator("#ghost")).to_be_visible()
    tops = [desk.page.locator(place).evaluate(top) for place in ("#text p", "#ghost")]
    assert abs(tops[0] - tops[1]) < 1


def test_ghost_text_does_not_wait_for_a_full_server(desk, engine):
    engine.busy = True
    with desk.page.expect_response("**/generate") as refusal:
        desk.press("Alt+j").type("Once")
    assert refusal.value.status == 429
    assert desk.page.locator("#ghost").is_hidden()
    assert desk.notice("error").count() == 0


def test_a_key_cancels_the_ghost(desk, engine):
    engine.allow(0)
    desk.press("Alt+j").type("Once")
    with desk.page.expect_event("requestfailed", lambda request: "generate" in request.url):
        desk.page.wait_for_timeout(900)  # the pause, and the request on its way
        desk.type("!")
    assert desk.text == "Once!"


def test_selected_words_are_never_written_again_until_taken_back(desk, engine):
    desk.type("lamp").press("Control+a", "Alt+b", "End")
    expect(desk.notice("ban")).to_contain_text("“lamp” will never be written")
    desk.continue_()
    assert engine.requests[-1][1].banned_phrases == ["lamp"]
    desk.notice("ban").get_by_role("button", name="Undo").click()
    desk.continue_()
    assert engine.requests[-1][1].banned_phrases == []


def test_the_page_finishes_sentences_unless_told_not_to(desk, engine):
    desk.type("Once").continue_()
    assert engine.requests[-1][1].finish_sentence == 32
    desk.page.click("#knobs .more")
    desk.page.fill("#knob-finish_sentence", "0")
    desk.page.locator("#text").focus()
    desk.continue_()
    assert engine.requests[-1][1].finish_sentence == 0


def test_words_are_counted_in_the_selection_or_in_all(desk, engine):
    engine.story = [" upon", " a"]
    desk.length(2).type("Once").continue_().press("Alt+k")
    expect(desk.status).to_have_text("Words: 3 · characters: 11 · generated: 64 %")
    desk.press("Control+Home", *["Shift+ArrowRight"] * 4, "Alt+k")
    expect(desk.status).to_have_text("Words: 1 · characters: 4 · generated: 0 %")


def test_the_text_alone_is_shown_and_left_again(desk):
    colour = "(text, layer) => getComputedStyle(text, layer).color"
    text = desk.page.locator("#text")
    desk.type("Once").continue_()
    assert text.evaluate(colour, "::highlight(machine)") != text.evaluate(colour)
    written = desk.press("Alt+r").text
    expect(desk.page.locator("#bar")).to_be_hidden()
    assert text.evaluate(colour, "::highlight(machine)") == text.evaluate(colour)
    desk.press("Escape")
    expect(desk.page.locator("#bar")).to_be_visible()
    desk.press("Alt+r").page.get_by_role("button", name="Back to the desk").click()
    expect(desk.page.locator("#bar")).to_be_visible()
    assert desk.text == written


def test_a_model_introduces_itself_and_its_settings_are_where_the_page_begins(
    engine, open_desk, serve
):
    engine.cards["fake"] = Card(
        title="Lullabies",
        blurb="Songs for <b>small</b> people.",
        starters=["Sleep, little one,"],
        settings={"temperature": 0.9, "no_such_setting": 1},
        stop=["THE END"],
        warning="It may put you to sleep.",
    )
    desk = open_desk(serve())
    invitation = desk.page.locator("#invite")
    for said in ("Lullabies", "Songs for <b>small</b> people.", "It may put you to sleep."):
        expect(invitation).to_contain_text(said)
    expect(desk.page.locator("#knob-temperature")).to_have_value("0.9")
    invitation.get_by_role("button", name="Sleep, little one,").click()
    desk.continue_()
    params = engine.requests[-1][1]
    assert (params.temperature, params.stop) == (0.9, ["THE END"])
    desk.page.click("#knobs .more")
    desk.page.get_by_role("button", name="wild").click()
    expect(desk.page.locator("#knob-temperature")).to_have_value("1.2")
    desk.page.get_by_role("button", name="as Lullabies suggests").click()
    expect(desk.page.locator("#knob-temperature")).to_have_value("0.9")
