"""The engine's own tests, told to a cluster: what they claim of an engine holds for its client.

Left out are those that reach into an engine in this process or open and close one of their own.
"""

import pytest

from tests.engine import test_engine


def _tests(about):
    """Names of the engine's tests whose code uses any of these names."""
    for name, test in vars(test_engine).items():
        code = getattr(test, "__code__", None)
        if name.startswith("test_") and about & {*code.co_names, *code.co_varnames}:
            yield name


INSIDE = set(_tests({"Engine", "_lanes", "choosing"}))
ABOUT_A_SMALL_ONE = set(_tests({"small"})) - INSIDE


def _take(names):
    for name in names:
        globals()[name] = getattr(test_engine, name)


_take(
    name
    for name in vars(test_engine)
    if name.startswith("test_") and name not in INSIDE | ABOUT_A_SMALL_ONE
)


@pytest.fixture(scope="module")
def engine(deploy):
    deploy(2)
    from app.engine import join_cluster

    client = join_cluster()
    yield client
    client.close()
