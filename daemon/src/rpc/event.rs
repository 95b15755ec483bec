//! `EventService`: the log of everything that changed, replayed and then live through one cursor.
//!
//! A reader owns nothing but its position. It reads pages from the store when its client takes them, so a slow one
//! costs nobody anything; a commit only wakes it, and the table is the truth.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use futures::{Stream, stream};
use outlast_client::v1::{
    self, Error, ErrorKind, ReadEventsRequest, ReadEventsResponse, event_service_server::EventService,
};
use outlast_model::{
    event::{Event, Kind, filter_fits},
    id::Id,
};
use outlast_store::Resolved;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{convert::timestamp, status::Failure};
use crate::app::App;

/// Entries read at once: a few hundred kilobytes, and few enough reads for a long replay.
const PAGE: u32 = 512;

/// How far a reader whose filter lets nothing through may advance without telling its client the position.
const SILENCE: u64 = 1000;

/// The handlers.
pub struct Events {
    app: Arc<App>,
}

impl Events {
    /// Over the daemon's parts.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl EventService for Events {
    type ReadEventsStream = Pin<Box<dyn Stream<Item = Result<ReadEventsResponse, Status>> + Send>>;

    async fn read_events(
        &self,
        request: Request<ReadEventsRequest>,
    ) -> Result<Response<Self::ReadEventsStream>, Status> {
        let reader = Reader::open(Arc::clone(&self.app), request.into_inner()).await?;
        let entries = stream::try_unfold(reader, async |mut reader| {
            let entry = reader.next().await?;
            Ok(entry.map(|entry| (entry, reader)))
        });
        Ok(Response::new(Box::pin(entries)))
    }
}

/// One stream.
struct Reader {
    app: Arc<App>,
    filter: Filter,
    follow: bool,
    /// Everything up to here was looked at.
    cursor: u64,
    /// The position that the client knows.
    told: u64,
    position: watch::Receiver<u64>,
    /// What is to be sent before the next page is read.
    ready: VecDeque<ReadEventsResponse>,
}

impl Reader {
    async fn open(app: Arc<App>, request: ReadEventsRequest) -> Result<Self, Failure> {
        let filter = Filter::resolve(&app, request.kinds, request.subjects).await?;
        let mut position = app.store.position();
        let newest = *position.borrow_and_update();
        let mut reader = Self {
            filter,
            follow: request.follow,
            cursor: 0,
            told: 0,
            position,
            ready: VecDeque::new(),
            app,
        };
        let oldest = reader.app.store.events_after(0, 1).await?.oldest_stored;
        let foreign = request
            .epoch
            .filter(|epoch| !epoch.is_empty() && *epoch != reader.app.store.epoch());
        match (request.after, foreign) {
            // Numbers of another epoch cannot be compared: all that is stored now comes after the gap.
            (after, Some(epoch)) => {
                reader.cursor = oldest.saturating_sub(1);
                reader
                    .ready
                    .push_back(reader.foreign_gap(after.unwrap_or(0), epoch));
            }
            (Some(after), None) => reader.cursor = after,
            (None, None) if request.follow => reader.cursor = newest,
            (None, None) => reader.cursor = oldest.saturating_sub(1),
        }
        reader.told = reader.cursor;
        if reader.follow {
            // Tells the client that the stream stands, also when nothing happens for hours.
            let stands = reader.position_only();
            reader.ready.push_front(stands);
        }
        Ok(reader)
    }

