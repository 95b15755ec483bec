//! A byte stream to the helper on a host, and the typed client on top of it.
//!
//! Knows how to reach a helper and nothing of what is asked of it: no noun, no table. In process for the local host,
//! a program's standard input and output for every other kind.

mod local;
mod marker;
mod program;

use outlast_client::helper_v1::helper_service_client::HelperServiceClient;
use outlast_helper::serve::{CONNECTION_WINDOW, MESSAGE_MAX, STREAM_WINDOW};
use tonic::transport::{Channel, Endpoint};

pub use local::local;
pub use program::{TransportError, program};

/// A client of one helper. Cheap to clone; all clones share one connection.
pub type HelperClient = HelperServiceClient<Channel>;

/// How every connection to a helper is set: wide windows, no keepalive, so that nothing ticks while nothing happens.
fn endpoint() -> Endpoint {
    Endpoint::from_static("http://helper")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

fn client(channel: Channel) -> HelperClient {
    HelperServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX)
}
