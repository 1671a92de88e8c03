"""The text: who wrote what, and where it comes in."""

import pytest
from playwright.sync_api import expect

from .desk import Desk

PAGE_OF_TEXT = "The lamp went out over the river.\n" * 120
IN_VIEW = """() => {
  const {bottom} = document.querySelector('#text p:last-child').getBoundingClientRect();
  return bottom > 0 && bottom < document.querySelector('#bar').getBoundingClientRect().top;
}"""


def test_one_key_writes_on_in_another_colour(desk, engine):
    engine.allow(5)
    desk.type("On the evening").press("Control+Enter")
    desk.wait_for_tokens(5)
    expect(desk.go).to_have_text("StopEsc")
    engine.flow()
    desk.idle()
    assert desk.text.startswith("On the evening")
    assert desk.painted() == [desk.text.removeprefix("On the evening")]
    assert engine.requests[0][0] == "On the evening"


def test_the_button_does_what_the_key_does(desk):
    desk.type("Once")
    desk.go.click()
    desk.idle()
    assert len(desk.painted()) == 1


def test_typing_into_the_machines_words_makes_them_the_writers(desk, engine):
    engine.story = [" upon", " a", " time"]
    desk.length(3).type("Once").continue_()
    assert desk.text == "Once upon a time"
    desk.press("Home", *["ArrowRight"] * 7, "Delete", "Delete").type("der")
    assert desk.text == "Once upder a time"
    assert desk.painted() == [" up", " a time"]


def test_new_lines_are_kept(desk, engine):
    engine.story = [" one", "\n\n", "two", "\n"]
    desk.length(4).type("Zero").press("Enter").type("half").continue_()
    assert desk.text == "Zero\nhalf one\n\ntwo\n"
    desk.type("three")
    assert desk.text == "Zero\nhalf one\n\ntwo\nthree"


def test_esc_stops_and_keeps_what_came(desk, engine):
    engine.allow(4)
    desk.type("Once").press("Control+Enter")
    desk.wait_for_tokens(4)
    before = desk.text
    desk.press("Escape").idle()
    engine.flow()
    assert desk.text == before
    expect(desk.status).to_contain_text("Stopped after 4 tokens")


def test_the_machine_writes_at_the_cursor_when_it_is_in_the_middle(desk, engine):
    engine.story = [" very"]
    desk.length(1).type("It was late.").press(*["ArrowLeft"] * 6).continue_()
    assert desk.text == "It was very late."
    assert engine.requests[-1][0] == "It was"


def test_the_reader_keeps_selection_and_scroll_while_it_writes(desk, engine):
    engine.allow(2)
    desk.type("First line.").press("Enter", "Enter").type("Last line.").press("Control+Enter")
    desk.wait_for_tokens(2)
    desk.page.locator("#text p").first.dblclick(position={"x": 10, "y": 10})
    selected = desk.page.evaluate("String(getSelection())")
    desk.page.evaluate(
        "document.querySelector('#text').style.paddingBottom = '3000px'; scrollTo(0, 400)"
    )
    desk.page.mouse.wheel(0, 40)
    desk.page.wait_for_function("scrollY === 440")
    engine.flow()
    desk.idle()
    assert selected.strip() == "First"
    assert desk.page.evaluate("[String(getSelection()), scrollY]") == [selected, 440]


def test_the_writer_may_edit_elsewhere_while_it_writes(desk, engine):
    engine.story = [" a", " b", " c", " d"]
    engine.allow(2)
    desk.length(4).type("First.").press("Enter").type("Second:").press("Control+Enter")
    desk.wait_for_text("Second: a b")
    desk.press("Control+Home").type("Very ")
    engine.flow()
    desk.idle()
    assert desk.text == "Very First.\nSecond: a b c d"
    assert desk.painted() == [" a b c d"] or desk.painted() == [" a b", " c d"]
    desk.press("Control+z")
    assert desk.text == "Very First.\nSecond: a b"


def test_typing_where_it_writes_takes_the_pen(desk, engine):
    engine.allow(2)
    desk.type("Once").press("Control+Enter")
    desk.wait_for_tokens(2)
    before = desk.text
    desk.type(" no").idle()
    assert desk.text == before + " no"
    assert desk.painted() == [before.removeprefix("Once")]


