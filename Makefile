PYTHON ?= python3
BIN := .venv/bin
STORY ?= examples/nightingale.txt

.PHONY: film test test-slow fuzz lint bench wheel clean

.venv/installed: pyproject.toml setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

film: .venv/installed  ## a story becomes films/TITLE/film.mp4
	mkdir -p films
	cd films && ../$(BIN)/filmwright film ../$(STORY)

test: .venv/installed  ## the test suite, but for its slow part
	$(BIN)/python -m pytest -n 2

test-slow: .venv/installed  ## the slow part: training, kills at random moments, a thousand changed productions
	$(BIN)/python -m pytest -n 2 -m slow

fuzz: .venv/installed  ## 20,000 productions with a changed file; fails on a traceback, a hang, or a byte outside
	OMP_NUM_THREADS=1 $(BIN)/python tests/hostile/fuzz.py

lint: .venv/installed  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p .typing && ln -sfn .. .typing/filmwright
	MYPYPATH=.typing $(BIN)/mypy --strict -p filmwright --exclude 'filmwright/(tests|docs|build|benchmarks|setup)'

bench: .venv/installed  ## the numbers of docs/numbers.md, on this machine
	$(BIN)/python benchmarks/bench.py

wheel: .venv/installed  ## builds the wheel, installs it into a fresh environment, imports everything, makes a film
	rm -rf build  # setuptools would ship what has been deleted since
	$(BIN)/python -m build --wheel --outdir dist -q
	$(BIN)/python benchmarks/wheel_check.py

clean:
	rm -rf build dist .typing *.egg-info .pytest_cache .mypy_cache .ruff_cache
