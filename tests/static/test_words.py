"""Every word the page can say is there in every language, and none is left over."""

import json
import re
from pathlib import Path

import pytest

from app.engine import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
WORDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "static" / "words").glob("*.json"))
}
SCRIPTS = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "static").rglob("*.js"))
)
TEMPLATES = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "templates").glob("*.html"))
)
KEY = r"[a-z]+\.[A-Za-z_]+(?:\.[a-z]+)?"


def listed(name: str) -> list[str]:
    """The words in one of the scripts' lists or the keys of one of their tables."""
    body = re.search(rf"const {name} = [\[{{]([\s\S]*?)[\]}}];\n", SCRIPTS)
    assert body is not None, name
    quoted = re.findall(r'"(\w+)"', body[1])
    return quoted or re.findall(r"^\t(\w+):", body[1], re.MULTILINE)


def keys_of(name: str) -> list[str]:
    body = re.search(rf"const {name} = {{([\s\S]*?)\n}};\n", SCRIPTS)
    assert body is not None, name
    return re.findall(r"^\t(\w+):", body[1], re.MULTILINE)


# What is put together where it is said: the beginning, and all that may follow.
COMPOSED = {
    "why.": listed("KINDS"),
    "do.": [*keys_of("KEYS"), *listed("GROUPS"), "continue", "stop"],
    "menu.": [*keys_of("GROUPS"), "page"],
    "theme.": listed("THEMES"),
    "sign.": listed("SIGNS"),
    "preset.": [*keys_of("PRESETS"), "card"],
    "saved.": ["full", "failed", "none", "late"],
    "memory.": ["label", "why"],
    "world.": ["label", "why"],
    "note.": ["label", "why"],
    "map.": ["edit", "continuation"],
    "heat.": ["word", "surprise", "odds", "author", "you", "machine"],
    "status.": "waiting queue next writing written stopped".split(),
    "wait.": "full limited away unready".split(),
}
# Of these English has the server's own sentences.
SERVERS = ("name.", "help.", "state.")
STATES = {f"state.{name}" for name in ("loading", "restarting", "stuck", "stopping")}


def said() -> set[str]:
    """Every key that a script or a template names."""
    in_scripts = re.findall(rf'(?:say|has|choice)\(\s*"({KEY})"', SCRIPTS)
    either = re.findall(rf'\? "({KEY})" : "({KEY})"', SCRIPTS)
    in_templates = re.findall(rf"""["']({KEY})["']""", TEMPLATES)
    composed = [start + end for start, ends in COMPOSED.items() for end in ends]
    names = {
        key
        for key in in_templates
        if key.split(".")[-1] not in ("html", "js", "css", "svg", "openapi")
    }
    names.add("language.name")  # for the menu, by the server
    return {*in_scripts, *(key for pair in either for key in pair), *names, *composed}


@pytest.mark.parametrize("language", WORDS)
def test_every_word_the_page_can_say_is_there(language):
    missing = {key for key in said() if key not in WORDS[language]}
    assert missing == set()


def test_every_composed_key_is_among_those_tested():
    starts = set(re.findall(r"(?:say|has)\(`([a-z]+\.)\$\{", SCRIPTS))
    assert starts - {*SERVERS} == set(COMPOSED) & starts


@pytest.mark.parametrize("language", WORDS)
def test_nothing_is_translated_that_nobody_says(language):
    parameters = {f"{kind}.{row.name}" for row in PARAMETERS for kind in ("name", "help")}
    assert {key for key in WORDS[language] if key not in said() | parameters | STATES} == set()


def test_the_languages_say_the_same():
    english, *others = (
        {key for key in words if not key.startswith(SERVERS)} for words in WORDS.values()
    )
    assert all(other == english for other in others)


def test_what_the_server_says_in_english_is_there_in_chinese():
    hidden = set(listed("HIDDEN"))
    wanted = {f"{kind}.{row.name}" for row in PARAMETERS for kind in ("name", "help")}
    shown = {key for key in wanted if key.split(".")[1] not in hidden} | STATES
    assert {key for key in shown if key not in WORDS["zh"]} == set()


@pytest.mark.parametrize("key", sorted(WORDS["en"]))
def test_a_sentence_fills_in_the_same_values_in_every_language(key):
    blanks = {
        language: set(re.findall(r"\{(\w+)\}", words[key])) for language, words in WORDS.items()
    }
    assert len({frozenset(names) for names in blanks.values()}) == 1, blanks