def test_undo_and_redo_go_across_edits_and_continuations(desk):
    desk.type("Once").continue_()
    whole = desk.text
    desk.press("Control+z")
    assert desk.text == "Once"
    desk.press("Control+Shift+z")
    assert desk.text == whole
    assert desk.painted() == [whole.removeprefix("Once")]


def test_retry_writes_another_and_the_arrows_walk_them(desk):
    desk.type("Once").continue_()
    first = desk.text
    desk.press("Control+Shift+Enter")
    desk.wait_for_other_text(first).idle()
    second = desk.text
    expect(desk.page.locator("#way")).to_have_text("2 / 2")
    desk.press("Alt+ArrowLeft")
    assert desk.text == first
    desk.press("Alt+ArrowRight")
    assert desk.text == second


def test_copy_and_paste_within_the_page_keep_the_author(desk, engine):
    engine.story = [" lamp"]
    desk.length(1).type("The").continue_()
    desk.press("Control+a", "Control+c", "End").type(" and ").press("Control+v")
    assert desk.text == "The lamp and The lamp"
    assert desk.painted() == [" lamp", " lamp"]
    desk.press("Control+a", "Control+x")
    assert desk.text == ""
    desk.press("Control+v")
    assert desk.painted() == [" lamp", " lamp"]


def test_text_from_elsewhere_is_the_writers(desk):
    desk.paste("one\r\ntwo")
    assert desk.text == "one\ntwo"
    assert desk.painted() == []


def test_an_input_method_composes_undisturbed(desk, context):
    session = context.new_cdp_session(desk.page)
    desk.type("Lamp: ")
    for text in ("d", "de", "deng"):
        session.send(
            "Input.imeSetComposition",
            {"text": text, "selectionStart": len(text), "selectionEnd": len(text)},
        )
    session.send("Input.insertText", {"text": "灯"})
    assert desk.text == "Lamp: 灯"
    desk.type("!").press("Control+z")
    assert "deng" not in desk.text


def test_composing_over_several_paragraphs_leaves_the_machine_writing(desk, engine, context):
    """The browser made one paragraph of them, and the machine's next word came to a wrong place."""
    session = context.new_cdp_session(desk.page)
    engine.story = [" a", " b", " c", " d"]
    engine.allow(1)
    desk.length(4).type("One.").press("Enter").type("Two.").press("Enter").type("Three:")
    desk.press("Control+Enter").wait_for_text("Three: a")
    desk.press("Control+Home", "ArrowRight", "ArrowRight", "ArrowRight", "Shift+ArrowDown")
    for text in ("d", "de", "deng"):
        composed = {"text": text, "selectionStart": len(text), "selectionEnd": len(text)}
        session.send("Input.imeSetComposition", composed)
        engine.allow(1)
    desk.wait_for_text("Three: a b c d")
    session.send("Input.insertText", {"text": "灯"})
    desk.idle().saved()
    assert desk.text == "One灯.\nThree: a b c d"
    desk.page.reload()
    assert desk.ready().text == "One灯.\nThree: a b c d"


def test_backspace_takes_a_whole_emoji_and_joins_lines(desk):
    desk.type("a👩‍👩‍👧").press("Backspace")
    assert desk.text == "a"
    desk.press("Enter").type("b").press("Home", "Backspace")
    assert desk.text == "ab"
    desk.press("End").type(" one two").press("Control+Backspace")
    assert desk.text == "ab one "


def test_right_to_left_and_chinese_stand_as_they_should(desk, engine):
    engine.story = [" العالم"]
    desk.length(1).type("مرحبا").continue_()
    assert desk.text == "مرحبا العالم"
    paragraph = desk.page.locator("#text p").first
    assert paragraph.evaluate("p => getComputedStyle(p).direction") == "rtl"
    desk.press("Enter").type("灯塔的灯熄了。")
    assert desk.page.locator("#text p").last.evaluate("p => getComputedStyle(p).direction") == "ltr"


