# The commands of the project. Each installs what it needs and says what it does; nothing else is assumed
# than Debian 12 (or a like system) with rustup.
#
#   make run     build, start the whole system with simulated stations, show it live
#   make sql     the program that answers SQL over what the archive holds
#   make test    everything that must hold: format, lints, tests, models, licences
#   make explore the properties of the tests with other random inputs than the gate's (PROPTEST_RNG_SEED says which)
#   make bench   ours, the peer's and the ratio, case by case
#   make hour    the whole set under traffic for an hour: memory, descriptors and threads of every process (36 GB of disk)
#   make fuzz    every fuzz target for FUZZ_SECONDS (default 600) each
#   make book    the documentation as HTML, in docs/book
#   make deny    cargo-deny over the whole dependency graph

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
NIGHTLY ?= nightly
FUZZ_SECONDS ?= 600
# The inputs of property tests: the same at each run of `make test`, so that it says the same of the same code.
PROPTEST_RNG_SEED ?= 20261130
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help run build test explore fmt clippy unit models bench hour fuzz book deny cc tools sql

help:
	@sed -n 's/^#   //p' Makefile

# A C linker is all that a Rust build needs from the system.
cc:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: install Rust from https://rustup.rs"; exit 1; }
	@command -v cc >/dev/null || { echo "installing a C linker (build-essential)"; $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy build-essential; }

# Other people's programs that tests hold the archive against: tshark, and in a virtual environment of Python DuckDB,
# pyarrow and spacepackets; Yamcs, which feeds are held against; PostgreSQL and the S3 server moto, which keep the catalogue
# and segments of tests; schemathesis, which holds services to their OpenAPI documents.
TOOLS := target/tools
tools:
	@command -v tshark >/dev/null || { echo "installing tshark"; $(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends tshark; }
	@$(TOOLS)/venv/bin/python -c 'import duckdb, pyarrow, spacepackets' 2>/dev/null || { \
		echo "installing duckdb, pyarrow and spacepackets into $(TOOLS)/venv"; \
		python3 -c 'import ensurepip' 2>/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy python3-venv; }; \
		python3 -m venv $(TOOLS)/venv && $(TOOLS)/venv/bin/pip install -q --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1 spacepackets==0.32.0; }
	@$(TOOLS)/venv/bin/python -c 'import moto.server' 2>/dev/null || { \
		echo "installing moto into $(TOOLS)/venv"; \
		$(TOOLS)/venv/bin/pip install -q --disable-pip-version-check 'moto[server]==5.1.22'; }
	@$(TOOLS)/openapi/bin/python -c 'import schemathesis' 2>/dev/null || { \
		echo "installing schemathesis into $(TOOLS)/openapi"; \
		python3 -m venv $(TOOLS)/openapi && $(TOOLS)/openapi/bin/pip install -q --disable-pip-version-check -r tests/openapi/requirements.txt; }
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { echo "installing PostgreSQL"; $(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends postgresql; }
	@test -x /usr/sbin/slapd || { echo "installing slapd"; $(SUDO) apt-get update -q && $(SUDO) env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends slapd; }
	@command -v systemd-analyze >/dev/null || { echo "installing systemd, whose systemd-analyze looks at the units of config/systemd"; $(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends systemd; }
	@command -v java >/dev/null || { echo "installing a Java runtime for Yamcs"; $(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends openjdk-17-jre-headless; }
	@$(TOOLS)/venv/bin/python -c 'import fprime_yamcs_bundle' 2>/dev/null || { \
		echo "installing Yamcs into $(TOOLS)/venv"; \
		$(TOOLS)/venv/bin/pip install -q --disable-pip-version-check --no-deps fprime-yamcs-bundle==5.12.8.0; }

# DataFusion, which only SQL over the archive needs, takes longer to compile than all the rest: `make sql` builds the program
# that answers SQL. The archive starts it where it is built.
build: cc
	@echo "building fepd, fepctl, the archive's processes and the login service (release)"
	$(CARGO) build --release -p fepd -p fepctl -p fep-recorder -p fep-feeds -p fep-archive -p fep-identity-service

sql: cc
	@echo "building the program that answers SQL (release): DataFusion takes a while"
	$(CARGO) build --release -p fep-archive-sql

run: build
	@echo "fetching the captures of real satellites (fixtures of the ccsds package)"
	@$(CARGO) fetch --quiet || echo "no registry reachable: only what is already here will be played"
	target/release/fepctl up

fmt: cc
	$(CARGO) fmt --all --check

clippy: cc
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# The whole-system tests start the real programs, so everything is built first: cargo builds the programs of every package
# that has tests beside them.
unit: cc tools
	$(CARGO) test --workspace --no-run
	PROPTEST_RNG_SEED=$(PROPTEST_RNG_SEED) $(CARGO) test --workspace

# Memory-model checks of the ring: exhaustive interleavings (loom), and undefined behaviour (Miri, where nightly has it).
models: cc
	@echo "loom: every interleaving of the ring's models"
	RUSTFLAGS="--cfg loom" $(CARGO) test --release --target-dir target/loom -p fep-bus --lib models
	@if $(CARGO) +$(NIGHTLY) miri --version >/dev/null 2>&1; then \
		echo "Miri over the ring"; \
		MIRIFLAGS="-Zmiri-disable-isolation" $(CARGO) +$(NIGHTLY) miri test --target-dir target/miri -p fep-bus --lib; \
	else echo "Miri is not installed (rustup +$(NIGHTLY) component add miri rust-src): skipped"; fi

# The packages whose tests are properties; a failure is repeated with the seed that it prints.
explore: cc
	@seed=$$RANDOM$$RANDOM; echo "PROPTEST_RNG_SEED=$$seed"; \
	PROPTEST_RNG_SEED=$$seed $(CARGO) test -p fep-time -p fep-coding -p fep-ccsds -p fep-bus -p fep-downlink -p fep-sim -p fep-net -p fep-segments

test: fmt clippy unit models
	@echo "all tests passed"

bench: build sql
	@dpkg -s libfec-dev >/dev/null 2>&1 || { echo "installing libfec, the peer for Reed-Solomon"; $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy libfec-dev; } || echo "libfec is not to be had: those cases print ours alone"
	$(CARGO) build --release -p fep-benches --bins
	$(CARGO) run --release -p fep-benches --bin versus
	$(CARGO) run --release -p fep-benches --bin endurance
	$(CARGO) bench -p fep-route --bench requests

# In the directory for temporary files; TMPDIR names another one.
hour: build
	@$(CARGO) fetch --quiet || echo "no registry reachable: only what is already here will be played"
	$(CARGO) build --release -p fep-benches --bin hour
	target/release/hour

fuzz: cc
	@$(CARGO) +$(NIGHTLY) --version >/dev/null 2>&1 || rustup toolchain install $(NIGHTLY) --profile minimal
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { echo "installing cargo-fuzz"; $(CARGO) install --locked cargo-fuzz; }
	for target in $$($(CARGO) +$(NIGHTLY) fuzz list); do \
		echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
		$(CARGO) +$(NIGHTLY) fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096; \
	done

book:
	@command -v mdbook >/dev/null || { echo "installing mdbook"; $(CARGO) install --locked mdbook; }
	mdbook build docs

deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo "installing cargo-deny"; $(CARGO) install --locked cargo-deny; }
	$(CARGO) deny check licenses bans sources
