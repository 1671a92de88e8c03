import pytest

from app.web.run.connection import group_of
from tests.web.dialects.test_every import BODIES


def ask(client, path="/generate", address="10.0.0.7", **fields):
    body = {"prompt": "x", "max_tokens": 1} | fields
    return client.post(path, json=body, environ_overrides={"REMOTE_ADDR": address})


def test_limits_hold_per_key(make_client):
    client = make_client(api_keys=("a", "b"), limit_per_key="2/hour")

    def ask(key):
        return client.post("/generate", json={"prompt": "x"}, headers={"X-Api-Key": key})

    assert [ask("a").status_code for _ in range(3)] == [200, 200, 429]
    assert ask("b").status_code == 200
    assert int(ask("a").headers["Retry-After"]) > 1


def test_limits_hold_per_address(make_client):
    client = make_client(limit_per_address="1/hour")
    score = {"text": "x"}
    asked = [
        ("/generate", "127.0.0.1", {}),
        ("/score", "127.0.0.1", score),
        ("/generate", "127.0.0.2", {}),
    ]
    replies = [
        client.post(path, json={"prompt": "x"} | more, environ_overrides={"REMOTE_ADDR": address})
        for path, address, more in asked
    ]
    assert [reply.status_code for reply in replies] == [200, 429, 200]


def test_typing_looking_and_stopping_cost_nothing(make_client):
    client = make_client(limit_per_address="1/hour")
    for _ in range(3):
        assert ask(client, "/tokenize").status_code == 200
        assert client.post("/api/extra/abort", json={"genkey": "x"}).status_code == 200
        assert client.post("/api/extra/generate/check", json={}).status_code == 200
        assert client.delete("/generate/x").status_code == 404
    assert ask(client).status_code == 200
    assert ask(client).status_code == 429


def test_a_request_costs_what_it_writes(make_client):
    client = make_client(limit_per_address="10/hour")
    assert ask(client, prompt=["a", "b", "c", "d"], n=2).status_code == 200
    reply = ask(client, n=3)
    assert reply.status_code == 429 and reply.json["error"]["type"] == "rate_limit"
    assert ask(client, n=2).status_code == 200
    assert ask(client).status_code == 429


def test_what_gives_way_takes_nothing_from_what_does_not(make_client):
    client = make_client(limit_per_address="1/hour", running_per_address=1)
    assert [ask(client, gives_way=way).status_code for way in (True, False)] == [200, 200]
    assert [ask(client, gives_way=way).status_code for way in (True, False)] == [429, 429]


def test_what_will_never_be_allowed_says_so(make_client):
    reply = ask(make_client(limit_per_address="10/hour"), n=11)
    assert reply.status_code == 422 and "limit_per_address" in reply.json["error"]["message"]


@pytest.mark.parametrize("path", BODIES)
def test_every_dialect_counts(make_client, path):
    client = make_client(limit_per_address="1/hour")
    statuses = [client.post(path, json=BODIES[path]).status_code for _ in range(2)]
    assert statuses == [200, 503 if path.startswith("/api") else 429]


def test_who_tries_keys_is_counted(make_client):
    client = make_client(api_keys=("right",), limit_per_address="2/hour")
    headers = {"Authorization": "Bearer wrong"}
    statuses = [client.get("/models", headers=headers).status_code for _ in range(3)]
    assert statuses == [401, 401, 429]


def test_an_address_has_so_many_running_and_a_stop_makes_room(make_client, engine):
    engine.step.clear()
    client = make_client(running_per_address=2)
    body = {"prompt": "x", "stream": True}
    other = {"REMOTE_ADDR": "10.0.0.7"}
    replies = [
        client.post("/generate", json=body, buffered=False, environ_overrides=other)
        for _ in range(2)
    ]
    assert ask(client).status_code == 429
    engine.step.set()
    assert ask(client, address="10.0.0.8").status_code == 200
    replies[0].close()
    assert ask(client).status_code == 200
    replies[1].close()


def test_a_long_list_takes_its_turn_within_its_share(make_client):
    assert len(ask(make_client(running_per_address=2), prompt=["a"] * 9).json["results"]) == 9


def test_this_machine_shares_with_nobody(make_client, engine):
    client = make_client(running_per_address=1)
    assert ask(client, address="127.0.0.1", prompt=["a"] * 5).status_code == 200


@pytest.mark.parametrize(
    "address, group",
    [
        ("10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:a:b:c:d", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("nowhere", "nowhere"),
    ],
)
def test_an_ipv6_host_is_its_whole_network(address, group):
    assert group_of(address) == group
