//! What the host says of a target before a sync to it is written down. While it is away nothing can be asked of it, and what
//! it refuses is told by the state of the sync later.

use std::path::Path;

use outlast_client::{
    helper_v1::{LookTargetRequest, LookTargetResponse},
    v1::{Error, ErrorKind},
};
use outlast_model::{id::Id, sync::Sync};
use outlast_store::StoreError;

use super::{Syncs, place, way};
use crate::{hosts::Host, rpc::status::failure, sessions::answered};

impl Syncs {
    /// Asks the host of a sync whether it can have its target there, which holds nothing unless that is to be taken.
    ///
    /// # Errors
    /// When the host refuses the target, it holds something, or all syncs cannot be told.
    pub(super) async fn check_target(&self, sync: &Sync) -> Result<(), Error> {
        let Some(found) = self.ask_target(sync).await? else {
            return Ok(());
        };
        if sync.occupied || (found.entries.is_empty() && !found.more) {
            return Ok(());
        }
        let target = String::from_utf8_lossy(&found.target).into_owned();
        let message = format!("the target {target} on host {} is not empty", sync.host);
        let hint = format!(
            "outlast sync add {} {}:{} --adopt replaces there what the source has too, and leaves the rest",
            sync.source, sync.host, sync.target
        );
        Err(Error::new(ErrorKind::WrongState, message)
            .with_hint(hint)
            .about(target))
    }

    /// As [`Syncs::check_target`], whatever the target holds. None: the host is away.
    pub(super) async fn ask_target(&self, sync: &Sync) -> Result<Option<LookTargetResponse>, Error> {
        let host = self.inner.handles.host(&sync.host)?;
        if !host.is_up() {
            return Ok(None);
        }
        let request = LookTargetRequest {
            target: sync.target.clone().into_bytes().into(),
            limit: 1,
            id: sync.id.to_string(),
            all: self.all_with(sync.id).await?,
        };
        let mut client = host.client();
        let found = match answered(&host, client.look_target(request)).await {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::Unreachable => return Ok(None),
            Err(error) => return Err(self.refused(sync, error).await),
        };
        self.check_own(sync, &host, &found)?;
        Ok(Some(found))
    }

    /// Ids of all syncs there are, and of one that is to be.
    pub(super) async fn all_with(&self, new: Id) -> Result<Vec<String>, Error> {
        let mut all = way::ids(&self.app().store).await.map_err(failure)?;
        all.push(new.to_string());
        Ok(all)
    }

    /// What a host says of a target, in the words of somebody who is adding a sync to it.
    async fn refused(&self, sync: &Sync, error: Error) -> Error {
        // The host knows other syncs by their ids.
        let holder = error.subject.as_deref().and_then(|subject| subject.parse().ok());
        if let Some(holder) = holder
            && let Ok(Some(holder)) = self.app().store.sync(holder).await
        {
            return failure(StoreError::TargetTaken {
                host: sync.host.clone(),
                target: sync.target.clone(),
                holder: holder.name.to_string(),
                theirs: holder.place().to_owned(),
            });
        }
        let first = error.hint.as_ref().map(|hint| format!("{hint}: "));
        let first = first.unwrap_or_default();
        let hint = format!("{first}outlast sync add {} {}:PATH", sync.source, sync.host);
        error.with_hint(hint)
    }

    /// Whether a target has to do with what this daemon keeps, which a helper that runs in another environment or is told
    /// another way to this machine does not know.
    fn check_own(&self, sync: &Sync, host: &Host, found: &LookTargetResponse) -> Result<(), Error> {
        let of = |host: &Host| {
            let view = host.view();
            let machine = view.borrow().facts.as_ref().map(|facts| facts.machine_id.clone());
            machine.filter(|machine| !machine.is_empty())
        };
        let is_here = host.is_local() || of(host) == Some(outlast_helper::facts::machine_id());
        let target = String::from_utf8_lossy(&found.target);
        let places = &self.app().places;
        let own = [&places.state_dir, &places.cache_dir, &places.runtime_dir];
        let taken = own
            .into_iter()
            .map(|dir| place::here(dir))
            .find(|own| is_here && place::overlap(own, Path::new(&*target)));
        let Some(own) = taken else { return Ok(()) };
        let message = format!("{target:?} cannot be a target: {own:?} is where outlast keeps its own");
        Err(Error::new(ErrorKind::Usage, message)
            .with_hint(format!(
                "choose another directory: outlast sync add {} {}:PATH",
                sync.source, sync.host
            ))
            .about(target))
    }
}
