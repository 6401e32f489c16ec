# make run: the main job on the embedded default. make test: the default suite. Both set everything up.
PYTHON ?= python3
BIN := .venv/bin
# Where it is set, every process compiles Prefect, torch and pandas anew: five to twenty seconds each.
unexport PYTHONDONTWRITEBYTECODE
# Two processes, whatever the machine: tests of one group share their fixtures and stay in one process, the longest
# groups first (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder
.PHONY: setup run test test-slow test-exhaustive test-races check bench-corpus bench-quality bench-memory bench-extraction bench-tokenizer bench-fertility bench-model clean

setup: .venv/stamp

# The stamp is newer than the pins that are installed: an unchanged tree costs no install. uv resolves and
# installs fast; it does not read pip's settings, so a local folder of wheels is handed over. Without one it is
# asked for the torch build that suits this machine (CUDA or CPU), and failing that for the registry's own.
.venv/stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Xmodel needs Python 3.11 or later: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@links=$$($(BIN)/python -m pip config get global.find-links 2>/dev/null || true); \
	install="$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e .[dev]"; \
	if [ -n "$$links" ] && [ -d "$$links" ]; then UV_FIND_LINKS="$$links" $$install; \
	else $$install --torch-backend=auto || $$install; fi
	@touch $@

run: setup
	@$(BIN)/xmodel run

test: setup
	@$(PYTEST)

test-slow: setup
	@$(PYTEST) -m "slow and not exhaustive" --durations=30

# All of the real data, a million repetitions: what the others see a fixed sample of.
test-exhaustive: setup
	@$(PYTEST) -m exhaustive --timeout=3600

# Beside datatrove's stock blocks, which need spacy and jieba: without them it says so and stops.
bench-corpus: setup
	@$(BIN)/python tests/benchmarks/bench_corpus.py

# Beside the labelled documents and made truth; rewrites the tables of docs/quality.md.
bench-quality: setup
	@$(BIN)/python -m tests.benchmarks.bench_quality --write

# Memory and speed at 1, 4 and 16 times a slice of the real corpora: a quarter of an hour on two cores.
bench-memory: setup
	@$(BIN)/python tests/benchmarks/bench_memory.py --write

# Main text of real pages, beside trafilatura, resiliparse, readability-lxml and jusText.
bench-extraction: setup
	@$(BIN)/python tests/benchmarks/bench_extraction.py

# Encoding to finished shards beside SentencePiece's own batches and Hugging Face's tokenizers; then the token stream's
# rate beside numpy's copy out of a memory map, and its share of a training step.
bench-tokenizer: setup
	@$(BIN)/python tests/benchmarks/bench_tokenizer.py --write
	@$(BIN)/python tests/benchmarks/bench_loader.py --write

# Tokens per character beside the released tokenizers, on sources that ours never saw: about six minutes.
bench-fertility: setup
	@$(BIN)/python tests/benchmarks/bench_fertility.py --write

# A training step beside transformers' Llama, eager and compiled, then decoding beside its generate: a quarter of an hour.
bench-model: setup
	@$(BIN)/python tests/benchmarks/bench_model.py --write
	@$(BIN)/python tests/benchmarks/bench_decoding.py --write

# Between processes: 200 rounds for one lease, two builders of every stage, each stopped on its way.
test-races: setup
	@$(PYTEST) tests/races -m "slow or exhaustive" --timeout=3600

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

clean:
	rm -rf .venv workspace
