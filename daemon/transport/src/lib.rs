//! A byte stream to the helper on a host, and the typed client on top of it.
//!
//! Knows how to reach a helper and nothing of what is asked of it: no noun, no table. In process for the local host,
//! a program's standard input and output for every other kind.

pub mod ask;
mod away;
mod bootstrap;
mod command;
pub mod connect;
pub mod error;
mod library;
mod local;
mod marker;
mod openssh;
mod place;
pub mod route;
mod ssh;
mod stream;
mod wire;

use outlast_client::helper_v1::helper_service_client::HelperServiceClient;
use outlast_helper::serve::{CONNECTION_WINDOW, MESSAGE_MAX, Traffic};
use tonic::transport::{Channel, Endpoint};

pub use away::away;
pub use local::local;
pub use ssh::trust;

/// A client of one helper. Cheap to clone; all clones share one connection.
pub type HelperClient = HelperServiceClient<Channel>;

/// How every connection to a helper is set. Without a keepalive: what is in this process lives as long as we do.
fn endpoint(traffic: Traffic) -> Endpoint {
    Endpoint::from_static("http://helper")
        .initial_stream_window_size(traffic.stream_window())
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(traffic.frame())
}

fn client(channel: Channel) -> HelperClient {
    HelperServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX)
}
