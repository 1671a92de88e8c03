"""What the documents show of the code: `make docs` writes it, a test compares.

A document holds a pair of marks, <!-- NAME --> and <!-- /NAME -->; what stands between them is
the text of the function of that name below.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE_WIDTH = 28  # columns for a name in the tree
PICTURED = {"app", "static", "templates", "deployment"}
WHOLE = ("app/gpt2/vocabulary", "static/words", "deployment/kubernetes")  # one line for the folder
COMMENT = re.compile(r"(?://|#|<!--|/\*|\{#)!?[ *]*(.+?)\s*(?:-->|\*/|#\})?$")


def documents() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


# ---- what is made ----


def tree() -> str:
    """Every file of the house with the first sentence that it says of itself."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, encoding="utf-8", check=True,
    ).stdout.split("\n")  # fmt: skip
    files = {Path(name) for name in listed if name.partition("/")[0] in PICTURED}
    files = {path for path in files if path.parent != Path(".") and (ROOT / path).is_file()}
    lines: list[str] = []
    for top in sorted({path.parts[0] for path in files}):
        _draw(Path(top), files, lines)
    return "```\n" + "\n".join(lines) + "\n```"


def _draw(folder: Path, files: set[Path], lines: list[str]) -> None:
    depth = len(folder.parts) - 1
    lines.append(_line(depth, f"{folder.name}/", _of_folder(folder)))
    if str(folder) in WHOLE:
        return
    for path in sorted(path for path in files if path.parent == folder):
        if path.name != "__init__.py":
            lines.append(_line(depth + 1, path.name, first_sentence(path)))
    for child in sorted({Path(*p.parts[: depth + 2]) for p in files if folder in p.parent.parents}):
        _draw(child, files, lines)


def _line(depth: int, name: str, duty: str) -> str:
    return f"{'  ' * depth + name:<{TREE_WIDTH}}{duty}".rstrip()


def _of_folder(folder: Path) -> str:
    door = folder / "__init__.py"
    return first_sentence(door) if (ROOT / door).is_file() and len(folder.parts) > 1 else ""


def first_sentence(path: Path) -> str:
    """Of a module's docstring, or of the comment that a file opens with."""
    text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    else:
        said = _opening_comment(text)
    paragraph = " ".join(said.split("\n\n")[0].split())
    return re.split(r"(?<=[a-z)`'\"])\. ", paragraph)[0].rstrip(".")


def _opening_comment(text: str) -> str:
    lines = []
    for line in text.splitlines()[:12]:
        if found := COMMENT.match(line.strip()):
            lines.append(found[1])
        elif lines or line.strip():
            break
    return "\n".join(lines)


def settings() -> str:
    """Each setting as a row: its option, its variable, its default."""
    from app.settings import SETTINGS

    rows = ["| option | variable | default | |", "|---|---|---|---|"]
    for row in SETTINGS:
        option = "NAMES" if row.name == "models" else "--" + row.name.replace("_", "-")
        rows.append(f"| `{option}` | `{row.variable}` | {_value(row.default)} | {row.help} |")
    return "\n".join(rows)


def parameters() -> str:
    """Each parameter of a request as a row."""
    from app.engine import PARAMETERS

    rows = ["| parameter | type | default | range | |", "|---|---|---|---|---|"]
    for p in PARAMETERS:
        bounds = "" if p.low is None else f"{p.low:g} to {p.high:g}"
        kind = p.type.replace("|", "or")
        rows.append(f"| `{p.name}` | {kind} | {_value(p.default)} | {bounds} | {p.help} |")
    return "\n".join(rows)


def training() -> str:
    """`continuo train --help`, as it is printed."""
    printed = subprocess.run(  # a process of its own: click keeps what earlier tests asked for
        [sys.executable, "-m", "app", "train", "--help"],
        cwd=ROOT, env={**os.environ, "COLUMNS": "100"},
        capture_output=True, encoding="utf-8", check=True,
    ).stdout  # fmt: skip
    return f"```\n{printed.rstrip()}\n```"


def _value(value: object) -> str:
    if value is None or value == () or value == {} or value == []:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


MADE: dict[str, Callable[[], str]] = {f.__name__: f for f in (tree, settings, parameters, training)}


# ---- where it stands ----


def rewritten(text: str) -> str:
    """A document with everything between marks made anew."""
    for name, make in MADE.items():
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if marks.search(text):
            made = f"\n{make()}\n\n"
            text = marks.sub(lambda found, made=made: found[1] + made + found[2], text)
    return text


def main() -> None:
    for path in documents():
        before = path.read_text(encoding="utf-8")
        if (after := rewritten(before)) != before:
            path.write_text(after, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} is current again.")


if __name__ == "__main__":
    main()
