# make demo     install into .venv and turn a photo into a pose map, keypoints and an overlay
# make test     install what the tests need and run them
# make check    lint, formatting, types
# make bench    speed beside rtmlib, easy-dwpose and controlnet_aux, into benchmarks/results/
# make clean    remove .venv and what the commands wrote

PYTHON ?= python3
VENV ?= .venv
# The torch to install. This version is a tested one; TORCH=torch takes the newest of the index,
# and a CUDA or CPU build comes from pytorch.org's own index (see README, "Install").
TORCH ?= torch==2.13.0
# Arguments for pytest, for instance: make test TESTS="tests/house -x"
TESTS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUN := $(BIN)/python

.PHONY: demo setup test check format bench clean

demo: $(VENV)/.demo
	$(RUN) examples/demo.py out

setup: $(VENV)/.dev

# Two processes of one thread each. PASSIVE: threads that wait for one another sleep; left to spin,
# they make the tests many times slower on a machine that does something else beside them.
test: $(VENV)/.test
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(RUN) -m pytest -n 2 --dist worksteal $(TESTS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench
	$(RUN) benchmarks/speed.py

clean:
	rm -rf $(VENV) out build dist dwpose_studio.egg-info

# torch goes first and by itself, so that its version or build is chosen here and pip finds it
# satisfied afterwards.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet $(TORCH)
	@touch $@

$(VENV)/.demo $(VENV)/.test $(VENV)/.dev: $(VENV)/.%: $(VENV)/.torch pyproject.toml
	$(PIP) install --quiet -e ".[$*]"
	@touch $@

# Their pins contradict one another and ours (see pyproject.toml), and they work without them.
$(VENV)/.bench: $(VENV)/.torch pyproject.toml
	$(PIP) install --quiet -e ".[bench]"
	$(PIP) install --quiet --no-deps rtmlib easy-dwpose controlnet-aux
	@touch $@
