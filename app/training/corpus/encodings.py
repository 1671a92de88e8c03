"""Detect the encoding of a text from its bytes."""

import codecs
import io
import re

SAMPLE = 1 << 20  # bytes examined together

MARKS = (  # longest first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)  # fmt: skip
CONTROLS = bytes({*range(32), 127} - set(b"\t\n\v\f\r\x1a\x1b"))
BEYOND_ASCII = re.compile("[^\0-\x7f]")


def encoding_of_file(file: io.BufferedIOBase) -> str | None:
    """Judge by the beginning; if that is plain ASCII, by the first stretch that is not UTF-8."""
    sample = file.read(SAMPLE)
    encoding = encoding_of(sample)
    if encoding != "utf-8":
        return encoding
    decoder = codecs.getincrementaldecoder("utf-8")()
    while sample:
        try:
            text = decoder.decode(sample)
        except UnicodeDecodeError:
            return encoding_of(sample) or encoding
        if not text.isascii():
            return encoding
        sample = file.read(SAMPLE)
    return encoding


def encoding_of(sample: bytes) -> str | None:
    """Python's name of the encoding; None if the bytes are not text."""
    for mark, encoding in MARKS:
        if sample.startswith(mark):
            return encoding
    if b"\0" in sample:
        return _utf16_without_mark(sample)
    if _has_controls(sample):
        return None
    if _share_lost(sample, "utf-8") < 0.01:
        return "utf-8"
    if _share_lost(sample, "gb18030") == 0 and _is_chinese(sample.decode("gb18030", "ignore")):
        return "gb18030"
    return "cp1252" if _share_lost(sample, "cp1252") == 0 else "latin-1"


def _has_controls(letters: bytes) -> bool:
    return len(letters.translate(None, CONTROLS)) < 0.99 * len(letters)


def _utf16_without_mark(sample: bytes) -> str | None:
    """Latin letters in UTF-16 have a zero in every second byte."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) < 0.2 * len(sample) / 2 or min(even, odd) > 0.02 * len(sample) / 2:
        return None
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    letters = sample.decode(encoding, "replace").encode("utf-8", "replace")
    return None if _has_controls(letters) else encoding


def _share_lost(sample: bytes, encoding: str) -> float:
    """How many of the characters beyond ASCII cannot be decoded, ignoring the cut end."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    text = decoder.decode(sample)
    beyond = len(BEYOND_ASCII.findall(text))
    return text.count("\ufffd") / beyond if beyond else 0.0


def _is_chinese(text: str) -> bool:
    """Whether most characters beyond ASCII are Chinese and stand side by side."""
    beyond = [letter for letter in text if letter > "\x7f"]
    chinese = [c for c in beyond if "\u3000" <= c <= "\u9fff" or "\uff00" <= c <= "\uffef"]
    runs = re.findall("[\u3000-\u9fff\uff00-\uffef]+", text)
    return len(chinese) > 0.9 * len(beyond) and len(chinese) > 2 * len(runs)
