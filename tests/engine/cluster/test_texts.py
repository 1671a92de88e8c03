"""What a process remembers of its texts, without a cluster."""

import asyncio

import pytest
from ray.serve.exceptions import RayServeException

from app.engine import Completion, Params
from app.engine.cluster.replicas import Replicas
from app.engine.cluster.stream import Stream
from app.engine.cluster.texts import Texts


class GoneHandle:
    """Of an application that Serve has forgotten."""

    def options(self, **_):
        return self

    complete = property(options)

    def remote(self, *_):
        raise RayServeException("The application is gone.")


def test_a_text_that_could_not_be_asked_for_is_forgotten():
    """It stayed under its number, and closing waited for it as if it were being written."""
    replicas = Replicas()
    replicas.handle = GoneHandle()

    async def claim():
        texts = Texts(replicas, spawn=None)
        stream = Stream("x", Params(), None, "id", None, Completion("id", lambda: None))
        with pytest.raises(RayServeException):
            await texts.start(stream)
        assert len(texts) == 0 and texts.find("id") is None

    asyncio.run(claim())