def test_what_the_model_writes_is_never_markup(desk, engine):
    attacks = [
        "<img src=x onerror=window.bad=1>",
        "<script>window.bad=1</script>",
        "</p><svg onload=window.bad=1>",
        "javascript:window.bad=1",
        "{{7*7}}${7*7}",
    ]
    engine.story = attacks
    desk.length(5).type("x").continue_()
    assert desk.text == "x" + "".join(attacks)
    assert desk.page.locator("#text :not(p)").count() == 0
    assert desk.page.evaluate("window.bad") is None


def test_three_hundred_thousand_characters_stay_fluent(desk):
    line = "The lamp went out over the river, and nobody in the lane had seen it go. " * 4
    desk.paste("\n".join([line] * 1030))
    assert len(desk.text) > 300_000
    desk.press("Control+Home").type("Now ")
    assert desk.text.startswith("Now The lamp")
    desk.continue_()
    assert len("".join(desk.painted())) > 100


def test_a_paragraph_of_three_hundred_thousand_characters_is_edited_as_any(desk, engine):
    sentence = "The lamp went out over the river, and nobody in the lane had seen it go. "
    long = sentence * 4100
    desk.length(2).paste(long)
    assert desk.text == long and desk.page.locator("#text p").count() > 30
    desk.press("Control+Home").type("Now ").press("Control+End").type("\nThe end.")
    assert desk.text == f"Now {long}\nThe end."
    cut = desk.page.locator("#text p").first.evaluate("p => p.textContent.length")
    put_caret_before(desk, 1).press("Backspace", "Backspace").type("x")
    text = f"Now {long}\nThe end."
    assert desk.text == text[: cut - 2] + "x" + text[cut:]
    engine.story = [" upon"]
    desk.press("Control+End").continue_()
    assert desk.painted() == [" upon upon"]


def put_caret_before(desk, block: int):
    """Before a block of a long paragraph, as a click would."""
    desk.page.locator("#text p").nth(block).evaluate(
        "p => getSelection().collapse(p.firstChild, 0)"
    )
    return desk


def test_a_story_opens_where_it_goes_on(desk):
    desk.paste(PAGE_OF_TEXT).saved().page.reload()
    assert desk.ready().page.evaluate(IN_VIEW)
    desk.continue_()
    assert desk.page.evaluate(IN_VIEW)


def test_undo_shows_what_it_changed(desk):
    desk.paste(PAGE_OF_TEXT).type("End.").press("Control+Home")
    assert not desk.page.evaluate(IN_VIEW)
    desk.press("Control+z")
    assert desk.page.evaluate(IN_VIEW)


def test_a_reader_with_a_keyboard_looks_elsewhere_too(desk, engine):
    engine.allow(2)
    desk.paste(PAGE_OF_TEXT).press("Control+Enter")
    desk.wait_for_tokens(2).press("Control+Home")
    desk.page.wait_for_function("scrollY < 100")
    engine.flow()
    desk.idle()
    assert desk.page.evaluate("scrollY < 100")


PASTE_A_PICTURE = """() => {
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File(['picture'], 'picture.png', {type: 'image/png'}));
  const event = new ClipboardEvent('paste', {clipboardData, bubbles: true, cancelable: true});
  document.querySelector('#text').dispatchEvent(event);
  return event.defaultPrevented;
}"""
# Of what a program types, a dictation's or a spelling checker's, Chromium tells when it is there.
TYPED_BY_A_PROGRAM = """async () => {
  await new Promise((resolve) => setTimeout(resolve));
  getSelection().modify('extend', 'backward', 'word');
  document.execCommand('insertText', false, 'lamp');
}"""
FORMAT = """() => {
  const event = new InputEvent('beforeinput', {inputType: 'formatBold', cancelable: true});
  document.querySelector('#text').dispatchEvent(event);
  return event.defaultPrevented;
}"""
# A keyboard that asks before it types and then types all the same, as some on Android do.
DEAF = """(letter) => {
  const text = document.querySelector('#text');
  const about = {inputType: 'insertText', data: letter, cancelable: true, bubbles: true};
  text.dispatchEvent(new InputEvent('beforeinput', about));
  const node = text.lastElementChild.firstChild;
  node.appendData(letter);
  getSelection().collapse(node, node.length);
  text.dispatchEvent(new InputEvent('input', {...about, cancelable: false}));
}"""
FIREFOX_135 = """Object.defineProperty(HTMLElement.prototype, 'contentEditable', {
  get() { return this.getAttribute('contenteditable') === 'true' ? 'true' : 'inherit'; },
  set(value) { this.setAttribute('contenteditable', value); },
});"""
PUT_ON_CLIPBOARD = """([ours, plain]) => {
  const clipboardData = new DataTransfer();
  clipboardData.setData('application/x-continuo', ours);
  clipboardData.setData('text/plain', plain);
  const event = new ClipboardEvent('paste', {clipboardData, bubbles: true, cancelable: true});
  document.querySelector('#text').dispatchEvent(event);
}"""


