//! What a sync would do to what its target holds, before it touches anything of it.

use outlast_client::v1::{Error, ErrorKind};
use outlast_model::{admission, sync::Sync};
use outlast_sync::{Preview, PreviewError, preview};

use super::{NewSync, Syncs};
use crate::{
    hosts::Host,
    refusal,
    rpc::{host::not_connected, status::failure},
};

impl Syncs {
    /// Looks at both sides of a sync that there is not yet. Changes nothing.
    ///
    /// # Errors
    /// When it could not be made, or its host is away.
    pub async fn preview(&self, new: NewSync) -> Result<Preview, Error> {
        let source = self.check(&new).await?;
        self.look(&new.into_sync(source)).await
    }

    /// The same of one that waits for a word about what its target holds.
    ///
    /// # Errors
    /// When it does not wait for that, or its host is away.
    pub async fn preview_of(&self, sync: &Sync) -> Result<Preview, Error> {
        let sync = self.now(sync);
        admission::sync::preview(&sync).map_err(|denied| refusal::denied(&denied.into(), Some(sync.id)))?;
        self.look(&sync).await
    }

    async fn look(&self, sync: &Sync) -> Result<Preview, Error> {
        let host = self.inner.handles.host(&sync.host)?;
        let away = || not_connected(host.name(), &host.view().borrow());
        if !host.is_up() {
            // Somebody waits for it.
            host.nudge();
            return Err(away());
        }
        // Looking at the source may take long, and is for nothing where the target is refused.
        self.ask_target(sync).await?.ok_or_else(away)?;
        let (config, all) = (self.config(sync), self.all_with(sync.id).await?);
        match preview(&config, all, host.bulk().await).await {
            Ok(preview) => Ok(preview),
            Err(error) => Err(refused(&host, error).await),
        }
    }
}

async fn refused(host: &Host, error: PreviewError) -> Error {
    match error {
        PreviewError::Host(status) => {
            if host.is_cut_off(&status) {
                host.doubt().await;
            }
            failure(status)
        }
        // It went since it was checked.
        error @ (PreviewError::Source(_) | PreviewError::Rules(_)) => {
            Error::new(ErrorKind::Usage, error.to_string())
                .with_hint("outlast sync add LOCAL HOST:PATH with a directory that is there")
        }
    }
}
