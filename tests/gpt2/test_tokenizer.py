import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gpt2.tokenizer import VOCABULARY, Tokenizer, TokenizerError

SHARED = Tokenizer.gpt2()


@pytest.fixture
def gpt2() -> Tokenizer:
    return SHARED


@pytest.mark.parametrize(
    "text, ids",
    [
        ("你好，世界", [19526, 254, 25001, 121, 171, 120, 234, 10310, 244, 45911, 234]),
        ("😀", [47249, 222]),
        ("<BOS> ", [27, 33, 2640, 29, 220]),
        ("<EOS>", [27, 36, 2640, 29]),
        ("First Citizen:\nBefore we proceed any", [5962, 22307, 25, 198, 8421, 356, 5120, 597]),
        ("", []),
    ],
)
def test_known_answers(gpt2, text, ids):
    assert gpt2.encode(text) == ids
    assert gpt2.decode(ids) == text


def test_end_of_text_is_one_token_unless_it_is_to_be_plain_text(gpt2):
    assert gpt2.encode("<|endoftext|>") == [50256]
    assert gpt2.encode("<|endoftext|>", specials=False) == [27, 91, 437, 1659, 5239, 91, 29]
    plain = [27, 91, 9688, 1659, 5239, 91, 29]
    assert gpt2.encode("<|startoftext|>") == plain  # no special token of GPT-2's


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_bytes_of_the_tokens_are_the_bytes_of_the_text(text):
    ids = SHARED.encode(text, specials=False)
    assert b"".join(SHARED.token_bytes(id) for id in ids) == text.encode()


def test_offsets_are_in_characters_even_inside_an_emoji(gpt2):
    ids, offsets = gpt2.encode_with_offsets("hé😀 wor")
    assert list(zip(ids, offsets, strict=True)) == [
        (71, (0, 1)), (2634, (1, 2)), (47249, (2, 3)), (222, (2, 3)), (476, (3, 7)),
    ]  # fmt: skip


def test_half_a_character_is_refused_with_a_sentence(gpt2):
    with pytest.raises(TokenizerError, match="half a character"):
        gpt2.encode("\ud83d")


def test_ids_a_model_has_and_its_vocabulary_lacks_have_no_bytes(gpt2):
    assert gpt2.decode([50257, 995, -1]) == " world"


def test_added_tokens_are_kept_with_their_ids(tmp_path, gpt2):
    """As itsuncheng's book summaries have them: three tokens behind GPT-2's."""
    ours = Tokenizer.gpt2()
    ours.add_specials(["<BOS>", "<EOS>", "<PAD>"])
    assert ours.encode("<BOS> hi <EOS>") == [50257, 23105, 220, 50258]
    ours.save(tmp_path)
    assert Tokenizer.beside(tmp_path).specials["<PAD>"] == 50259


@pytest.mark.parametrize("names", [("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")])
def test_both_layouts_of_two_files_open_with_their_added_tokens(tmp_path, names):
    for source, target in zip(("encoder.json", "vocab.bpe"), names, strict=True):
        (tmp_path / target).write_bytes((VOCABULARY / source).read_bytes())
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<EOS>": 50258, "<BOS>": 50257}))
    tokenizer = Tokenizer.beside(tmp_path)
    assert tokenizer.encode("<EOS>你好") == [50258, 19526, 254, 25001, 121]
    assert tokenizer.specials == {"<|endoftext|>": 50256, "<BOS>": 50257, "<EOS>": 50258}


@pytest.mark.parametrize("said", ["<BOS>", {"content": "<BOS>", "lstrip": False}])
def test_a_special_token_in_the_vocabulary_may_only_be_named_beside_it(tmp_path, said):
    vocabulary = json.loads((VOCABULARY / "encoder.json").read_text(encoding="utf-8"))
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary | {"<BOS>": 50257}))
    (tmp_path / "merges.txt").write_bytes((VOCABULARY / "vocab.bpe").read_bytes())
    named = {"bos_token": said, "additional_special_tokens": [said, "<not there>"]}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(named))
    assert Tokenizer.beside(tmp_path).encode("<BOS>Hello") == [50257, 15496]


def test_an_added_token_whose_id_leaves_a_gap_is_an_error(tmp_path):
    for name in ("encoder.json", "vocab.bpe"):
        (tmp_path / name).write_bytes((VOCABULARY / name).read_bytes())
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<BOS>": 60000}))
    with pytest.raises(
        TokenizerError, match="'<BOS>' the id 60000, but the next free one is 50257"
    ):
        Tokenizer.beside(tmp_path)


def test_a_damaged_vocabulary_is_a_sentence(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError, match="cannot be read"):
        Tokenizer.beside(tmp_path)


def test_no_vocabulary_beside_is_none(tmp_path):
    assert Tokenizer.beside(tmp_path) is None


@pytest.mark.parametrize(
    "name, start", [("encoder.json", "196139668be6"), ("vocab.bpe", "1ce1664773c5")]
)
def test_the_vocabulary_shipped_is_openais(name, start):
    assert hashlib.sha256((VOCABULARY / name).read_bytes()).hexdigest().startswith(start)


def test_padding_and_truncation_that_were_saved_are_left_out(tmp_path):
    says = json.loads(SHARED.to_json())
    says["truncation"] = {
        "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0,
    }  # fmt: skip
    says["padding"] = {
        "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "!",
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(says))
    opened = Tokenizer.beside(tmp_path)
    assert opened.encode("one two three four") == SHARED.encode("one two three four")
    assert opened.encode_many(["one", "two three"]) == SHARED.encode_many(["one", "two three"])
