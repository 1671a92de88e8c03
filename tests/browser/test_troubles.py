"""When the server is slow, full, closed, broken or gone: said, with the text untouched."""

from playwright.sync_api import expect

from app.engine import EngineState


def test_the_queue_tells_how_many_are_before(desk, engine):
    engine.begin.clear()
    desk.type("Once").press("Control+Enter")
    expect(desk.status).to_have_text("2 ahead, about 3 s")
    engine.begin.set()
    desk.idle()


def test_a_full_server_is_counted_down_and_asked_again(desk, engine):
    engine.busy = True
    desk.type("Once").press("Control+Enter")
    expect(desk.status).to_have_text("The server is full. Trying again in 3 s.")
    expect(desk.status).to_have_text("The server is full. Trying again in 2 s.")
    engine.busy = False
    expect(desk.status).to_contain_text("per second")
    assert desk.text != "Once"


def test_requests_name_the_story_so_that_a_proxy_asks_the_server_that_has_read_it(desk):
    with desk.page.expect_request("**/generate") as first:
        desk.type("Once").continue_()
    with desk.page.expect_request("**/generate") as second:
        desk.continue_()
    desk.press("Alt+n")
    expect(desk.page.locator("#title")).to_have_text("Untitled")
    with desk.page.expect_request("**/generate") as third:
        desk.type("Twice").continue_()
    names = [asked.value.headers["x-story"] for asked in (first, second, third)]
    assert names[0] == names[1] != names[2]


def test_esc_ends_the_waiting(desk, engine):
    engine.busy = True
    desk.type("Once").press("Control+Enter")
    expect(desk.status).to_contain_text("The server is full")
    desk.press("Escape").idle()
    assert desk.text == "Once"


def test_a_failure_keeps_what_came_and_retry_is_ready(desk, engine):
    engine.fails_after = 3
    desk.type("Once").press("Control+Enter")
    expect(desk.notice("error")).to_contain_text("The engine stumbled.")
    assert len(desk.painted()) == 1
    engine.fails_after = None
    desk.notice("error").get_by_role("button", name="Retry").click()
    expect(desk.status).to_contain_text("per second")
    expect(desk.notice("error")).to_have_count(0)


def test_a_failure_is_seen_at_the_end_of_a_long_text(desk, engine):
    engine.fails_after = 1
    desk.paste("Once upon a time.\n" * 80).press("Control+Enter")
    expect(desk.notice("error")).to_be_in_viewport(ratio=1)


def test_writing_on_waits_for_a_server_that_is_gone(desk, context):
    desk.type("Once")
    context.set_offline(True)
    desk.press("Control+Enter")
    expect(desk.status).to_contain_text("The server is away. Your text is safe.")
    assert desk.text == "Once"
    context.set_offline(False)
    expect(desk.status).to_contain_text("per second")
    assert desk.text.startswith("Once") and len(desk.text) > len("Once")


def test_a_server_that_was_stopped_writes_on_when_it_is_started_again(desk, serve, servers):
    server = servers.pop()
    server.shutdown()
    server.server_close()
    desk.type("Once").press("Control+Enter")
    expect(desk.status).to_contain_text("The server is away.")
    expect(desk.go).to_have_attribute("data-do", "stop")
    serve(port=server.server_port)
    expect(desk.status).to_contain_text("per second")
    assert desk.text.startswith("Once") and desk.text != "Once"
    expect(desk.notice("error")).to_have_count(0)


def test_writing_on_goes_on_from_what_was_edited_meanwhile(desk, engine, context):
    desk.type("Once")
    context.set_offline(True)
    desk.press("Control+Enter")
    expect(desk.status).to_contain_text("The server is away.")
    desk.press("Control+Home").type("> ").wait_for_text("> Once")
    context.set_offline(False)
    expect(desk.status).to_contain_text("per second")
    assert desk.text.startswith("> Once")
    assert engine.requests[-1][0] == "> Once"


def test_typing_ends_the_waiting_for_a_server_that_is_gone(desk, engine, context):
    context.set_offline(True)
    desk.type("Once").press("Control+Enter")
    expect(desk.status).to_contain_text("The server is away.")
    desk.type(" upon").idle()
    assert desk.text == "Once upon"
    assert engine.requests == []


