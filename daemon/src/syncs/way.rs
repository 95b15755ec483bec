//! How the engine of a sync reaches its host.

use std::sync::Arc;

use outlast_store::{Store, StoreError};
use outlast_sync::engine::Way;
use outlast_transport::HelperClient;
use tonic::Status;

use crate::hosts::Host;

/// Ids of all syncs there are. Of all hosts, because two names can lead to one account.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn ids(store: &Store) -> Result<Vec<String>, StoreError> {
    let all = store.list_syncs().await?;
    Ok(all.into_iter().map(|sync| sync.id.to_string()).collect())
}

/// The way to a host: by the connection that is there while little is said, and by the one for what is much.
pub(super) struct ByHost {
    pub(super) host: Arc<Host>,
    pub(super) store: Store,
}

#[tonic::async_trait]
impl Way for ByHost {
    async fn connect(&self) -> Option<HelperClient> {
        self.host.up().await.then(|| self.host.client())
    }

    async fn bulk(&self) -> HelperClient {
        self.host.bulk().await
    }

    fn is_far(&self) -> bool {
        !self.host.is_local()
    }

    async fn all(&self) -> Vec<String> {
        // Where that cannot be told, nobody is taken for gone.
        ids(&self.store).await.unwrap_or_default()
    }

    fn is_cut_off(&self, status: &Status) -> bool {
        self.host.is_cut_off(status)
    }

    async fn doubt(&self) {
        self.host.doubt().await;
    }
}
