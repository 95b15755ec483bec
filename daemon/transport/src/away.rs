//! A client for a host that is not connected: every call fails at once with `Unavailable` and says so.

use std::io;

use hyper_util::rt::TokioIo;
use outlast_helper::serve::Traffic;
use tower::service_fn;

use crate::{HelperClient, client, endpoint};

/// A client whose calls all fail. Inside a tokio runtime.
#[must_use]
pub fn away(host: &str) -> HelperClient {
    let text = format!("host {host} is not connected");
    let connector = service_fn(move |_| {
        let text = text.clone();
        async move {
            Err::<TokioIo<tokio::io::DuplexStream>, _>(io::Error::new(io::ErrorKind::NotConnected, text))
        }
    });
    client(endpoint(Traffic::InProcess).connect_with_connector_lazy(connector))
}
