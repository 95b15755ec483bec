//! A helper, a directory for its target, and the calling side of a sync.

use std::{
    fs,
    io::{self, BufRead as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use outlast_client::{
    helper_v1::{
        SyncBatch, SyncDone, SyncEntry, SyncKind, SyncOp, SyncOpen, SyncOpened, SyncPiece, SyncPosition,
        SyncRefusal, SyncSettle, SyncSettled, SyncTargetRequest, SyncTargetResponse,
        helper_service_client::HelperServiceClient, sync_op, sync_piece, sync_target_request,
        sync_target_response,
    },
    v1::Error,
};
use outlast_helper::{
    serve::{self, MESSAGE_MAX, Traffic},
    service::{Config, Helper, SessionConfig},
};
use outlast_tree::{Far, Table, manifest};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The helper of this build.
pub const HELPER: &str = env!("CARGO_BIN_EXE_outlast-helper");

/// The id of the sync that most tests have.
pub const ID: &str = "a7e1c2d4-0000-4000-8000-000000000001";

pub type Client = HelperServiceClient<Channel>;

/// Directories of one test.
pub struct Bed {
    temp: TempDir,
    base: PathBuf,
}

impl Bed {
    pub fn new() -> Self {
        let temp = tempfile::Builder::new().prefix("ol").tempdir_in("/tmp").unwrap();
        let base = temp.path().canonicalize().unwrap();
        Self { temp, base }
    }

    pub fn path(&self) -> &Path {
        &self.base
    }

    pub fn target(&self) -> PathBuf {
        self.base.join("target")
    }

    /// A path in the target.
    pub fn at(&self, path: &str) -> PathBuf {
        self.target().join(path)
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.at(path)).unwrap().permissions().mode() & 0o7777
    }

    pub fn state_dir(&self) -> PathBuf {
        self.base.join("state")
    }

    /// Where the record of a sync lies.
    pub fn record(&self, id: &str) -> PathBuf {
        let machine = outlast_helper::facts::machine_id();
        self.state_dir()
            .join("owner")
            .join(machine)
            .join("syncs")
            .join(id)
    }

    /// A helper in this process.
    pub fn helper(&self) -> Arc<Helper> {
        Helper::new(Config {
            state_dir: self.state_dir(),
            owner: "owner".to_owned(),
            helper_program: HELPER.into(),
            login_shell: Some("/bin/sh".into()),
            sessions: SessionConfig {
                history_limit: 100,
                user_copy_mode_keys: false,
            },
            scope: false,
        })
        .unwrap()
    }

    /// A client of a new helper in this process.
    pub fn client(&self) -> Client {
        let (ours, theirs) = tokio::io::duplex(256 << 10);
        tokio::spawn(serve::connection(self.helper(), theirs, Traffic::InProcess));
        client(ours)
    }

    pub fn wanted(&self) -> SyncOpen {
        use std::os::unix::ffi::OsStrExt as _;
        SyncOpen {
            id: ID.to_owned(),
            target: Bytes::copy_from_slice(self.target().as_os_str().as_bytes()),
            ..SyncOpen::default()
        }
    }

    /// Opens the target as one that has no record yet or is as it was.
    pub async fn open(&self) -> Stream {
        Stream::open(&self.client(), self.wanted()).await.unwrap()
    }

    /// Files in the making that are left in the target, anywhere.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        all(&self.target())
            .into_iter()
            .filter(|path| {
                path.file_name()
                    .unwrap()
                    .to_string_lossy()
                    .starts_with(".outlast-")
            })
            .collect()
    }

    /// Keeps the directory for who wants to look.
    #[allow(dead_code, reason = "for whoever looks into a failure")]
    pub fn keep(self) -> PathBuf {
        self.temp.keep()
    }
}

