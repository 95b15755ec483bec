//! Programs that keep running while a test reads along.

use std::{
    io::{Read, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{DEADLINE, Gone, Run};

/// A running program. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    command: String,
    child: Child,
    gone: Gone,
    stdin: Option<ChildStdin>,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts a command with nothing on its standard input and both outputs read along.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::launch(command)
    }

    /// Starts a command with this as its standard input and both outputs read along.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with_stdin(mut command: Command, stdin: impl Into<Stdio>) -> Self {
        command.stdin(stdin);
        Self::launch(command)
    }

    /// Starts a command whose standard input is written by [`Process::write`].
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with_input(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        Self::launch(command)
    }

    fn launch(mut command: Command) -> Self {
        let name = format!("{command:?}");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("starting {name}: {error}"));
        let gone = Gone::watch(child.id()).expect("a child that was not waited for is there");
        let mut readers = Vec::new();
        let stdout = Output::read(child.stdout.take().expect("stdout is piped"), &mut readers);
        let stderr = Output::read(child.stderr.take().expect("stderr is piped"), &mut readers);
        Self {
            command: name,
            stdin: child.stdin.take(),
            child,
            gone,
            stdout,
            stderr,
            readers,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input.
    ///
    /// # Panics
    /// When it does not read, or was started without input.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("it was started with input");
        stdin.write_all(bytes).expect("the program reads its input");
        stdin.flush().expect("the program reads its input");
    }

    /// Ends its standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.gone.signal(signal);
    }

    /// True while it has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.gone.within(Duration::ZERO)
    }

    /// Waits for a whole line of standard output that fits, and gives it back without its newline.
    ///
    /// # Panics
    /// When none comes in time, or the program ends without it.
    pub fn wait_line(&self, fits: impl Fn(&str) -> bool) -> String {
        self.line_of(&self.stdout, "stdout", fits)
    }

    /// Waits for a whole line of standard error that fits, as [`Process::wait_line`].
    ///
    /// # Panics
    /// When none comes in time, or the program ends without it.
    pub fn wait_error_line(&self, fits: impl Fn(&str) -> bool) -> String {
        self.line_of(&self.stderr, "stderr", fits)
    }

    fn line_of(&self, output: &Output, name: &str, fits: impl Fn(&str) -> bool) -> String {
        let found = output.wait(DEADLINE, |bytes| {
            let whole = &bytes[..bytes
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1)];
            let text = String::from_utf8_lossy(whole);
            text.lines().find(|line| fits(line)).map(str::to_owned)
        });
        found.unwrap_or_else(|| {
            if !self.is_running() {
                // Why it ended may be on its way.
                self.stderr.wait_end(Duration::from_secs(5));
            }
            panic!("the awaited line never came on {name}: {}", self.so_far())
        })
    }

    /// Waits until standard output holds so many bytes.
    ///
    /// # Panics
    /// When they do not come in time.
    pub fn wait_bytes(&self, count: usize) {
        let found = self
            .stdout
            .wait(DEADLINE, |bytes| (bytes.len() >= count).then_some(()));
        assert!(found.is_some(), "{count} bytes never came: {}", self.so_far());
    }

    /// What came on standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<u8> {
        self.stdout.lock().bytes.clone()
    }

    /// What came on standard error so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<u8> {
        self.stderr.lock().bytes.clone()
    }

    fn so_far(&self) -> String {
        format!(
            "$ {}\n--- stdout ---\n{}\n--- stderr ---\n{}",
            self.command,
            String::from_utf8_lossy(&self.stdout()),
            String::from_utf8_lossy(&self.stderr())
        )
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time; it is killed then.
    pub fn finish(mut self, deadline: Duration) -> Run {
        self.stdin = None;
        if !self.gone.within(deadline) {
            self.gone.signal(Signal::KILL);
            panic!("it did not end within {deadline:?}: {}", self.so_far());
        }
        let status = self.child.wait().expect("a child can be waited for");
        // Whoever inherited its outputs and lives on keeps them open; what the program itself wrote is read by then.
        for output in [&self.stdout, &self.stderr] {
            output.wait_end(Duration::from_secs(5));
        }
        Run {
            command: self.command.clone(),
            stdout: self.stdout(),
            stderr: self.stderr(),
            status,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.gone.signal(Signal::KILL);
        drop(self.child.wait());
        for reader in self.readers.drain(..) {
            if reader.is_finished() {
                drop(reader.join());
            }
        }
    }
}

/// What a program wrote to one of its outputs so far.
#[derive(Debug, Default)]
struct Output {
    state: Mutex<Written>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    bytes: Vec<u8>,
    ended: bool,
}

impl Output {
    fn read(mut source: impl Read + Send + 'static, readers: &mut Vec<JoinHandle<()>>) -> Arc<Self> {
        let output = Arc::new(Self::default());
        let shared = Arc::clone(&output);
        readers.push(thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let count = source.read(&mut buffer).unwrap_or(0);
                let mut state = shared.lock();
                state.bytes.extend_from_slice(&buffer[..count]);
                state.ended = count == 0;
                shared.more.notify_all();
                if count == 0 {
                    return;
                }
            }
        }));
        output
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `look` finds something; None when the output ended or the deadline passed without it.
    fn wait<T>(&self, deadline: Duration, look: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let start = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&state.bytes) {
                return Some(found);
            }
            let left = deadline.saturating_sub(start.elapsed());
            if state.ended || left.is_zero() {
                return None;
            }
            state = self
                .more
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn wait_end(&self, deadline: Duration) {
        let _ = self.wait(deadline, |_bytes| None::<()>);
    }
}
