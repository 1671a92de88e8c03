"""The core of the page in Firefox and WebKit: typed, composed, pasted, continued, undone, kept."""

import pytest

from .desk import SAVED, SETTLED, SHOWN, TEXT
from .engines import Person

CONTAINS = f"(text) => {TEXT}.includes(text)"
DOING = "(what) => document.querySelector('#go').dataset.do === what"
TOKENS = "(count) => document.querySelector('#status').textContent.startsWith(`${count} tokens`)"
PAINTED = """() => [...CSS.highlights.get('machine')].map((painted) => {
  const range = new Range();
  range.setStart(painted.startContainer, painted.startOffset);
  range.setEnd(painted.endContainer, painted.endOffset);
  return range.toString();
}).join('')"""
POINT_IN_WORD = """() => {
  const range = new Range();
  range.setStart(document.querySelector('#text p').firstChild, 6);
  range.setEnd(range.startContainer, 9);
  const {x, y} = range.getBoundingClientRect();
  return [Math.round(x + 4), Math.round(y + 8)];
}"""
LAST_LINE_SHOWS = """() => {
  const last = [...document.querySelectorAll('#text p')].at(-1).getBoundingClientRect();
  return last.bottom <= document.querySelector('#bar').getBoundingClientRect().top;
}"""
# What an input method sends, in the order of Firefox, Safari and Android's GBoard: the browser
# changes the paragraph itself, between beforeinput (which cannot be prevented) and input. A step is
# [the text composed so far, how many characters before the cursor it replaces].
COMPOSE = """async (steps) => {
  const text = document.querySelector('#text');
  const fire = (Kind, type, about) => {
    const event = new Kind(type, {bubbles: true, ...about});
    text.dispatchEvent(event);
  };
  fire(CompositionEvent, 'compositionstart', {data: ''});
  for (const [data, replaced] of steps) {
    const about = {inputType: 'insertCompositionText', data, isComposing: true};
    fire(CompositionEvent, 'compositionupdate', {data});
    fire(InputEvent, 'beforeinput', about);
    const selection = getSelection();
    let {focusNode: node, focusOffset: offset} = selection;
    if (node.nodeType !== Node.TEXT_NODE) {
      node = node.insertBefore(document.createTextNode(''), node.firstChild);
      offset = 0;
    }
    node.replaceData(offset - replaced, replaced, data);
    selection.collapse(node, offset - replaced + data.length);
    fire(InputEvent, 'input', about);
    await new Promise((resolve) => setTimeout(resolve));
  }
  fire(CompositionEvent, 'compositionend', {data: steps.at(-1)[0]});
}"""
GBOARD = {
    "letters that join, then a space": ([["l", 0], ["la", 1], ["lam", 2], ["lamp", 3]], "lamp"),
    "a word corrected as it ends": ([["t", 0], ["te", 1], ["teh", 2], ["the", 3]], "the"),
    "a word erased letter by letter": ([["la", 0], ["l", 2], ["", 1]], ""),
    "Chinese by its sounds": ([["d", 0], ["de", 1], ["deng", 2], ["灯", 4]], "灯"),
}


@pytest.fixture
def at_desk(person, url) -> Person:
    person.resize(1200, 800)
    return opened(person, url)


def opened(person: Person, url: str) -> Person:
    person.goto(url)
    person.wait(SHOWN, "#knob-temperature, #knobs .more")
    return person.wait("() => document.activeElement.id === 'text'")


def continued(person: Person) -> Person:
    person.evaluate("() => { document.querySelector('#status').textContent = '' }")
    person.press("Control+Enter")
    person.wait("() => document.querySelector('#status').textContent.includes('per second')")
    return person.wait(DOING, "continue")


def test_typing_and_lines(at_desk):
    at_desk.type("Zwölf").press("Enter").type("lamps").press("Backspace").type("!")
    at_desk.press("Home", "ArrowLeft").type(" old").wait(SETTLED, "Zwölf old\nlamp!")
    at_desk.press("Control+a", "Delete").wait(SETTLED, "").type("x").wait(SETTLED, "x")


