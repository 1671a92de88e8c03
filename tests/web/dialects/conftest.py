"""What a stream of events says."""

import json

import pytest


@pytest.fixture
def frames():
    """What each `data:` line of a stream holds; comments and the names of events aside."""

    def read(reply):
        assert reply.content_type.startswith("text/event-stream"), reply.text
        lines = [line[5:].strip() for line in reply.text.splitlines() if line.startswith("data:")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]

    return read
