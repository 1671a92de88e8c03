"""models/NAME is replaced at every new best, but not what people put there."""

from app.gpt2 import card_of


def test_a_card_edited_by_hand_and_other_files_stay(begin):
    """models/NAME was replaced whole at every better validation."""
    _, run = begin(steps=4)
    (run.result / "card.toml").write_text('title = "Mine"', encoding="utf-8")
    (run.result / "README.md").write_text("Mine too.", encoding="utf-8")
    begin(steps=12, learning_rate=1e-3)
    assert card_of(run.result).title == "Mine"
    assert (run.result / "README.md").read_text(encoding="utf-8") == "Mine too."


def test_a_card_nobody_edited_follows_a_fresh_corpus(begin, corpus):
    _, run = begin(steps=4)
    before = (run.result / "card.toml").read_bytes()
    begin(steps=4, fresh=True, width=64)
    assert (run.result / "card.toml").read_bytes() != before
