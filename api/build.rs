//! Compiles the protobuf contracts without an installed compiler, so that a build needs only crates.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/assent/v1/telemetry.proto", "proto/assent/v1/seats.proto"], ["proto"])?;
    tonic_prost_build::configure().build_transport(false).compile_fds(files)?;
    Ok(())
}
