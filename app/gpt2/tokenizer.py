"""Text <-> ids, with the vocabulary beside a checkpoint or GPT-2's own.

The `tokenizers` library does byte-level BPE; this module finds the vocabulary in any layout.

    >>> gpt2 = Tokenizer.gpt2()
    >>> gpt2.encode("Hello world")
    [15496, 995]
    >>> gpt2.token_bytes(995)
    b' world'
    >>> gpt2.encode("<|endoftext|>")
    [50256]
    >>> gpt2.encode("<|endoftext|>", specials=False)  # the same letters as plain text
    [27, 91, 437, 1659, 5239, 91, 29]
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

END_OF_TEXT = "<|endoftext|>"
VOCABULARY = Path(__file__).parent / "vocabulary"
LAYOUTS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
# tokenizer.json is a whole vocabulary; the pairs may have added tokens in these files.
ADDED = ("added_tokens.json", "special_tokens_map.json", "tokenizer_config.json")
FILES = ("tokenizer.json", *(name for pair in LAYOUTS for name in pair), *ADDED)


class TokenizerError(ValueError):
    """Why a vocabulary cannot be read, or a text not encoded, in one sentence."""


class Tokenizer:
    def __init__(self, rust: tokenizers.Tokenizer) -> None:
        rust.no_padding()  # may be saved with a vocabulary; we want neither
        rust.no_truncation()
        self._rust = rust

    # ---- where a vocabulary comes from ----

    @classmethod
    def gpt2(cls) -> "Tokenizer":
        """GPT-2's own 50,257 tokens, shipped with this package."""
        return cls(_from_pair(VOCABULARY, "encoder.json", "vocab.bpe"))

    @classmethod
    def beside(cls, folder: Path) -> "Tokenizer | None":
        """The vocabulary in `folder`, in any layout; None if there is none."""
        try:
            if (folder / "tokenizer.json").is_file():
                return cls(tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")))
            for vocab, merges in LAYOUTS:
                if (folder / vocab).is_file() and (folder / merges).is_file():
                    return cls(_from_pair(folder, vocab, merges))
        except TokenizerError:
            raise
        except Exception as error:  # the Rust library raises bare Exception
            raise TokenizerError(f"The vocabulary in {folder} cannot be read: {error}.") from None
        return None

    def save(
        self,
        folder: Path,
        bos: int | None = None,
        eos: int | None = None,
        pad: int | None = None,
    ) -> None:
        """Write tokenizer.json, and the small file that transformers needs with it.

        `bos` and `eos` are the ids that begin and end a text; by default <|endoftext|>.
        """
        whole = self._rust.to_str(pretty=True)
        (folder / "tokenizer.json").write_text(whole, encoding="utf-8")
        says: dict = {"tokenizer_class": "PreTrainedTokenizerFast"}
        says["clean_up_tokenization_spaces"] = False
        for word, id in (("bos_token", bos), ("eos_token", eos)):
            token = END_OF_TEXT if id is None else self._rust.id_to_token(id)
            if token in self.specials:
                says[word] = token
        if pad is not None:
            says["pad_token"] = self._rust.id_to_token(pad)
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(says, indent=2) + "\n", encoding="utf-8")

    def to_json(self) -> str:
        """The content of tokenizer.json."""
        return self._rust.to_str()

    # ---- text -> ids ----

    def encode(self, text: str, specials: bool = True) -> list[int]:
        """With `specials`, a special token's text becomes that token; without, it is plain text."""
        return self.encode_with_offsets(text, specials)[0]

    def encode_with_offsets(
        self, text: str, specials: bool = True
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids, and for each the (start, end) in characters of `text`."""
        rust = self._rust if specials else self._plain
        try:
            coded = rust.encode(text, add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):
            raise TokenizerError(
                "The text holds half a character (a lone surrogate); remove it."
            ) from None
        return coded.ids, coded.offsets

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text on all cores at once, every special token taken as plain text."""
        return [coded.ids for coded in self._plain.encode_batch_fast(list(texts), False)]

    @cached_property
    def _plain(self) -> tokenizers.Tokenizer:
        plain = tokenizers.Tokenizer.from_str(self._rust.to_str())
        plain.encode_special_tokens = True
        return plain

    # ---- ids -> bytes -> text ----

    def token_bytes(self, id: int) -> bytes:
        """A token's bytes; b"" for ids that the vocabulary does not have."""
        return self._bytes[id] if 0 <= id < len(self._bytes) else b""

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")

    @cached_property
    def _bytes(self) -> list[bytes]:
        alphabet = _byte_of_letter()
        table = [b""] * self.n_tokens
        for token, id in self._rust.get_vocab(with_added_tokens=True).items():
            if id in self._added or not set(token) <= alphabet.keys():
                table[id] = token.encode("utf-8")
            else:
                table[id] = bytes(alphabet[letter] for letter in token)
        return table

    # ---- what it has ----

    @cached_property
    def n_tokens(self) -> int:
        """One more than the highest id."""
        return 1 + max(self._rust.get_vocab(with_added_tokens=True).values())

    def extends(self, other: "Tokenizer") -> bool:
        """Whether every token of `other` has the same id here."""
        ours = self._rust.get_vocab(with_added_tokens=True)
        theirs = other._rust.get_vocab(with_added_tokens=True)
        return all(ours.get(token) == id for token, id in theirs.items())

    @cached_property
    def _added(self) -> dict[int, tokenizers.AddedToken]:
        return self._rust.get_added_tokens_decoder()

    @cached_property
    def specials(self) -> dict[str, int]:
        """Special tokens by their text, such as {"<|endoftext|>": 50256}."""
        return {token.content: id for id, token in self._added.items() if token.special}

    def add_specials(self, tokens: Sequence[str]) -> None:
        """Make each of `tokens` a special token of its own, with the next free id if it is new."""
        self._rust.add_special_tokens(list(tokens))
        for name in ("_plain", "_bytes", "n_tokens", "_added", "specials"):
            self.__dict__.pop(name, None)


def _from_pair(folder: Path, vocab: str, merges: str) -> tokenizers.Tokenizer:
    """A vocabulary of two files (token -> id; merges in order), and added tokens beside them."""
    rust = tokenizers.Tokenizer(models.BPE.from_file(str(folder / vocab), str(folder / merges)))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    if rust.token_to_id(END_OF_TEXT) is not None:
        rust.add_special_tokens([END_OF_TEXT])
    # Before transformers 4.34 a config gave only the names of special tokens.
    rust.add_special_tokens([t for t in _named(folder) if rust.token_to_id(t) is not None])
    for token, id in sorted(_added_tokens(folder).items(), key=lambda pair: pair[1]):
        rust.add_special_tokens([token])
        if rust.token_to_id(token) != id:
            raise TokenizerError(
                f"{folder} gives the added token {token!r} the id {id}, but the next free one is "
                f"{rust.token_to_id(token)}."
            )
    return rust


def _added_tokens(folder: Path) -> dict[str, int]:
    """Tokens added to a vocabulary later, such as <BOS>, from either file."""
    added: dict[str, int] = {}
    if (folder / "added_tokens.json").is_file():
        added |= json.loads((folder / "added_tokens.json").read_text(encoding="utf-8"))
    if (folder / "tokenizer_config.json").is_file():
        content = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        for id, token in content.get("added_tokens_decoder", {}).items():
            added[token["content"]] = int(id)
    return added


def _named(folder: Path) -> list[str]:
    """The special tokens that special_tokens_map.json names: bos_token, eos_token, and so on."""
    if not (folder / "special_tokens_map.json").is_file():
        return []
    content = json.loads((folder / "special_tokens_map.json").read_text(encoding="utf-8"))
    tokens = [
        t for value in content.values() for t in (value if isinstance(value, list) else [value])
    ]
    return [token["content"] if isinstance(token, dict) else token for token in tokens]


def _byte_of_letter() -> dict[str, int]:
    """OpenAI's byte alphabet: printable bytes stand for themselves, the other 68 are U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in table.values())
    return table | {chr(256 + i): byte for i, byte in enumerate(others)}
