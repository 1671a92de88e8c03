import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where kernels are built, once for all tests of a process."""
    return tmp_path_factory.mktemp("kernels")
