//! A screen to type on: a program in a private tmux that only serves the test.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{DEADLINE, Run, Sandbox, run, wait_until};

/// Runs a program and stays when it has ended: tmux closes the terminal of a process that ended without reading what is
/// still on its way there, and does not always hear how it ended. So both are told by files beside `$0`.
const HOLD: &str = "trap : INT QUIT
    sh -c 'echo $$ >\"$0.pid.new\" && mv \"$0.pid.new\" \"$0.pid\"; exec \"$@\"' \"$0\" \"$@\"
    echo $? >\"$0.exit.new\" && mv \"$0.exit.new\" \"$0.exit\"
    exec sleep infinity";

/// A terminal in which a program of the sandbox runs. What it shows is what a person would see.
#[derive(Debug)]
pub struct Terminal {
    socket: PathBuf,
    home: PathBuf,
}

impl Terminal {
    /// Runs a program of the sandbox in a new terminal of 80 columns by 24 rows. `label` keeps terminals of one
    /// sandbox apart.
    ///
    /// # Panics
    /// When tmux is missing or does not start.
    #[must_use]
    pub fn open(sandbox: &Sandbox, label: &str, program: &str, args: &[&str]) -> Self {
        let inner = sandbox.command(program);
        let terminal = Self {
            socket: sandbox.path().join(format!("term-{label}")),
            home: sandbox.home(),
        };
        let mut command = terminal.tmux();
        command.args(["-f", "/dev/null", "start-server", ";"]);
        command.args(["set-option", "-g", "status", "off", ";"]);
        command.args(["new-session", "-d", "-x", "80", "-y", "24", "--"]);
        // The program must not believe that it runs inside tmux.
        command.args(["env", "-u", "TMUX", "-u", "TMUX_PANE"]);
        for (key, value) in sandbox.environment() {
            command.arg(format!("{key}={value}"));
        }
        command.args(["sh", "-c", HOLD]).arg(&terminal.socket);
        command.arg(inner.get_program());
        // tmux takes a semicolon at the end of an argument for its own.
        for arg in args {
            match arg.strip_suffix(';') {
                Some(rest) => command.arg(format!("{rest}\\;")),
                None => command.arg(arg),
            };
        }
        drop(run(command, DEADLINE).success());
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.home)
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .current_dir(&self.home)
            .arg("-S")
            .arg(&self.socket);
        command
    }

    fn ask(&self, args: &[impl AsRef<OsStr>]) -> Run {
        let mut command = self.tmux();
        command.args(args);
        run(command, DEADLINE).success()
    }

    /// Types text as it is, without Enter.
    pub fn type_text(&self, text: &str) {
        drop(self.ask(&["send-keys", "-l", "--", text]));
    }

    /// Presses keys by their tmux names ("Enter", "C-c").
    pub fn press(&self, keys: &[&str]) {
        drop(self.ask(&[&["send-keys", "--"], keys].concat()));
    }

    /// Types a line and presses Enter.
    pub fn enter(&self, line: &str) {
        self.type_text(line);
        self.press(&["Enter"]);
    }

    /// What the screen shows.
    #[must_use]
    pub fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p"]).out()
    }

    /// Waits until the screen fits, and gives it back.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_screen(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(DEADLINE, what, || {
                last = self.screen();
                fits(&last).then(|| last.clone())
            })
        }));
        found.unwrap_or_else(|_| panic!("{what}: never seen; the screen shows\n{last}"))
    }

    /// Waits until the screen shows a text.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_text(&self, text: &str) -> String {
        self.wait_screen(text, |screen| screen.contains(text))
    }

    /// Gives the terminal another size, as dragging its corner would.
    pub fn resize(&self, columns: u16, rows: u16) {
        drop(self.ask(&[
            "resize-window",
            "-x",
            &columns.to_string(),
            "-y",
            &rows.to_string(),
        ]));
    }

    /// Waits until the program has ended; its exit code, or 128+n after signal n.
    ///
    /// # Panics
    /// When it does not end in time.
    #[must_use]
    pub fn wait_exit(&self) -> i32 {
        self.told("exit", "the end of the terminal's program")
    }

    /// Process id of the program that the terminal runs.
    ///
    /// # Panics
    /// When it was not started in time.
    #[must_use]
    pub fn pid(&self) -> u32 {
        let pid = self.told("pid", "the start of the terminal's program");
        u32::try_from(pid).expect("process ids are not negative")
    }

    /// The number in a file beside the socket, which is there whole or not at all.
    fn told(&self, what: &str, awaited: &str) -> i32 {
        let path = self.socket.with_extension(what);
        let text = wait_until(DEADLINE, awaited, || fs::read_to_string(&path).ok());
        text.trim().parse().expect("a shell writes numbers")
    }

    /// Socket of the private tmux, for tests of nesting.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = self.tmux();
        command.arg("kill-server");
        drop(command.output());
    }
}
