"""Encode text word by word, each word only once: a corpus repeats the same words.

A word includes the white space before it; punctuation is a word of its own. GPT-2's BPE always
begins a new token where a word begins, so encoding word by word gives the ids of the whole.

    >>> words = Words(Tokenizer.gpt2())
    >>> [ids.tolist() for ids in words.encode(["Hello world"])]
    [[15496, 995]]
"""

import json
import re
from collections.abc import Sequence

import numpy as np

from app.gpt2 import Tokenizer
from app.training.corpus.tokens import dtype_for
from app.training.corpus.vocabulary import INVISIBLE, typography

SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
POINTS = r"!\"(),.:;?_*\-"  # never in one token with a letter, unlike an apostrophe
WORD = re.compile(
    rf"""
    [{SPACE}]* (?: [A-Za-z]++ (?=[{SPACE}{POINTS}]|\Z)
                 | [{POINTS}]++ (?=[A-Za-z])
                 # the typography takes invisible marks out, which joins the white space around them
                 | [^{SPACE}]+ (?: (?<={INVISIBLE}) [{SPACE}]+ [^{SPACE}]* )* )
    | [{SPACE}]+
    """,
    re.VERBOSE,
)
KNOWN = 1 << 18  # words remembered, the first that came; some 50 MB
LONGEST = 32  # characters of a word worth remembering


class Words:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.dtype = dtype_for(tokenizer.n_tokens)
        self._known: dict[str, bytes] = {}  # a word's ids
        self._in_words = _stand_alone(json.loads(tokenizer.to_json()))

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, every special token taken as plain text."""
        cut = [WORD.findall(text) if self._in_words else [text] for text in texts]
        known = self._known
        new = list({word for words in cut for word in words if word not in known})
        for word, ids in zip(new, self.tokenizer.encode_many(new), strict=True):
            known[word] = np.array(ids, self.dtype).tobytes()
        ids_of = known.__getitem__
        encoded = [np.frombuffer(b"".join(map(ids_of, words)), self.dtype) for words in cut]
        for word in new:
            if len(word) > LONGEST or len(known) > KNOWN:
                del known[word]
        return encoded


def _stand_alone(tokenizer: dict) -> bool:
    """Whether words are encoded the same alone and in a text: so for GPT-2's own rules and ours."""
    cutting = tokenizer["pre_tokenizer"] or {}
    rules = tokenizer["normalizer"]
    return (
        (cutting.get("type"), cutting.get("add_prefix_space")) == ("ByteLevel", False)
        and cutting.get("use_regex", True)
        and (rules is None or rules == json.loads(typography().__getstate__()))
        and all(token["special"] for token in tokenizer["added_tokens"])
    )
