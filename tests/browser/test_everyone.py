"""For everyone: keyboard, voices, both languages and themes, small screens, no JavaScript."""

from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import expect

from app.gpt2 import Card

TAGS = "wcag2a wcag2aa wcag21a wcag21aa wcag22aa best-practice".split()
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")

TOO_SMALL = """() => {
  const controls = 'button:not(.dot), summary, select, input, textarea';
  return [...document.querySelectorAll(controls)].filter((control) => {
    const boxes = [control, ...control.labels ?? []].map((part) => part.getBoundingClientRect());
    const left = Math.min(...boxes.map((box) => box.left));
    const right = Math.max(...boxes.map((box) => box.right));
    const height = Math.max(...boxes.map((box) => box.height));
    return control.checkVisibility() && Math.min(right - left, height) < 43.9;
  }).map((control) => control.outerHTML.slice(0, 120));
}"""
WHOLE = """place => place.scrollWidth <= place.clientWidth
  && place.scrollHeight <= place.clientHeight"""
END_OF_TEXT = """() => {
  const range = document.createRange();
  range.selectNodeContents(document.querySelector('#text'));
  return [...range.getClientRects()].at(-1).bottom;
}"""


def violations(page) -> list[str]:
    page.evaluate(AXE)
    found = page.evaluate("tags => axe.run({runOnly: tags})", TAGS)
    return [
        f"{v['id']}: {v['help']}: {[node['html'][:120] for node in v['nodes'][:3]]}"
        for v in found["violations"]
    ]


def empty(desk, engine):
    pass


def streaming(desk, engine):
    engine.allow(3)
    desk.type("Once").press("Control+Enter")
    desk.wait_for_tokens(3)


def heat(desk, engine):
    desk.type("Once").continue_().press("Alt+h")
    expect(desk.page.locator("#heat-legend output")).to_contain_text("bits")


def heat_table(desk, engine):
    desk.type("Once").continue_().press("Alt+l")
    expect(desk.page.locator("table.heat tr").nth(2)).to_be_visible()


def tree(desk, engine):
    desk.type("Once").continue_().press("Control+Shift+Enter")
    expect(desk.page.locator("#map .dot")).to_have_count(4)
    desk.idle()


def word(desk, engine):
    desk.type("Once").continue_().press("Control+.")
    expect(desk.page.locator("#word")).to_be_visible()


def several(desk, engine):
    desk.type("Once").press("Alt+Enter")
    desk.idle()


def dialog(desk, engine):
    desk.press("Control+/")
    expect(desk.page.locator("#dialog")).to_be_visible()


def stories(desk, engine):
    desk.type("Once").saved().press("Alt+s")
    expect(desk.page.locator(".stories .story")).to_have_count(1)


def menu(desk, engine):
    desk.page.click("#menu-open")


def settings(desk, engine):
    desk.page.click("#knobs .more")


def experts(desk, engine):
    desk.page.click("#knobs .more")
    desk.page.get_by_text("For experts").click()


def memory(desk, engine):
    desk.type("Once").press("Alt+p")
    expect(desk.page.locator("#dialog #memory")).to_be_focused()


def link(desk, engine):
    desk.type("Once").page.click("#menu-open")
    desk.page.get_by_role("button", name="Copy a link").click()
    expect(desk.page.locator("#link")).to_be_visible()


def passage(desk, engine):
    desk.type("Once").continue_().page.click("#menu-open")
    desk.page.get_by_role("button", name="As a picture").click()
    expect(desk.page.locator("#dialog canvas")).to_be_visible()


def scene(desk, engine):
    engine.cards["fake"] = Card(speakers=["ANNA", "TOM", "MR. REED"])
    desk.page.reload()
    desk.ready().page.locator("#cast").get_by_role("button", name="ANNA").click()
    desk.type("Who?").press("Enter")
    desk.idle()


def ghost(desk, engine):
    desk.press("Alt+j").type("Once")
    expect(desk.page.locator("#ghost")).to_be_visible()


def text_alone(desk, engine):
    desk.type("Once").continue_().press("Alt+r")


def error(desk, engine):
    engine.fails_after = 1
    desk.type("Once").press("Control+Enter")
    expect(desk.notice("error")).to_be_visible()


