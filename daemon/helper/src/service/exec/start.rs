//! Starting a program of `Exec`, and the two ways of being connected to it.

use std::{collections::HashMap, ffi::OsStr, io, path::Path, process::Stdio, sync::Arc};

use outlast_client::helper_v1::{self as proto, ExecStart, ExecTerminal};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use crate::{
    facts,
    program::{self, Program, Refusal, no_process, refused},
    pty::{self, Pty, Size},
    service::{Core, base},
    tmux::terminfo,
};

/// Terminal types that are tried where a host does not know the one that is asked for.
const TERMS: [&str; 4] = ["xterm-256color", "xterm", "screen", "vt100"];

/// A program that was started.
#[derive(Debug)]
pub(super) struct Running {
    /// Its process, the leader of its group, and on a terminal of its process session.
    pub(super) child: Child,
    /// What it reads.
    pub(super) input: Input,
    /// What it writes.
    pub(super) output: Output,
}

/// Where the output of a program comes from.
#[derive(Debug)]
pub(super) enum Output {
    Pipes(ChildStdout, ChildStderr),
    Terminal(Arc<Pty>),
}

impl Output {
    /// The terminal, where there is one.
    pub(super) fn terminal(&self) -> Option<&Arc<Pty>> {
        match self {
            Self::Pipes(..) => None,
            Self::Terminal(pty) => Some(pty),
        }
    }
}

/// Where the input of a program goes to.
#[derive(Debug)]
pub(super) enum Input {
    /// None: the program closed it.
    Pipe(Option<ChildStdin>),
    Terminal {
        pty: Arc<Pty>,
        /// Nothing was typed of the current line.
        fresh_line: bool,
    },
}

impl Input {
    /// Hands over some bytes. A program that closed its input gets no more of it, which is no error.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        match self {
            Self::Pipe(stdin) => {
                if let Some(open) = stdin
                    && open.write_all(bytes).await.is_err()
                {
                    *stdin = None;
                }
            }
            Self::Terminal { pty, fresh_line } => {
                if let Some(last) = bytes.last() {
                    *fresh_line = matches!(last, b'\n' | b'\r');
                    let _ = pty.master.write_all(bytes).await;
                }
            }
        }
    }

    /// Says that no more comes.
    pub(super) async fn end(self) {
        if let Self::Terminal { pty, fresh_line } = self
            && let Some(key) = pty.end_of_input()
        {
            // On a line that was begun the first one only hands over what there is.
            let keys = if fresh_line { vec![key] } else { vec![key; 2] };
            let _ = pty.master.write_all(&keys).await;
        }
    }
}

/// A size, or None when it is no size that a terminal can have.
pub(super) fn size(size: Option<proto::Size>) -> Option<Size> {
    let size = size?;
    Size::new(size.columns, size.rows)
}

/// What is to be run. Waits for the login environment where that is asked for.
pub(in crate::service) async fn program(core: &Core, start: &ExecStart) -> Program {
    let shell = start.command.is_empty();
    let mut env = match (start.login, shell) {
        // It makes the login environment by itself.
        (true, true) => base::beginning(core),
        (true, false) => base::passing(core).await,
        (false, _) => std::env::vars_os().collect(),
    };
    if let Some(terminal) = &start.terminal {
        let [a, b, c, d] = TERMS;
        let term = terminfo::first_known(&[&terminal.term, a, b, c, d]);
        env.insert("TERM".into(), term.into());
    }
    let given: &HashMap<String, String> = &start.env;
    env.extend(given.iter().map(|(name, value)| (name.into(), value.into())));
    let cwd = match (start.cwd.as_str(), start.login) {
        ("", true) => program::home(&env),
        ("", false) => facts::home(),
        (cwd, _) => cwd.into(),
    };
    if start.login {
        env.insert("PWD".into(), cwd.clone().into());
    }
    if shell {
        program::login_shell(core.login.shell(), env, cwd)
    } else {
        program::command(&start.command, env, cwd)
    }
}

/// Runs it on three pipes.
pub(super) fn on_pipes(program: &Program) -> Result<Running, Refusal> {
    let spawn = |command: &mut Command| {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    };
    let mut child = started(program, spawn)?;
    let missing = || no_process(&io::Error::other("it has no pipes"));
    let input = Input::Pipe(child.stdin.take());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let output = Output::Pipes(stdout.ok_or_else(missing)?, stderr.ok_or_else(missing)?);
    Ok(Running { child, input, output })
}

/// Runs it on a terminal of its own.
pub(super) fn on_terminal(program: &Program, terminal: &ExecTerminal) -> Result<Running, Refusal> {
    let size = size(terminal.size).ok_or_else(|| no_process(&io::ErrorKind::InvalidInput.into()))?;
    let (pty, child) = started(program, |command| pty::spawn(command, size))?;
    let pty = Arc::new(pty);
    Ok(Running {
        child,
        input: Input::Terminal {
            pty: Arc::clone(&pty),
            fresh_line: true,
        },
        output: Output::Terminal(pty),
    })
}

/// Finds the program and spawns it. The file is looked up here, because that lets the system start it without a copy of
/// this process.
fn started<T>(program: &Program, spawn: impl Fn(&mut Command) -> io::Result<T>) -> Result<T, Refusal> {
    let path = program.find()?;
    let mut own = command(&path, &program.arg0, program);
    own.args(&program.args);
    let spawned = match spawn(&mut own) {
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
            // A script that does not name its interpreter is one for the shell.
            let mut shell = command(Path::new("/bin/sh"), OsStr::new("/bin/sh"), program);
            shell.arg(&path).args(&program.args);
            spawn(&mut shell)
        }
        spawned => spawned,
    };
    spawned.map_err(|error| refused(&program.name, &error))
}

fn command(path: &Path, arg0: &OsStr, program: &Program) -> Command {
    let mut command = Command::new(path);
    command
        .arg0(arg0)
        .env_clear()
        .envs(&program.env)
        .current_dir(&program.cwd)
        .kill_on_drop(true);
    command
}
