"""Every benchmark, or those named: `make bench`, `python -m tests.benchmarks loading`.

A benchmark is a module beside this one with a `main()` that prints its table. Run them on a machine
with nothing else to do; what the README quotes comes from here.
"""

import importlib
import os
import platform
import sys
from pathlib import Path


def names() -> list[str]:
    modules = (file.stem for file in Path(__file__).parent.glob("*.py"))
    return sorted(name for name in modules if not name.startswith("_"))


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.processor()


def main() -> None:
    chosen = sys.argv[1:] or names()
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        sys.exit(f"There is no benchmark {unknown[0]!r}; there are {', '.join(names())}.")
    print(f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name in chosen:
        print(f"\n## {name}\n", flush=True)
        importlib.import_module(f"tests.benchmarks.{name}").main()


if __name__ == "__main__":
    main()
