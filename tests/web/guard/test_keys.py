import pytest

KEY = {"Authorization": "Bearer s3cret"}


@pytest.fixture
def locked(make_client):
    return make_client(api_keys=("other", "s3cret"))


def test_without_keys_everybody_comes_in(client):
    assert client.post("/generate", json={"prompt": "x"}).status_code == 200


@pytest.mark.parametrize(
    "headers", [KEY, {"X-Api-Key": "s3cret"}, {"Authorization": "bearer other"}]
)
def test_any_of_the_keys_opens(locked, headers):
    assert locked.get("/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"X-Api-Key": "S3CRET"}, {"X-Api-Key": "é"}]
)
def test_without_the_key_all_is_closed(locked, headers):
    for path in ("/models", "/metrics", "/docs", "/openapi.json", "/parameters", "/nothing"):
        reply = locked.get(path, headers=headers)
        assert reply.status_code == 401 and reply.json["error"]["message"], path


def test_a_key_in_the_address_does_not_open(locked):
    assert locked.get("/models?key=s3cret").status_code == 401


def test_what_stays_open_with_keys(locked):
    for path in ("/livez", "/readyz", "/static/docs.css"):
        with locked.get(path) as reply:
            assert reply.status_code == 200


def test_the_form_without_javascript_has_a_key_field(locked):
    data = {"prompt": "x", "max_tokens": "1", "key": "s3cret"}
    assert locked.post("/generate", data=data).status_code == 200
    assert locked.post("/generate", data=data | {"key": "wrong"}).status_code == 401
