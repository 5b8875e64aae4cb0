set shell := ["bash", "-euo", "pipefail", "-c"]

# Where cargo puts what it builds.
target := env("CARGO_TARGET_DIR", justfile_directory() / "target")
# How `just build` builds: `just profile=release bench` measures what users of a release get.
profile := "dev"
bin := target / if profile == "dev" { "debug" } else { profile }
fresh_object := target / "fresh.bpf.o"

# Lists the recipes.
default:
    @just --list --unsorted

# Examples are always built along: they share the features of the tests, so DataFusion is built once for all.
# Builds the two commands.
build:
    cargo build --locked --profile {{ profile }} --bins --examples

# Records a live service and reports on it: the one on PORT, else a sample service under load.
demo PORT="": build
    @bin={{ bin }} ./fixtures/demo.sh {{ PORT }}

# Runs every test. Live tests need root and BPF; without them each says so and is skipped.
test *ARGS:
    cargo test --locked {{ ARGS }}

# Tries every property of the engine on CASES new random cases, not on the same few of every run.
properties CASES="20000":
    BEYLA_CASES={{ CASES }} cargo test --locked --package beyla-engine -- --skip speed

# Compares BLOCKS random header blocks with what another HPACK decoder reads.
hpack BLOCKS="1000000":
    BEYLA_BLOCKS={{ BLOCKS }} cargo test --locked --release --package beyla-engine --test hpack_blocks -- --nocapture

# Measures the parts that every event passes: heads, frames, header fields, events, redaction; or the BENCHES named.
bench-parts *BENCHES:
    cargo bench --locked --manifest-path bench/Cargo.toml --target-dir {{ target }}/bench-parts {{ prepend("--bench ", BENCHES) }}

# Measures how fast header blocks are decoded, beside another HPACK decoder.
bench-hpack: (bench-parts "hpack")

# Feeds the engine with hostile bytes, SECONDS for each of its fuzz TARGETS.
fuzz SECONDS="60" *TARGETS:
    ./fuzz/run.sh {{ SECONDS }} {{ TARGETS }}

# Rewrites what fuzzing begins with from the fixtures.
fuzz-seeds: python
    rm -rf fuzz/corpus
    {{ target }}/python/bin/python fuzz/seeds.py fixtures/*/*.parquet

# Kills COUNT captures at random moments under load, and recovers each. Needs root.
crash COUNT="200" SEED="1": build
    BEYLA_LIVE=required BEYLA_CRASHES={{ COUNT }} BEYLA_CRASH_SEED={{ SEED }} \
        cargo test --locked --test live crash -- --nocapture

# Formatting, lints, documentation, dependencies.
check:
    cargo fmt --all --check
    cargo fmt --manifest-path bench/Cargo.toml --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check
    cargo clippy --locked --all-targets -- -D warnings
    cargo clippy --locked --package beyla-ebpf --profile bpf -- -D warnings
    cargo clippy --locked --manifest-path bench/Cargo.toml --target-dir {{ target }}/bench-parts --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
    just deny

# Licences, duplicates and sources of all dependencies, and known vulnerabilities where their list can be had.
deny:
    command -v cargo-deny >/dev/null || cargo install --quiet --locked cargo-deny
    cargo deny --log-level error check bans licenses sources
    if cargo deny --log-level off fetch db; then cargo deny --log-level error check advisories; \
    else echo "advisories NOT checked: their database cannot be fetched from here" >&2; fi

# Rebuilds the committed kernel objects from source.
ebpf:
    ebpf/build.sh x86_64 ebpf/prebuilt/x86_64.bpf.o
    ebpf/build.sh aarch64 ebpf/prebuilt/aarch64.bpf.o
    ebpf/source-hash.sh > ebpf/prebuilt/SOURCE_HASH

# Fails when the committed kernel objects are not those of the sources; builds this machine's from source.
ebpf-fresh:
    [ "$(ebpf/source-hash.sh)" = "$(cat ebpf/prebuilt/SOURCE_HASH)" ] \
        || { echo "the committed kernel objects are stale: run 'just ebpf' and commit them" >&2; exit 1; }
    ebpf/build.sh "$(uname -m)" {{ fresh_object }}

# Installs the servers and clients that fixtures and live tests use (Debian).
servers:
    ./fixtures/install-servers.sh

# Records the fixtures anew: all, or those named. Needs root.
record *NAMES: build
    ./fixtures/build-servers.sh {{ target }}/servers
    BEYLA_CAPTURE={{ bin }}/beyla-capture SERVERS={{ target }}/servers \
        ./fixtures/record.sh {{ NAMES }}
    just bless

# Rewrites the goldens of all fixtures from what the analyzer says now.
bless:
    BLESS=1 cargo test --locked --test goldens

# Trains the model that tells words from ids in paths on the lists in engine/src/route/model.
train-routes:
    BLESS=1 cargo test --locked --package beyla-engine --test route_model

# Parts: replay sql start capture bystander size growth. `--rounds N` takes more rounds, `--huge` 100 million events too.
# Measures every figure that has a goal, or those of some PARTS, beside its peers, and prints a table. Needs root.
bench *PARTS: build python
    {{ target }}/python/bin/python -B fixtures/bench --bin {{ bin }} --work {{ target }}/bench {{ PARTS }}

# Attaches to TLS libraries of services under load and detaches again, so many times. Needs root.
tls-cycles COUNT="1000":
    BEYLA_TLS_CYCLES={{ COUNT }} BEYLA_LIVE=required cargo test --locked --package beyla-capture --test live tls::cycles -- --nocapture

# Compares with what tshark says of the packets of the same traffic: all scenarios, or those named. Needs root.
compare-tshark *SCENARIOS: build
    ./fixtures/build-servers.sh {{ target }}/servers
    ./fixtures/compare-tshark.py --bin {{ bin }} --servers {{ target }}/servers {{ SCENARIOS }}

# Has DuckDB, another reader, check that captures are what docs/format.md says.
check-format *FILES="fixtures/*/*.parquet": python
    {{ target }}/python/bin/python fixtures/check-format.py {{ FILES }}

