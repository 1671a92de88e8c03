"""Stories in links: read first, written on as one's own, and never more than text."""

import pytest
from playwright.sync_api import expect

from .desk import Desk

ATTACKS = [
    "<img src=x onerror=window.bad=1>",
    "<script>window.bad=1</script>",
    "</p><svg onload=window.bad=1>",
    "javascript:window.bad=1",
    '" onfocus="window.bad=1" autofocus="',
    "{{7*7}}${7*7}",
]
LINK = """async (pieces) => {
  const text = JSON.stringify({continuo: 1, title: pieces[0][0], pieces});
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream('deflate-raw'));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const plain = btoa(String.fromCharCode(...bytes));
  return '#story=' + plain.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}"""


def shared(desk: Desk) -> str:
    """The link that the page offers."""
    desk.page.click("#menu-open")
    desk.page.get_by_role("button", name="Copy a link").click()
    link = desk.page.locator("#link").input_value()
    desk.press("Escape")
    return link


def test_a_link_opens_elsewhere_in_two_colours_and_is_written_on(desk, browser, engine):
    engine.story = [" upon", " a", " time"]
    desk.length(3).type("Once").continue_()
    link = shared(desk)
    context = browser.new_context()
    page = context.new_page()
    sent = []
    page.on("request", lambda request: sent.append(request.url + (request.post_data or "")))
    page.goto(link)
    reader = Desk(page).ready()
    expect(reader.notice("shared")).to_contain_text("shared this story")
    assert (reader.text, reader.painted()) == ("Once upon a time", [" upon a time"])
    reader.type("x")
    assert reader.text == "Once upon a time"
    reader.notice("shared").get_by_role("button", name="Write on").click()
    expect(page.locator("#text")).to_be_focused()
    reader.type("!").saved()
    page.reload()
    assert reader.ready().text == "Once upon a time!"
    assert not any("#story" in request for request in sent)
    context.close()


def test_a_story_that_is_only_read_is_not_kept(desk, open_desk):
    desk.type("Once")
    link = shared(desk)
    other = open_desk(link)
    expect(other.notice("shared")).to_be_visible()
    other.saved().press("Alt+s")
    expect(other.page.locator(".stories .story")).to_have_count(1)


def test_continuing_a_shared_story_makes_it_ones_own(desk, open_desk, engine):
    desk.type("Once")
    other = open_desk(shared(desk))
    expect(other.notice("shared")).to_be_visible()
    other.continue_()
    assert len(other.painted()) == 1
    assert "#" not in other.page.url


def test_a_story_that_is_only_read_is_neither_cut_nor_pasted_into(desk, open_desk):
    desk.type("Once")
    other = open_desk(shared(desk))
    expect(other.notice("shared")).to_be_visible()
    other.press("Control+a", "Control+x").paste("upon a time")
    assert other.text == "Once"
    expect(other.notice("shared")).to_be_visible()


def test_another_word_in_a_shared_story_makes_it_ones_own(desk, open_desk):
    desk.type("Once upon")
    other = open_desk(shared(desk))
    expect(other.notice("shared")).to_be_visible()
    other.press("Alt+h")
    expect(other.page.locator("#heat-legend output")).to_contain_text("bits")
    other.press("Control+.")
    other.page.locator("#word button:not(.drawn)").first.click()
    expect(other.notice("shared")).to_have_count(0)
    other.wait_for_other_text("Once upon")
    changed = other.text
    other.saved().page.reload()
    assert other.ready().text == changed


def test_a_shared_story_that_goes_round_in_circles_is_left_as_it_is(desk, open_desk, engine):
    engine.story = [" and", " then", " he", " slept."]
    desk.length(32).type("He went home").continue_()
    expect(desk.notice("loop")).to_be_visible()
    other = open_desk(shared(desk))
    expect(other.notice("shared")).to_be_visible()
    expect(other.notice("loop")).to_have_count(0)


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_a_stranger_puts_in_a_link_is_text(desk, open_desk, attack):
    fragment = desk.page.evaluate(LINK, [[attack, 0], [attack, 1]])
    other = open_desk(desk.page.url + fragment)
    expect(other.notice("shared")).to_be_visible()
    assert other.text == attack * 2
    expect(other.page.locator("#title")).to_have_text(attack)
    assert other.page.locator("#text :not(p)").count() == 0
    assert other.page.evaluate("window.bad") is None


def test_a_damaged_link_is_said_and_ones_own_story_stays(desk, open_desk, url):
    desk.type("Once").saved()
    other = open_desk(f"{url}#story=abc")
    expect(other.notice("shared")).to_contain_text("cannot read the story in this link")
    assert other.text == "Once"


def test_a_link_with_a_prompt_begins_a_story_with_its_model(open_desk, url, engine):
    desk = open_desk(f"{url}?prompt=%3Cb%3EOnce%3C%2Fb%3E%0D%0Aupon&model=other")
    assert desk.text == "<b>Once</b>\nupon"
    expect(desk.page.locator("#model")).to_contain_text("other")
    assert desk.page.url == url
    desk.continue_()
    assert engine.requests[-1][0] == "<b>Once</b>\nupon"


def passage(desk: Desk):
    desk.page.click("#menu-open")
    desk.page.get_by_role("button", name="As a picture").click()
    expect(desk.page.locator("#dialog canvas")).to_be_visible()
    return desk.page.locator("#dialog")


COLOURS = """canvas => {
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const near = (at, colour) => colour.every((part, i) => Math.abs(data[at + i] - part) < 12);
  let [ink, red] = [0, 0];
  for (let at = 0; at < data.length; at += 4) {
    if (near(at, [31, 29, 26])) ink += 1;
    if (near(at, [179, 38, 30])) red += 1;
  }
  return [ink > 0, red > 0];
}"""


def test_a_passage_becomes_a_picture_in_two_colours(desk, engine, tmp_path):
    engine.story = [" upon", " a", " time"]
    desk.length(3).type("Once").continue_()
    dialog = passage(desk)
    canvas = dialog.locator("canvas")
    assert canvas.get_attribute("aria-label") == "Once upon a time"
    assert canvas.evaluate(COLOURS) == [True, True]
    with desk.page.expect_download() as download:
        dialog.get_by_role("button", name="Save the picture").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == "Once upon a time.png"
    assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_the_picture_is_of_the_selection_and_too_long_a_text_is_told(desk, engine):
    engine.story = [" upon", " a", " time"]
    desk.length(3).type("Once").continue_().press("Control+Home", *["Shift+ArrowRight"] * 4)
    dialog = passage(desk)
    assert dialog.locator("canvas").get_attribute("aria-label") == "Once"
    assert dialog.locator("canvas").evaluate(COLOURS) == [True, False]
    desk.press("Escape", "End").paste("The lamp went out.\n" * 300)
    desk.page.click("#menu-open")
    desk.page.get_by_role("button", name="As a picture").click()
    expect(desk.status).to_contain_text("select a passage first")


@pytest.mark.parametrize("attack", ATTACKS)
def test_in_the_html_of_a_passage_everything_is_text(desk, context, engine, attack):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    engine.story = [attack]
    desk.length(1).type(attack).continue_().press("F2").type(attack).press("Enter")
    passage(desk).get_by_role("button", name="Copy as HTML").click()
    expect(desk.status).to_have_text("Copied.")
    other = context.new_page()
    other.set_content(desk.page.evaluate("navigator.clipboard.readText()"))
    assert other.locator("p").text_content() == attack * 2
    assert other.locator("p span").text_content() == attack
    assert other.locator("cite").text_content() == attack
    assert other.locator("body *").count() == 5
    assert other.evaluate("window.bad") is None
