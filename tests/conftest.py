"""The fixtures the whole suite stands on."""

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
