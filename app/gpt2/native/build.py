"""Compile kernel.c: a shared library for each instruction set, named after its source and compiler.

`python -m app.gpt2.native.build` makes all of them beside the source, where they are found before
any cache: for images whose last stage has no compiler.
"""

import hashlib
import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from app.gpt2.files.atomic import whole_file

log = logging.getLogger(__name__)

SOURCE = Path(__file__).parent
BUILT = SOURCE / "built"
# No operation is fused or reordered unless the source says so: the bits are a promise.
FLAGS = "-std=c11 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -fPIC -shared -pthread"
DIGEST = 32  # bytes of SHA-256 after each library: loading half a file would end the process

# Best first: what the processor must have, by Linux's names, and the compiler's flags.
INSTRUCTION_SETS = {
    "avx512-vnni": (
        {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx2", "fma"},
        "-O3 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma",
    ),
    "avx-vnni": ({"avx_vnni", "avx2", "fma"}, "-O3 -mavxvnni -mavx2 -mfma"),
    "avx2": ({"avx2", "fma"}, "-O3 -mavx2 -mfma"),
    "plain": (set[str](), "-O2"),  # C alone: any processor
}


class BuildError(Exception):
    """Why there is no library, in one sentence."""


def runnable() -> list[str]:
    """The instruction sets that this processor has, best first."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    return [name for name, (needed, _) in INSTRUCTION_SETS.items() if needed <= flags]


def find(isa: str, folders: Sequence[Path]) -> Path | None:
    """A complete library built from this source, and by this compiler if there is one."""
    compiler = _compiler()
    mark = "*" if compiler is None else _hash(_version(compiler))
    for folder in folders:
        for file in sorted(folder.glob(f"native-{isa}-{_hash_of_source(isa)}-{mark}.so")):
            if _is_whole(file):
                return file
    return None


def build(isa: str, folder: Path, more: Sequence[str] = ()) -> Path:
    """Compile the library for `isa` into `folder`, with `more` flags."""
    compiler = _compiler()
    if compiler is None:
        raise BuildError("There is no C compiler here.")
    name = f"native-{isa}-{_hash_of_source(isa, more)}-{_hash(_version(compiler))}.so"
    flags = [*FLAGS.split(), *INSTRUCTION_SETS[isa][1].split(), *more]
    with whole_file(folder / name) as new:
        command = [compiler, *flags, str(SOURCE / "kernel.c"), "-o", str(new), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            why = (done.stderr.strip() or f"it ended with {done.returncode}").splitlines()[0]
            raise BuildError(f"{compiler} could not compile the kernel for {isa}: {why}")
        library = new.read_bytes()
        new.write_bytes(library + hashlib.sha256(library).digest())
    return folder / name


def _is_whole(file: Path) -> bool:
    data = file.read_bytes()
    return hashlib.sha256(data[:-DIGEST]).digest() == data[-DIGEST:]


def _compiler() -> str | None:
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


def _version(compiler: str) -> bytes:
    return subprocess.run([compiler, "--version"], capture_output=True).stdout


def _hash_of_source(isa: str, more: Sequence[str] = ()) -> str:
    parts = [file.read_bytes() for file in sorted(SOURCE.glob("*.[ch]"))]
    return _hash(b"\0".join([*parts, f"{FLAGS} {INSTRUCTION_SETS[isa][1]} {more}".encode()]))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def main() -> None:
    """Build beside the source, for every instruction set that the compiler knows."""
    for isa in INSTRUCTION_SETS:
        try:
            print(find(isa, [BUILT]) or build(isa, BUILT))
        except BuildError as error:
            if isa == "plain":
                sys.exit(str(error))
            print(f"left out: {error}")


if __name__ == "__main__":
    main()
