# Every goal sets up what it needs. Options: TASKS=folder of tasks, SMOKE=1 for the small size.
PYTHON ?= python3
VENV ?= .venv
TASKS ?=
SMOKE ?=
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUN_EXPERIMENT = $(BIN)/python -m glue_pilot experiment --study $(EXPERIMENTS) $(if $(TASKS),--tasks $(TASKS)) $(foreach s,$(SET),--set '$(s)') $(foreach g,$(OVER),--over '$(g)')
EMBEDDINGS := $(if $(SMOKE),glue_pilot/embeddings_smoke.toml,$(if $(TASKS),glue_pilot/embeddings.toml,glue_pilot/embeddings_smoke.toml))
METADATA := $(if $(SMOKE),glue_pilot/metadata_smoke.toml,$(if $(TASKS),glue_pilot/metadata.toml glue_pilot/metadata_more.toml,glue_pilot/metadata_smoke.toml))
NEXT := $(if $(SMOKE),glue_pilot/next_smoke.toml,$(if $(TASKS),glue_pilot/next.toml,glue_pilot/next_smoke.toml))
EVALUATE := $(if $(SMOKE),glue_pilot/evaluate_smoke.toml,$(if $(TASKS),glue_pilot/evaluate.toml,glue_pilot/evaluate_smoke.toml))
TUNED := $(if $(SMOKE),glue_pilot/tuned_smoke.toml,$(if $(TASKS),glue_pilot/tuned.toml,glue_pilot/tuned_smoke.toml))
QUALITY := $(if $(SMOKE),glue_pilot/quality_smoke.toml,$(if $(TASKS),glue_pilot/quality.toml,glue_pilot/quality_smoke.toml))
ENCODER_STUDY := $(if $(SMOKE),glue_pilot/encoders_smoke.toml,$(if $(TASKS),glue_pilot/encoders.toml,glue_pilot/encoders_smoke.toml))
PAIR_STUDY := $(if $(SMOKE),glue_pilot/pairs_smoke.toml,$(if $(TASKS),glue_pilot/pairs.toml,glue_pilot/pairs_smoke.toml))
METADATA_NAME := $(if $(filter %/metadata.toml,$(METADATA)),metadata,metadata_smoke)
TABLES ?= results
ENCODERS ?=
DEVICE ?= auto
DTYPE ?= auto
ARITHMETIC = --device $(DEVICE) --dtype $(DTYPE)
EXECUTOR ?=
CELLS ?=
SHARD ?=
RUN_ON = $(if $(EXECUTOR),--executor $(EXECUTOR)) $(if $(SHARD),--shard $(SHARD))
# The tables of an encoder lie in TABLES/NAME; of a folder the last part is the name.
name_of = $(notdir $(patsubst %/,%,$(1)))
ALL_TABLES = $(if $(ENCODERS),$(foreach e,$(ENCODERS),--tables $(TABLES)/$(call name_of,$(e))),--tables $(TABLES))
EXPERIMENTS := $(if $(SMOKE),glue_pilot/experiments_smoke.toml,$(if $(TASKS),glue_pilot/experiments.toml,glue_pilot/experiments_smoke.toml))
STUDY := $(if $(SMOKE),glue_pilot/smoke.toml,$(if $(TASKS),glue_pilot/study.toml,glue_pilot/smoke.toml))

# Fisher embeddings for the library (real tasks, unless it is there), then the meta-dataset.
define encoder_tables
$(if $(filter metadata,$(METADATA_NAME)),$(if $(wildcard charkit/library/$(call name_of,$(1)).json),,$(BIN)/python -m glue_pilot embeddings $(EMBEDDINGS) --tasks $(TASKS) --encoder $(1) $(ARITHMETIC) --out $(TABLES)/$(call name_of,$(1)) --library charkit/library/$(call name_of,$(1))))
$(BIN)/python -m glue_pilot metadata $(METADATA) $(if $(TASKS),--tasks $(TASKS)) --encoder $(1) $(ARITHMETIC) --out $(TABLES)/$(call name_of,$(1))

endef

define tuned_table
$(BIN)/python -m glue_pilot metadata-tuned $(TUNED) $(if $(TASKS),--tasks $(TASKS)) --encoder $(1) $(ARITHMETIC) $(if $(EXECUTOR),--executor $(EXECUTOR)) --out $(TABLES)/$(call name_of,$(1)) $(if $(filter %/tuned.toml,$(TUNED)),--ship)

endef