STATES = [
    empty,
    streaming,
    heat,
    heat_table,
    tree,
    word,
    several,
    dialog,
    stories,
    menu,
    settings,
    experts,
    memory,
    link,
    passage,
    scene,
    ghost,
    text_alone,
    error,
]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_axe_finds_nothing(desk, engine, state):
    state(desk, engine)
    for theme in ("light", "dark"):
        desk.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        assert "\n".join(violations(desk.page)) == "", theme


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_a_phone_shows_it_whole_and_a_finger_finds_it(desk, engine, state):
    desk.page.set_viewport_size({"width": 390, "height": 844})
    state(desk, engine)
    assert "\n".join(desk.page.evaluate(TOO_SMALL)) == ""
    desk.page.set_viewport_size({"width": 320, "height": 568})
    assert desk.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def luminance(colour: list[float]) -> float:
    parts = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in colour
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_highlights_colours_have_contrast(desk, theme):
    desk.page.emulate_media(color_scheme=theme)
    colour = """name => {
      const probe = document.body.appendChild(document.createElement('i'));
      probe.style.color = `var(--${name})`;
      const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(Number);
      probe.remove();
      return parts.map((part) => part / 255);
    }"""
    shades = [f"shade-{n}" for n in range(1, 7)]
    names = ["paper", "raised", "ink", "machine", *shades, "heat-machine"]
    names += [f"heat-{n}" for n in range(1, 6)]
    shade = {name: luminance(desk.page.evaluate(colour, name)) for name in names}

    def contrast(one: str, other: str) -> float:
        low, high = sorted((shade[one], shade[other]))
        return (high + 0.05) / (low + 0.05)

    for name in ["machine", *shades]:
        assert contrast(name, "paper") >= 5, name  # 4.5 where the machine's wash lies below
        assert contrast(name, "raised") >= 4.5, name
    for level in range(1, 6):
        assert contrast("ink", f"heat-{level}") >= 4.5, level
        assert contrast("heat-machine", f"heat-{level}") >= 4.5, level


def test_the_machines_words_have_a_second_sign_that_can_be_switched(desk):
    style = (
        "layer => getComputedStyle(document.querySelector('#text'), '::highlight(machine)')[layer]"
    )
    desk.type("Once").continue_()
    assert "underline" in desk.page.evaluate(style, "textDecorationLine")
    desk.page.click("#menu-open")
    desk.page.get_by_label("Mark generated text by").select_option("weight")
    assert desk.page.evaluate(style, "textShadow") != "none"
    assert "underline" not in desk.page.evaluate(style, "textDecorationLine")


def test_everything_is_said_in_both_languages(desk):
    desk.page.click("#menu-open")
    desk.page.get_by_label("Language").select_option("zh")
    expect(desk.go).to_contain_text("继续")
    expect(desk.page.locator("#invite")).to_contain_text("机器便会接着写")
    assert desk.page.evaluate("document.documentElement.lang") == "zh"
    desk.page.reload()
    expect(desk.page.locator("#knobs")).to_contain_text("温度")


def test_the_browsers_language_is_spoken_from_the_first_byte(browser, url):
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#go")).to_contain_text("继续")
    context.close()


def test_a_voice_hears_sentences_and_not_tokens(desk, engine):
    engine.story = [" The", " lamp", " went", " out", ".", " She", " slept", "."]
    desk.length(8).type("Once.").continue_()
    said = desk.page.locator("#said p").all_inner_texts()
    assert "The lamp went out." in said
    assert said.index("She slept.") < said.index("Done: 8 tokens.")
    assert not any(line == "The" for line in said)


def test_focus_is_never_lost(desk, engine):
    active = "document.activeElement.id || document.activeElement.className"
    assert desk.page.evaluate(active) == "text"
    engine.fails_after = 1
    desk.type("Once").press("Control+Enter")
    desk.notice("error").get_by_role("button", name="Close").click()
    assert desk.page.evaluate("document.activeElement !== document.body")
    desk.press("Control+/", "Escape")
    assert desk.page.evaluate(active) == "text"
    desk.page.locator("[data-do=undo]").focus()
    desk.press("Enter", "Enter", "Enter")
    assert desk.page.evaluate("document.activeElement !== document.body")


def test_coming_back_to_the_text_finds_the_cursor_where_it_was(desk):
    desk.type("Once upon")
    desk.page.locator("#retry").focus()
    desk.go.focus()
    desk.press("Escape").type(" a")
    desk.page.locator("#knob-seed").focus()
    desk.page.locator("#text").focus()
    desk.type(" time")
    assert desk.text == "Once upon a time"


def test_question_mark_lists_the_keys_but_is_a_character_in_the_text(desk):
    desk.type("Why?")
    assert desk.text == "Why?"
    desk.page.locator("#go").focus()
    desk.press("?")
    expect(desk.page.locator("#dialog")).to_contain_text("Ctrl ↵")


@pytest.mark.parametrize("size", [(320, 568), (375, 667), (768, 1024)])
def test_nothing_runs_over_the_side_or_under_the_bar(desk, size):
    desk.page.set_viewport_size({"width": size[0], "height": size[1]})
    desk.type("Once upon a time in a village by the river. " * 12).press("Enter")
    desk.continue_().type("The last line.")
    assert desk.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    last = desk.page.evaluate(END_OF_TEXT)
    assert last <= desk.page.locator("#bar").bounding_box()["y"]
    for button in ("go", "retry", "menu-open"):
        box = desk.page.locator(f"#{button}").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= size[0], button
    for place in ("#model", "#bar .fine", "#bar > .row"):
        assert desk.page.locator(place).evaluate(WHOLE), place


