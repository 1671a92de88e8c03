# `make serve` and `make test` set up all they need, in .venv; everything else builds on them.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 5000
MODEL ?=
# A machine without a GPU need not download CUDA: make serve TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --disable-pip-version-check --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
TEST = $(BIN)/python -m pytest

.PHONY: serve test test-gpu bench-gpu lint format docs training bench bench-llama bench-genai soak browser screenshots

serve: $(VENV)/serving
	@$(BIN)/python -m app serve $(MODEL) --port $(PORT)

# Most run in three processes. These do not: the first fork workers as a web server does, and by and by a
# test process holds the threads of torch and of the kernel, which a fork does not survive; the last is
# many tests by one name, of which one would be run.
APART = $(addprefix tests/engine/process/test_,client.py service.py owner.py) \
	tests/web/run/test_stopping.py tests/web/body/test_fields.py

# The kernel is built once, for the many servers that the tests start with caches of their own.
test: $(VENV)/dev $(VENV)/clients browser tools
	@$(BIN)/python -m app.gpt2.native.build >/dev/null || true
	@$(TEST) $(APART)
	@$(TEST) -n 3 --dist loadfile $(addprefix --ignore=,$(APART))

lint: $(VENV)/dev $(VENV)/scripts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(SCRIPTS)/eslint --config tests/static/eslint.config.js static tests/static
	@$(SCRIPTS)/tsc --project tests/static

format: $(VENV)/dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# what the documents show of the code: settings, parameters, the tree
docs: $(VENV)/dev
	@$(BIN)/python -m tests.documents

training: $(VENV)/training

# On a machine with a GPU, in the environment that is there: make test-gpu GPU_PYTHON=python3
GPU_PYTHON ?= $(BIN)/python
GPU_READY = $(if $(filter $(BIN)/python,$(GPU_PYTHON)),$(VENV)/dev)
GPU_TESTS = $(addprefix tests/,gpt2/torch_backend/test_torch_gpu.py engine/test_engine.py engine/test_exact.py engine/turns)

test-gpu: $(GPU_READY)
	@$(GPU_PYTHON) -m pytest $(GPU_TESTS)

bench-gpu: $(GPU_READY)
	@$(GPU_PYTHON) -m tests.benchmarks.engine --device cuda

# long ones: 5,000 requests, fifty kills; two hundred readers for ten minutes, and each fault; and speed, on a machine with nothing else to do
soak: $(VENV)/dev
	@$(TEST) -m soak --timeout 3600
	@$(BIN)/python -m tests.soak

bench: $(VENV)/dev
	@$(BIN)/python -m tests.benchmarks

# llama.cpp's server, from the source inside a Python package, for its rows in `make bench`;
# without its AMX kernels, which end in an illegal instruction in some virtual machines
LLAMA = llama_cpp_python-0.3.36
bench-llama: $(VENV)/dev
	@mkdir -p .bench
	@$(BIN)/python -m pip download --quiet --no-deps --no-binary :all: --dest .bench llama-cpp-python==0.3.36
	@tar -xzf .bench/$(LLAMA).tar.gz -C .bench
	@cmake -S .bench/$(LLAMA)/vendor/llama.cpp -B .bench/llama -DCMAKE_BUILD_TYPE=Release \
		-DBUILD_SHARED_LIBS=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF \
		-DCMAKE_CXX_FLAGS='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'
	@cmake --build .bench/llama --target llama-server -j 2
	@cp .bench/llama/bin/llama-server .bench/
	@$(BIN)/python -c 'from tests.benchmarks.engine import make_model; make_model()'
	@$(BIN)/python .bench/$(LLAMA)/vendor/llama.cpp/convert_hf_to_gguf.py .bench/model --outtype q8_0 --outfile .bench/model-q8_0.gguf

# OpenVINO GenAI's pipeline, for its row in `make bench`, with the exporter that makes its model, in a place
# of their own: they want an older transformers. The exporter names torchvision too, but does without.
GENAI = .bench/genai/bin
bench-genai: $(VENV)/dev
	@$(BIN)/python -m venv .bench/genai
	@$(GENAI)/python -m pip install --disable-pip-version-check --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
		torch==2.13.0 transformers==5.5.4 openvino==2026.4.1 openvino-genai==2026.4.1.0 nncf==3.4.0 \
		requests==2.34.2 huggingface_hub==1.21.0 setuptools==84.2.1
	@$(GENAI)/python -m pip install --disable-pip-version-check --quiet --no-deps optimum==2.3.0 optimum-intel==2.2.0
	@$(BIN)/python -c 'from tests.benchmarks.engine import make_model; make_model()'
	@$(GENAI)/optimum-cli export openvino --model .bench/model --task text-generation-with-past \
		--weight-format int8 .bench/model-genai

# the pictures in docs/, of the starter's own writing
screenshots: $(VENV)/dev browser
	@$(BIN)/python -m tests.browser.screenshots