    /// The next message, or None at the end of what was asked for. Ends with the daemon's announcement.
    async fn next(&mut self) -> Result<Option<ReadEventsResponse>, Status> {
        let shutdown = self.app.shutdown.clone();
        loop {
            if shutdown.has_begun() {
                return Err(shutdown.status());
            }
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Some(entry));
            }
            if self.read_page().await? {
                continue;
            }
            if !self.follow {
                return Ok(None);
            }
            tokio::select! {
                biased;
                status = shutdown.ended() => return Err(status),
                // The sender lives as long as the store, which this reader holds.
                changed = self.position.changed() => if changed.is_err() { return Ok(None) },
            }
        }
    }

    /// Reads what comes next and queues what is wanted of it. False: there was nothing.
    async fn read_page(&mut self) -> Result<bool, Failure> {
        let page = self.app.store.events_after(self.cursor, PAGE).await?;
        // What is stored has no holes, so only what was pruned can be missing.
        if page.oldest_stored > self.cursor.saturating_add(1) {
            let (from, to) = (self.cursor.saturating_add(1), page.oldest_stored - 1);
            self.ready.push_back(self.gap(from, to));
            (self.cursor, self.told) = (to, to);
        } else if page.events.is_empty() {
            return Ok(false);
        }
        for event in page.events {
            self.cursor = event.seq;
            if self.filter.wants(&event) {
                self.told = event.seq;
                self.ready.push_back(self.message(event));
            }
        }
        if self.cursor - self.told >= SILENCE {
            self.told = self.cursor;
            self.ready.push_back(self.position_only());
        }
        Ok(true)
    }

    fn message(&self, event: Event) -> ReadEventsResponse {
        let position = event.seq;
        let event = v1::Event {
            epoch: self.app.store.epoch().to_owned(),
            seq: event.seq,
            time: Some(timestamp(event.time)),
            kind: event.kind,
            subject: event.subject,
            data_json: event.data,
        };
        self.response(Some(event), position)
    }

    /// The numbers from `from` to `to` are no longer stored.
    fn gap(&self, from: u64, to: u64) -> ReadEventsResponse {
        let event = v1::Event {
            epoch: self.app.store.epoch().to_owned(),
            seq: to,
            data_json: serde_json::json!({"from": from, "to": to}).to_string(),
            ..gap_event()
        };
        self.response(Some(event), to)
    }

    /// Whatever came after `after` in another epoch is not stored; nobody knows how much that was.
    fn foreign_gap(&self, after: u64, epoch: String) -> ReadEventsResponse {
        let event = v1::Event {
            epoch,
            seq: after,
            data_json: serde_json::json!({"from": after.saturating_add(1), "to": null}).to_string(),
            ..gap_event()
        };
        self.response(Some(event), self.cursor)
    }

    fn position_only(&self) -> ReadEventsResponse {
        self.response(None, self.cursor)
    }

    fn response(&self, event: Option<v1::Event>, position: u64) -> ReadEventsResponse {
        ReadEventsResponse {
            event,
            position,
            epoch: self.app.store.epoch().to_owned(),
        }
    }
}

fn gap_event() -> v1::Event {
    v1::Event {
        epoch: String::new(),
        seq: 0,
        time: Some(timestamp(crate::app::now_ms())),
        kind: "gap".to_owned(),
        subject: String::new(),
        data_json: String::new(),
    }
}

/// Which entries a client wants.
struct Filter {
    kinds: Vec<String>,
    subjects: Vec<String>,
}

impl Filter {
    /// Finds what the client named. Things are named once, at the start: a name may change hands later.
    async fn resolve(app: &App, kinds: Vec<String>, subjects: Vec<String>) -> Result<Self, Failure> {
        for kind in &kinds {
            check_kind(kind)?;
        }
        let mut ids = Vec::new();
        for subject in subjects {
            ids.append(&mut resolve(app, &subject).await?);
        }
        Ok(Self { kinds, subjects: ids })
    }

    fn wants(&self, event: &Event) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.iter().any(|kind| filter_fits(kind, &event.kind));
        let subject = self.subjects.is_empty() || self.subjects.contains(&event.subject);
        kind && subject
    }
}

fn check_kind(word: &str) -> Result<(), Failure> {
    if Kind::ALL.iter().any(|kind| filter_fits(word, kind.as_str())) {
        return Ok(());
    }
    let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let error = Error::new(
        ErrorKind::Usage,
        format!("no event is of the kind {}", word.escape_debug()),
    );
    Err(error.with_hint(format!("kinds are {}", known.join(", "))).into())
}

/// The subjects that a word stands for: a host, a job, a session, a sync, or several when they share it.
async fn resolve(app: &App, word: &str) -> Result<Vec<String>, Failure> {
    if app.hosts.get(word).is_some() {
        return Ok(vec![word.to_owned()]);
    }
    let job = match app.store.resolve_job(word).await? {
        Resolved::One(job) => vec![job.id],
        Resolved::Many(ids) => ids,
        Resolved::None => Vec::new(),
    };
    let session = match app.store.resolve_session(word).await? {
        Resolved::One(session) => vec![session.id],
        Resolved::Many(ids) => ids,
        Resolved::None => Vec::new(),
    };
    let sync = match app.store.resolve_sync(word).await? {
        Resolved::One(sync) => vec![sync.id],
        Resolved::Many(ids) => ids,
        Resolved::None => Vec::new(),
    };
    match (job.as_slice(), session.as_slice(), sync.as_slice()) {
        // Removed things are in the log under their whole id.
        ([], [], []) if word.parse::<Id>().is_ok() => Ok(vec![word.to_owned()]),
        ([], [], []) => {
            let error = Error::new(
                ErrorKind::NotFound,
                format!("no job, session, sync or host is called {}", word.escape_debug()),
            );
            Err(error
                .with_hint("outlast job list; outlast session list; outlast sync list; outlast host list")
                .about(word)
                .into())
        }
        ([] | [_], [] | [_], [] | [_]) => {
            let all = job.iter().chain(&session).chain(&sync);
            Ok(all.map(Id::to_string).collect())
        }
        _ => {
            let error = Error::new(
                ErrorKind::Conflict,
                format!("{} fits several things", word.escape_debug()),
            );
            Err(error.with_hint("give more of the id").about(word).into())
        }
    }
}
