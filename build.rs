//! Compiles the protocol with protox, so that nobody needs `protoc`, and keeps the descriptor set for reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: &[&str] = &[
    "proto/outlast/v1/daemon.proto",
    "proto/outlast/v1/error.proto",
    "proto/outlast/v1/event.proto",
    "proto/outlast/v1/host.proto",
    "proto/outlast/v1/job.proto",
    "proto/outlast/v1/notify.proto",
    "proto/outlast/v1/provider.proto",
    "proto/outlast/v1/session.proto",
    "proto/outlast/v1/sync.proto",
    "proto/outlast/v1/template.proto",
    "proto/outlast/helper/v1/helper.proto",
    "proto/outlast/helper/v1/sync.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto/outlast");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
