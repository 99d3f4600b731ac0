# `make help` lists what there is. Needs bash, and Python 3.10 or a way for uv to fetch it; nothing else installed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo run serve tensorboard install test test-long test-wheel lint clean-runs

# What libraries would say besides; what matters goes to the log of the run.
export TF_CPP_MIN_LOG_LEVEL := 3
# Imports are half of what a short command costs; let Python keep what it has compiled.
unexport PYTHONDONTWRITEBYTECODE
export GRPC_VERBOSITY := ERROR
export TOKENIZERS_PARALLELISM := false
export TRANSFORMERS_VERBOSITY := error
QUIET := PYTHONWARNINGS=ignore

PYTHON := .venv/bin/python
PORT := 8500
REST_PORT := 8501

# Installed once for each lock file, setup.py and place of the checkout (scripts in .venv hold its path).
STAMP := .venv/.installed-$(shell { cat requirements.lock setup.py; pwd; } | cksum | tr -s ' \t' '-')

help: ## list the targets (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(STAMP) ## install, make a shop's data, run the pipeline on it, serve the model and ask it
	@$(QUIET) exec $(PYTHON) -m tfx_pipeline.demo

run: $(STAMP) ## run the pipeline: CONFIG=configs/NAME.yaml DATA=FOLDER_OR_FILE [ENTRY=another model of the zoo]
	@[[ -n "$(CONFIG)" && -n "$(DATA)" ]] || { echo "Say what to run: make run CONFIG=configs/online_retail.yaml DATA=PATH" >&2; exit 2; }
	PIPELINE_CONFIG="$(CONFIG)" PIPELINE_DATA="$(DATA)" PIPELINE_ENTRY="$(ENTRY)" $(QUIET) exec $(PYTHON) -m tfx_pipeline.local_runner

serve: $(STAMP) ## serve MODEL=DIR (the folder that holds the versions) on PORT=8500 (gRPC) and REST_PORT=8501
	@[[ -n "$(MODEL)" && -d "$(MODEL)" && ! -e "$(MODEL)/saved_model.pb" ]] || { echo "MODEL is '$(MODEL)'; expected the folder that holds a model's versions, such as make serve MODEL=runs/demo/serving/ranker" >&2; exit 2; }
	model="$$(cd "$(MODEL)" && pwd)"
	$(QUIET) exec $(PYTHON) -m serving.server --port=$(PORT) --rest_api_port=$(REST_PORT) --model_name="$${model##*/}" --model_base_path="$$model"

tensorboard: $(STAMP) ## show the training logs of all runs
	@$(QUIET) exec .venv/bin/tensorboard --logdir "$${PIPELINE_ROOT:-runs}"

install: $(STAMP) ## make .venv: Python 3.10, the locked dependencies, this package

lint: $(STAMP) ## ruff and mypy
	@.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# Every step says how long it took.
define STEPS
step() {
  local title="$$1" from=$$SECONDS; shift
  printf '\n== %s\n' "$$title"
  "$$@" || { printf '== %s: failed after %s s\n' "$$title" $$((SECONDS - from)) >&2; exit 1; }
  printf '== %s: %s s\n' "$$title" $$((SECONDS - from))
}
endef

test: $(STAMP) ## lint, types, tests (the end-to-end pipeline too), and the wheel in an empty environment
	@exec < /dev/null
	$(STEPS)
	step "Lint" .venv/bin/ruff check .
	step "Format" .venv/bin/ruff format --check .
	step "Types" .venv/bin/mypy
	# What shares the run of a pipeline stays in one process, and so does a file; tests/conftest.py has groups and order.
	step "Tests" $(PYTHON) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations=10
	step "Wheel" $(MAKE) --no-print-directory test-wheel

test-long: $(STAMP) ## the tests that take minutes each
	@$(PYTHON) -m pytest -m long --durations=10 < /dev/null

test-wheel: $(STAMP) ## build the wheel, install it into an empty environment, import it outside of the checkout
	@root="$$PWD"
	rm -rf build
	trap 'rm -rf "$$root/build"' EXIT
	.venv/bin/uv --quiet build --wheel --no-build-isolation --python $(PYTHON) --out-dir build/wheel .
	.venv/bin/uv --quiet venv --python $(PYTHON) build/empty
	.venv/bin/uv --quiet pip install --python build/empty/bin/python --no-deps -r requirements.lock
	.venv/bin/uv --quiet pip install --python build/empty/bin/python --no-deps --no-index build/wheel/*.whl
	cd /
	"$$root/build/empty/bin/python" -I -W ignore "$$root/tests/check_wheel.py" "$$root"

clean-runs: ## remove runs/: data, artifacts and models of all pipelines
	@rm -rf runs

# uv comes from PATH, else from the index through any Python's venv; Python 3.10 from PATH, from pyenv, else through uv.
$(STAMP): | requirements.lock setup.py
	@from=$$SECONDS
	is_310() { "$$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' > /dev/null 2>&1; }
	python=3.10
	for candidate in python3.10 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.10*/bin/python; do
	  if is_310 "$$candidate"; then
	    python="$$("$$candidate" -c 'import sys; print(sys.executable)')"
	    break
	  fi
	done
	# A checkout that was moved takes scripts along that hold its old path.
	is_310 $(PYTHON) && { [[ ! -e .venv/bin/tfx ]] || grep -qF "$$PWD/.venv" .venv/bin/tfx; } || rm -rf .venv
	if [[ -x .venv/bin/uv ]]; then uv=.venv/bin/uv
	elif command -v uv > /dev/null && uv --version > /dev/null 2>&1; then uv=uv
	else
	  uv=.uv/bin/uv
	  for candidate in "$$python" python3 python3.1{4,3,2,1} python3.{9,8} "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.*/bin/python; do
	    "$$uv" --version > /dev/null 2>&1 && break
	    rm -rf .uv
	    "$$candidate" -m venv .uv > /dev/null 2>&1 || continue
	    echo '*' > .uv/.gitignore
	    echo "Fetching uv ..."
	    .uv/bin/python -m pip install -qq --disable-pip-version-check "$$(grep '^uv==' requirements.lock)" || true
	  done
	  "$$uv" --version > /dev/null 2>&1 || { rm -rf .uv; echo "uv is not there and could not be fetched; install uv, or a Python 3 with venv and pip that reaches a package index." >&2; exit 1; }
	fi
	if [[ ! -e .venv ]]; then
	  [[ $$python != 3.10 ]] || echo "No Python 3.10 here; uv fetches one ..."
	  "$$uv" --quiet venv --python "$$python" .venv || { echo "Python 3.10 is not there and could not be fetched; install it as python3.10 or through pyenv." >&2; exit 1; }
	fi
	echo "Installing $$(grep -c == requirements.lock) locked packages into .venv ($$($(PYTHON) --version)) ..."
	"$$uv" pip install --python $(PYTHON) --no-deps -r requirements.lock 2>&1 | sed '/^ [-+~] /d'
	"$$uv" --quiet pip install --python $(PYTHON) --no-deps --no-build-isolation --editable .
	rm -f .venv/.installed-*
	touch $@
	echo "Installed in $$((SECONDS - from)) s."
