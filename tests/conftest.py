"""The fixtures the whole suite stands on."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.tiny import make_tiny

# A busy machine makes an example slow, not wrong.
hypothesis.settings.register_profile("ours", deadline=None)
hypothesis.settings.load_profile("ours")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random GPT-2 (2 layers of width 64, window 128, GPT-2's vocabulary)."""
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Quantized weights are kept for this run of the tests, not among the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTINUO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
