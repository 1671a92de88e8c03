"""Nothing is lost: reloads, crashes, full disks, two tabs; stories and files."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

NO_STORAGE = """indexedDB.open = () => {
  const request = {error: new DOMException('no', 'SecurityError')};
  setTimeout(() => request.onerror());
  return request;
}"""
LATE_NOTE = """async (moments) => {
  const { Library } = await import('/static/story/library.js');
  let isSaved;
  const saved = new Promise((resolve) => { isSaved = resolve; });
  const journal = new Library({saved: isSaved, failed: (error) => { throw error; }});
  await journal.open();
  journal.rename('a', 'first');
  await saved;
  for (let i = 0; i < moments; i += 1) await null;
  journal.rename('a', 'second');
  await journal.flushed();
  return journal.waiting.length;
}"""
SLOW_TO_ANSWER = """() => {
  const { postMessage } = BroadcastChannel.prototype;
  BroadcastChannel.prototype.postMessage = function (data) {
    setTimeout(() => postMessage.call(this, data), 1000);
  };
}"""
CONNECTIONS = """{
  const open = indexedDB.open.bind(indexedDB);
  window.connections = [];
  indexedDB.open = (...about) => {
    const request = open(...about);
    request.addEventListener('success', () => connections.push(request.result));
    return request;
  };
}"""
FULL = """{
  const put = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = function (...about) {
    if (window.isFull) throw new DOMException('full', 'QuotaExceededError');
    return put.apply(this, about);
  };
  window.isFull = true;
}"""
# A page that keeps the storage open though another would change its stores: that one waits, and
# with it whoever comes next.
BLOCKED = """() => new Promise((resolve) => {
  indexedDB.open('continuo').onsuccess = ({target: {result}}) => {
    window.held = result;
    indexedDB.open('continuo', 2).onblocked = () => resolve(true);
  };
})"""
# what the first release kept of a story with two branches, named, and cut off in mid-stream
FIRST_RELEASE = Path(__file__).parent / "recorded" / "first-release.json"
RESTORE = """async ({version, stories, nodes, arrivals}) => {
  await new Promise((resolve) => {
    const request = indexedDB.open('continuo', version);
    request.onupgradeneeded = ({target: {result: database}}) => {
      const store = (name, about) => database.createObjectStore(name, about);
      const all = {
        stories: store('stories', {keyPath: 'id'}),
        nodes: store('nodes', {keyPath: 'id'}),
        arrivals: store('arrivals', {autoIncrement: true}),
      };
      all.nodes.createIndex('story', 'story');
      all.arrivals.createIndex('node', 'node');
      for (const [name, records] of Object.entries({stories, nodes, arrivals})) {
        for (const record of records) all[name].put(record);
      }
    };
    request.onsuccess = ({target: {result}}) => { result.close(); resolve(); };
  });
}"""
CLIPBOARD = """async () => {
  const [item] = await navigator.clipboard.read();
  const texts = item.types.map(async (type) => [type, await (await item.getType(type)).text()]);
  return Object.fromEntries(await Promise.all(texts));
}"""


def test_a_reload_brings_everything_back(desk):
    desk.type("Once").continue_()
    text, painted = desk.text, desk.painted()
    desk.press("Control+Shift+Enter")
    desk.wait_for_other_text(text).idle()
    second = desk.text
    desk.saved().page.reload()
    desk.ready()
    assert desk.text == second
    desk.press("Alt+ArrowLeft")
    assert (desk.text, desk.painted()) == (text, painted)


def test_a_reload_in_mid_stream_keeps_what_had_come_and_can_go_on(desk, engine):
    engine.allow(5)
    desk.type("Once").press("Control+Enter")
    desk.wait_for_tokens(5)
    text = desk.text
    desk.saved().page.reload()
    desk.ready()
    assert desk.text == text
    assert desk.painted() == [text.removeprefix("Once")]
    engine.flow()
    desk.notice("interrupted").get_by_role("button", name="Go on").click()
    desk.wait_for_other_text(text).idle()
    assert desk.text.startswith(text)


def test_a_killed_tab_loses_nothing(desk, context, open_desk, engine):
    engine.allow(5)
    desk.type("Once").press("Control+Enter")
    desk.wait_for_tokens(5)
    text = desk.text
    desk.saved()
    session = context.browser.new_browser_cdp_session()
    target = context.new_cdp_session(desk.page).send("Target.getTargetInfo")["targetInfo"][
        "targetId"
    ]
    session.send("Target.closeTarget", {"targetId": target})  # no goodbye
    assert open_desk().text == text


def test_a_storage_that_cannot_write_is_said_and_the_text_stays(desk):
    desk.page.evaluate("""() => {
      IDBObjectStore.prototype.put = () => {
        throw new DOMException('full', 'QuotaExceededError');
      };
    }""")
    desk.type("Still here")
    expect(desk.notice("unsaved")).to_contain_text("storage is full")
    assert desk.text == "Still here"
    with desk.page.expect_download() as download:
        desk.notice("unsaved").get_by_role("button", name="Export now").click()
    assert "Still here" in download.value.path().read_text(encoding="utf-8")


def test_a_browser_without_storage_says_so_and_still_writes(context, open_desk):
    context.add_init_script(NO_STORAGE)
    desk = open_desk()
    desk.type("Once").continue_()
    expect(desk.notice("unsaved")).to_contain_text("allows no storage")


def test_a_storage_that_another_page_blocks_is_said_and_written_when_it_is_free(
    desk, context, url, open_desk
):
    """The page waited for it, without controls and without a word."""
    desk.type("Once").saved().page.close()
    blocking = context.new_page()
    blocking.goto(f"{url}docs")
    assert blocking.evaluate(BLOCKED)
    desk = open_desk()
    expect(desk.notice("unsaved")).to_contain_text("it will try again")
    desk.type("Still here").wait_for_text("Still here")
    blocking.close()
    expect(desk.notice("unsaved")).to_have_count(0)
    desk.press("Alt+s")
    expect(desk.page.locator(".stories .story b")).to_have_text(["Still here", "Once"])


def test_what_is_being_written_down_is_not_saved_yet(desk):
    """The page could be closed in the middle of it without a question; the last words were lost."""
    assert desk.page.evaluate("""async () => {
      const { Library } = await import('/static/story/library.js');
      const journal = new Library({saved() {}, failed(error) { throw error; }});
      await journal.open();
      journal.rename('a', 'first');
      const before = journal.unsaved;
      await journal.flushed();
      return [before, journal.unsaved];
    }""") == [True, False]


def test_an_unsaved_story_is_left_only_if_its_writer_agrees(context, open_desk):
    context.add_init_script(NO_STORAGE)
    desk = open_desk()
    desk.type("Still here")
    with desk.page.expect_event("dialog") as asked:
        desk.page.on("dialog", lambda dialog: dialog.dismiss())
        desk.press("Alt+n")
    assert "not saved" in asked.value.message
    assert desk.text == "Still here"


@pytest.mark.parametrize("moments", range(3))
def test_a_note_made_as_the_journal_falls_silent_is_written(desk, moments):
    """It waited for the next note if it came just when the last one was done."""
    left = desk.page.evaluate(LATE_NOTE, moments)
    assert left == 0


def test_a_lost_connection_to_the_storage_is_opened_again(context, open_desk):
    """WebKit closes it in the background; all that was written after that was lost."""
    context.add_init_script(CONNECTIONS)
    desk = open_desk()
    desk.type("Once").saved()
    desk.page.evaluate("connections[0].close()")
    desk.type(" upon").saved().page.reload()
    assert desk.ready().text == "Once upon"


def test_what_could_not_be_written_is_tried_again_by_itself(desk):
    desk.page.evaluate(FULL)
    desk.type("Still here")
    expect(desk.notice("unsaved")).to_be_visible()
    desk.page.evaluate("window.isFull = false")
    expect(desk.notice("unsaved")).to_have_count(0)
    desk.page.reload()
    assert desk.ready().text == "Still here"


def test_a_story_of_the_first_release_opens_with_its_tree(desk):
    desk.page.goto(
        f"{desk.page.url}static/icon.svg"
    )  # the origin, and no page that holds its storage
    desk.page.evaluate(
        "new Promise((done) => { indexedDB.deleteDatabase('continuo').onsuccess = done })"
    )
    desk.page.evaluate(RESTORE, json.loads(FIRST_RELEASE.read_text(encoding="utf-8")))
    desk.page.go_back()
    desk.ready()
    assert desk.text == "Once more, dear friends. She was"
    assert desk.painted() == [" more, dear friends.", " She was"]
    expect(desk.notice("interrupted")).to_be_visible()
    expect(desk.page.locator("#title")).to_have_text("The first release")
    desk.press("Control+z", "Alt+ArrowLeft")
    assert desk.text == "Once upon a time."


def test_two_tabs_write_into_one_tree(desk, open_desk):
    desk.type("Once")
    desk.saved()
    other = open_desk()
    assert other.text == "Once"
    expect(other.notice("tabs")).to_be_visible()
    expect(desk.notice("tabs")).to_be_visible()
    other.type(" upon")
    desk.type(" more")
    assert (desk.text, other.text) == ("Once more", "Once upon")
    desk.saved().page.reload()
    other.saved().page.close()
    desk.ready()
    texts = set()
    for step in ("Alt+ArrowUp", "Alt+ArrowDown"):
        desk.press(step)
        texts.add(desk.text)
    assert desk.page.locator("#map .dot").count() == 4
    assert "Once" in texts


def test_a_second_tab_on_a_story_being_written_shows_what_is_certain(desk, open_desk, engine):
    engine.allow(3)
    desk.type("Once").press("Control+Enter")
    desk.wait_for_tokens(3).saved()
    other = open_desk()
    assert other.text == "Once"
    engine.flow()
    desk.idle()
    other.press("Control+Shift+z")
    assert other.text == desk.text


def test_a_tab_that_is_slow_to_answer_is_waited_for(desk, open_desk, engine):
    """What it was writing was taken for broken off, and never became whole in the other tab."""
    engine.allow(3)
    desk.type("Once").press("Control+Enter")
    desk.wait_for_tokens(3).saved()
    desk.page.evaluate(SLOW_TO_ANSWER)
    other = open_desk()
    assert other.text == "Once"
    engine.flow()
    desk.idle()


def test_two_tabs_know_of_each_other_where_a_page_may_hold_no_lock(context, open_desk):
    context.add_init_script("delete Navigator.prototype.locks")  # as on plain HTTP
    desk = open_desk().type("Once").saved()
    other = open_desk()
    assert other.text == "Once"
    expect(other.notice("tabs")).to_be_visible()
    expect(desk.notice("tabs")).to_be_visible()


def test_a_story_begun_beside_another_is_told_of_in_a_second_tab(desk, open_desk):
    desk.type("Once").saved()
    desk.press("Alt+s").page.get_by_role("button", name="New story").click()
    desk.type("Twice").saved()
    other = open_desk()
    assert other.text == "Twice"
    expect(other.notice("tabs")).to_be_visible()
    expect(desk.notice("tabs")).to_be_visible()


def test_a_second_tab_shows_the_text_before_an_edit_that_hangs_on_what_is_being_written(
    desk, open_desk, engine
):
    """It showed the edit alone, and all the rest was gone."""
    engine.begin.clear()
    desk.type("Once.").press("Enter").type("Twice:").press("Control+Enter")
    expect(desk.status).to_contain_text("ahead")
    desk.press("Control+Home").type("Very ").saved()
    assert open_desk().text == "Once.\nTwice:"
    engine.begin.set()
    desk.idle()


def test_a_tab_that_is_closed_is_no_longer_told_of(desk, open_desk):
    desk.type("Once").saved()
    other = open_desk()
    expect(desk.notice("tabs")).to_be_visible()
    other.page.close()
    expect(desk.notice("tabs")).to_have_count(0)


def test_a_name_given_in_one_tab_outlives_what_another_writes(desk, open_desk):
    desk.type("Once").saved()
    other = open_desk()
    desk.press("F2")
    desk.page.get_by_role("textbox", name="Name").fill("The ship")
    desk.press("Enter")
    expect(desk.page.locator("#title")).to_have_text("The ship")
    desk.saved()
    other.type(" upon").saved().press("Alt+s")
    expect(other.page.locator(".stories .story b")).to_have_text(["The ship"])


def test_a_name_given_in_one_tab_is_seen_in_the_other_at_once(desk, open_desk):
    desk.type("Once").saved()
    other = open_desk()
    desk.press("F2")
    desk.page.get_by_role("textbox", name="Name").fill("The ship")
    desk.press("Enter")
    expect(other.page.locator("#title")).to_have_text("The ship")


def test_a_story_deleted_in_one_tab_is_told_in_the_other_and_comes_back_by_writing(desk, open_desk):
    desk.type("Once").saved()
    other = open_desk()
    desk.press("Alt+s")
    desk.page.get_by_role("button", name="Delete: Once").click()
    expect(other.notice("deleted")).to_contain_text("deleted in another tab")
    other.type(" upon").saved()
    expect(other.notice("deleted")).to_have_count(0)
    desk.press("Escape", "Alt+s")
    expect(desk.page.locator(".stories .story b")).to_have_text(["Once upon"])


def test_a_named_story_without_a_word_comes_back(desk):
    desk.press("F2")
    desk.page.get_by_role("textbox", name="Name").fill("Some day")
    desk.press("Enter")
    expect(desk.page.locator("#title")).to_have_text("Some day")
    desk.saved().page.reload()
    desk.ready().type("Once")
    expect(desk.page.locator("#title")).to_have_text("Some day")


def test_a_story_is_renamed_from_the_list(desk):
    desk.type("A ship came in").saved().press("Alt+s")
    desk.page.get_by_role("button", name="Rename the story: A ship").click()
    desk.page.get_by_role("textbox", name="Name").fill("The ship")
    desk.press("Enter")
    expect(desk.page.locator("#title")).to_have_text("The ship")


def test_a_story_deleted_while_it_is_written_stays_deleted(desk, engine):
    engine.allow(3)
    desk.type("Once").press("Control+Enter")
    desk.wait_for_tokens(3).saved().press("Alt+s")
    desk.page.get_by_role("button", name="Delete: Once").click()
    expect(desk.page.locator("#dialog .notice")).to_be_visible()
    desk.idle().saved().press("Escape", "Alt+s")
    expect(desk.page.locator(".stories")).to_have_text(re.compile("^No stories yet"))


def test_many_stories_are_listed_searched_renamed_and_deleted_with_undo(desk):
    desk.type("The lighthouse at the end of the pier").saved()
    desk.press("Alt+n").type("A ship came in").press("F2")
    desk.page.get_by_role("textbox", name="Name").fill("The ship")
    desk.press("Enter").saved().press("Alt+s")
    stories = desk.page.locator(".stories .story b")
    expect(stories).to_have_text(["The ship", "The lighthouse at the end of the pier"])
    desk.page.get_by_role("searchbox").fill("pier")
    expect(stories).to_have_text(["The lighthouse at the end of the pier"])
    desk.page.get_by_role("button", name="Delete: The lighthouse").click()
    expect(stories).to_have_count(0)
    desk.page.locator("#dialog").get_by_role("button", name="Undo").click()
    expect(stories).to_have_count(1)
    stories.first.click()
    desk.wait_for_text("lighthouse")


@pytest.mark.parametrize("format", ["txt", "md", "html", "json"])
def test_export_and_import(desk, tmp_path, format):
    desk.type("1 < 2").continue_()
    text, painted = desk.text, desk.painted()
    desk.page.click("#menu-open")
    with desk.page.expect_download() as download:
        desk.page.get_by_role("button", name=f".{format}", exact=True).click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    desk.press("Alt+n")
    desk.wait_for_other_text(text)
    desk.page.click("#menu-open")
    with desk.page.expect_file_chooser() as chooser:
        desk.page.get_by_role("button", name="Import…").click()
    chooser.value.set_files(path)
    expect(desk.notice("imported")).to_be_visible()
    assert desk.text == text
    assert desk.painted() == ([] if format == "txt" else painted)


def test_a_file_that_is_no_story_is_refused_in_a_sentence(desk, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"a": 1}), encoding="utf-8")
    desk.page.click("#menu-open")
    with desk.page.expect_file_chooser() as chooser:
        desk.page.get_by_role("button", name="Import…").click()
    chooser.value.set_files(path)
    expect(desk.notice("imported")).to_contain_text(
        "“other.json” is not a story that this page can read"
    )


def test_copy_with_and_without_colour(desk, context):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    desk.type("Once").continue_()
    desk.press("Alt+c")
    copied = desk.page.evaluate(CLIPBOARD)
    assert copied["text/plain"] == desk.text
    assert "color:" in copied["text/html"].replace(" ", "")
    desk.page.click("#menu-open")
    desk.page.get_by_role("button", name="Copy without colours").click()
    assert list(desk.page.evaluate(CLIPBOARD)) == ["text/plain"]


def test_a_reload_before_the_first_word_is_no_interruption(desk, engine):
    engine.begin.clear()
    desk.type("Once").press("Control+Enter")
    expect(desk.status).to_contain_text("2 ahead")
    desk.saved().page.reload()
    desk.ready()
    assert desk.text == "Once"
    expect(desk.notice("interrupted")).to_have_count(0)


def test_a_story_that_another_tab_deleted_opens_as_a_new_one_in_its_own_room(desk, open_desk):
    desk.type("Once").saved().press("Alt+n").type("Other").saved().press("Alt+s")
    desk.page.evaluate("""async () => {
      const { Library } = await import('/static/story/library.js');
      const journal = new Library({saved() {}, failed(error) { throw error; }});
      await journal.open();
      const [once] = (await journal.list()).filter((story) => story.opening === 'Once');
      const { stories, transaction } = await new Promise((resolve) => {
        const transaction = journal.database.transaction(['stories'], 'readwrite');
        resolve({transaction, stories: transaction.objectStore('stories')});
      });
      stories.delete(once.id);
      await new Promise((resolve) => { transaction.oncomplete = resolve; });
    }""")
    desk.page.locator(".stories .story", has_text="Once").click()
    expect(desk.page.locator("#invite")).to_be_visible()
    desk.type("New here").saved()
    other = open_desk()
    assert other.text == "New here"
    expect(desk.notice("tabs")).to_be_visible()


def test_stories_open_and_are_written_while_the_server_is_away(desk, context):
    desk.type("Once").saved()
    desk.page.evaluate("""async () => {
      await navigator.serviceWorker.ready;
      if (!navigator.serviceWorker.controller) {
        await new Promise((done) => { navigator.serviceWorker.oncontrollerchange = done; });
      }
    }""")
    context.set_offline(True)
    desk.page.reload()
    expect(desk.page.locator("#go")).to_contain_text("Continue")
    desk.wait_for_text("Once")
    desk.page.locator("#text").focus()
    desk.type(" upon").saved()
    expect(desk.notice("unknown")).to_contain_text("away. Your text is safe. This page asks again")
    context.set_offline(False)
    expect(desk.notice("unknown")).to_have_count(0)
    desk.continue_()
    assert desk.text.startswith("Once upon")


def test_a_search_finds_words_on_a_branch_that_was_left_and_opens_there(desk):
    desk.type("The lamp went out.").press("Enter").type("Nobody saw it.").press("Control+z")
    desk.wait_for_other_text("The lamp went out.\nNobody saw it.").type("Anna did.").saved()
    desk.press("Alt+n").type("Other").saved().press("Alt+s")
    desk.page.get_by_role("searchbox").fill("nobody")
    found = desk.page.locator(".stories .found")
    expect(found).to_contain_text("Nobody saw it.")
    found.click()
    desk.wait_for_text("Nobody saw it.")
    assert desk.page.evaluate("String(getSelection())") == "Nobody"