def test_a_wish_for_bold_does_not_delete_what_is_selected(desk):
    desk.type("Once").press("Control+a")
    assert desk.page.evaluate(FORMAT)
    assert desk.text == "Once"


def test_a_pasted_picture_leaves_what_is_selected(desk):
    desk.type("Once").press("Control+a")
    assert desk.page.evaluate(PASTE_A_PICTURE)
    assert desk.text == "Once"


def test_a_word_that_a_program_corrects_stays_corrected(desk):
    """It was put back, as what the keyboards type that were asked not to."""
    desk.type("the lmap").page.evaluate(TYPED_BY_A_PROGRAM)
    assert desk.text == "the lamp"
    desk.type("s")
    assert desk.text == "the lamps"


def test_a_paragraph_selected_by_three_clicks_is_not_joined_to_the_next(desk):
    desk.type("One lamp.").press("Enter").type("Two lamps.")
    desk.page.locator("#text p").first.click(click_count=3)
    desk.type("Three")
    assert desk.text == "Three\nTwo lamps."


def test_a_keyboard_that_types_although_it_was_asked_not_to_types_once(desk):
    desk.type("abc")
    for letter in "12":
        desk.page.evaluate(DEAF, letter)
    assert desk.text == "abc12"
    desk.type("d").press("Control+z")
    assert "abc1" not in desk.text or desk.text == "abc12"


def test_a_browser_without_plain_text_editing_still_edits(context, open_desk):
    context.add_init_script(FIREFOX_135)
    desk = open_desk()
    desk.type("Once").press("Enter").type("more").press("Control+a", "Control+b", "End")
    desk.type("!")
    assert desk.text == "Once\nmore!"
    assert desk.page.locator("#text :not(p)").count() == 0


@pytest.mark.parametrize("ours", ["hello", "[1]", '[{"text": {}}]', '[{"text": "x", "by": 1}]'])
def test_a_clipboard_that_only_looks_like_ours_is_plain_text(desk, ours):
    desk.page.evaluate(PUT_ON_CLIPBOARD, [ours, "plain"])
    assert desk.text == "plain"
    assert desk.painted() == []


def test_what_is_typed_before_the_page_is_ready_is_kept(context, url, engine):
    page = context.new_page()
    held = []
    page.route("**/words/en.json", lambda route: held.append(route))
    page.goto(url, wait_until="domcontentloaded")
    page.locator("#text").click()
    page.keyboard.type("Once upon")
    page.keyboard.press("Enter")
    page.keyboard.type("a time")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("() => document.querySelector('#text').textContent.includes('time')")
    held[0].continue_()
    desk = Desk(page).ready()
    desk.wait_for_text("Once upon\na time")
    expect(desk.status).to_contain_text("per second")
    assert engine.requests[-1][0] == "Once upon\na time"
    assert len(desk.painted()) == 1


def test_a_paragraph_does_not_keep_the_whole_text_that_it_came_with(desk):
    desk.paste("\n".join(["word " * 60] * 1000))
    devtools = desk.page.context.new_cdp_session(desk.page)

    def heap() -> float:
        devtools.send("HeapProfiler.collectGarbage")
        return devtools.send("Runtime.getHeapUsage")["usedSize"] / 1e6

    before = heap()
    for number in range(30):
        desk.page.locator("#text > p").nth(number).click(position={"x": 1, "y": 1})
        desk.press("End").paste("and other words than these").press("Control+z", "Control+y")
    assert heap() < before + 4  # 30 times the text are 9 MB
