//! Deciding conflicts one by one. Nothing is written down: it is done while whoever wants it waits, or shown as not done.

use outlast_client::v1::{Error, ErrorKind};
use outlast_model::{admission, sync::Sync};
use outlast_store::Request;
use outlast_sync::engine::NO_CONFLICT;
use tokio::sync::oneshot;

use super::{Syncs, driver::Command};
use crate::{
    refusal,
    rpc::{host::not_connected, status::failure},
};

impl Syncs {
    /// Has what is in conflict at and below these paths replaced by what the source has.
    ///
    /// # Errors
    /// When the sync is paused or halted, its host is away, or there is no conflict at one of the paths.
    pub async fn adopt(
        &self,
        sync: &Sync,
        paths: Vec<String>,
        request: Option<Request>,
    ) -> Result<Sync, Error> {
        let sync = self.now(sync);
        if self.is_repeat(request.as_ref()).await? {
            return Ok(sync);
        }
        let id = sync.id.to_string();
        admission::sync::flush(&sync).map_err(|denied| refusal::denied(&denied.into(), Some(sync.id)))?;
        let host = self.inner.handles.host(&sync.host)?;
        if !host.is_up() {
            // Somebody waits for it.
            host.nudge();
            return Err(not_connected(host.name(), &host.view().borrow()));
        }
        let handle = self
            .inner
            .handles
            .get(sync.id)
            .ok_or_else(|| self.inner.handles.gone(sync.name.as_str()))?;
        let (reply, answer) = oneshot::channel();
        let paths = paths.into_iter().map(String::into_bytes).collect();
        let sent = handle.inbox.send(Command::Adopt { paths, reply }).await;
        sent.map_err(|_closed| self.inner.handles.gone(sync.name.as_str()))?;
        let show = format!("outlast sync show {} --all", sync.name);
        match answer.await {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => {
                let kind = if refused.reason == NO_CONFLICT {
                    ErrorKind::NotFound
                } else {
                    ErrorKind::Failed
                };
                let message = format!("sync {}: {}", sync.name, refused.message);
                return Err(Error::new(kind, message).with_hint(show).about(id));
            }
            // Its engine was replaced, or the daemon ends.
            Err(_dropped) => {
                let message = format!(
                    "sync {}: it is not known whether anything was replaced",
                    sync.name
                );
                return Err(Error::new(ErrorKind::Failed, message).with_hint(show).about(id));
            }
        }
        if let Some(request) = request {
            let noted = self.app().store.record_request(&request, &id, None).await;
            noted.map_err(failure)?;
        }
        Ok(self.now(&sync))
    }
}
