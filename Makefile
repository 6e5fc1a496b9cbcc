# make book and make test are all that is needed; both make .venv from requirements.lock first.
# make site, for readers, makes .venv-site from requirements-site.lock: without torch, in a minute.
PROFILE  ?= embedded,photos
DEVICE   ?= cpu
NOTEBOOK ?=
ifdef DATA
export DATA
endif

PYTHON := $(shell for p in python3.11 python3; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
RUN    := .venv/bin/python
PIP    := pip install --disable-pip-version-check
STAMP  := .venv/.installed
SITE   := .venv-site/bin/python
SITE_STAMP := .venv-site/.installed
UPGRADE ?= --upgrade
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(RUN) -m uv pip compile --quiet --universal \
  --python-version 3.11 --no-annotate
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -q

.PHONY: help book site pdf publish bench faults test test-slow lock address clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo
	@echo "  PROFILE=embedded,photos|smoke|paper  DEVICE=cpu|cuda  NOTEBOOK=02,06|all  DATA=/pictures"

define NEEDS_PYTHON
@test -n "$(PYTHON)" || { \
  echo "Python 3.11 or newer is needed as python3.11 or python3; found: $$(python3 --version 2>&1)"; exit 1; }
endef

$(STAMP): requirements.lock pyproject.toml
	$(NEEDS_PYTHON)
	@echo "Installing the pinned packages into .venv: about 6 GB on disk, a few minutes the first time."
	test -x $(RUN) || $(PYTHON) -m venv .venv
	$(RUN) -m $(PIP) -r requirements.lock
	$(RUN) -m $(PIP) --quiet --no-deps --no-build-isolation -e .
	@touch $@

# nothing is compiled beforehand: what a build imports is a small part
$(SITE_STAMP): requirements-site.lock
	$(NEEDS_PYTHON)
	@echo "Installing what building the book needs into .venv-site: about 200 MB on disk."
	test -x $(SITE) || $(PYTHON) -m venv .venv-site
	$(SITE) -m $(PIP) --no-compile -r requirements-site.lock
	@touch $@

book: $(STAMP)  ## measure the quick figures on this machine (NOTEBOOK=all: every one), build the book
	$(RUN) book/build.py run --profile "$(PROFILE)" --device "$(DEVICE)" --notebook "$(NOTEBOOK)"

site: $(SITE_STAMP)  ## build the book from the committed results, without torch, in seconds
	PYTHONPATH="$(CURDIR)" $(SITE) book/build.py site

pdf: site  ## print that book as one PDF, _build/pdf/dense-information-prompt.pdf, by Chromium
	$(SITE) book/pdf.py

publish: PROFILE = embedded-full,photos-full
publish: $(STAMP)  ## re-measure at five seeds and rewrite the committed notebooks and results
	$(RUN) book/build.py publish --profile "$(PROFILE)" --device "$(DEVICE)"

bench: $(STAMP)  ## measure speed and memory on this machine (about three quarters of an hour of one core)
	for each in text_step sweep encode end_to_end methods visual visual_training memvp products store; do \
	  OMP_NUM_THREADS=1 $(RUN) benchmarks/$$each.py --device "$(DEVICE)" || exit 1; done

faults: $(STAMP)  ## kill and interrupt sweeps fifty times each (half an hour of two cores), write results/faults.json
	OMP_NUM_THREADS=1 $(RUN) tests/faults.py 50

test: $(STAMP)  ## lint, types, layers, quick tests, and the committed notebooks against their outputs
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(RUN) tests/count_code.py
	DIP_HOME="$(CURDIR)/_build/nbval" $(PYTEST) -n 2 --dist loadfile --nbval-lax notebooks  # sees what is committed, no live runs
	$(PYTEST) -n 2 --dist worksteal tests --ignore tests/slow

test-slow: $(STAMP)  ## the wheel, Binder and Colab in a fresh environment; the book in a real browser
	$(PYTEST) -n 2 --dist loadfile tests/slow

lock: $(STAMP)  ## bring both locks up to the newest versions (needs the network); UPGRADE= keeps the pins
	$(RUN) -m $(PIP) --quiet uv
	$(COMPILE) $(UPGRADE) pyproject.toml --extra dev -o requirements.lock
	$(COMPILE) $(UPGRADE) --group site --constraint requirements.lock -o requirements-site.lock

address: $(STAMP)  ## set the repository's address everywhere: URL=https://github.com/owner/name
	$(RUN) book/address.py "$(URL)"

clean:  ## remove what was built; the measurements in _build/run stay
	rm -rf _build/html _build/pdf _build/run/site dist build *.egg-info
