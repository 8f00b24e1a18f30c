# `make` alone lists the targets. Variables: PYTHON (a Python 3.10 to use),
# ARGS (the flags of quickstart's program, or of pytest in the test targets).
.DEFAULT_GOAL := help
.PHONY: help quickstart test test-newest test-gym-hil test-long lint lock \
  system-deps test-deps clean

PYTHON_NEWEST ?=
# What can differ on another Python, with another JAX or MuJoCo.
NEWEST_TESTS = $(addprefix tests/,import_test.py core_test.py \
  agents/sac/losses_test.py environments/adapters \
  networks ops environments/sim/pick_cube_test.py programs/local_test.py \
  replay/local_test.py utils/checkpointing_test.py)
GYM_HIL_TESTS = tests/environments/adapters tests/environments_page_test.py
UV ?= python3 -m uv
# Of setup.py, all that can be installed together.
EXTRAS = sim dm_control gymnasium launch rlds lerobot franka dev

help: ## Lists the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

quickstart: .venv/.installed ## Trains until the simulated Franka lifts the cube.
	.venv/bin/python examples/rlpd_state_sim.py \
	  $(or $(ARGS),--preset=cpu --nokeep-ratio --run=runs/quickstart)

test: lint ## Runs the linter and the tests.
	scripts/run_tests.sh .venv/bin/python $(ARGS)

test-newest: .venv-newest/.installed ## Runs the tests on Python 3.12 and current JAX.
	scripts/run_tests.sh .venv-newest/bin/python $(NEWEST_TESTS) $(ARGS)

test-gym-hil: .venv-gym-hil/.installed ## Trains in gym-hil, whose MuJoCo is an older one.
	scripts/run_tests.sh .venv-gym-hil/bin/python $(GYM_HIL_TESTS) $(ARGS)

test-long: .venv/.installed ## Runs the tests that take minutes each.
	.venv/bin/python -m pytest -m long --timeout=0 $(ARGS)

lint: .venv/.installed ## Checks style and formatting.
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

system-deps: ## Installs what rendering needs by apt-get.
	scripts/system_deps.sh

test-deps: ## Installs what only tests need by apt-get: ROS 1 and Chromium.
	scripts/system_deps.sh --tests

# For maintainers. Keeps the versions that stand; LOCK_ARGS=--upgrade renews.
lock: ## Writes the lock files anew from setup.py.
	$(call compile,3.10,$(EXTRAS),requirements/py310.txt)
	$(call compile,3.12,$(EXTRAS),requirements/newest.txt)
	$(call compile,3.10,launch gym-hil dev,requirements/gym_hil.txt)

clean: ## Removes the virtual environments and caches; keeps runs/.
	rm -rf .venv .venv-newest .venv-gym-hil .pytest_cache .ruff_cache *.egg-info build dist

.venv/.installed: requirements/py310.txt setup.py
	@scripts/make_venv.sh 3.10 .venv requirements/py310.txt

.venv-newest/.installed: requirements/newest.txt setup.py
	@PYTHON="$(PYTHON_NEWEST)" \
	  scripts/make_venv.sh 3.12 .venv-newest requirements/newest.txt

.venv-gym-hil/.installed: requirements/gym_hil.txt setup.py
	@scripts/make_venv.sh 3.10 .venv-gym-hil requirements/gym_hil.txt

define compile
UV_CUSTOM_COMPILE_COMMAND='make lock' $(UV) pip compile --quiet $(LOCK_ARGS) \
  --python-version $(1) $(addprefix --extra ,$(2)) \
  setup.py --output-file $(3)
endef
