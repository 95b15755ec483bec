//! `outlast-helper supervise DIR`: runs one job to its end, whatever becomes of who started it.
//!
//! ```text
//! claim ── start ── running ──► main process ended ── status ──► late output ──► gone
//!   │        │         │ end/timeout: TERM, KILL after the grace      until both pipes end
//!   │        └─ cannot be started: status 126 or 127
//!   └─ somebody runs it, or ran it: nothing to do
//! ```
//!
//! One thread, one `poll`, no clock that ticks. It never stops reading what the job writes, so the job is never slowed
//! or killed by its log. It refuses to judge: how the job ended is what the kernel said.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use libc::c_int;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, open},
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
    process::{Pid, Signal, kill_process_group, set_child_subreaper, setsid},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};

use crate::{
    claim::{Claim, NotStarted},
    ending::{End, Ending, Owed},
    program::{self, Refusal},
    spool::{Dir, Family, Kind, LogWriter, Stream, at},
    sys::{self, Changed, Exec, Fork, How, Start},
};

/// Bytes read from a pipe at once: large, so that few system calls carry much output.
const READ_BYTES: usize = 256 << 10;

/// A read of this much found the pipe of ordinary size full: the job writes faster than we read.
const FULL_PIPE: usize = 64 << 10;

/// What such a pipe is enlarged to. Not done for every job: what a user may have in pipes is limited, and beyond it all
/// their programs get tiny ones.
const LARGE_PIPE: usize = 1 << 20;

/// Time between TERM and KILL for a job that ran out of time.
const TIMEOUT_GRACE: Duration = Duration::from_secs(10);

/// Signals that are not for us: we end when the job has. Who shuts the machine down signals the job as well.
const IGNORED: [c_int; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGPIPE,
    libc::SIGTSTP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// What the caller is told when all is well.
const WELL: &[u8] = b"ok";

/// Starts a supervisor for this directory and returns when it is on its way: the program was started, or it ended, or
/// there was nothing to do. To be called while this process has one thread and owns no files.
///
/// # Errors
/// When the job could not be started and nothing was recorded of it; it can be tried again.
pub fn supervise(dir: &Path) -> io::Result<()> {
    sys::close_inherited();
    let dir = Dir::new(std::path::absolute(dir)?);
    let (answer, ready) = pipe_with(PipeFlags::CLOEXEC)?;
    match sys::fork()? {
        Fork::Parent(_) => {
            drop(ready);
            hear(&answer)
        }
        Fork::Child => {
            drop(answer);
            // The process between dies at once, and so the supervisor has no parent that has to collect it, and cannot
            // get a terminal by opening one.
            let alone = setsid().map_err(io::Error::from).and_then(|_| sys::fork());
            match alone {
                Ok(Fork::Child) => detached(dir, ready),
                Ok(Fork::Parent(_)) => sys::exit_now(0),
                Err(error) => say(&ready, error.to_string().as_bytes()),
            }
            sys::exit_now(1)
        }
    }
}

/// Waits for the answer of the supervisor.
fn hear(answer: &OwnedFd) -> io::Result<()> {
    let mut said = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(got @ 1..) = rustix::io::retry_on_intr(|| rustix::io::read(answer, &mut buffer)) {
        said.extend_from_slice(&buffer[..got]);
    }
    match said.as_slice() {
        WELL => Ok(()),
        b"" => Err(io::Error::other(
            "the supervisor died before it could start the job",
        )),
        why => Err(io::Error::other(String::from_utf8_lossy(why).into_owned())),
    }
}

fn say(ready: &OwnedFd, what: &[u8]) {
    // Who does not listen any more does not need to know.
    let _ = rustix::io::write(ready, what);
}

fn detached(dir: Dir, ready: OwnedFd) -> ! {
    let supervisor = (|| {
        let signals = settle_in()?;
        let Some(claim) = Claim::take(dir, Kind::Job, 1)? else {
            return Ok(None);
        };
        Supervisor::start(claim, signals)
    })();
    let code = match supervisor {
        Ok(None) => {
            say(&ready, WELL);
            0
        }
        Ok(Some(supervisor)) => supervisor.run(ready),
        Err(error) => {
            say(&ready, error.to_string().as_bytes());
            1
        }
    };
    sys::exit_now(code)
}

/// Leaves everything that belongs to who started us.
fn settle_in() -> io::Result<OwnedFd> {
    sys::ignore_signals(&IGNORED);
    let signals = sys::signal_fd(&[libc::SIGCHLD])?;
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| at("opening", Path::new("/dev/null"), &error.into()))?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    std::env::set_current_dir("/")?;
    // What the job orphans becomes ours, so that we hear of its end.
    set_child_subreaper(Pid::from_raw(1))?;
    Ok(signals)
}