def test_writing_on_waits_where_a_proxy_has_no_server(desk):
    desk.page.route("**/generate", lambda route: route.fulfill(status=502, body="<h1>Sorry</h1>"))
    desk.type("Once").press("Control+Enter")
    expect(desk.status).to_contain_text("The server is away.")
    desk.page.unroute("**/generate")
    expect(desk.status).to_contain_text("per second")


def test_stop_ends_the_waiting_for_a_server_that_is_gone(desk, context):
    context.set_offline(True)
    desk.type("Once").press("Control+Enter")
    expect(desk.status).to_contain_text("The server is away.")
    desk.press("Escape").idle()
    assert desk.text == "Once"


def test_retry_asks_again_for_what_failed(desk):
    desk.length(3).type("Once").continue_()
    text = desk.text
    desk.page.route("**/score", lambda route: route.fulfill(status=500))
    desk.press("Alt+h")
    expect(desk.notice("error")).to_contain_text("The server failed")
    desk.page.unroute("**/score")
    desk.notice("error").get_by_role("button", name="Retry").click()
    expect(desk.page.locator("#heat-legend output")).to_contain_text("bits per character")
    assert desk.text == text


def test_heat_comes_by_itself_when_the_server_is_back(desk, context):
    desk.type("Once")
    context.set_offline(True)
    desk.press("Alt+h")
    legend = desk.page.locator("#heat-legend output")
    expect(legend).to_contain_text("The server is away. Your text is safe. Trying again in")
    expect(desk.notice("error")).to_have_count(0)
    context.set_offline(False)
    expect(legend).to_contain_text("bits per character")


def test_heat_waits_for_a_server_that_is_full(desk, engine):
    engine.busy = True
    desk.type("Once").press("Alt+h")
    legend = desk.page.locator("#heat-legend output")
    expect(legend).to_have_text("The server is full. Trying again in 2 s.")
    engine.busy = False
    expect(legend).to_contain_text("bits per character")


def test_retry_asks_for_candidates_again(desk, engine):
    engine.fails_after = 0
    desk.type("Once").press("Alt+Enter")
    expect(desk.notice("error")).to_contain_text("The engine stumbled.")
    engine.fails_after = None
    desk.notice("error").get_by_role("button", name="Retry").click()
    expect(desk.status).to_contain_text("per second")
    assert desk.text == "Once"
    assert engine.requests[-1][1].n == 3


def test_a_connection_that_breaks_off_keeps_what_came(desk, engine):
    engine.allow(3)
    desk.type("Once").press("Control+Enter")
    desk.wait_for_tokens(3)
    text = desk.text
    desk.page.context.set_offline(True)
    engine.flow()
    desk.idle()
    desk.page.context.set_offline(False)
    assert desk.text.startswith(text)


def test_writing_on_waits_for_an_engine_that_is_loading(desk, engine):
    engine.condition = EngineState("loading", "The model is being loaded.")
    desk.type("Once").press("Control+Enter")
    expect(desk.status).to_contain_text("The server is not ready: The model is being loaded. Try")
    engine.condition = EngineState("ready", "")
    expect(desk.status).to_contain_text("per second")


def test_a_stuck_engine_says_so_in_the_readers_language(desk, engine):
    desk.page.click("#menu-open")
    desk.page.get_by_label("Language").select_option("zh")
    desk.press("Escape").page.locator("#text").focus()
    engine.condition = EngineState("stuck", "The engine hangs.")
    desk.type("Once").press("Control+Enter")
    expect(desk.status).to_contain_text("服务器还没准备好：引擎没有响应，可能已被挂起或内存不足。")
    engine.condition = EngineState("failed", "No such file: model.safetensors.")
    expect(desk.status).to_contain_text("服务器还没准备好：No such file: model.safetensors.")
    engine.condition = EngineState("ready", "")
    desk.idle()


def test_a_refused_value_is_told_in_the_servers_words(desk, engine):
    desk.page.click("#knobs .more")
    desk.page.get_by_text("For experts").click()
    desk.page.fill("#knob-banned", "999999")
    desk.page.route(
        "**/generate",
        lambda route: route.fulfill(
            status=422,
            json={"error": {"message": "banned: 999999 is no token.", "field": "banned"}},
        ),
    )
    desk.page.locator("#text").focus()
    desk.type("Once").press("Control+Enter")
    expect(desk.notice("error")).to_contain_text("banned: 999999 is no token.")


