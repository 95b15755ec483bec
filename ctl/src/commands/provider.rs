//! Verbs on providers.

pub mod check;
pub mod hooks;
pub mod list;
pub mod show;

use outlast_client::v1::{self, GetProviderRequest, ListProvidersRequest};

use super::sent;
use crate::{context::Context, error::Result};

/// The host that is meant where none is named.
const LOCAL: &str = "local";

/// All providers, by name.
pub async fn all(ctx: &Context) -> Result<Vec<v1::Provider>> {
    let found = ctx
        .call(ListProvidersRequest {}, |daemon, request| async move {
            daemon.providers().list_providers(request).await
        })
        .await?;
    Ok(found.providers)
}

/// The provider of a name.
async fn find(ctx: &Context, name: &str) -> Result<v1::Provider> {
    let request = GetProviderRequest {
        provider: name.to_owned(),
    };
    let found = ctx
        .call(request, |daemon, request| async move {
            daemon.providers().get_provider(request).await
        })
        .await?;
    sent(found.provider, "provider")
}
