#!/bin/sh
# Tests and measures on a machine with a GPU, in at most about 160 seconds, whatever fails on the way:
#   tests/benchmarks/gpu_check.sh [short] [FOLDER]
# with the python3 that is there, or GPU_PYTHON. Everything is written to FOLDER, the tables also here.
# The short form takes at most 65 seconds: tests of what only a GPU shows, no training.
python=${GPU_PYTHON:-python3}
short=
[ "$1" = short ] && short=short && shift
out=${1:-.bench}
mkdir -p "$out"
export PYTHONUNBUFFERED=1
tests_s=80 bench_s=110 chosen=''
if [ "$short" ]; then
    tests_s=25 bench_s=40
    chosen='(on_the_gpu or recorded or rows_of_one or chunks or a_fault)'
fi

part() { # NAME SECONDS COMMAND...
    name=$1 seconds=$2
    shift 2
    began=$(date +%s)
    timeout "$seconds" "$@" >"$out/$name.txt" 2>&1
    code=$?
    echo "== $name: exit $code after $(($(date +%s) - began)) s"
}

# Warnings of other versions than the pinned ones are no failures here.
part tests "$tests_s" "$python" -m pytest -q -W default -p no:cacheprovider --timeout 40 -k "$chosen" \
    tests/gpt2/torch_backend/test_torch_gpu.py tests/engine/turns/test_backends.py \
    tests/engine/test_engine.py tests/engine/test_exact.py
grep -E '^(E  |FAILED|ERROR)' "$out/tests.txt" | cut -c1-300 | head -60
tail -n 3 "$out/tests.txt"
part bench "$bench_s" "$python" -m tests.benchmarks.engine --device cuda $short "$out"
tail -n 80 "$out/bench.txt"