define tuned_transfer_table
$(BIN)/python -m glue_pilot metadata-tuned glue_pilot/tuned_transfer.toml --tasks $(TASKS) --encoder $(1) $(ARITHMETIC) $(if $(EXECUTOR),--executor $(EXECUTOR)) --out $(TABLES)/transfer/$(call name_of,$(1)) --ship

endef

define transfer_tables
$(BIN)/python -m glue_pilot metadata glue_pilot/transfer.toml --tasks $(TASKS) --encoder $(1) $(ARITHMETIC) $(RUN_ON) --out $(TABLES)/transfer/$(call name_of,$(1))

endef

.DEFAULT_GOAL := help
.PHONY: experiment-layers experiment-classifier experiment-sensitivity experiment-siblings experiment-clusters experiment-distinction experiment-norm experiment-distance experiment-experts experiment-intermediate experiment-failures \
  help setup demo pilot plan embeddings metadata metadata-tuned metamodel learners gradient-study scorecard encoder-transfer learner-transfer encoder-answers encoder-study pair-study next-study evaluate-study quality-study experiments report notebook toy test test-wheel test-faults test-ray test-slurm lint types check wheel bench bench-fisher bench-estimate bench-scale bench-gpu bench-tables docs site house clean

help: ## Show this list
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-24s %s\n", $$1, $$2}'
	@echo "  Options: TASKS=folder with real tasks, SMOKE=1 for the small size, VENV=folder of the environment,"
	@echo "  SET='n=256' and OVER='n=128;512' for experiments (times: real tasks, embeddings cached),"
	@echo "  ENCODERS=\"names or folders\" DEVICE=cuda and DTYPE=bfloat16 for the metamodel and its scorecard"

setup: $(READY) ## Make the environment in .venv (minutes, once)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all]" --group dev
	@touch $(READY)

demo: setup ## Run the whole road offline on generated tasks: answer, table, figures (under 5 minutes)
	$(BIN)/python -m glue_pilot.demo

pilot: setup ## The whole study, sweep to report: an hour on real TASKS, 15 minutes from caches; SMOKE=1 five
	$(BIN)/python -m glue_pilot run $(STUDY) $(if $(TASKS),--tasks $(TASKS)) $(RUN_ON)
	$(RUN_EXPERIMENT) all
	@test -e results/scorecard.json || cp docs/scorecard.json results/scorecard.json
	$(BIN)/charkit report results

plan: setup ## Say what the pilot would compute: cells, minutes, disk
	$(BIN)/python -m glue_pilot plan $(STUDY) $(if $(TASKS),--tasks $(TASKS))

embeddings: setup ## Embed all tasks of TASKS, else generated ones; build the shipped library (under 25 minutes)
	$(BIN)/python -m glue_pilot embeddings $(EMBEDDINGS) $(if $(TASKS),--tasks $(TASKS)) $(ARITHMETIC) $(RUN_ON) $(if $(filter %/embeddings.toml,$(EMBEDDINGS)),--library charkit/library/minilm)

metadata: setup ## Make the table that the metamodel learns from (an hour; SMOKE=1 two minutes)
	$(BIN)/python -m glue_pilot metadata $(METADATA) $(if $(TASKS),--tasks $(TASKS)) $(ARITHMETIC) $(RUN_ON)

