//! Waits for the host, opens the target, and looks at the source while that is opened: both may take long, and neither
//! needs the other. Nothing of what is found is sent before the target is open.

use std::{pin::pin, sync::Arc, time::Duration};

use outlast_client::helper_v1::{SyncOpen, helper_service_client::HelperServiceClient};
use tokio::{
    task::JoinError,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};

use super::{
    Command, State,
    pass::{Back, Found, Looking},
    serve, session,
    way::Load,
    work::{Engine, Next},
};

/// How long a host may take to be there before it is told that it is away.
const AT_ONCE: Duration = Duration::from_millis(300);
/// How long somebody waits for it who wants to know whether a halt still stands.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

impl Engine {
    /// Waits for the host, opens the target and serves it until that ends.
    pub(super) async fn connect(&mut self) -> Next {
        self.anew = false;
        if self.view.state != State::Starting {
            self.publish();
        }
        match self.reach().await {
            Ok(client) => self.open(client).await,
            Err(next) => next,
        }
    }

    /// Waits for the host. An error is what to do instead.
    async fn reach(&mut self) -> Result<HelperServiceClient<Channel>, Next> {
        let way = Arc::clone(&self.way);
        let mut connecting = pin!(async move { way.connect().await });
        if let Ok(client) = timeout(AT_ONCE, &mut connecting).await {
            return client.ok_or(Next::End);
        }
        self.set(State::Disconnected, None, None);
        let stop = self.stop.clone();
        let mut late = pin!(sleep(SEEN_WITHIN));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Next::End),
                command = self.inbox.recv() => match command {
                    None => return Err(Next::End),
                    Some(command) => if self.command(command) {
                        if self.is_held() {
                            return Err(Next::GoOn);
                        }
                        self.set(State::Disconnected, None, None);
                    },
                },
                () = &mut late, if self.doubted.is_some() => {
                    self.unseen("its host is away");
                    return Err(Next::GoOn);
                }
                client = &mut connecting => return client.ok_or(Next::End),
                heard = serve::hear(self.source.as_mut().map(|source| &mut source.watching)) => {
                    let before = self.dirty.len();
                    self.heard(heard);
                    if self.dirty.len() != before {
                        self.publish();
                    }
                }
            }
        }
    }

    /// Opens the target and serves it.
    async fn open(&mut self, client: HelperServiceClient<Channel>) -> Next {
        if self.copy.is_none() {
            self.position = None;
        }
        let request = SyncOpen {
            id: self.config.id.clone(),
            target: self.config.target.clone().into(),
            position: self.position.clone(),
            here: self.here,
            occupied: self.occupied,
            reread: self.reread,
            keep: true,
            mode: self.source_mode().await,
            all: self.way.all().await,
        };
        // Where nothing is known of the record it comes along, which is much.
        let record = if self.position.is_none() {
            Load::Much
        } else {
            Load::Little
        };
        let load = self.load.max(record);
        let way = Arc::clone(&self.way);
        let mut opening = pin!(async move {
            let client = if load > Load::Little {
                way.carrier(load).await
            } else {
                client
            };
            session::open(client, request, load).await
        });
        self.flushes.opening();
        let mut looking = self.look_meanwhile();
        let mut found = None;
        let mut opened = None;
        let stop = self.stop.clone();
        let opened = loop {
            if looking.is_none()
                && let Some(opened) = opened.take()
            {
                break opened;
            }
            // What commands change is away while it is looked.
            let is_free = looking.is_none();
            let next = tokio::select! {
                biased;
                back = over(&mut looking, &stop) => {
                    found = looking.take().map(|looking| self.end_look(looking, back));
                    continue;
                }
                () = stop.cancelled(), if is_free => Next::End,
                command = self.inbox.recv(), if is_free => match command {
                    None => Next::End,
                    Some(command) => {
                        if matches!(command, Command::Resume { confirm: true }) {
                            // What was judged before is not to take the place of what is confirmed now.
                            self.let_go(found.take());
                        }
                        if self.command(command) && (self.is_held() || self.anew) {
                            Next::GoOn
                        } else {
                            continue;
                        }
                    }
                },
                answer = &mut opening, if opened.is_none() => {
                    if let (Err(_), Some(looking)) = (&answer, &looking) {
                        looking.stop();
                    }
                    opened = Some(answer);
                    continue;
                }
            };
            self.let_go(found);
            return next;
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(status) => {
                self.let_go(found);
                return self.broken(&status).await;
            }
        };
        self.view.target = Some(opened.target);
        self.lane.keeps(opened.parts);
        (self.here, self.reread, self.load) = (false, false, Load::Little);
        if let Some(copy) = opened.copy {
            // What was found was compared with another one.
            self.let_go(found.take());
            self.copy = Some(Box::new(copy));
            self.unsaved = true;
        }
        match found {
            None => {
                self.everything = true;
                if let Some(source) = &mut self.source {
                    // Whatever was in the way may be gone.
                    source.refused.forget();
                }
                self.serve(opened.session, None).await
            }
            Some(Ok(found)) => self.serve(opened.session, Some(found)).await,
            Some(Err(status)) => self.broken(&status).await,
        }
    }

    /// Begins to look at everything here, if it is known what the record there is most likely to say.
    fn look_meanwhile(&mut self) -> Option<Looking> {
        self.position.as_ref()?;
        self.everything = true;
        if let Some(source) = &mut self.source {
            // Whatever was in the way may be gone.
            source.refused.forget();
        }
        self.begin_look(false)
    }

    /// What was found here is not going to be done now.
    fn let_go(&mut self, found: Option<Result<Found, Status>>) {
        if let Some(Ok(found)) = found {
            self.drop_look(found.before);
        }
    }

    /// Permission bits of the source, which a target that is made gets as well.
    async fn source_mode(&self) -> Option<u32> {
        use std::os::unix::fs::MetadataExt as _;
        let found = tokio::fs::metadata(&self.config.source).await.ok()?;
        Some(found.mode() & 0o777 | 0o700)
    }
}

/// Waits until a look is over; for ever where there is none.
async fn over(looking: &mut Option<Looking>, stop: &CancellationToken) -> Result<Back, JoinError> {
    match looking {
        Some(looking) => looking.over(stop).await,
        None => std::future::pending().await,
    }
}
