# The two commands of the README are `make demo` and `make test`; both set up their own .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
WORKERS ?= 2
comma := ,
ENGINE := src/bitspike/engine/_engine.so
BUILD_FILES := pyproject.toml CMakeLists.txt cmake/editable/CMakeLists.txt $(wildcard src/bitspike/engine/c/*.[ch])

# Installing succeeds without an engine where none can be compiled; then an older one must not stay.
define install
	@touch $(VENV)/.building
	$(PIP) --editable '$(1)'
	@if [ ! $(ENGINE) -nt $(VENV)/.building ]; then \
		rm -f $(ENGINE); \
		echo "no engine was built, so torch runs the integers, slowly; \"make engine\" shows why"; \
	fi
endef

.DEFAULT_GOAL := help

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "bitspike needs Python 3.11 or newer; make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BUILD_FILES) constraints.txt | $(BIN)/python
	@echo "installing into $(VENV): torch and what the demo needs (about a minute)"
	$(call install,.[train])
	@touch $@

$(VENV)/.dev: $(BUILD_FILES) constraints.txt | $(BIN)/python
	@echo "installing into $(VENV): torch, test and lint tools (about a minute)"
	$(call install,.[train$(comma)dev])
	-$(PIP) --no-deps spikingjelly==2.0.0 loguru  # whose own wishes, torchvision among them, break torch; tests skip without
	@touch $@ $(VENV)/.demo

engine: $(VENV)/.demo  ## compile the engine again and show what the compiler says
	$(BIN)/python -m pip --disable-pip-version-check install --verbose --no-deps --editable .

demo: $(VENV)/.demo  ## train a 1-bit network on real digits and run it as integers
	$(BIN)/bitspike demo

install: $(VENV)/.demo  ## only set up .venv/bin/bitspike

test: $(VENV)/.dev  ## run all tests
	$(BIN)/python -m pytest -n $(WORKERS)

# Calls of CMake for what is not the package's own build; everything lands in build/.
CONFIGURE = $(BIN)/cmake -S . -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DCMAKE_BUILD_TYPE=Release
FUZZ_RUNS ?= 1000000
FUZZ_SECONDS ?= 0

sanitize: $(VENV)/.dev  ## the engine's tests with address and undefined behaviour sanitizers (gcc)
	CC=gcc $(CONFIGURE) -B build/sanitize -DENGINE_SANITIZE=ON -DENGINE_CHECK=ON
	$(BIN)/cmake --build build/sanitize
	BITSPIKE_ENGINE_LIBRARY=$(abspath build/sanitize/_engine.so) LD_PRELOAD=$$(gcc -print-file-name=libasan.so) \
		ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
		$(BIN)/python -m pytest -n $(WORKERS) tests/engine tests/runtime tests/block/test_native.py tests/stdp/test_stdp_engine.py

neon: $(VENV)/.dev  ## the engine's kernels for ARM, under qemu-aarch64
	BITSPIKE_REQUIRE_TOOLS=1 $(BIN)/python -m pytest tests/engine/test_engine_check.py

fuzz: $(VENV)/.dev  ## damaged programs through the engine (clang); FUZZ_RUNS inputs, FUZZ_SECONDS at most if not 0
	CC=clang $(CONFIGURE) -B build/fuzz_engine -DENGINE_FUZZ=ON
	$(BIN)/cmake --build build/fuzz_engine --target engine_program
	$(BIN)/python fuzz/engine_seeds.py build/fuzz_engine/seeds
	mkdir -p build/fuzz_engine/corpus
	ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=256 build/fuzz_engine/engine_program \
		-runs=$(FUZZ_RUNS) -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=2000 -max_len=20000 \
		-verbosity=0 -print_final_stats=1 -artifact_prefix=build/fuzz_engine/ build/fuzz_engine/corpus build/fuzz_engine/seeds

lint: $(VENV)/.dev  ## ruff and mypy
	$(BIN)/ruff check --no-cache src tests fuzz benchmarks studies
	$(BIN)/ruff format --check src tests fuzz benchmarks studies
	$(BIN)/mypy

format: $(VENV)/.dev  ## put the code into its format
	$(BIN)/ruff check --fix --quiet src tests fuzz benchmarks studies || true
	$(BIN)/ruff format src tests fuzz benchmarks studies

clean:  ## remove the environment and what was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis $(ENGINE)
	git clean -fdXq cmake/editable 2>/dev/null || true

.PHONY: help demo install engine test sanitize neon fuzz lint format clean
