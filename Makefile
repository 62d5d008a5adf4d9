# Build products stay outside the checkout, so that several checkouts share them.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/assent/target

.DEFAULT_GOAL := help
# Figures go to target/bench/NAME.json.
.PHONY: bench bench-diagnosis bench-governance bench-intake bench-live bench-loop bench-policy bench-sidecar help demo demo-blueprints demo-down cluster cluster-down test survive-long fuzz lint fmt setup crds install-plugin

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## Break a shop on a local Kubernetes (root, Linux), or on yours (DEMO_KUBECONFIG), and watch Assent repair it
	cargo build --workspace --all-targets
	$(CARGO_TARGET_DIR)/debug/demo up

demo-down: ## Remove everything that the demo left (of your cluster, with the same DEMO_KUBECONFIG)
	$(CARGO_TARGET_DIR)/debug/demo down

cluster: setup ## Start a local Kubernetes with one real node and nothing on it (root, Linux)
	cargo run -q -p assent-cluster --bin assent-cluster -- up

cluster-down: ## Remove that cluster
	cargo run -q -p assent-cluster --bin assent-cluster -- down

# Most tests wait for servers rather than for the processor.
test: export RUST_TEST_THREADS ?= 4
test: setup ## Run every test
	cargo test --workspace

survive-long: setup ## Take parts of the mesh away as a test does, under certificates of four minutes in place of 90 seconds (root, Linux)
	ASSENT_SURVIVE_LEAF_SECONDS=240 cargo test --workspace --test survive -- --nocapture

# Seconds for each target; half of it for those that a handful of branches make.
FUZZ_SECONDS ?= 20
# The same inputs in every run from a clean folder, so that what is found is the change's doing; 0 draws other ones.
FUZZ_SEED ?= 1
FUZZ_TARGETS = review policy cel http database
FUZZ_SMALL = hello transport csr netlink sources slack
# A workspace of its own with flags of its own (fuzz/.cargo/config.toml).
FUZZ_DIR = $(CARGO_TARGET_DIR)/fuzz
FUZZ_RUN = $(FUZZ_DIR)/$$(rustc -vV | sed -n 's/^host: //p')/release

fuzz: setup ## Feed the readers strange input, FUZZ_SECONDS for each target, from the corpus in fuzz/corpus (FUZZ_SEED=0: other input each time)
	cd fuzz && CARGO_TARGET_DIR=$(FUZZ_DIR) cargo build --release --locked
	@mkdir -p $(FUZZ_DIR)/found
	@for target in $(FUZZ_TARGETS) $(FUZZ_SMALL); do \
		case " $(FUZZ_SMALL) " in *" $$target "*) seconds=$$(( ($(FUZZ_SECONDS) + 1) / 2 ));; *) seconds=$(FUZZ_SECONDS);; esac; \
		if [ -f fuzz/$$target.dict ]; then words=-dict=fuzz/$$target.dict; else words=; fi; \
		mkdir -p $(FUZZ_DIR)/corpus/$$target && echo "fuzz $$target: $$seconds s" && \
		$(FUZZ_RUN)/$$target -seed=$(FUZZ_SEED) -max_total_time=$$seconds -max_len=4096 -timeout=10 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 \
			$$words -artifact_prefix=$(FUZZ_DIR)/found/$$target- $(FUZZ_DIR)/corpus/$$target fuzz/corpus/$$target || exit 1; \
	done

bench: bench-diagnosis bench-governance bench-intake bench-loop bench-policy bench-sidecar ## Run every benchmark (many minutes; figures in target/bench)

# Where folders of recorded cases with labels are.
RECORDED ?= ../shared/rca

bench-diagnosis: setup ## Measure diagnoses of recorded faults beside three baselines (RECORDED: another folder of folders)
	cargo run --release --package assent-cli --example baselines -- $(dir $(wildcard $(RECORDED)/*/labels.jsonl))

bench-governance: setup ## Measure every criterion of governed execution on a real API server (ten minutes; report in governance.md; GOVERNANCE='--only PARTS')
	cargo build --workspace --all-targets
	$(CARGO_TARGET_DIR)/debug/bench governance $(GOVERNANCE)

bench-intake: setup ## Measure how many alerts a second are taken in without loss, on SQLite and on PostgreSQL
	cargo bench --package assent-director --bench intake

bench-loop: setup ## Measure seconds from a fault to its verified repair on a real node (root, Linux)
	cargo build --workspace --all-targets
	$(CARGO_TARGET_DIR)/debug/bench loop

bench-live: setup ## Cause every live fault of the catalogue on a real node (root, Linux; hours; goes on where it stopped; LIVE=--fresh)
	cargo build --workspace --all-targets
	$(CARGO_TARGET_DIR)/debug/bench live $(LIVE)

demo-blueprints: setup ## Show six scenarios of two services under Blueprints on a local Kubernetes, each timed (root, Linux)
	cargo build --workspace --all-targets
	$(CARGO_TARGET_DIR)/debug/bench scenarios

bench-policy: setup ## Measure guardrails beside native policies, Gatekeeper and Kyverno (BENCH_PEERS=0: without the last two)
	cargo build --release --package assent-webhook --package assent-tests --bins
	$(CARGO_TARGET_DIR)/release/bench policy

bench-sidecar: setup ## Measure a pair of sidecars beside a plain relay: latency, processor, memory, throughput (root, two cores)
	cargo build-pod
	cargo build --release --package assent-tests --bins
	$(CARGO_TARGET_DIR)/release/bench sidecar

lint: ## Check formatting, and lints as errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

fmt: ## Format everything
	cargo fmt --all

crds: ## Write the custom resource definitions from the types
	UPDATE_EXPECT=1 cargo test -q -p assent-cli --test it committed_definitions

install-plugin: ## Install `kubectl assent` to ~/.cargo/bin
	cargo install --locked --path cli

setup:
	@scripts/setup
