//! Short calls while a job on the same host prints as fast as it goes.
//!
//! Made on a channel that is held open, so that what is measured is the way and not the start of a process that has to
//! share the processors with the load; the whole command is told beside it.

use std::{
    io::Read as _,
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Instant,
};

use outlast_client::v1::{
    ExecHostRequest, ExecOpen, PeekSessionRequest, SendSessionRequest, exec_host_request, exec_host_response,
    host_service_client::HostServiceClient, send_session_request::Input,
    session_service_client::SessionServiceClient,
};
use outlast_testkit::{DEADLINE, wait_until};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use crate::{
    bed::{Bed, Floor, Machine},
    measure::{median, rounds, time},
    table::{Promise, Table},
};

/// Bytes that a job printed after which it is at full speed.
const AT_SPEED: u64 = 16 << 20;

/// What one job of the load prints.
const PRINTED: &str = "512M";

/// A control call, with and without a load.
pub(crate) fn busy(table: &mut Table) {
    let bed = Bed::new();
    let mut floor = Floor::new();
    let trip = median((0..rounds().div_ceil(2)).map(|_| floor.round_trip()).collect());
    let mut measure = |machine: &Machine, far: bool| {
        let calls = Calls::new(&bed, machine);
        let idle = calls.sample(&mut || true);
        let load = Load::default();
        let busy = thread::scope(|scope| {
            scope.spawn(|| load.run(&bed, machine));
            let busy = calls.sample(&mut || load.is_on());
            // The last job goes on to its end.
            load.stop.store(true, Ordering::Relaxed);
            busy
        });
        for ((what, idle), (_, busy)) in idle.into_iter().zip(busy) {
            let command = what.starts_with("outlast");
            if far {
                let promise = if command {
                    Promise::Nothing
                } else {
                    Promise::Ratio(1.1)
                };
                let what = format!("{what}, 40 ms, under load");
                table.add(&what, "ms", busy, Some(("round trip", trip)), &promise);
            } else {
                let what = format!("{what}, under load");
                table.add(&what, "ms", busy, Some(("idle", idle)), &Promise::Above(3.0));
            }
        }
        let what = if far { "the load, 40 ms" } else { "the load" };
        table.add(what, "MB/s", load.speed(), None, &Promise::Nothing);
    };
    measure(&bed.near, false);
    measure(&bed.far, true);
}

/// What is called.
struct Calls<'a> {
    bed: &'a Bed,
    host: &'static str,
    session: String,
    runtime: Runtime,
    channel: Channel,
}

impl<'a> Calls<'a> {
    fn new(bed: &'a Bed, machine: &Machine) -> Self {
        let session = format!("quiet-{}", machine.name);
        let create = ["session", "create", &session, "--host", machine.name, "--", "cat"];
        drop(bed.sandbox.outlast(&create).success());
        drop(bed.sandbox.wait_session(&session, |state| state == "running"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be had");
        let channel = runtime.block_on(bed.sandbox.connect()).expect("the daemon runs");
        Self {
            bed,
            host: machine.name,
            session,
            runtime,
            channel,
        }
    }

    /// Medians in milliseconds, of rounds in which `counts` held before and after.
    fn sample(&self, counts: &mut dyn FnMut() -> bool) -> Vec<(&'static str, f64)> {
        let mut command = self.bed.ours(&["host", "exec", self.host, "--", "true"]);
        let mut values: [Vec<f64>; 4] = Default::default();
        let wanted = rounds().div_ceil(2);
        while values.iter().any(|values| values.len() < wanted) {
            wait_until(DEADLINE, "the load", || counts().then_some(()));
            for (number, values) in values.iter_mut().enumerate() {
                let took = match number {
                    0 => self.timed(|| self.exec()),
                    1 => self.timed(|| self.peek()),
                    2 => self.timed(|| self.send()),
                    _ => time(&mut command),
                };
                if counts() {
                    values.push(took);
                }
            }
        }
        let names = [
            "exec true",
            "session peek",
            "session send",
            "outlast host exec H -- true",
        ];
        names.into_iter().zip(values.map(median)).collect()
    }

    fn timed(&self, call: impl FnOnce()) -> f64 {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64() * 1e3
    }

    fn exec(&self) {
        let open = ExecOpen {
            host: self.host.to_owned(),
            command: vec!["true".to_owned()],
            ..ExecOpen::default()
        };
        let events = [
            exec_host_request::Event::Open(open),
            exec_host_request::Event::StdinEof(true),
        ];
        let requests = events.map(|event| ExecHostRequest { event: Some(event) });
        self.runtime.block_on(async {
            let mut client = HostServiceClient::new(self.channel.clone());
            let answers = client.exec_host(tokio_stream::iter(requests)).await;
            let mut answers = answers.expect("the host runs programs").into_inner();
            while let Some(answer) = answers.message().await.expect("the host answers") {
                if let Some(exec_host_response::Event::Ended(ended)) = answer.event {
                    assert_eq!(ended.exit_code, Some(0));
                    return;
                }
            }
            panic!("true never ended");
        });
    }

    fn peek(&self) {
        let request = PeekSessionRequest {
            session: self.session.clone(),
            ..PeekSessionRequest::default()
        };
        self.runtime.block_on(async {
            let mut client = SessionServiceClient::new(self.channel.clone());
            drop(
                client
                    .peek_session(request)
                    .await
                    .expect("the session has a screen"),
            );
        });
    }

    fn send(&self) {
        let request = SendSessionRequest {
            session: self.session.clone(),
            input: Some(Input::Text("x".to_owned())),
            enter: true,
            ..SendSessionRequest::default()
        };
        self.runtime.block_on(async {
            let mut client = SessionServiceClient::new(self.channel.clone());
            drop(
                client
                    .send_session(request)
                    .await
                    .expect("the session takes input"),
            );
        });
    }
}

/// Jobs that print, one after the other.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    /// What the present one printed.
    printed: AtomicU64,
    /// What all that ended printed, and the microseconds that took.
    total: AtomicU64,
    micros: AtomicU64,
}

impl Load {
    fn run(&self, bed: &Bed, machine: &Machine) {
        let mut buffer = vec![0; 1 << 18];
        while !self.stop.load(Ordering::Relaxed) {
            let print = ["--", "head", "-c", PRINTED, "/dev/zero"];
            let mut command = bed.ours(&["--quiet", "run", "--host", machine.name]);
            command
                .args(print)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            let mut child = command.spawn().expect("outlast can be started");
            let mut out = child.stdout.take().expect("stdout is piped");
            let start = Instant::now();
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                self.printed.fetch_add(count as u64, Ordering::Relaxed);
            }
            let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            let printed = self.printed.swap(0, Ordering::Relaxed);
            self.total.fetch_add(printed, Ordering::Relaxed);
            self.micros.fetch_add(took, Ordering::Relaxed);
            assert!(child.wait().expect("a child can be waited for").success());
            drop(bed.sandbox.outlast(&["job", "prune", "--yes"]));
        }
    }

    /// A job is at full speed.
    fn is_on(&self) -> bool {
        self.printed.load(Ordering::Relaxed) >= AT_SPEED
    }

    /// How fast it was, MB/s.
    fn speed(&self) -> f64 {
        let (total, micros) = (
            self.total.load(Ordering::Relaxed),
            self.micros.load(Ordering::Relaxed),
        );
        total as f64 / micros as f64
    }
}
