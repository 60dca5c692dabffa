# `make demo` and `make test` need Python 3.11+, git and make; everything else comes from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin

unexport PYTHONDONTWRITEBYTECODE  # where it is set, each start of glue would compile all of glue again

.PHONY: demo test test-all lint docs pictures bench lock build smoke lowest mutants
$(BIN)/.installed: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c requirements.lock -e '.[pipeline,validation,features,monitoring,serving,alerts,postgres,redis,dev]'
	$(BIN)/python -m compileall -q -j 0 -x '/tests/' .venv/lib > /dev/null || true  # a cold import takes half as long
	touch $@

demo: $(BIN)/.installed  ## init and run on a real table, then the fraud template with its feature store
	rm -rf .demo && mkdir .demo
	$(BIN)/python -c "import palmerpenguins; palmerpenguins.load_penguins().to_csv('.demo/penguins.csv', index=False)"
	cd .demo && PATH="$(CURDIR)/$(BIN):$$PATH" glue init penguins --data penguins.csv --target species
	cd .demo/penguins && PATH="$(CURDIR)/$(BIN):$$PATH" glue run
	cd .demo/penguins && PATH="$(CURDIR)/$(BIN):$$PATH" glue predict ../penguins.csv scored.csv
	cd .demo && PATH="$(CURDIR)/$(BIN):$$PATH" glue init fraud --template fraud
	cd .demo/fraud && PATH="$(CURDIR)/$(BIN):$$PATH" glue run
	cd .demo/fraud && PATH="$(CURDIR)/$(BIN):$$PATH" glue predict data/raw/transactions.parquet scored.parquet
	cd .demo/fraud && PATH="$(CURDIR)/$(BIN):$$PATH" glue serve --check

test: $(BIN)/.installed  ## the whole suite
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not long"

test-all: $(BIN)/.installed  ## and the long forms
	$(BIN)/python -m pytest -n 2

lint: $(BIN)/.installed docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(BIN)/.installed  ## the site, in .site; a dead link, or an option or a key without a text, fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet -f docs/site/mkdocs.yml

pictures: $(BIN)/.installed  ## those of the README, of a real run; needs Chromium
	$(BIN)/python docs/site/pictures.py

bench: $(BIN)/.installed
	for file in $(sort $(wildcard benchmarks/*.py)); do $(BIN)/python $$file; done

# Hours for all; make mutants ONLY='--every 10 mlops_glue/metrics.py' tries a tenth of one module's.
mutants: $(BIN)/.installed  ## do the unit tests notice a changed decision? Not part of CI
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c requirements.lock -e '.[mutants]'
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.mutants $(ONLY)

lock:  ## names and hashes, no URL
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --all-extras --python-version 3.11 \
	  --custom-compile-command "make lock" pyproject.toml -o requirements.lock

build: $(BIN)/.installed  ## the wheel and the source archive, in dist/
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/uv build --quiet --python $(BIN)/python --out-dir dist

SMOKE := $(or $(TMPDIR),/tmp)/glue-smoke
smoke: $(BIN)/.installed  ## dist/*.whl in an empty environment, away from this checkout
	rm -rf $(SMOKE) && mkdir -p $(SMOKE)
	$(BIN)/uv venv --quiet --python $(BIN)/python $(SMOKE)/venv
	$(BIN)/uv pip install --quiet --python $(SMOKE)/venv/bin/python -c requirements.lock \
	  "$$(ls $(CURDIR)/dist/*.whl)[pipeline,validation,features,serving]"
	cd $(SMOKE) && PATH="$(SMOKE)/venv/bin:$$PATH" glue init fraud --template fraud
	cd $(SMOKE)/fraud && PATH="$(SMOKE)/venv/bin:$$PATH" glue run
	cd $(SMOKE)/fraud && PATH="$(SMOKE)/venv/bin:$$PATH" glue serve --check
	rm -rf $(SMOKE)

LOWEST := .lowest
lowest:  ## the main job on the lowest versions that pyproject.toml takes
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
	  -e '.[pipeline,validation,features,serving,alerts,postgres,boosters,signing]' 'securesystemslib>=1.3' 'pytest>=8.4' 'pytest-xdist>=3.8' 'palmerpenguins>=0.1.4' 'hypothesis>=6.140' 'pyyaml>=6.0.2'
	PATH="$(CURDIR)/$(LOWEST)/bin:$$PATH" $(LOWEST)/bin/python -m pytest -n 0 tests/unit tests/functional/test_main_job.py
