//! Chooses the kernel object that is embedded: the committed one of the target architecture, or the one that
//! `BEYLA_EBPF_OBJECT` names (a fresh build, to test it).

use std::{env, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=BEYLA_EBPF_OBJECT");
    let object = env::var_os("BEYLA_EBPF_OBJECT").map_or_else(
        || {
            let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
            let room = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
            PathBuf::from(room).join("../ebpf/prebuilt").join(format!("{arch}.bpf.o"))
        },
        PathBuf::from,
    );
    println!("cargo:rerun-if-changed={}", object.display());
    println!("cargo:rustc-env=BEYLA_EBPF_OBJECT_PATH={}", object.display());
    if !object.exists() {
        println!(
            "cargo:error=no kernel object at {}: this architecture has none yet, or BEYLA_EBPF_OBJECT is wrong",
            object.display()
        );
    }
}