def test_a_sentence_in_the_bar_is_not_cut(desk):
    desk.page.set_viewport_size({"width": 375, "height": 667})
    desk.type("Once").press("Home", "Control+.")
    expect(desk.status).to_contain_text("Heat shows every word.")
    assert desk.status.evaluate(WHOLE)


@pytest.mark.parametrize("keys", ["Control+/", "Alt+l", "Alt+p", "Alt+s"])
def test_a_dialog_fits_a_phone(desk, keys):
    desk.page.set_viewport_size({"width": 320, "height": 640})
    desk.type("Once upon a time.").press(keys)
    dialog = desk.page.locator("#dialog[open]")
    close = dialog.get_by_role("button", name="Close").bounding_box()
    assert close["x"] + close["width"] <= 320
    for part in (dialog, dialog.locator(".body")):
        assert part.evaluate("part => part.scrollWidth <= part.clientWidth")


def test_the_fields_of_a_dialog_keep_their_lines_on_a_phone(desk):
    desk.page.set_viewport_size({"width": 320, "height": 568})
    desk.press("Alt+p")
    assert desk.page.locator("#memory").bounding_box()["height"] > 80


def test_what_a_phone_opened_by_the_menu_it_closes_where_it_is(desk):
    desk.page.set_viewport_size({"width": 390, "height": 844})
    desk.type("Once").continue_().press("Alt+h")
    expect(desk.page.locator("#heat-legend output")).to_contain_text("bits")
    for panel in ("#heat-legend", "#map"):
        desk.page.locator(panel).get_by_role("button", name="Close").click()
        expect(desk.page.locator(panel)).to_be_hidden()


def test_chinese_is_not_slanted(desk):
    desk.page.click("#menu-open")
    desk.page.get_by_label("Language").select_option("zh")
    expect(desk.page.locator("#title")).to_have_text("未命名")
    style = "(place, pseudo) => getComputedStyle(place, pseudo).fontStyle"
    for selector, pseudo in (("#title", None), ("#text", "::before")):
        assert desk.page.locator(selector).evaluate(style, pseudo) == "normal"


def test_a_phone_has_every_control_one_fold_away(desk):
    desk.page.set_viewport_size({"width": 320, "height": 640})
    expect(desk.page.locator("#knob-seed")).to_be_hidden()
    desk.page.click("#knobs .more")
    desk.page.get_by_text("For experts").click()
    for name in ("max_tokens", "top_k", "seed", "min_p", "healing"):
        desk.page.locator(f"#knob-{name}").scroll_into_view_if_needed()
        expect(desk.page.locator(f"#knob-{name}")).to_be_in_viewport()
    assert desk.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_phone_with_its_keyboard_up_still_shows_line_and_bar(desk):
    desk.page.set_viewport_size({"width": 320, "height": 260})
    desk.type("Once upon a time. " * 30)
    caret = desk.page.evaluate(END_OF_TEXT)
    bar = desk.page.locator("#bar").bounding_box()
    assert caret <= bar["y"] and bar["y"] + bar["height"] <= 260


def test_a_phone_on_its_side_has_its_menu_and_controls(desk):
    desk.page.set_viewport_size({"width": 740, "height": 340})
    for control in ("#menu-open", "#knob-temperature", "#knobs .more"):
        expect(desk.page.locator(control)).to_be_in_viewport()


def test_reduced_motion_is_honoured(desk, engine):
    desk.page.emulate_media(reduced_motion="reduce")
    engine.begin.clear()
    desk.type("Once").press("Control+Enter")
    assert (
        desk.page.locator("#pen").evaluate("pen => getComputedStyle(pen).animationName") == "none"
    )


def test_without_javascript_a_form_streams_the_continuation(browser, serve, engine):
    engine.story = [" <b>upon</b>", " a", " time"]
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(serve(api_keys=("sesame",)))
    assert page.locator(".app").is_hidden()
    page.locator("textarea").fill("Once\nmore")
    page.get_by_label("Length").fill("3")
    page.get_by_label("Key").fill("sesame")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("article ins")).to_have_text("<b>upon</b> a time")
    expect(page.locator("article")).to_contain_text("Once\nmore <b>upon</b>")
    expect(page.locator("textarea")).to_have_value("Once\nmore <b>upon</b> a time")
    assert page.get_by_label("Length").input_value() == "3"
    page.get_by_label("Key").fill("wrong")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("textarea")).to_have_value("Once\nmore <b>upon</b> a time")
    context.close()


def test_the_first_visit_is_small_and_our_own(context, url):
    page = context.new_page()
    answers = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(url, wait_until="networkidle")
    files = [answer for answer in answers if answer.url == url or "/static/" in answer.url]
    assert len(files) > 30
    total = sum(len(answer.body()) for answer in files)
    assert total < 250_000, total
    assert {answer.url.split("/")[2] for answer in answers} == {url.split("/")[2]}
