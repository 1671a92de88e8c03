"""Which room may know which: the arrows of the README's picture, read from the imports."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("gpt2", "engine", "web", "training")
MAY_ENTER = {  # besides itself
    "gpt2": set(),
    "engine": {"gpt2"},
    "web": {"engine"},
    "training": {"gpt2"},
}
NEVER_IMPORTED_BY = {  # a file or room -> what it must not even name
    "app/engine/turns": {"threading", "queue", "concurrent", "asyncio", "zmq", "socket"},
    "app/engine/turns/scheduler.py": {"torch", "numpy"},
    "app/engine/turns/cache.py": {"torch", "numpy"},
    "app/engine": {"flask", "transformers"},
    "app/gpt2/beams.py": {"transformers"},
    "app/web": {"torch", "transformers", "numpy"},
}
FILES = sorted((ROOT / "app").rglob("*.py"))


def room(path: Path) -> str | None:
    part = path.relative_to(ROOT / "app").parts[0]
    return part if part in ROOMS else None


def imports(path: Path) -> list[str]:
    """Dotted names of every module that `path` imports, inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "app" and node.level == 0:
            found += [f"app.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level]  # () for an absolute import
            found.append(".".join([*(package if node.level else ()), node.module or ""]).strip("."))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_know_only_whom_they_may_and_enter_by_the_door(path):
    here = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "app" or len(parts) == 1:
            continue
        if parts[1] not in ROOMS:
            assert here is None, f"{name} is the hallway's; a room does not know it"
        elif parts[1] != here:
            assert here is None or parts[1] in MAY_ENTER[here], f"{here} may not know {parts[1]}"
            assert len(parts) == 2 or name == "app.training.commands", f"{name} is not a door"


@pytest.mark.parametrize("place, names", NEVER_IMPORTED_BY.items(), ids=NEVER_IMPORTED_BY)
def test_what_must_not_be_named(place, names):
    for path in FILES:
        if str(path.relative_to(ROOT)).startswith(place):
            assert not {name.split(".")[0] for name in imports(path)} & names, path


def test_turns_have_one_clock():
    clocks = {"time", "datetime"}
    turns = [path for path in FILES if path.parent.name == "turns"]
    has_clock = [path.name for path in turns if clocks & set(imports(path))]
    assert has_clock == ["lane.py"]


@pytest.mark.parametrize("folder", ["process", "cluster"])
def test_an_engine_elsewhere_is_reached_without_its_turns(folder):
    for path in (ROOT / "app" / "engine" / folder).rglob("*.py"):
        names = [name for name in imports(path) if name.startswith("app.engine.turns")]
        assert not names, path


@pytest.mark.parametrize(
    "folder, unknown",
    [
        ("app/web/native", ["dialects"]),
        ("app/web/run", ["dialects", "native", "docs"]),
        ("app/web/body", ["dialects", "native", "guard"]),
        ("app/web/guard", ["dialects", "native"]),
    ],
)
def test_folders_of_the_web_know_only_what_lies_below(folder, unknown):
    for path in FILES:
        if str(path.relative_to(ROOT)).startswith(folder):
            for name in imports(path):
                assert name.split(".")[:2] != ["app", "web"] or not set(name.split(".")) & {
                    *unknown
                }, f"{path} imports {name}"


def test_the_environment_is_read_in_settings_only():
    for path in FILES:
        reads = "os.environ" in (text := path.read_text(encoding="utf-8")) or "getenv" in text
        assert not reads or path.name == "settings.py", path


@pytest.mark.parametrize(
    "module, absent",
    [
        ("app.web", ["torch", "transformers", "numpy"]),
        ("app.engine", ["torch"]),
        ("app.gpt2", ["torch"]),
        ("app.training", ["torch", "transformers"]),
    ],
)
def test_a_door_opens_without_the_heavy_libraries(module, absent):
    code = f"import sys, {module}; print([n for n in {absent} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert done.stdout.strip() == b"[]", done.stderr


FLOORS = ("corpus", "learn", "run", "report")  # of training: each knows those before it


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room(path) == "training"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_floors_of_training_know_only_those_below(path):
    own = path.relative_to(ROOT / "app" / "training").parts[0]
    if own not in FLOORS:
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[:2] == ["app", "training"] and len(parts) > 2:
            known = (*FLOORS[: FLOORS.index(own) + 1], "config", "errors")
            assert parts[2] in known, f"{own} may not know {name}"


def imported_at_once(path: Path) -> set[str]:
    """What Python imports when it imports `path`: modules, and names that may be modules."""
    package = path.relative_to(ROOT).parent.parts
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def test_no_module_imports_itself_by_way_of_others():
    graph = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): imported_at_once(path)
        for path in FILES
        if path.name != "__init__.py"
    }
    assert "app.engine.turns.request" in graph["app.engine.turns.lane"]
    known = {name: reached & graph.keys() for name, reached in graph.items()}
    graphlib.TopologicalSorter(known).prepare()  # raises CycleError


def test_there_is_no_junk_drawer():
    for path in FILES:
        assert path.stem not in ("utils", "util", "common", "core", "helpers", "misc"), path
