//! How the engine of a sync reaches its host.

use std::sync::Arc;

use outlast_store::{Store, StoreError};
use outlast_sync::engine::{Load, Way};
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

/// The way to a host: by the connection that is there while little is said, and by others for what is more.
pub(super) struct ByHost {
    pub(super) host: Arc<Host>,
    pub(super) store: Store,
}

#[tonic::async_trait]
impl Way for ByHost {
    async fn connect(&self) -> Option<HelperClient> {
        self.host.up().await.then(|| self.host.client())
    }

    async fn carrier(&self, load: Load) -> HelperClient {
        match load {
            Load::Little => self.host.client(),
            Load::Much => self.host.bulk().await,
            Load::Huge => match self.host.haul().await {
                Some(client) => client,
                None => self.host.bulk().await,
            },
        }
    }

    fn may_haul(&self) -> bool {
        self.host.may_haul()
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
