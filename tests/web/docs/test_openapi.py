import re
from html.parser import HTMLParser

import pytest

from app import create_app
from app.engine import PARAMETERS
from app.settings import Settings


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json


def test_the_document_is_the_apps_url_map(document, engine):
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in create_app(Settings(), engine).url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    assert described == routes


def test_every_route_says_what_it_is_for(document):
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"][0].isupper() and operation["summary"].endswith("."), path


def test_operations_have_ids_of_their_own(document):
    ids = [op["operationId"] for item in document["paths"].values() for op in item.values()]
    assert len(ids) == len(set(ids))


def test_generate_takes_every_parameter_with_its_bounds(document):
    body = document["paths"]["/generate"]["post"]["requestBody"]["content"]["application/json"]
    properties = body["schema"]["properties"]
    assert {row.name for row in PARAMETERS} <= set(properties)
    assert properties["temperature"]["maximum"] == 5
    assert properties["logit_bias"]["additionalProperties"]["minimum"] == -100
    assert properties["seed"]["anyOf"][0]["maximum"] == 2**53 - 1


def test_the_readable_page_names_every_parameter_and_needs_nobody_else(client, document):
    html = client.get("/docs").text
    assert all(row.name in html for row in PARAMETERS)
    assert all(path in html for path in document["paths"])
    addresses = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: addresses.extend(
        value for name, value in attrs if name in ("src", "href")
    )
    parser.feed(html)
    assert addresses and all(address.startswith("/") for address in addresses)
    assert "/static/icon.svg" in addresses  # else browsers ask for /favicon.ico


def test_what_comes_back_is_described_in_every_dialect(document):
    for path, method in [
        ("/generate", "post"),
        ("/score", "post"),
        ("/models", "get"),
        ("/v1/completions", "post"),
        ("/completion", "post"),
        ("/", "post"),
        ("/info", "get"),
        ("/api/v1/generate", "post"),
    ]:
        replies = document["paths"][path][method]["responses"]["200"]["content"]
        assert replies["application/json"]["schema"], path
    assert "logprobs" in document["components"]["schemas"]["Continuation"]["properties"]


def test_every_reply_and_refusal_in_json_has_a_schema(document):
    """Health, koboldcpp's /extra and text-generation-webui had none; refusals had none at all."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                if (content := response["content"].get("application/json")) is not None:
                    assert "schema" in content, (method, path, status)


def test_refusals_are_described_in_the_shape_of_their_dialect(client, document):
    for path in ("/v1/completions", "/completion", "/", "/score"):
        content = document["paths"][path]["post"]["responses"]["4XX"]["content"]
        name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        described = document["components"]["schemas"][name]["properties"]
        refused = client.post(path, json={"prompt": {}, "inputs": {}})
        assert refused.status_code >= 400 and set(refused.json) == set(described), path
