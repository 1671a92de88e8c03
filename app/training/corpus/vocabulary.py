"""A new vocabulary: byte-level BPE trained on the corpus.

A normalizer turns typographic quotes, dashes and spaces into plain ones. It is kept in
tokenizer.json, so prompts with either kind match what the model has learned.
"""

from collections.abc import Iterable, Sequence

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as RustTokenizer

from app.gpt2 import Tokenizer
from app.training.corpus.documents import SEPARATOR

INVISIBLE = "[\u00ad\u200b\u2060\ufeff]"  # soft hyphen, zero-width space, joiner, mark
TYPOGRAPHY = (
    (Regex("\r\n?"), "\n"),
    (Regex("[“”„‟″]"), '"'),
    (Regex("[‘’‚‛′]"), "'"),
    (Regex("[\u00a0\u2000-\u200a\u202f\u205f]"), " "),  # no-break, thin, hair and other spaces
    (Regex(INVISIBLE), ""),
    (Regex("[\u2010\u2011]"), "-"),  # hyphens with a sign of their own
    (Regex("[\u2015\u2e3a\u2e3b]|(?<!-)--(?!-)"), "—"),  # bars, long dashes, a typist's dash
    (Regex("…"), "..."),
)


def typography() -> normalizers.Normalizer:
    rules = [normalizers.Replace(mark, plain) for mark, plain in TYPOGRAPHY]
    return normalizers.Sequence([normalizers.NFC(), *rules])


def new_vocabulary(
    texts: Iterable[str], size: int, specials: Sequence[str] = (), plain_marks: bool = True
) -> Tokenizer:
    """`size` tokens: <|endoftext|>, `specials`, the 256 bytes, and the most useful pieces."""
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    if plain_marks:
        rust.normalizer = typography()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[SEPARATOR, *specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rust.train_from_iterator(texts, trainer)
    return Tokenizer(rust)
