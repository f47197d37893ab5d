# Everything one does with this repository. `make help` lists it.
#
# Needed: cargo (by rustup), a C compiler, cmake and perl (librdkafka and its OpenSSL are
# built from source), Java 17 or newer, Maven, npm with Node.js 20, Python 3.11 or newer,
# valgrind. ClickHouse and Kafka are fetched into .plaudit/parts, once.

CARGO ?= cargo
# One profile for demo and tests.
BUILT = $(or $(CARGO_TARGET_DIR),target)/debug
PLAUDIT = $(BUILT)/plaudit
BENCH = $(or $(CARGO_TARGET_DIR),target)/release/bench
# More than there are cores: most tests wait most of the time.
export RUST_TEST_THREADS ?= 4

.DEFAULT_GOAL := help
.PHONY: help demo up standalone env manifests test test-deploy lint build bench-build counts counts-bless suites fault model fuzz bench soak bench-pieces clean distclean tools

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Start everything, send a few thousand events, show what ClickHouse holds
	@$(PLAUDIT) demo

up: build ## Start Kafka, ClickHouse, intake, sink and query, until Ctrl-C
	@$(PLAUDIT) up

standalone: build ## Start intake, ClickHouse and query in one process, without Java
	@$(PLAUDIT) --set auth.mode=open standalone

env: ## Make .env with strong keys, for docker compose
	@deploy/env.sh

test: tools lint counts suites ## Everything that has to pass, but for what is shipped: test-deploy

build:
	@echo "== build"
	@$(CARGO) build --locked --package plaudit

lint: ## Format, clippy and the documentation, warnings being errors
	@echo "== format"
	@$(CARGO) fmt --all --check
	@echo "== clippy"
	@$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@echo "== documentation"
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet

# The broker and the engine are started once, for all suites, and stopped at the end,
# however the tests end.
suites: ## All tests: units, goldens, integration, the vendors' own clients
	@echo "== build the tests"
	@$(CARGO) test --locked --workspace --no-run
	@echo "== test, with a real broker and a real engine"
	@# Not `cargo run`: it would resolve features without the tests and compile all again.
	@$(BUILT)/with-backend \
		$(CARGO) test --locked --workspace --no-fail-fast

# Needs root and Debian, whose Docker engine it installs, and Go, to build compose and Kubernetes.
test-deploy: ## The image, docker compose and the chart on real engines: as shipped, and broken
	@echo "== deployment, on a Docker engine and a Kubernetes of its own"
	@# As a part of the workspace, or its dependencies would be compiled again.
	@$(CARGO) test --locked --workspace --features plaudit-tests/deploy --test deploy $(if $(CASES),-- $(CASES))

counts: ## Instructions an event by piece, held against the committed counts
	@echo "== instruction counts"
	@$(CARGO) run --locked --quiet --profile counts --package plaudit-pieces

counts-bless: ## Write the instruction counts anew, for a change that has a reason
	@$(CARGO) run --locked --quiet --profile counts --package plaudit-pieces -- bless

model: ## The model of the sink's protocol, with one more thing that goes wrong, for minutes
	@PLAUDIT_MODEL=$${PLAUDIT_MODEL:-60} $(CARGO) test --locked --package plaudit-model -- --nocapture --test-threads 1

fault: ## Faults on the built binary for half an hour, and the count of each: docs/faults.md
	@$(CARGO) test --locked --release --package plaudit-tests --test fault -- --long

fuzz: ## Random requests to every dialect and to the multipart reader, for minutes
	@PROPTEST_CASES=$${PROPTEST_CASES:-200000} $(CARGO) test --locked --release \
		--package plaudit-dialects --package plaudit-intake --lib -- any_

# Everything optimised. The binary starts broker, engine, services and floors itself.
bench-build: tools
	@echo "== build"
	@$(CARGO) build --locked --release --package plaudit --package plaudit-floors --package plaudit-benches

bench: bench-build ## Floors and product in turns, in 20 minutes; ONLY=scenario,… runs those
	@$(BENCH) $(if $(ONLY),--only $(ONLY))

soak: bench-build ## A quarter of an hour at a steady rate: whether memory stays flat
	@$(BENCH) --only soak

bench-pieces: ## How long each piece of an event's way takes: reading, codec, row, block, the whole intake
	@$(CARGO) bench --locked --package plaudit-pieces --bench pieces
	@$(CARGO) bench --locked --package plaudit-benches --bench serve

manifests: ## Render deploy/kubernetes/plain from the chart, with Helm 3
	@deploy/kubernetes/render.sh

tools:
	@for tool in $(CARGO) cc cmake perl java mvn npm node python3 valgrind; do \
		command -v $$tool >/dev/null || { echo "make: $$tool is not installed: see the head of the Makefile"; exit 1; }; \
	done
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: python3 is older than 3.11: see the head of the Makefile"; exit 1; }

clean: ## Remove local state: data and logs of `make up`; parts stay
	@rm -rf .plaudit/clickhouse .plaudit/kafka .plaudit/logs .plaudit/up.lock

distclean: ## Remove everything that is not in the repository
	@rm -rf .plaudit target