# ---- set-up: one stamp per requirements file, renewed when the file changes ----

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Continuo needs Python 3.11 to 3.13; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "Python cannot make virtual environments here: apt install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/serving: requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing what serving needs (a few minutes, once) ..."
	@$(PIP) -r requirements.txt
	@$(PIP) --no-deps -e .
	@touch $@

$(VENV)/training: requirements-training.txt $(VENV)/serving
	@echo "Installing what training needs ..."
	@$(PIP) -r requirements-training.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/training
	@echo "Installing what the tests need ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@

# eslint and TypeScript's checker for the page's scripts, run by the node of requirements-dev.txt; nothing is built
SCRIPTS = PATH="$(abspath $(BIN)):$$PATH" tests/static/node_modules/.bin
$(VENV)/scripts: tests/static/package-lock.json | $(VENV)/dev
	@PATH="$(abspath $(BIN)):$$PATH" npm ci --prefix tests/static --no-audit --no-fund --silent
	@touch $@

$(VENV)/clients: requirements-clients.txt | $(VENV)/dev
	@echo "Installing the clients that the tests drive, in $(VENV)-clients ..."
	@$(BIN)/python -m venv $(VENV)-clients
	@$(VENV)-clients/bin/python -m pip install --disable-pip-version-check --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements-clients.txt
	@touch $@

# A browser for the tests: the one that is here, Debian's, or playwright's own. Firefox and WebKit
# can only be Debian's; without them the tests of the core in these two are skipped.
browser: $(VENV)/dev
	@command -v firefox-esr >/dev/null && command -v WebKitWebDriver >/dev/null || \
		{ [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; } || \
		{ echo "Installing Firefox and WebKit for the browser tests ..."; apt-get update -qq; \
		apt-get install -y -qq firefox-esr webkit2gtk-driver xvfb >/dev/null || true; }
	@command -v chromium >/dev/null || ls $(HOME)/.cache/ms-playwright/chromium* >/dev/null 2>&1 || \
		{ echo "Installing Chromium for the browser tests ..."; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
		then apt-get update -qq && apt-get install -y -qq chromium fonts-noto-cjk >/dev/null; \
		else $(BIN)/playwright install chromium; fi; }

# The programs that read deployment/ in the tests: Debian's for root, elsewhere those that are there,
# and tests of the others are skipped. KEDA's schemas are in a package of npm's.
TOOLS = nginx:nginx-light prometheus:prometheus docker-compose:docker-compose openssl:openssl
.PHONY: tools cluster
tools: $(VENV)/dev
	@for tool in $(TOOLS); do PATH=$$PATH:/usr/sbin command -v $${tool%:*} >/dev/null || missing="$$missing $${tool#*:}"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing$$missing for the tests of deployment/ ..."; \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
	@if command -v npm >/dev/null && [ ! -d $(VENV)-tools ]; then \
		npm install --silent --no-fund --prefix $(VENV)-tools @kubernetes-models/keda@0.4.2; fi

# the engine on a real Ray cluster of three nodes on this machine: two minutes and 2 GB
cluster: $(VENV)/cluster
	@$(TEST) -m cluster tests/engine/cluster

$(VENV)/cluster: requirements-cluster.txt $(VENV)/dev
	@echo "Installing Ray ..."
	@$(PIP) -r requirements-cluster.txt
	@touch $@

# ---- supply chain ----

AUDIT = $(VENV)-audit/bin
LOCKED = sed -n 's/^\([a-z0-9.-]*\)==.*/\1/p' requirements.lock

.PHONY: lock audit
# requirements.txt with all that it brings, and the hashes of every file
lock: $(AUDIT)/python
	@{ sed '/^[^#]/,$$d' requirements.lock; $(AUDIT)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe \
		--unsafe-package torch --no-annotate --no-header --no-emit-options --output-file - requirements.txt \
		| sed '/^$$/d; /^# The following packages/,$$d'; } > requirements.lock.new && mv requirements.lock.new requirements.lock

# known vulnerabilities (it fails where nobody can tell), the licence of everything that serving installs, and a bill of materials
audit: $(AUDIT)/python $(VENV)/serving
	@{ echo "# What serving installs, and under which licences (\`make audit\`)"; echo; \
		$(AUDIT)/pip-licenses --python $(BIN)/python --format markdown --packages torch $$($(LOCKED)); } > docs/licences.md
	@$(AUDIT)/cyclonedx-py requirements requirements.lock --output-file sbom.json
	@$(AUDIT)/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

$(AUDIT)/python: | $(BIN)/python
	@$(BIN)/python -m venv $(VENV)-audit
	@$(AUDIT)/python -m pip install --disable-pip-version-check --quiet --upgrade pip pip-tools==7.6.2 \
		pip-audit==2.10.1 pip-licenses==5.5.5 cyclonedx-bom==7.5.0
