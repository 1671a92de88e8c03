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
    expect(other.notice("shared")).to_contain_text("no story that this page can read")
    assert other.text == "Once"


def test_a_link_with_a_prompt_begins_a_story_with_its_model(open_desk, url, engine):
    desk = open_desk(f"{url}?prompt=%3Cb%3EOnce%3C%2Fb%3E%0D%0Aupon&model=other")
    assert desk.text == "<b>Once</b>\nupon"
    expect(desk.page.locator("#model")).to_contain_text("other")
    assert desk.page.url == url
    desk.continue_()
    assert engine.requests[-1][0] == "<b>Once</b>\nupon"
