"""What replicas and their clients agree on, and which replica a request goes to: the one that has
read its story, else the next ones after it.

Serve loads the router by its name in every process that asks, the web workers among them.
"""

import hashlib
from collections.abc import Sequence

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

APP, REPLICA = "continuo", "Replica"  # the names that Serve knows them by
LEASE_S = 15.0  # after which the texts of a client that is not heard of are ended
KEY_CHARACTERS = 128  # of a prompt: about its first page, which a story keeps as it grows


def session(model: str | None, prompt: str | Sequence[int], skip: int = 0) -> str:
    """The name that a request is routed by: what it begins with, and how many replicas said no."""
    start = prompt[:KEY_CHARACTERS]
    digest = hashlib.blake2b(repr((model, start)).encode(), digest_size=8).hexdigest()
    return f"{digest}/{skip}"


class StoryRouter(ConsistentHashRouter):
    """The ring of Serve's own router, entered by the story and walked on by what was refused."""

    def _routing_key(self, pending_request):  # type: ignore[no-untyped-def]
        key = super()._routing_key(pending_request)
        return key if key is None else key.partition("/")[0]

    async def choose_replicas(self, candidate_replicas, pending_request=None):  # type: ignore[no-untyped-def]
        ranks = await super().choose_replicas(candidate_replicas, pending_request)
        name = "" if pending_request is None else pending_request.metadata.session_id or ""
        skip = int(name.partition("/")[2] or 0) % max(1, len(ranks))
        return ranks[skip:] + ranks[:skip]
