import pytest


@pytest.fixture(scope="module")
def said(drive):
    return drive("with_langchain.py")


def test_whole_and_in_pieces_are_the_same_text(said):
    assert said["text"] == "".join(said["pieces"]) == said["both"][0]
    assert len(said["pieces"]) > 1


def test_many_at_once_are_counted_together(said):
    assert len(said["both"]) == 2
    assert said["usage"]["completion_tokens"] == 24
