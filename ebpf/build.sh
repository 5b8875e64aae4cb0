#!/usr/bin/env bash
# Builds the kernel object of one architecture from source.
#
#   ebpf/build.sh x86_64|aarch64 OUTPUT
#
# Needs clang, llvm-strip and bpf-linker of one LLVM, and a Rust compiler with the sources of `core`:
# ebpf/toolchain.sh installs them and says where they are.
set -euo pipefail
arch=$1 output=$(realpath -m "$2")
root=$(cd "$(dirname "$0")/.." && pwd)
eval "$("$root/ebpf/toolchain.sh")"

build=${CARGO_TARGET_DIR:-$root/target}/bpf-$arch
mkdir -p "$build"
case $arch in
    x86_64) define=__TARGET_ARCH_x86 ;;
    aarch64) define=__TARGET_ARCH_arm64 ;;
    *) echo "unknown architecture: $arch" >&2; exit 2 ;;
esac
"$BPF_CLANG" -O2 -g -target bpf -mcpu=v3 -D$define -emit-llvm -fdebug-prefix-map="$root=." \
    -c "$root/ebpf/shim/shim.c" -o "$build/shim.bc"

# Paths of this machine would end up in the object, and with them a different object on every machine.
flags="--cfg=bpf_target_arch=\"$arch\" -Cdebuginfo=2 -Clink-arg=--btf -Ctarget-cpu=v3 -Clink-arg=--export=SOCKETS"
flags="$flags --remap-path-prefix=$root=. --remap-path-prefix=$HOME=~"
flags="$flags --remap-path-prefix=$("$BPF_RUSTC" --print sysroot)=/rust"
cd "$root"
BEYLA_SHIM="$build/shim.bc" RUSTC="$BPF_RUSTC" RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags" \
    cargo build --quiet --locked --package beyla-ebpf --profile bpf -Z build-std=core \
    --target bpfel-unknown-none --target-dir "$build"
object=$build/bpfel-unknown-none/bpf/beyla-ebpf

# A function that the shim lacks links silently and fails only when the object is loaded.
missing=$("$BPF_LLVM/bin/llvm-objdump" -t "$object" | awk '/\*UND\*/ {print $NF}')
if [ -n "$missing" ]; then
    echo "not in the shim: $missing" >&2
    exit 1
fi
"$BPF_LLVM/bin/llvm-strip" -g "$object" -o "$output"
