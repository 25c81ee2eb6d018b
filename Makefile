# What CI and people run; nothing else is needed. On a machine elsewhere, name a CPU index for PyTorch so that pip does not
# pull a CUDA build:  make demo TORCH_INDEX=<your CPU wheel index>
PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
BIN := $(VENV)/bin
PIP_EXTRA := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX),)
JOBS ?= 2
SCENARIO ?= scenarios/modern-english

.PHONY: help setup demo test check docs bench format clean

help: ## what there is
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup: $(VENV)/.installed ## create the virtual environment and install everything

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "spearhead needs Python 3.11 or newer: make setup PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 $(PIP_EXTRA)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train,review,hub,wandb,openvino,postgres,dev]' $(PIP_EXTRA)
	@touch $@

demo: setup ## the scenario modern-english to its end: data, training, release, one answer with label, trace and receipt
	$(BIN)/spearhead demo $(SCENARIO) --preset demo

test: setup ## the whole test suite, in two processes (JOBS=n for more)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

check: setup ## format, strict types, import contracts, documentation
	$(BIN)/ruff format --check src tests benchmarks deploy
	$(BIN)/ruff check src tests benchmarks deploy
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m spearhead.reference --check docs/reference

docs: setup ## write the generated reference again
	$(BIN)/python -m spearhead.reference docs/reference

bench: demo ## the long measurements, hours of them: ours and the peer in one run, ratios printed; a missed one does not stop the next
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]' $(PIP_EXTRA)
	-$(BIN)/python benchmarks/finetune_speed.py
	-$(BIN)/python benchmarks/serve_text.py --release "$$(ls -d .spearhead/releases/modern-english/[0-9]* | sort -V | tail -n 1)"
	-$(BIN)/python benchmarks/gateway.py
	-$(BIN)/python benchmarks/load.py
	-$(BIN)/python benchmarks/flow_speed.py
	-$(BIN)/python benchmarks/serve_pictures.py
	-$(BIN)/python benchmarks/survival.py
	-$(BIN)/python benchmarks/survival_sound_video.py
	-$(BIN)/python benchmarks/text_watermark.py
	-$(BIN)/python benchmarks/vae_likelihood.py
	-$(BIN)/python benchmarks/image_tokenizers.py
	-$(BIN)/python benchmarks/gan_stability.py
	-$(BIN)/python benchmarks/few_labels.py
	-$(BIN)/python benchmarks/robust_classifier.py
	-for name in fashion emoji tang-quatrains; do $(BIN)/spearhead demo scenarios/$$name --preset quick; done
	@echo "with a text of your own: benchmarks/compression.py --text FILE, benchmarks/four_bits.py --text FILE, benchmarks/gpt_speed.py --nanogpt FOLDER --text FILE"

format: setup ## format the code
	$(BIN)/ruff format src tests benchmarks deploy
	$(BIN)/ruff check --fix src tests benchmarks deploy

clean: ## remove the virtual environment and everything that was made here
	rm -rf $(VENV) .spearhead .mypy_cache .ruff_cache .pytest_cache
