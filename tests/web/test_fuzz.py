"""Whatever is sent, the answer is a 4xx or a 200, never a 5xx, and the server goes on."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import create_app
from app.engine import PARAMETERS
from app.settings import Settings
from tests.fake_engine import FakeEngine

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 3),
    st.sampled_from([10**400, -(10**20), 2**53, 1e308, -1e308, 5e-324]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(st.characters(exclude_categories=())),  # lone surrogates and NUL too
    st.just("x" * 1_000_000),
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
names = st.sampled_from([row.name for row in PARAMETERS] + ["prompt", "model", "stream"])
other_names = st.sampled_from(["prompt", "text", "continuations", "top", "model", "tokens"])
kinds = st.sampled_from(
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "a/b", "x", ""]
    + ["multipart/form-data; boundary=x", "multipart/form-data"]
)


@pytest.fixture(scope="module")
def client():
    engine = FakeEngine()
    engine.lasts = 100
    return create_app(Settings(), engine).test_client()


def check(reply):
    assert reply.status_code == 200 or 400 <= reply.status_code < 500, reply.text[:500]
    if reply.status_code != 200:
        assert reply.json["error"]["message"]


def encode(fields):
    return json.dumps(fields).encode("utf-8", "replace")


@QUICK
@given(name=names | st.text(), value=values)
def test_every_field_of_generate(client, name, value):
    body = encode({"prompt": "x", "max_tokens": 2, name: value})
    check(client.post("/generate", data=body, content_type="application/json"))


@pytest.mark.parametrize("path", ["/generate", "/score", "/tokenize", "/detokenize"])
@QUICK
@given(body=st.binary(max_size=200), kind=kinds)
def test_any_bytes_of_any_type(client, path, body, kind):
    check(client.post(path + "?max_tokens=2", data=body, content_type=kind))


@pytest.mark.parametrize("path", ["/score", "/tokenize", "/detokenize"])
@QUICK
@given(fields=st.dictionaries(other_names, values, max_size=3))
def test_every_field_of_the_others(client, path, fields):
    check(client.post(path, data=encode(fields), content_type="application/json"))


@QUICK
@given(
    name=st.sampled_from(["Host", "Origin", "Accept", "Content-Type", "Authorization", "Range"]),
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126)) | st.just("[::1"),
)
def test_any_header(client, name, value):
    data = b'{"prompt": "x", "max_tokens": 2}'
    headers = {"Content-Type": "application/json", name: value}
    reply = client.post("/generate", data=data, headers=headers)
    assert reply.status_code == 200 or 400 <= reply.status_code < 500, reply.text


@QUICK
@given(name=st.text(st.characters(exclude_categories=("Cs",))), id=st.text("a/%.?#é\x00"))
def test_any_address(client, name, id):
    query = {"max_tokens": "2", name: name}
    check(client.post("/generate", query_string=query, data={"prompt": ""}))
    check(client.delete(f"/generate/{id}", follow_redirects=True))
