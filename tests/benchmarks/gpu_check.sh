#!/bin/sh
# Tests and measures on a machine with a GPU, in at most about 150 seconds, whatever fails on the way:
#   tests/benchmarks/gpu_check.sh [FOLDER]
# with the python3 that is there, or GPU_PYTHON. Everything is written to FOLDER, the tables also here.
python=${GPU_PYTHON:-python3}
out=${1:-.bench}
mkdir -p "$out"
export PYTHONUNBUFFERED=1

part() { # NAME SECONDS COMMAND...
    name=$1 seconds=$2
    shift 2
    began=$(date +%s)
    timeout "$seconds" "$@" >"$out/$name.txt" 2>&1
    code=$?
    echo "== $name: exit $code after $(($(date +%s) - began)) s"
}

# Warnings of other versions than the pinned ones are no failures here.
part tests 70 "$python" -m pytest -q -W default -p no:cacheprovider --timeout 40 -k 'not openvino' \
    tests/gpt2/torch_backend/test_torch_gpu.py tests/engine/turns/test_backends.py \
    tests/engine/test_engine.py tests/engine/test_exact.py
grep -E '^(E  |FAILED|ERROR)' "$out/tests.txt" | cut -c1-300 | head -60
tail -n 3 "$out/tests.txt"
part bench 110 "$python" -m tests.benchmarks.engine --device cuda "$out"
tail -n 80 "$out/bench.txt"
