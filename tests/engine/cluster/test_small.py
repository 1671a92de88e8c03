"""The engine's tests of a queue, told to a cluster of one replica with room for one."""

import pytest

from tests.engine.cluster import test_engine as others

globals().update({name: getattr(others.test_engine, name) for name in others.ABOUT_A_SMALL_ONE})


@pytest.fixture
def small(deploy, client):
    deploy(1, max_running=1, max_queue=2)
    return client
