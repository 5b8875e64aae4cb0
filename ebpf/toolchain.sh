#!/usr/bin/env bash
# Finds, and where they are missing installs, the tools that build the kernel object; prints where they are
# as shell assignments.
#
# clang and bpf-linker share LLVM 22. The Rust compiler needs the sources of `core`: a nightly of rustup with
# the component rust-src where it can be had, else Debian's, unpacked beside everything else.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/beyla-replay/ebpf-toolchain
llvm=/usr/lib/llvm-22
sudo=$([ "$(id -u)" = 0 ] || echo sudo)
say() { echo "ebpf toolchain: $*" >&2; }

if [ ! -x $llvm/bin/clang ] || [ ! -e $llvm/lib/libLLVM.so ]; then
    say "installing clang and LLVM 22"
    $sudo apt-get update -qq >&2
    $sudo apt-get install -y -qq --no-install-recommends \
        clang-22 llvm-22 llvm-22-dev libclang-22-dev libpolly-22-dev >/dev/null
fi
if ! command -v bpf-linker >/dev/null; then
    say "installing bpf-linker"
    LLVM_PREFIX=$llvm cargo install bpf-linker --quiet --locked --version 0.13.0 \
        --no-default-features --features llvm-22 >&2
fi

rustc=$(rustup which rustc --toolchain nightly 2>/dev/null || true)
if [ -n "$rustc" ] && [ -d "${rustc%/bin/rustc}/lib/rustlib/src/rust/library" ]; then
    libraries=${rustc%/bin/rustc}/lib
else
    rustc=$cache/root/usr/bin/rustc
    libraries=$(echo "$cache"/root/usr/lib/*-linux-gnu)
    if [ ! -x "$rustc" ]; then
        say "unpacking Debian's Rust with sources"
        mkdir -p "$cache/debs"
        (cd "$cache/debs" && rm -f ./*.deb &&
            apt-get download -qq rustc-web rust-web-src libstd-rust-web-1.96 libstd-rust-web-dev >&2)
        for package in "$cache"/debs/*.deb; do dpkg -x "$package" "$cache/root"; done
        mkdir -p "$cache/root/usr/lib/rustlib/src/rust"
        ln -sfn "$cache"/root/usr/src/rustc-*/library "$cache/root/usr/lib/rustlib/src/rust/library"
        libraries=$(echo "$cache"/root/usr/lib/*-linux-gnu)
    fi
fi
cat <<END
BPF_CLANG=$llvm/bin/clang
BPF_LLVM=$llvm
BPF_RUSTC=$rustc
export LD_LIBRARY_PATH=$libraries:$llvm/lib
END