def test_a_key_is_asked_for_once_and_remembered_if_wished(serve, context):
    address = serve(api_keys=("open sesame",))
    page = context.new_page()
    page.goto(address)
    page.get_by_label("Key", exact=True).fill("open sesame")
    page.get_by_label("Remember it on this device").check()
    page.get_by_role("button", name="OK", exact=True).click()
    expect(page.locator("#knob-temperature")).to_be_visible()
    page.close()
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#knob-temperature")).to_be_visible()
    page.locator("#text").focus()
    page.keyboard.type("Once")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#status")).to_contain_text("per second")


def test_asking_for_a_key_leaves_an_open_dialog_to_its_writer(desk):
    """The key's dialog took the place of the memory's, with what had been typed there."""
    held = []
    desk.page.route("**/generate", lambda route: held.append(route))
    with desk.page.expect_request("**/generate"):
        desk.type("Once").press("Control+Enter")
    desk.press("Alt+p")
    memory = desk.page.get_by_role("textbox", name="Memory")
    memory.fill("Anna is a lamplighter.")
    held[0].fulfill(status=401, json={"error": {"type": "no_key", "message": "Send a key."}})
    expect(desk.notice("error")).to_have_count(1)
    expect(memory).to_have_value("Anna is a lamplighter.")


def test_a_page_opened_before_the_engine_is_ready_learns_when_it_is(engine, context, url):
    engine.condition = EngineState("loading", "The model is being loaded.")
    page = context.new_page()
    page.goto(url)
    notice = page.locator('[data-notice="unknown"]')
    expect(notice).to_contain_text("loaded. This page asks again by itself.")
    engine.condition = EngineState("ready", "")
    expect(page.locator("#knob-temperature")).to_be_visible()
    expect(notice).to_have_count(0)


def test_a_page_that_cannot_learn_the_models_says_why_and_offers_retry(context, url):
    page = context.new_page()
    page.route(
        "**/models", lambda route: route.fulfill(status=500, json={"error": {"message": "Why."}})
    )
    page.goto(url)
    error = page.locator('[data-notice="error"]')
    expect(error).to_contain_text("The server failed: Why.")
    page.unroute("**/models")
    error.get_by_role("button", name="Retry").click()
    expect(page.locator("#knob-temperature")).to_be_visible()


def test_retry_after_a_branch_that_failed_keeps_the_word_that_was_chosen(desk, engine):
    engine.story = [" upon", " a", " time"]
    desk.length(3).type("Once").continue_().press("ArrowLeft", "ArrowLeft", "Control+.")
    choice = desk.page.locator("#word button:not(.drawn)").first
    chosen = choice.locator("span").inner_text()
    engine.fails_after = 0
    choice.click()
    expect(desk.notice("error")).to_contain_text("The engine stumbled.")
    engine.fails_after = None
    engine.story = ["!"]
    desk.notice("error").get_by_role("button", name="Retry").click()
    desk.wait_for_text("!").idle()
    assert chosen in desk.text.removesuffix("!!!")


def test_a_limit_is_told_from_a_full_server_and_waited_out(desk, serve, context, open_desk):
    address = serve(limit_per_address="1/minute")
    limited = open_desk(address)
    context.request.post(f"{address}generate", data={"prompt": "x", "max_tokens": 1})
    limited.type("Once").press("Control+Enter")
    expect(limited.status).to_contain_text("You have reached the server’s limit")


def test_a_limit_that_takes_hours_is_said_and_not_counted_down(serve, context, open_desk):
    address = serve(limit_per_address="1/day")
    desk = open_desk(address)
    context.request.post(f"{address}generate", data={"prompt": "x", "max_tokens": 1})
    desk.type("Once").press("Control+Enter")
    expect(desk.notice("error")).to_contain_text("You have reached this server’s limit")
    expect(desk.notice("error")).to_contain_text("hours")
    desk.idle()


def test_a_wrong_key_is_told(serve, context):
    page = context.new_page()
    page.goto(serve(api_keys=("open sesame",)))
    page.get_by_label("Key", exact=True).fill("open, please")
    page.get_by_role("button", name="OK", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("does not know that key")
    page.get_by_label("Key", exact=True).fill("open sesame")
    page.get_by_role("button", name="OK", exact=True).click()
    expect(page.locator("#knob-temperature")).to_be_visible()