/// One job.
struct Supervisor {
    claim: Claim,
    signals: OwnedFd,
    log: LogWriter,
    exec: Option<Exec>,
    /// What the process says that could not become the program.
    outcome: Option<OwnedFd>,
    pipes: [Option<Pipe>; 2],
    buffer: Vec<u8>,
    timeout_at: Option<Instant>,
    ending: Option<Ending>,
    main: Main,
}

/// How far the main process is.
enum Main {
    Running(Pid),
    Ended(Owed),
    Recorded,
}

struct Pipe {
    fd: OwnedFd,
    stream: Stream,
    enlarged: bool,
}

impl Supervisor {
    /// Starts the program. One that cannot be started is a job that has ended.
    fn start(mut claim: Claim, signals: OwnedFd) -> io::Result<Option<Self>> {
        let log = LogWriter::new(&claim.dir, claim.spec.log_max_bytes);
        let timeout = claim.spec.timeout_ms.map(Duration::from_millis);
        let started = prepare(&claim).map_err(NotStarted::Refused).and_then(|exec| {
            let [out, err] = [pipe(Stream::Stdout), pipe(Stream::Stderr)];
            let failed = |error: io::Error| NotStarted::Refused(program::no_process(&error));
            let ((out, out_in), (err, err_in)) = (out.map_err(failed)?, err.map_err(failed)?);
            let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| failed(error.into()))?;
            let how = Start {
                own_session: true,
                stdio: Some([&null, &out_in, &err_in]),
                on_our_death: libc::SIGTERM,
            };
            Ok((claim.start(&exec, &how)?, exec, [Some(out), Some(err)]))
        });
        let mut supervisor = Self {
            claim,
            signals,
            log,
            exec: None,
            outcome: None,
            pipes: [None, None],
            buffer: Vec::new(),
            // A time that no clock can reach is none.
            timeout_at: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            ending: None,
            main: Main::Recorded,
        };
        match started {
            Ok((started, exec, pipes)) => {
                supervisor.exec = Some(exec);
                supervisor.outcome = Some(started.outcome);
                supervisor.pipes = pipes;
                supervisor.buffer = vec![0; READ_BYTES];
                // A process number is never 0 and fits.
                supervisor.main =
                    Pid::from_raw(started.pid.cast_signed()).map_or(Main::Recorded, Main::Running);
            }
            Err(NotStarted::Refused(refusal)) => supervisor.ended(&End::Refused(refusal)),
            Err(NotStarted::Unreported(error)) => {
                supervisor.claim.give_back();
                return Err(error);
            }
        }
        Ok(Some(supervisor))
    }

    /// Runs until nothing is left to do.
    fn run(mut self, ready: OwnedFd) -> i32 {
        let mut ready = Some(ready);
        loop {
            self.record();
            if self.outcome.is_none()
                && let Some(ready) = ready.take()
            {
                say(&ready, WELL);
            }
            if self.is_over() {
                break;
            }
            if self.wait().is_err() {
                // Not even poll works: end, so that the job is found to be lost instead of being left alone for ever.
                return 1;
            }
            self.act_on_time();
        }
        if self.ending.is_some_and(|ending| ending.killed)
            && let Ok(Some(family)) = Family::of(&self.claim.report)
        {
            // Until they are really dead: who sees the lock free may count on it.
            let _ = family.kill();
        }
        self.log.settle();
        0
    }

    /// Nothing more can come: recorded, no output, and nobody left of whom an end was demanded.
    fn is_over(&mut self) -> bool {
        matches!(self.main, Main::Recorded)
            && self.pipes.iter().all(Option::is_none)
            && (self.ending.is_none_or(|ending| ending.killed) || self.is_alone())
    }

    fn is_alone(&self) -> bool {
        match Family::of(&self.claim.report) {
            Ok(Some(family)) => family.members().is_ok_and(|members| members.is_empty()),
            _ => true,
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        let paying = match &self.main {
            Main::Ended(owed) => Some(owed.at),
            _ => None,
        };
        let deadline = [self.timeout_at, Ending::deadline(self.ending.as_ref()), paying];
        let left = deadline
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.claim.control.as_fd(), PollFlags::IN),
        ];
        let outcome = self.outcome.as_ref();
        let pipes = self.pipes.iter().map(|pipe| pipe.as_ref().map(|pipe| &pipe.fd));
        let others: Vec<Option<&OwnedFd>> = [outcome].into_iter().chain(pipes).collect();
        fds.extend(
            others
                .iter()
                .flatten()
                .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)),
        );
        match poll(&mut fds, left.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let [signals, control] = [ready.next(), ready.next()].map(|ready| ready == Some(true));
        let [outcome, out, err] = [0, 1, 2]
            .map(|at: usize| others.get(at).is_some_and(Option::is_some) && ready.next() == Some(true));
        drop(fds);
        if outcome {
            self.hear_outcome();
        }
        // Output first: what was written before an end belongs before it.
        for (number, ready) in [out, err].into_iter().enumerate() {
            if ready {
                self.read(number);
            }
        }
        if control && let Some(grace) = self.claim.control.receive() {
            self.end("cancelled", grace);
        }
        if signals {
            sys::take_signals(&self.signals);
            self.collect();
        }
        Ok(())
    }

    fn act_on_time(&mut self) {
        if self.timeout_at.is_some_and(|at| Instant::now() >= at) {
            self.timeout_at = None;
            self.end("timeout", TIMEOUT_GRACE);
        }
        if Ending::is_due(&mut self.ending) {
            self.signal(Signal::KILL);
        }
    }

    fn end(&mut self, reason: &'static str, grace: Duration) {
        if Ending::begin(&mut self.ending, reason, grace) {
            self.signal(Signal::TERM);
            // What is stopped cannot follow.
            self.signal(Signal::CONT);
        }
    }

    /// Signals the process group of the job.
    fn signal(&self, signal: Signal) {
        // Failing means that nobody is left.
        match self.main {
            // As long as we have not collected it, its number is its own.
            Main::Running(pid) => drop(kill_process_group(pid, signal)),
            _ => {
                if let Ok(Some(family)) = Family::of(&self.claim.report) {
                    let _ = family.signal(signal);
                }
            }
        }
    }

    /// Reads once from a pipe and logs it. False: there is nothing now.
    fn read(&mut self, number: usize) -> bool {
        let Some(pipe) = &mut self.pipes[number] else {
            return false;
        };
        match rustix::io::retry_on_intr(|| rustix::io::read(&pipe.fd, &mut self.buffer[..])) {
            Ok(0) => self.pipes[number] = None,
            Ok(got) => {
                if got >= FULL_PIPE && !pipe.enlarged {
                    // Not allowed is fine, it is only slower.
                    let _ = fcntl_setpipe_size(&pipe.fd, LARGE_PIPE);
                    pipe.enlarged = true;
                }
                self.log.write(pipe.stream, &self.buffer[..got]);
                return true;
            }
            Err(rustix::io::Errno::AGAIN) => {}
            Err(_) => self.pipes[number] = None,
        }
        false
    }

    /// Logs what is in the pipes now, and no more: who still writes may never stop.
    fn drain(&mut self) {
        let mut left = [0, 1].map(|number: usize| {
            let pipe = self.pipes[number].as_ref();
            pipe.and_then(|pipe| rustix::io::ioctl_fionread(&pipe.fd).ok())
                .unwrap_or(0)
        });
        while left != [0, 0] {
            for (number, left) in left.iter_mut().enumerate() {
                if *left > 0 {
                    let more = self.read(number);
                    *left = if more {
                        left.saturating_sub(READ_BYTES as u64)
                    } else {
                        0
                    };
                }
            }
        }
    }

    fn hear_outcome(&mut self) -> Option<Refusal> {
        let (step, error) = sys::read_failure(&self.outcome.take()?)?;
        let refusal = program::refusal(self.exec.as_ref()?, step, &error);
        self.ended(&End::Refused(refusal.clone()));
        Some(refusal)
    }

    /// Collects children that ended; the main process ends the job.
    fn collect(&mut self) {
        while let Some(changed) = sys::next_changed_child() {
            let is_main = matches!(self.main, Main::Running(pid) if pid.as_raw_nonzero().get() == changed.pid.cast_signed());
            if is_main && !matches!(changed.how, How::Stopped(_)) {
                self.main_ended(changed);
            }
        }
    }

    fn main_ended(&mut self, changed: Changed) {
        // Its end came before what it said of the program.
        if self.hear_outcome().is_some() {
            return;
        }
        self.drain();
        self.ended(&End::Ran(changed));
    }

    fn ended(&mut self, end: &End) {
        self.timeout_at = None;
        self.main = Main::Ended(Owed::new(end.status(&self.claim.report, self.ending.as_ref())));
    }

    /// Writes the status if it is owed.
    fn record(&mut self) {
        let Main::Ended(owed) = &mut self.main else { return };
        if Instant::now() < owed.at {
            return;
        }
        self.log.settle();
        if owed.pay(&self.claim.dir, self.log.log_bytes(), self.log.dropped_bytes()) {
            self.main = Main::Recorded;
            // After the end was told: nobody has to wait for the disk, and one that cannot keep its promise is no
            // reason to keep the end to ourselves.
            let _ = self.log.sync();
        }
    }
}

fn prepare(claim: &Claim) -> Result<Exec, Refusal> {
    let spec = &claim.spec;
    let mut env = program::environment(spec);
    env.insert("OUTLAST_JOB_ID".into(), spec.id.clone().into());
    let cwd = program::directory(spec, &env);
    program::command(&spec.command, env, cwd).prepare()
}

/// A pipe from the job: our end, which never blocks, and the job's.
fn pipe(stream: Stream) -> io::Result<(Pipe, OwnedFd)> {
    let (fd, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok((
        Pipe {
            fd,
            stream,
            enlarged: false,
        },
        theirs,
    ))
}
