#!/usr/bin/env bash
# Runs fuzz targets for SECONDS each: all, or those named. Ends with a failure when one finds something, and keeps what
# did it in fuzz/found. Needs a C++ compiler, for libFuzzer.
# usage: fuzz/run.sh SECONDS [TARGET...]
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
targets=("${@:2}")
[ "${#targets[@]}" != 0 ] || targets=(heads bodies frames hpack handshakes redact engine http2)
build=${CARGO_TARGET_DIR:-$PWD/../target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')

# What `cargo fuzz` does with a nightly compiler, but for the sanitizers: this code has no unsafe blocks for them to watch.
# The target is named so that build scripts and macros are not instrumented.
flags="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags="$flags -Cllvm-args=-sanitizer-coverage-$option"
done
RUSTFLAGS=$flags CARGO_TARGET_DIR=$build cargo build --locked --quiet --release --target "$host"

printf '%-10s %12s %8s %8s %8s\n' target executions CPU-s edges peak-MB
failed=
TIMEFORMAT=%U
for target in "${targets[@]}"; do
    corpus=$build/corpus/$target
    mkdir -p "$corpus" "corpus/$target" found
    log=$build/$target.log
    code=0
    cpu=$({ time "$build/$host/release/$target" -max_total_time="$seconds" -rss_limit_mb=512 -timeout=5 -max_len=16384 \
        -print_final_stats=1 -artifact_prefix="found/$target-" "$corpus" "corpus/$target" >"$log" 2>&1; } 2>&1) || code=$?
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    edges=$(grep -o 'cov: [0-9]*' "$log" | tail -1) || edges=
    printf '%-10s %12s %8.0f %8s %8s\n' "$target" "$(stat number_of_executed_units)" "$cpu" "${edges#cov: }" "$(stat peak_rss_mb)"
    if [ "$code" != 0 ]; then
        failed="$failed $target"
        grep -m1 -A3 'panicked at\|ERROR: libFuzzer' "$log" >&2 || tail -5 "$log" >&2
        ls -t found/"$target"-* | head -1 >&2
    fi
done
[ -z "$failed" ] || { echo "found something:$failed" >&2; exit 1; }
