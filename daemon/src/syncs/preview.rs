//! What a sync would do, before there is one.

use outlast_client::v1::{Error, ErrorKind};
use outlast_sync::{Preview, PreviewError, preview};

use super::{NewSync, Syncs};
use crate::{
    hosts::Host,
    rpc::{host::not_connected, status::failure},
};

impl Syncs {
    /// Looks at both sides. Changes nothing.
    ///
    /// # Errors
    /// When it could not be made, or its host is away.
    pub async fn preview(&self, new: NewSync) -> Result<Preview, Error> {
        let source = self.check(&new).await?;
        let host = self.host(&new.host)?;
        if !host.is_up() {
            // Somebody waits for it.
            host.nudge();
            let view = host.view().borrow().clone();
            return Err(not_connected(host.name(), &view));
        }
        let config = self.config(&new.into_sync(source));
        match preview(&config, host.bulk().await).await {
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
        }
    }
}