def test_words_and_lines_are_erased_whole(at_desk):
    at_desk.type("a").press("Enter").type("one two").press("Control+Backspace")
    at_desk.wait(SETTLED, "a\none ").press("Home", "Backspace").wait(SETTLED, "aone ")


def test_copy_cut_and_paste(at_desk):
    at_desk.type("lamp").press("Control+a", "Control+c", "End").type(" ").press("Control+v")
    at_desk.wait(SETTLED, "lamp lamp").press("Control+a", "Control+x").wait(SETTLED, "")
    at_desk.press("Control+v").wait(SETTLED, "lamp lamp")


@pytest.mark.parametrize("name", GBOARD)
def test_an_input_method_composes(at_desk, name):
    steps, composed = GBOARD[name]
    at_desk.type("Old ").evaluate(COMPOSE, steps)
    at_desk.wait(SETTLED, f"Old {composed}").type(".").wait(SETTLED, f"Old {composed}.")
    at_desk.press("Enter").evaluate(COMPOSE, steps)
    at_desk.wait(SETTLED, f"Old {composed}.\n{composed}")


def test_continue_paints_and_undo_and_redo_go_across(at_desk, engine):
    engine.story = [" upon", " a", " time"]
    continued(at_desk.type("Once"))
    whole = at_desk.evaluate(f"() => {TEXT}")
    assert at_desk.evaluate(PAINTED) == whole.removeprefix("Once")
    at_desk.press("Control+z").wait(SETTLED, "Once").press("Control+Shift+z").wait(SETTLED, whole)
    at_desk.type("!").wait(SETTLED, f"{whole}!")


def test_typing_elsewhere_while_it_writes_and_stopping(at_desk, engine):
    engine.story = [" a", " b", " c"]
    engine.allow(2)
    at_desk.type("First.").press("Enter").type("Second:").press("Control+Enter")
    at_desk.wait(CONTAINS, "Second: a b").press("Control+Home").type("Very ")
    at_desk.wait(SETTLED, "Very First.\nSecond: a b").press("Escape").wait(DOING, "continue")
    engine.flow()
    at_desk.wait(SETTLED, "Very First.\nSecond: a b")


def test_a_reload_brings_it_back(at_desk, url):
    continued(at_desk.type("Once"))
    text, painted = at_desk.evaluate(f"() => {TEXT}"), at_desk.evaluate(PAINTED)
    at_desk.evaluate(SAVED)
    opened(at_desk, url).wait(SETTLED, text)
    assert at_desk.evaluate(PAINTED) == painted


def test_another_word_by_key_and_by_pointer(at_desk, engine):
    engine.story = [" lamplighter"]
    at_desk.evaluate(
        "() => { const input = document.querySelector('#knob-max_tokens'); input.value = 1;"
        " input.dispatchEvent(new Event('input')); }"
    )
    continued(at_desk.type("The")).press("Control+.").wait(SHOWN, "#word")
    at_desk.press("Escape").wait(f"() => !({SHOWN})('#word')")
    x, y = at_desk.evaluate(POINT_IN_WORD)
    move = {"type": "pointerMove", "x": x, "y": y}
    at_desk.act([{"type": "pointer", "id": "mouse", "actions": [move]}])
    at_desk.wait(SHOWN, "#word .drawn")


def test_on_a_narrow_page_nothing_runs_over_the_side(at_desk, url):
    at_desk.resize(500, 700)  # as narrow as these windows go
    opened(at_desk, url)
    continued(at_desk.type("Once upon a time in a village by the river. " * 6))
    assert at_desk.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    at_desk.wait(LAST_LINE_SHOWS)


def test_a_bar_that_grows_leaves_the_last_line_in_view(at_desk, url):
    at_desk.resize(500, 700)
    opened(at_desk, url)
    continued(at_desk.type("Once upon a time in a village by the river. " * 6))
    at_desk.evaluate("() => { document.querySelector('#bar').style.paddingTop = '150px'; }")
    at_desk.wait(LAST_LINE_SHOWS)