# Has DuckDB answer the worked questions of docs/sql.md too, and compares the answers.
check-sql *FILES="fixtures/*/*.parquet": build python
    {{ target }}/python/bin/python fixtures/check-sql.py {{ bin }}/beyla-analyze {{ FILES }}

# Has the official OpenTelemetry library read the payloads of the tests.
check-otlp: python
    rm -rf {{ target }}/otlp && mkdir -p {{ target }}/otlp
    BEYLA_OTLP={{ target }}/otlp cargo test --locked --package beyla-engine --lib otlp
    {{ target }}/python/bin/python fixtures/check-otlp.py traces {{ target }}/otlp/traces-*.bin
    {{ target }}/python/bin/python fixtures/check-otlp.py metrics {{ target }}/otlp/metrics-*.bin

# Has other readers check that exports are what docs/export.md says. Needs node, and npm for the schema of HAR.
check-exports *FILES="fixtures/*/*.parquet": build python
    {{ target }}/python/bin/python -m pip install --quiet \
        haralyzer jsonschema perfetto==0.59.1 prometheus_client pyarrow viztracer==1.1.1
    npm install --silent --no-save --prefix {{ target }}/node har-schema@2
    {{ target }}/python/bin/python -B fixtures/check-exports.py \
        {{ bin }}/beyla-analyze {{ target }}/node/node_modules/har-schema {{ FILES }}

# Opens HTML reports in a browser and uses them; screenshots go to FOLDER. Needs Chromium, which `just servers` installs.
check-html FOLDER="": build python
    BEYLA_HTML={{ target }}/html cargo test --locked --test html
    {{ target }}/python/bin/python fixtures/check-html.py {{ bin }}/beyla-analyze {{ target }}/html {{ FOLDER }}

# Records a service again and again: `diff` must tell noise from a route that became 20% slower. Needs root, and six minutes.
check-diff *ARGS: build
    ./fixtures/check-diff.py --bin {{ bin }} {{ ARGS }}

# Has junitparser, another reader, read the JUnit XML of `diff` and `check`.
check-junit: build python
    {{ target }}/python/bin/python -m pip install --quiet junitparser
    {{ target }}/python/bin/python fixtures/check-junit.py --bin {{ bin }}

# Runs the commands of docs/start.md, in their order, and looks whether they do what it says. Needs root.
check-docs: build
    ./fixtures/check-docs.py {{ bin }} docs/start.md

# Measures the memory of analyses of a capture of EVENTS events, which is made of all fixtures.
check-memory EVENTS="10000000": build
    {{ bin }}/examples/enlarge --events {{ EVENTS }} -o {{ target }}/large.parquet fixtures/*/*.parquet
    ./fixtures/check-memory.py {{ bin }} {{ target }}/large.parquet
    rm {{ target }}/large.parquet

# Counts the instructions that an event takes; more than 5% above what is stored fails.
check-instructions: build
    ./fixtures/check-instructions.py {{ bin }} {{ target }}/instructions

# Stores how many they are now.
bless-instructions: build
    ./fixtures/check-instructions.py {{ bin }} {{ target }}/instructions --bless

# A Python with DuckDB, the messages of OpenTelemetry, and what drives a browser.
[private]
python:
    [ -d {{ target }}/python ] || python3 -m venv {{ target }}/python
    {{ target }}/python/bin/python -m pip install --quiet duckdb opentelemetry-proto selenium

# Records real servers on other kernels, 6.1 and 6.12 unless named, booted in an emulator. Debian 12.
test-kernels *KERNELS: build
    bin={{ bin }} ./fixtures/kernels/run.sh {{ KERNELS }}

# All of the above that must hold before a change lands, with live tests mandatory. Needs root.
ci: servers check ebpf-fresh
    BEYLA_LIVE=required BEYLA_EBPF_OBJECT={{ fresh_object }} just test
    BEYLA_PROBE=sys-exit BEYLA_LIVE=required BEYLA_EBPF_OBJECT={{ fresh_object }} just test --test live
    BEYLA_EBPF_OBJECT={{ fresh_object }} just test-kernels
    BEYLA_EBPF_OBJECT={{ fresh_object }} PROBE=sys-exit just test-kernels 6.12
    just check-format
    just check-sql
    just check-otlp
    just check-exports
    just check-html
    just check-junit
    just check-docs
    just check-memory 2000000
    just check-instructions
    just fuzz 5
    for metrics in fixtures/*/metrics.prom; do promtool check metrics < "$metrics"; done
    for metrics in fixtures/*/backfill.om; do blocks=$(mktemp -d); \
    promtool tsdb create-blocks-from openmetrics "$metrics" "$blocks" > /dev/null; rm -r "$blocks"; done
