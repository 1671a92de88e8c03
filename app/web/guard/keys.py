"""API keys: in a header, or in the form of the page without JavaScript."""

import hashlib
import hmac

from flask import g, request

from ..body.read import is_form, read_body
from ..errors import Problem
from ..service import service


def check() -> None:
    given = _given_key()
    if given is None:
        raise Problem(401, "no_key", "A key is needed: Authorization: Bearer KEY, or X-Api-Key.")
    # Digests, and all of them, so that the time taken reveals nothing.
    digest = _digest(given)
    matches = [hmac.compare_digest(digest, _digest(key)) for key in service().options.api_keys]
    if not any(matches):
        service().limits.charge(1)  # trying keys is limited too
        raise Problem(401, "wrong_key", "This API key is not valid.")
    g.key = digest.hex()[:16]


def _given_key() -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if scheme.lower() == "basic" and request.authorization is not None:
        return request.authorization.password  # from a person's browser
    if request.headers.get("X-Api-Key"):
        return request.headers["X-Api-Key"].strip()
    if request.endpoint == "native.generate" and is_form():
        read_body()  # cached, so that the view can read it again
        return request.form.get("key") or None  # the page without JavaScript
    return None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
