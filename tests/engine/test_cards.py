"""Cards' settings are what a request could have."""

from app.engine.cards import card_data


def test_settings_that_no_request_could_have_are_left_out(tmp_path, caplog):
    card = 'title = "x"\nstop = ["."]\n[settings]\ntemperature = 99\n'
    (tmp_path / "card.toml").write_text(card, encoding="utf-8")
    for _ in range(2):
        card = card_data(str(tmp_path))
    assert card["title"] == "x" and card["settings"] == {} and card["stop"] == ["."]
    (record,) = caplog.records
    assert "ignoring its settings" in record.getMessage()
    assert "temperature" in record.getMessage()
