#!/usr/bin/env bash
# Prints a hash of everything the kernel objects are made from, to tell whether the committed ones are stale.
set -euo pipefail
cd "$(dirname "$0")/.."
files=(ebpf/build.sh ebpf/build.rs ebpf/Cargo.toml schema/src/{frames,wire}.rs ebpf/shim/*.c ebpf/src/*.rs ebpf/src/*/*.rs)
sha256sum "${files[@]}" | sha256sum | cut -d' ' -f1
