//! How the engine of a sync reaches its host.

use std::sync::Arc;

use outlast_store::Store;
use outlast_sync::engine::Way;
use outlast_transport::HelperClient;
use tonic::Status;

use crate::hosts::Host;

/// The way to a host by the connection for what is much.
pub(super) struct ByHost {
    pub(super) host: Arc<Host>,
    pub(super) store: Store,
}

#[tonic::async_trait]
impl Way for ByHost {
    async fn connect(&self) -> Option<HelperClient> {
        if !self.host.up().await {
            return None;
        }
        Some(self.host.bulk().await)
    }

    fn is_far(&self) -> bool {
        !self.host.is_local()
    }

    async fn all(&self) -> Vec<String> {
        // Where that cannot be told, nobody is taken for gone.
        let all = self.store.list_syncs().await.unwrap_or_default();
        // Of all hosts, because two names can lead to one account.
        all.into_iter().map(|sync| sync.id.to_string()).collect()
    }

    fn is_cut_off(&self, status: &Status) -> bool {
        self.host.is_cut_off(status)
    }

    async fn doubt(&self) {
        self.host.doubt().await;
    }
}
