//! The local host: the helper in this process, over an in-memory pipe, through the same service as everywhere.

use std::{io, sync::Arc};

use hyper_util::rt::TokioIo;
use outlast_helper::{
    serve::{self, Traffic},
    service::Helper,
};
use tower::service_fn;

use crate::{HelperClient, client, endpoint};

/// Bytes the pipe between client and helper holds in each direction.
const PIPE: usize = 256 << 10;

/// Connects to a helper in this process. Should the connection ever break, the next call makes a new one. Inside a
/// tokio runtime.
///
/// # Errors
/// None today; a connection is made at the first call.
pub fn local(helper: Arc<Helper>) -> io::Result<HelperClient> {
    let connector = service_fn(move |_| {
        let helper = Arc::clone(&helper);
        async move {
            let (ours, theirs) = tokio::io::duplex(PIPE);
            tokio::spawn(async move {
                if let Err(error) = serve::connection(helper, theirs, Traffic::InProcess).await {
                    tracing::warn!("the connection to the local helper broke: {error}");
                }
            });
            Ok::<_, io::Error>(TokioIo::new(ours))
        }
    });
    Ok(client(
        endpoint(Traffic::InProcess).connect_with_connector_lazy(connector),
    ))
}
