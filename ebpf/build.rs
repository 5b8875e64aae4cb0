//! Hands the compiled C shim to the linker.

fn main() {
    println!("cargo:rustc-check-cfg=cfg(bpf_target_arch, values(\"x86_64\", \"aarch64\"))");
    println!("cargo:rerun-if-env-changed=BEYLA_SHIM");
    if let Ok(shim) = std::env::var("BEYLA_SHIM") {
        println!("cargo:rerun-if-changed={shim}");
        println!("cargo:rustc-link-arg={shim}");
    }
}
