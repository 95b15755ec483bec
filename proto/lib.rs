//! The public protocol of outlast and the client library that speaks it.
//!
//! Holds the generated messages and services, the names of the places where outlast keeps things, the local socket
//! its check of who is at the other end, the errors that cross it, and which characters of others' text nobody is shown. Refuses to know how anything is done:
//! no store, no ssh, no tmux.

pub mod client;
pub mod error;
pub mod paths;
pub mod socket;
pub mod text;

/// Number of the public protocol. A daemon and a client whose numbers differ do not work together.
pub const PROTOCOL: u32 = 1;

/// Version of this build, as `--version` prints it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Metadata key under which a client sends [`PROTOCOL`].
pub const PROTOCOL_KEY: &str = "outlast-protocol";

/// Metadata key under which a client says which build it is.
pub const BUILD_KEY: &str = "outlast-build";

/// Metadata key under which a client says where the ssh-agent listens that it was started with: an absolute path.
pub const AUTH_SOCK_KEY: &str = "outlast-auth-sock";

/// The descriptor set of every protocol file, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The public protocol, `outlast.v1`.
#[allow(missing_docs, clippy::all, unused_qualifications)]
pub mod v1 {
    tonic::include_proto!("outlast.v1");
}

/// What the daemon says to the helper on a host, `outlast.helper.v1`. Pinned to the build; nobody else's business.
#[allow(missing_docs, clippy::all, unused_qualifications)]
pub mod helper_v1 {
    tonic::include_proto!("outlast.helper.v1");
}
