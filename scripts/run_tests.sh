#!/bin/sh
# Runs the tests by the given Python: first, one at a time, those that start
# processes of their own, since their time limits suffer from load; then the
# rest side by side.
#   run_tests.sh .venv/bin/python [pytest's arguments]
set -eu
python=$1
shift

# The same small networks are compiled in dozens of processes: once is enough.
export JAX_COMPILATION_CACHE_DIR="$PWD/.pytest_cache/jax"
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.2
# Most of the tests' time is the compiler's.
export JAX_DISABLE_MOST_OPTIMIZATIONS=1

status=0
"$python" -m pytest -m 'processes and not long' "$@" || {
  code=$?
  # 5: no such test was collected, as where Launchpad is not installed.
  [ "$code" = 5 ] || status=$code
}
"$python" -m pytest --numprocesses=2 -m 'not processes and not long' "$@" ||
  status=$?
exit "$status"
