//! A bare terminal line: a program on a pty whose bytes and modes a test can look at.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, open},
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Action, Termios, Winsize, tcflow, tcgetattr, tcsetwinsize},
};

use crate::{DEADLINE, Gone};

/// A program with a pty as its controlling terminal. It is killed when dropped.
#[derive(Debug)]
pub struct Pty {
    child: Child,
    gone: Gone,
    master: File,
    /// Kept open, so that the line and its modes are still there when the program has ended.
    line: OwnedFd,
    seen: Arc<(Mutex<Vec<u8>>, Condvar)>,
}

impl Pty {
    /// Starts a command on a new pty of 80 columns by 24 rows.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &Command) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty can be had");
        grantpt(&master).expect("a pty can be granted");
        unlockpt(&master).expect("a pty can be unlocked");
        let name = ptsname(&master, Vec::new()).expect("a pty has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let line = open(&name, flags, Mode::empty()).expect("a pty can be opened");
        set_size(&line, 80, 24);
        // util-linux's setsid makes the line its controlling terminal, which std cannot do without unsafe code. It
        // becomes the program; it only forks when it leads a process group, and a child of ours does not.
        let mut inner = Command::new("setsid");
        inner.args(["--ctty", "--"]);
        inner
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear();
        for (key, value) in command.get_envs() {
            if let Some(value) = value {
                inner.env(key, value);
            }
        }
        if let Some(dir) = command.get_current_dir() {
            inner.current_dir(dir);
        }
        let stdio = || line.try_clone().expect("a descriptor can be copied");
        inner.stdin(stdio()).stdout(stdio()).stderr(stdio());
        let child = inner.spawn().expect("setsid (util-linux) can be started");
        let gone = Gone::watch(child.id()).expect("a child that was not waited for is there");
        let master = File::from(master);
        let seen = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let (mut source, shared) = (
            master.try_clone().expect("a descriptor can be copied"),
            Arc::clone(&seen),
        );
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                let mut bytes = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                bytes.extend_from_slice(&buffer[..count]);
                shared.1.notify_all();
            }
        });
        Self {
            child,
            gone,
            master,
            line,
            seen,
        }
    }

    /// Types bytes as they are.
    ///
    /// # Panics
    /// When the line is gone.
    pub fn write(&mut self, bytes: &[u8]) {
        self.master.write_all(bytes).expect("the line takes input");
    }

    /// What the program wrote so far.
    #[must_use]
    pub fn seen(&self) -> Vec<u8> {
        self.seen.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the program wrote so far, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen()).into_owned()
    }

    /// Waits until what the program wrote fits.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_for(&self, what: &str, fits: impl Fn(&[u8]) -> bool) {
        let start = Instant::now();
        let mut bytes = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !fits(&bytes) {
            let left = DEADLINE.saturating_sub(start.elapsed());
            assert!(
                !left.is_zero(),
                "{what}: never came: {}",
                String::from_utf8_lossy(&bytes)
            );
            bytes = self
                .seen
                .1
                .wait_timeout(bytes, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits until the program wrote a text.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_text(&self, text: &str) {
        let wanted = text.as_bytes();
        self.wait_for(text, |bytes| {
            bytes.windows(wanted.len()).any(|window| window == wanted)
        });
    }

    /// The modes of the line, for tests that they come back.
    ///
    /// # Panics
    /// When the line is gone.
    #[must_use]
    pub fn modes(&self) -> Termios {
        tcgetattr(&self.line).expect("a terminal has modes")
    }

    /// Gives the line another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        set_size(&self.line, columns, rows);
    }

    /// Stops the line: from now on it takes nothing of what the program writes.
    ///
    /// # Panics
    /// When the line is gone.
    pub fn stop(&self) {
        tcflow(&self.line, Action::OOff).expect("a terminal can be stopped");
    }

    /// Process id of the program.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True while the program has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.gone.within(Duration::ZERO)
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        self.gone.signal(signal);
    }

    /// Waits for the program's end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        assert!(
            self.gone.within(deadline),
            "it did not end within {deadline:?}: {}",
            String::from_utf8_lossy(&self.seen())
        );
        self.child.wait().expect("a child can be waited for")
    }
}

fn set_size(line: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(line, size).expect("a terminal has a size");
}

impl Drop for Pty {
    fn drop(&mut self) {
        self.gone.signal(Signal::KILL);
        drop(self.child.wait());
    }
}