/// Everything in and below a directory.
pub fn all(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// A client over one byte stream.
pub fn client<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: T) -> Client {
    let mut io = Some(io);
    let connector = tower::service_fn(move |_| {
        let io = io
            .take()
            .ok_or_else(|| io::Error::other("the connection is gone"));
        async move { io.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://helper")
        .initial_stream_window_size(Traffic::InProcess.stream_window())
        .initial_connection_window_size(serve::CONNECTION_WINDOW)
        .max_frame_size(Traffic::InProcess.frame())
        .connect_with_connector_lazy(connector);
    HelperServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX)
}

/// A helper in a process of its own, killed when it is dropped.
pub struct Process {
    child: std::process::Child,
    pub client: Client,
}

impl Process {
    /// Runs a command that becomes `outlast-helper serve`.
    pub fn start(mut command: std::process::Command) -> Self {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.expect("the helper can be started");
        let input = tokio::process::ChildStdin::from_std(child.stdin.take().unwrap()).unwrap();
        let mut output = child.stdout.take().unwrap();
        // By the byte, since what follows is no text.
        let mut reader = io::BufReader::with_capacity(1, &mut output);
        let mut line = String::new();
        while !line.contains("READY") {
            line.clear();
            let count = reader.read_line(&mut line).unwrap();
            assert!(count > 0, "the helper ended before it was there");
        }
        drop(reader);
        let output = tokio::process::ChildStdout::from_std(output).unwrap();
        let client = client(tokio::io::join(output, input));
        Self { child, client }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Arguments of a helper of these directories.
pub fn serve_args(bed: &Bed) -> Vec<String> {
    let state = bed.state_dir().to_str().unwrap().to_owned();
    ["serve", "--owner", "owner", "--state-dir", &state]
        .map(str::to_owned)
        .to_vec()
}

/// The calling side of an open target.
pub struct Stream {
    requests: mpsc::Sender<SyncTargetRequest>,
    answers: Streaming<SyncTargetResponse>,
    pub opened: SyncOpened,
    /// The record, when it was told.
    pub record: Option<Table<Far>>,
}

impl Stream {
    pub async fn open(client: &Client, wanted: SyncOpen) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(16);
        let event = sync_target_request::Event::Open(wanted);
        requests
            .send(SyncTargetRequest { event: Some(event) })
            .await
            .unwrap();
        let called = client.clone().sync_target(ReceiverStream::new(receiver)).await?;
        let mut answers = called.into_inner();
        let first = next(&mut answers).await?;
        let Some(sync_target_response::Event::Opened(opened)) = first else {
            panic!("it is not open: {first:?}");
        };
        let mut record = None;
        if let Some(length) = opened.record_bytes {
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < length {
                match next(&mut answers).await? {
                    Some(sync_target_response::Event::Record(part)) => bytes.extend_from_slice(&part),
                    other => panic!("no part of the record: {other:?}"),
                }
            }
            record = Some(manifest::decode(&bytes).unwrap().1);
        }
        Ok(Self {
            requests,
            answers,
            opened,
            record,
        })
    }

    pub fn position(&self) -> SyncPosition {
        self.opened.position.clone().unwrap()
    }

    pub async fn send(&self, event: sync_target_request::Event) {
        // One that has ended says so when it is asked for an answer.
        let _ = self.requests.send(SyncTargetRequest { event: Some(event) }).await;
    }

    pub async fn answer(&mut self) -> Result<Option<sync_target_response::Event>, Status> {
        next(&mut self.answers).await
    }

    pub async fn done(&mut self) -> Result<SyncDone, Status> {
        match self.answer().await? {
            Some(sync_target_response::Event::Done(done)) => Ok(done),
            other => panic!("nothing was done: {other:?}"),
        }
    }

    /// Has changes made and says what became of each.
    pub async fn outcomes(&mut self, batch: Batch) -> Vec<SyncRefusal> {
        self.send(batch.event()).await;
        let done = self.done().await.unwrap();
        done.outcomes.iter().map(|outcome| outcome.refusal()).collect()
    }

    /// Has changes made.
    pub async fn make(&mut self, batch: Batch) -> SyncDone {
        self.send(batch.event()).await;
        let done = self.done().await.unwrap();
        let refused: Vec<_> = done
            .outcomes
            .iter()
            .filter(|outcome| outcome.refusal != 0)
            .collect();
        assert!(refused.is_empty(), "{refused:?}");
        done
    }

    /// Has one change made, and says why it was not.
    pub async fn refusal(&mut self, batch: Batch) -> SyncRefusal {
        let outcomes = self.outcomes(batch).await;
        assert_eq!(outcomes.len(), 1);
        outcomes[0]
    }

    pub async fn piece(&self, number: u64, event: sync_piece::Event) {
        let event = Some(event);
        self.send(sync_target_request::Event::Piece(SyncPiece {
            number,
            event,
            tell: false,
        }))
        .await;
    }

    pub async fn settle(&mut self, to_disk: bool) -> SyncSettled {
        self.send(sync_target_request::Event::Settle(SyncSettle { to_disk }))
            .await;
        match self.answer().await.unwrap() {
            Some(sync_target_response::Event::Settled(settled)) => settled,
            other => panic!("it is not settled: {other:?}"),
        }
    }

    /// Ends it in good order, and waits for that.
    pub async fn end(self) {
        let Self {
            requests,
            mut answers,
            ..
        } = self;
        drop(requests);
        let last = next(&mut answers).await.unwrap();
        assert_eq!(last, None);
    }
}

async fn next(
    answers: &mut Streaming<SyncTargetResponse>,
) -> Result<Option<sync_target_response::Event>, Status> {
    let answer = timeout(DEADLINE, answers.message())
        .await
        .expect("no answer in time")?;
    Ok(answer.map(|answer| answer.event.unwrap()))
}

/// What a refusal says: its subject, or what it says.
pub fn subject(status: &Status) -> String {
    let error = Error::from_status(status);
    let error = error.unwrap_or_else(|| panic!("no error of ours: {status:?}"));
    error.subject.unwrap_or(error.message)
}

/// Time of modification that files of tests get, nanoseconds.
pub const MTIME: i64 = 1_234_567_890_123_456_700;

/// Changes in the making.
#[derive(Default, Clone)]
pub struct Batch {
    pub ops: Vec<SyncOp>,
    data: Vec<u8>,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    fn op(mut self, path: &[u8], entry: Option<SyncEntry>, content: Option<sync_op::Content>) -> Self {
        self.ops.push(SyncOp {
            path: Bytes::copy_from_slice(path),
            entry,
            content,
            replace: false,
        });
        self
    }

    /// A file whose content comes along.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_with(path, content, 0o644, MTIME)
    }

    pub fn file_with(mut self, path: &str, content: impl AsRef<[u8]>, mode: u32, mtime_ns: i64) -> Self {
        self.data.extend_from_slice(content.as_ref());
        let entry = entry(content.as_ref(), mode, mtime_ns);
        self.op(path.as_bytes(), Some(entry), Some(sync_op::Content::Inline(true)))
    }

    /// A file whose content is there.
    pub fn there(self, path: &str, content: impl AsRef<[u8]>, mode: u32, mtime_ns: i64) -> Self {
        self.op(
            path.as_bytes(),
            Some(entry(content.as_ref(), mode, mtime_ns)),
            None,
        )
    }

    /// A file with the content of another one.
    pub fn same_as(self, path: &str, content: impl AsRef<[u8]>, other: &str) -> Self {
        let other = sync_op::Content::SameAs(Bytes::copy_from_slice(other.as_bytes()));
        let entry = entry(content.as_ref(), 0o600, MTIME);
        self.op(path.as_bytes(), Some(entry), Some(other))
    }

    /// A file that arrived in pieces.
    pub fn arrived(self, path: &str, content: impl AsRef<[u8]>, number: u64) -> Self {
        let entry = entry(content.as_ref(), 0o640, MTIME);
        self.op(
            path.as_bytes(),
            Some(entry),
            Some(sync_op::Content::Arrived(number)),
        )
    }

    pub fn dir(self, path: &str) -> Self {
        self.dir_with(path, 0o755)
    }

    pub fn dir_with(self, path: &str, mode: u32) -> Self {
        let entry = SyncEntry {
            kind: SyncKind::Dir.into(),
            mode,
            ..SyncEntry::default()
        };
        self.op(path.as_bytes(), Some(entry), None)
    }

    pub fn link(self, path: &str, says: &str) -> Self {
        let entry = SyncEntry {
            kind: SyncKind::Link.into(),
            link: Bytes::copy_from_slice(says.as_bytes()),
            ..SyncEntry::default()
        };
        self.op(path.as_bytes(), Some(entry), None)
    }

    pub fn gone(self, path: &str) -> Self {
        self.op(path.as_bytes(), None, None)
    }

    /// What is there is replaced by the last change.
    pub fn replacing(mut self) -> Self {
        self.ops.last_mut().unwrap().replace = true;
        self
    }

    pub fn event(self) -> sync_target_request::Event {
        sync_target_request::Event::Batch(SyncBatch {
            ops: self.ops,
            data: self.data.into(),
            unpacked: None,
        })
    }

    /// As packed data.
    pub fn packed(self) -> sync_target_request::Event {
        sync_target_request::Event::Batch(SyncBatch {
            ops: self.ops,
            unpacked: Some(self.data.len() as u64),
            data: lz4_flex::block::compress(&self.data).into(),
        })
    }
}

/// A file as it is to be.
pub fn entry(content: &[u8], mode: u32, mtime_ns: i64) -> SyncEntry {
    SyncEntry {
        kind: SyncKind::File.into(),
        mode,
        mtime_ns,
        size: content.len() as u64,
        hash: Bytes::copy_from_slice(blake3::hash(content).as_bytes()),
        link: Bytes::new(),
    }
}

/// When a file was modified, nanoseconds.
pub fn mtime_ns(path: &Path) -> i64 {
    let found = fs::symlink_metadata(path).unwrap();
    found.mtime() * 1_000_000_000 + found.mtime_nsec()
}