metadata-tuned: setup ## Compare fine-tuning and SetFit with linear heads: ENCODERS="minilm NAME" (hours each; SMOKE=1 two minutes)
	$(if $(filter %/tuned.toml,$(TUNED)),$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[tuned]")
	$(foreach e,$(or $(ENCODERS),minilm),$(call tuned_table,$(e)))

next-study: setup ## Simulate labelling: which texts to label first, and what it saves (ten minutes)
	$(BIN)/python -m glue_pilot next-study $(NEXT) $(if $(TASKS),--tasks $(TASKS)) $(if $(filter %/next.toml,$(NEXT)),--policy charkit/answers/labelling/next_policy.json)

metamodel: setup ## Fit the metamodel to the meta-dataset; ENCODERS="minilm NAME" builds theirs first
	$(foreach e,$(ENCODERS),$(call encoder_tables,$(e)))
	$(BIN)/python -m glue_pilot metamodel $(ALL_TABLES) --name $(METADATA_NAME) $(if $(filter metadata,$(METADATA_NAME)),--ship,--trials 2)

learners: setup ## Fit what fine-tuning adds to a linear head, corpora left out (two minutes)
	$(BIN)/python -m glue_pilot learners --tables metamodel/shipped --ship

scorecard: setup ## Judge the metamodel, every corpus left out, beside its baselines (half an hour); ROUNDS=1 buying only
	$(BIN)/python -m glue_pilot scorecard $(if $(ROUNDS),--rounds-of docs/scorecard.json) $(ALL_TABLES) --name $(METADATA_NAME) $(if $(filter metadata,$(METADATA_NAME)),,--settings results)

encoder-transfer: setup ## Judge the metamodel under other encoders: ENCODERS="minilm FOLDER ..." TASKS=folder (an hour)
	$(foreach e,$(ENCODERS),$(call transfer_tables,$(e)))
	$(BIN)/python -m glue_pilot transfer $(foreach e,$(ENCODERS),--tables $(TABLES)/transfer/$(call name_of,$(e))) $(if $(SMOKE),--out $(TABLES)/transfer,--ship)

gradient-study: setup ## Do gradients of a few labels tell what fine-tuning adds? TASKS=folder (twenty minutes; SMOKE=1 a minute)
	$(BIN)/python -m glue_pilot gradient-study $(TUNED) $(if $(TASKS),--tasks $(TASKS)) $(if $(filter %/tuned.toml,$(TUNED)),,--outcomes $(TABLES)/minilm/tuned_smoke.parquet --out $(TABLES)/minilm)

learner-transfer: setup ## Judge ways of training under other encoders: ENCODERS="minilm FOLDER ..." TASKS=folder (an hour)
	$(foreach e,$(ENCODERS),$(call tuned_transfer_table,$(e)))
	$(BIN)/python -m glue_pilot learner-transfer glue_pilot/tuned_transfer.toml --tasks $(TASKS) $(foreach e,$(ENCODERS),-e $(e)) $(ARITHMETIC) --ship

encoder-answers: setup ## Do answers hold under encoders never seen? ENCODERS="FOLDER ..." TASKS=folder (five minutes each)
	$(BIN)/python -m glue_pilot encoder-answers glue_pilot/transfer.toml --tasks $(TASKS) $(foreach e,$(ENCODERS),-e $(e)) $(ARITHMETIC)

test: setup lint types ## Run the linter, the type checker and the whole test suite
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-wheel: setup ## Install the wheel in a clean environment without extras and answer there (minutes)
	$(BIN)/python -m pytest tests/try_wheel.py

test-faults: setup ## Kill, damage and deceive it (a quarter hour; SMOKE=1 a minute); RESUME=1 goes on
	$(BIN)/python tests/faults/attack.py $(if $(SMOKE),--smoke --out results/robustness_smoke.json) $(if $(RESUME),--resume)

test-ray: setup ## Run jobs on a Ray cluster of three nodes, here; one is killed (three minutes)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[ray]"
	$(BIN)/python -m pytest tests/engines/test_ray.py

test-slurm: setup ## Run a pilot through a real Slurm, here; needs root and Debian's slurm-wlm (five minutes)
	@command -v slurmctld >/dev/null || { apt-get -qq update && apt-get -qq install --no-install-recommends slurm-wlm munge >/dev/null; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[slurm]"
	$(BIN)/python -m pytest tests/engines/test_slurm.py

lint: setup ## Check the style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## Check the types
	$(BIN)/mypy

wheel: setup ## Build the wheel and the source distribution into dist/
	$(BIN)/python -m build --installer pip

bench: setup ## Measure against peers (half an hour, quiet machine); TASKS=folder for real tasks
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python benchmarks/run_all.py --only encode heads road $(if $(TASKS),--tasks $(TASKS)) $(if $(SMOKE),--smoke)

bench-estimate: setup ## Measure the time of estimate and the error rates of its signal test (ten minutes); TASKS, SMOKE
	$(BIN)/python benchmarks/run_all.py --only estimate signal $(if $(TASKS),--tasks $(TASKS)) $(if $(SMOKE),--smoke)

bench-fisher: setup ## Measure Fisher embeddings against their floor and peers (ten minutes); TASKS, SMOKE
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps --group peers
	$(BIN)/python benchmarks/run_all.py --only fisher distances $(if $(TASKS),--tasks $(TASKS)) $(if $(SMOKE),--smoke)

bench-tables: setup ## Measure the reading of CSV against pyarrow (one minute)
	$(BIN)/python benchmarks/measure_tables.py

bench-gpu: setup ## Measure encoding, Fisher embeddings and heads on one GPU (under 8 minutes); DEVICE=cpu SMOKE=1 tries it
	$(BIN)/python benchmarks/gpu.py $(if $(DEVICE),--device $(DEVICE)) $(if $(DTYPE),--dtype $(DTYPE)) $(if $(SMOKE),--smoke)

bench-scale: setup ## Measure executors, the sweep in two processes, the store's list (ten minutes, quiet machine); CELLS=10000, SMOKE
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[ray]" --group bench
	$(BIN)/python benchmarks/measure_scale.py $(if $(CELLS),--cells $(CELLS)) $(if $(SMOKE),--smoke)

evaluate-study: setup ## Compare ways to know a pool's accuracy by few test labels (an hour; SMOKE=1 a minute)
	$(BIN)/python -m glue_pilot evaluate-study $(EVALUATE) $(if $(TASKS),--tasks $(TASKS))

quality-study: setup ## Check recall of classes and share of wrong labels on TASKS (an hour; SMOKE=1 a minute)
	$(BIN)/python -m glue_pilot quality-study $(QUALITY) $(if $(TASKS),--tasks $(TASKS))

encoder-study: setup ## Which rule picks the best encoder? ENCODERS="minilm FOLDER ..." TASKS=folder (an hour; SMOKE=1 a minute; DRY=1)
	$(BIN)/python -m glue_pilot encoder-study $(ENCODER_STUDY) $(if $(TASKS),--tasks $(TASKS)) $(foreach e,$(ENCODERS),-e $(e)) $(ARITHMETIC) $(if $(DRY),--dry-run)

pair-study: setup ## Are the texts of a pair better read as one, or apart? TASKS=folder (a quarter hour; SMOKE=1 a minute; DRY=1)
	$(BIN)/python -m glue_pilot encoder-study $(PAIR_STUDY) $(if $(TASKS),--tasks $(TASKS)) $(foreach e,$(ENCODERS),-e $(e)) $(ARITHMETIC) $(if $(DRY),--dry-run)

experiments: setup ## All experiments, one after the other (an hour; SMOKE=1 six minutes); OVER='n=128;512'
	$(RUN_EXPERIMENT) all

experiment-layers: setup ## Experiment: which layer carries the information (3 minutes)
	$(RUN_EXPERIMENT) layers

experiment-classifier: setup ## Experiment: is a good classifier needed (8 minutes)
	$(RUN_EXPERIMENT) classifier

experiment-sensitivity: setup ## Experiment: how sensitive to hyper-parameters (5 minutes)
	$(RUN_EXPERIMENT) sensitivity

experiment-siblings: setup ## Experiment: are tasks that are alike near (2 minutes after make embeddings)
	$(RUN_EXPERIMENT) siblings

experiment-clusters: setup ## Experiment: do embeddings cluster as expected (1 minute)
	$(RUN_EXPERIMENT) clusters

experiment-distinction: setup ## Experiment: how fine is the distinction (3 minutes)
	$(RUN_EXPERIMENT) distinction

experiment-norm: setup ## Experiment: what the norm says (3 minutes)
	$(RUN_EXPERIMENT) norm

experiment-distance: setup ## Experiment: what the distance says (5 minutes)
	$(RUN_EXPERIMENT) distance

experiment-experts: setup ## Experiment: which expert for which task (20 minutes)
	$(RUN_EXPERIMENT) experts

experiment-intermediate: setup ## Experiment: which task to train on first (1 minute after experts)
	$(RUN_EXPERIMENT) intermediate

experiment-failures: setup ## Experiment: where it fails, and whether it warns (8 minutes)
	$(RUN_EXPERIMENT) failures

report: setup ## Write the results as one page, results/report.html (seconds)
	$(BIN)/charkit report $(TABLES)

notebook: setup ## Run the example notebooks; with what they show they lie in results/notebooks (3 minutes)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group notebook
	mkdir -p results/notebooks
	cp examples/*.ipynb results/notebooks
	$(BIN)/jupyter execute --inplace results/notebooks/*.ipynb

toy: setup ## Draw the 64 toy tasks on a plane again (seconds)
	$(BIN)/python examples/plane_tasks.py --out docs/img

docs: setup ## Make the generated pages of docs/ again
	$(BIN)/python docs/make_pages.py

site: setup ## Build the documentation as a site with search and an API reference: build/site (a minute)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

house: setup ## Count how the code is built: docs/house.md (ten seconds)
	$(BIN)/python docs/house.py

clean: ## Remove what was built here; the cache of results stays (charkit cache prune)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find charkit glue_pilot metamodel tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
