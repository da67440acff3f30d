# Everything runs in a virtual environment, which is made on first use and again when what it is made of changes.
# make TORCH=cpu takes PyTorch's own CPU builds; make PYTHON=python3.12 another Python. Each has an environment apart.
PYTHON ?= python3
TORCH ?=
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))$(if $(TORCH),-$(TORCH))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UNFINISHED := $(VENV)/.unfinished
HOMEWORK := $(VENV)-homework
HOMEWORK_READY := $(HOMEWORK)/.ready
INSTALL := $(BIN)/uv pip install --python $(BIN)/python
# Wheels only: a system for which a package has none is told so before anything is fetched, and no compiler is needed.
WHEELS := $(INSTALL) --only-binary :all:
# Free disk space that set-up asks for: what it takes, and a little.
GB := $(if $(TORCH),3,7)
# PyTorch, and what only its CUDA builds need.
PYTORCH := ^(torch|torchvision)==
CUDA := ^(triton|cuda-|nvidia-)
# One thread where results must not depend on the machine's number of processors.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# uv compiles what it installs, once: else, where Python must not write bytecode, every kernel and every test process
# compiles torch's imports again, which takes longer than most of them need for their work.
export UV_COMPILE_BYTECODE := 1

.PHONY: help run test lab notebooks figures handouts slides site homework bench bench-gpu check clean

help:
	@echo "make run        all notebooks on the built-in data, copies and HTML into runs/, a table of headline numbers"
	@echo "make test       all tests and all notebooks"
	@echo "make lab        JupyterLab on notebooks/"
	@echo "make notebooks  run the committed notebooks again and save them in place"
	@echo "make figures    draw figures/ again: pictures, the page to try, stills of the widgets in Chromium"
	@echo "make handouts   run the notebooks, then a page of each that needs no network, in build/handouts"
	@echo "make slides     the same as slides, in build/slides"
	@echo "make site       the notebooks and all documents as a site with search that opens from disk, in build/site"
	@echo "make homework   the exercises as an nbgrader course with its releases, in build/homework"
	@echo "make bench      measure speed (benchmarks/)"
	@echo "make bench-gpu  measure 2:4 products on the GPU there is"
	@echo "make check      ruff, and the direction of imports"
	@echo
	@echo "with ANSWERS=FILE        homework: the exam's answers, too, from a file outside the repository"
	@echo "with TORCH=cpu           PyTorch without CUDA: about 3 GB in place of 7"
	@echo "with PYTHON=python3.12   another Python, 3.11 to 3.13"

ifneq ($(words $(PYTHON)),1)
$(error PYTHON is '$(PYTHON)', must be one word: the path or name of a Python)
endif

ifneq ($(filter-out cpu,$(TORCH)),)
$(error TORCH is '$(TORCH)', must be cpu or left out)
endif

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
		echo "PYTHON is '$(PYTHON)', must be a Python 3.11 to 3.13 with venv (on Debian and Ubuntu python3-venv)"; exit 1; }
# Asked before anything is fetched, and only then: what goes on where it stopped has used a part of the space already.
	@[ -d $(VENV) ] || df -Pk . "$${UV_CACHE_DIR:-$$HOME}" 2>/dev/null | awk 'NR > 1 && $$4 < $(GB) * 1048576 { \
		printf "The disk at %s has %.1f GB free, must have $(GB)$(if $(TORCH),, (3 with TORCH=cpu)); GB=0 skips this check\n", \
		$$6, $$4 / 1048576; exit 1 }'
# What was stopped while packages were put in place is made anew, from what was fetched.
	@[ ! -e $(UNFINISHED) ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@touch $(UNFINISHED)
	@echo "Setting up $(VENV): a few minutes, the first time. Stopped half-way, the same command goes on."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^uv==' requirements.txt)
ifeq ($(TORCH),cpu)
	@$(WHEELS) --torch-backend cpu $$(grep -E '$(PYTORCH)' requirements.txt) || { rm $(UNFINISHED); echo "PyTorch's CPU \
	builds can't be had (why: above). Leave out TORCH=cpu (7 GB), or put its torch and torchvision into $(VENV) by hand, \
	in the versions of requirements.txt, and call make again."; exit 1; }
	grep -vE '$(PYTORCH)|$(CUDA)' requirements.txt | $(WHEELS) -r -
else
	$(WHEELS) -r requirements.txt
endif
	$(INSTALL) --quiet --no-deps --editable .
	@rm $(UNFINISHED)
	@touch $@

# nbgrader has its own: small, no torch. What it grades runs in $(VENV), which its kernel "python3" is.
$(HOMEWORK_READY): requirements-homework.txt $(READY)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(HOMEWORK)
	$(BIN)/uv pip install --quiet --python $(HOMEWORK)/bin/python -r requirements-homework.txt
	rm -rf $(HOMEWORK)/share/jupyter/kernels/python3  # a hard link to uv's cache: written in place, it changes for all
	JUPYTER_PATH=$(CURDIR)/$(HOMEWORK)/share/jupyter \
		$(BIN)/python -m ipykernel install --prefix $(HOMEWORK) --name python3 --display-name "Python 3"
	touch $@

run: $(READY)
	$(ONE_THREAD) $(BIN)/python -m pruning_lib run all --profile smoke --out runs

# nbval wants its files whole per worker, which --dist loadfile sees to; tests/conftest.py puts the longest first. Three
# workers keep two cores busy: tests in the browser and in kernels wait for a third of their time.
# A worker that crashes ends the run: replaced, loadfile can wait for it forever (pytest-xdist issues 784, 1378).
test: $(READY) $(HOMEWORK_READY) check
	$(ONE_THREAD) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --durations 5 \
		--nbval-lax --nbval-current-env --nbval-cell-timeout=1800 --nbval-kernel-startup-timeout=600 \
		notebooks tests

lab: $(READY)
	$(BIN)/jupyter lab --notebook-dir notebooks

handouts slides site: run
	$(BIN)/python -m pruning_lib publish $@ --runs runs --out build

homework: $(READY) $(HOMEWORK_READY)
	$(BIN)/python -m pruning_lib homework --out build/homework $(if $(ANSWERS),--answers "$(ANSWERS)")

notebooks: $(READY)
	$(ONE_THREAD) $(BIN)/python -m pruning_lib notebooks

figures: $(READY)
	$(BIN)/python -m pruning_lib figures

# What takes long, or needs a GPU or packages that are not installed.
APART := $(patsubst %,benchmarks/%.py,two_four_gpu sparsegpt_hub sparsegpt_halves sss_frontier sss_controls snip_% swaps \
	monks surgeon two_four_language two_four_retraining packed_gpt)
bench: $(READY)
	for file in $(filter-out $(APART),$(wildcard benchmarks/*.py)); do \
		echo "== $$file"; $(BIN)/python $$file || exit 1; done

bench-gpu: $(READY)
	$(BIN)/python benchmarks/two_four_gpu.py

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

# build/homework stays: it holds what students handed in, and their marks.
clean:
	rm -rf .venv .venv-* runs
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name homework -exec rm -rf {} +
