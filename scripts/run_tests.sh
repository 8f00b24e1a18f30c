#!/bin/sh
# Runs the tests by the given Python, two at a time: those that start processes
# mostly wait for them, and what they wait for has time on a busy machine too.
#   run_tests.sh .venv/bin/python [pytest's arguments]
set -eu
python=$1
shift

# The same small networks are compiled in dozens of processes: once is enough.
export JAX_COMPILATION_CACHE_DIR="$PWD/.pytest_cache/jax"
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.2
# Most of the tests' time is the compiler's.
export JAX_DISABLE_MOST_OPTIMIZATIONS=1

# Of its half of the tests a worker that is done takes what the other has left.
exec "$python" -m pytest --numprocesses=2 --dist=worksteal -m 'not long' "$@"
