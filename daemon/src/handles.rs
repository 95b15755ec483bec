//! The things of one noun that have a driver each: the way to the driver, and what it shows of its thing. Knows nothing of
//! what they are.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use outlast_client::v1::Error;
use outlast_model::id::Id;
use tokio::sync::{mpsc, watch};

use crate::{app::App, hosts::Host, refusal, rpc::host::unknown_host};

/// The way to one driver, which takes commands `C` and shows a `V`.
#[derive(Debug)]
pub(crate) struct Handle<C, V> {
    pub(crate) view: watch::Receiver<Arc<V>>,
    pub(crate) inbox: mpsc::Sender<C>,
}

impl<C, V> Clone for Handle<C, V> {
    fn clone(&self) -> Self {
        Self {
            view: self.view.clone(),
            inbox: self.inbox.clone(),
        }
    }
}

/// All of them.
pub(crate) struct Handles<C, V> {
    app: Arc<App>,
    noun: &'static str,
    all: Mutex<HashMap<Id, Handle<C, V>>>,
}

impl<C, V> Handles<C, V> {
    /// None yet.
    pub(crate) fn new(app: Arc<App>, noun: &'static str) -> Self {
        Self {
            app,
            noun,
            all: Mutex::default(),
        }
    }

    /// The way to the driver of a thing, while it has one.
    pub(crate) fn get(&self, id: Id) -> Option<Handle<C, V>> {
        self.lock().get(&id).cloned()
    }

    /// A thing has a driver from now on.
    pub(crate) fn insert(&self, id: Id, handle: Handle<C, V>) {
        self.lock().insert(id, handle);
    }

    /// Its driver has let go of it.
    pub(crate) fn remove(&self, id: Id) {
        self.lock().remove(&id);
    }

    /// Lets go of the things of a host that was removed. Their drivers see that it is gone and end.
    pub(crate) fn forget_host(&self, host: &str, host_of: impl Fn(&V) -> &str) {
        self.lock()
            .retain(|_id, handle| host_of(&handle.view.borrow()) != host);
    }

    /// Why a driver let go of its thing: it was removed, or the daemon ends.
    pub(crate) fn gone(&self, name: &str) -> Error {
        let shutdown = &self.app.shutdown;
        if shutdown.has_begun() {
            shutdown.error()
        } else {
            refusal::not_found(self.noun, name)
        }
    }

    /// A host by its name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn host(&self, name: &str) -> Result<Arc<Host>, Error> {
        self.app.hosts.get(name).ok_or_else(|| unknown_host(name).into())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Handle<C, V>>> {
        // Nothing under this lock can panic half way through a change.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
