"""Which replica a request goes to: the one that has read its story, else the next ones after it.

Serve loads the router by name in every process that asks, including the web workers.
"""

import hashlib
from collections.abc import Sequence

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

APP, REPLICA = "continuo", "Replica"  # their names in Serve
LEASE_S = 15.0  # of a client's silence, after which its texts are ended
KEY_CHARACTERS = 128  # of a prompt: about its first page, which a story keeps as it grows


def session(model: str | None, prompt: str | Sequence[int], skip: int = 0) -> str:
    """What a request is routed by: a digest of its beginning, and how many replicas refused it."""
    start = prompt[:KEY_CHARACTERS]
    digest = hashlib.blake2b(repr((model, start)).encode(), digest_size=8).hexdigest()
    return f"{digest}/{skip}"


class StoryRouter(ConsistentHashRouter):
    """Serve's own ring: the story gives the place on it, and each refusal one step further."""

    def _routing_key(self, pending_request):  # type: ignore[no-untyped-def]
        key = super()._routing_key(pending_request)
        return key if key is None else key.partition("/")[0]

    async def choose_replicas(self, candidate_replicas, pending_request=None):  # type: ignore[no-untyped-def]
        ranks = await super().choose_replicas(candidate_replicas, pending_request)
        name = "" if pending_request is None else pending_request.metadata.session_id or ""
        skip = int(name.partition("/")[2] or 0) % max(1, len(ranks))
        return ranks[skip:] + ranks[:skip]
