//! Running a program that tells somebody something: with a deadline, and with no more of its words than one line.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use outlast_client::{
    text::one_line,
    v1::{Error, ErrorKind},
};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::{Instant, sleep_until, timeout},
};

/// Bytes that are kept of what a program says.
const SAID: usize = 4096;

/// Characters of that which are passed on.
const LINE: usize = 200;

/// How long what a program said may be on its way when it has ended. It is in the pipe by then; what it started may keep
/// that open for ever.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Which output of a program is heard; the other one goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Stdout,
    Stderr,
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    /// What it said last, as one line.
    pub(super) said: String,
}

/// Why a program did not run to its end.
#[derive(Debug)]
pub(super) enum NotRun {
    /// There is no such program.
    Missing,
    /// It took too long, and was killed with all that it had started.
    Late,
    /// The system refused.
    Failed(io::Error),
}

impl NotRun {
    /// The same as an error about a program of this name.
    pub(super) fn of(self, program: &str, within: Duration) -> Error {
        match self {
            Self::Missing => Error::new(
                ErrorKind::MissingProgram,
                format!("{program} is not found in PATH"),
            )
            .with_hint(format!("install {program}, then: outlast daemon restart")),
            Self::Late => Error::new(
                ErrorKind::Timeout,
                format!(
                    "{program} did not end within {} s, and was killed",
                    within.as_secs()
                ),
            )
            .with_hint(format!("try {program} in a terminal; outlast config edit")),
            Self::Failed(error) => Error::new(ErrorKind::Failed, format!("starting {program}: {error}"))
                .with_hint(format!("try {program} in a terminal; outlast config edit")),
        }
    }
}

/// Runs a program in a process group of its own, with this on its standard input.
pub(super) async fn run(
    mut command: Command,
    input: &[u8],
    heard: Heard,
    within: Duration,
) -> Result<Ran, NotRun> {
    let output = |output| {
        if heard == output {
            Stdio::piped()
        } else {
            Stdio::null()
        }
    };
    command
        .stdin(if input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        })
        .stdout(output(Heard::Stdout))
        .stderr(output(Heard::Stderr))
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NotRun::Missing,
        _ => NotRun::Failed(error),
    })?;
    let group = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    match timeout(within, to_its_end(&mut child, input)).await {
        Ok(ran) => ran.map_err(NotRun::Failed),
        Err(_late) => {
            if let Some(group) = group {
                // It was not waited for, so the group is still its own. One that is gone needs no killing.
                let _ = kill_process_group(group, Signal::KILL);
            }
            Err(NotRun::Late)
        }
    }
}

async fn to_its_end(child: &mut Child, input: &[u8]) -> io::Result<Ran> {
    let stdin = child.stdin.take();
    let mut output: Option<Box<dyn AsyncRead + Send + Unpin>> =
        match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), _) => Some(Box::new(stdout)),
            (None, Some(stderr)) => Some(Box::new(stderr)),
            (None, None) => None,
        };
    let feeding = async {
        if let Some(mut stdin) = stdin {
            // A program that does not want it all has its reasons, and says so.
            let _ = stdin.write_all(input).await;
        }
    };
    tokio::pin!(feeding);
    let mut fed = false;
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        tokio::select! {
            () = &mut feeding, if !fed => fed = true,
            read = read(&mut output, &mut buffer) => match read {
                Ok(count @ 1..) => {
                    let room = SAID.saturating_sub(said.len()).min(count);
                    said.extend_from_slice(buffer.get(..room).unwrap_or_default());
                }
                Ok(0) | Err(_) => output = None,
            },
            status = child.wait(), if ended.is_none() => ended = Some((status?, Instant::now() + LAST_WORDS)),
            () = until(ended), if ended.is_some() => break,
        }
        if ended.is_some() && output.is_none() {
            break;
        }
    }
    let Some((status, _)) = ended else {
        return Err(io::Error::other("it was not waited for"));
    };
    let said = String::from_utf8_lossy(&said);
    let last = said
        .lines()
        .rev()
        .map(|line| one_line(line, LINE))
        .find(|line| !line.is_empty());
    Ok(Ran {
        status,
        said: last.unwrap_or_default(),
    })
}

/// Reads from an output that is open; for ever from one that is not.
async fn read(
    output: &mut Option<Box<dyn AsyncRead + Send + Unpin>>,
    buffer: &mut [u8],
) -> io::Result<usize> {
    match output {
        Some(output) => output.read(buffer).await,
        None => std::future::pending().await,
    }
}

async fn until(ended: Option<(ExitStatus, Instant)>) {
    match ended {
        Some((_, then)) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use outlast_testkit::{DEADLINE, Gone};

    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_program_is_fed_and_its_last_line_heard() {
        let ran = run(
            sh("read x; echo one >&2; echo \"two $x\" >&2; exit 3"),
            b"in\n",
            Heard::Stderr,
            SOON,
        )
        .await;
        let ran = ran.unwrap();
        assert_eq!((ran.status.code(), ran.said.as_str()), (Some(3), "two in"));
    }

    #[tokio::test]
    async fn a_program_that_talks_without_end_or_leaves_somebody_behind_ends_all_the_same() {
        let ran = run(sh("yes x | head -c 1000000"), b"", Heard::Stdout, SOON)
            .await
            .unwrap();
        assert_eq!(ran.said, "x");
        let begun = Instant::now();
        let ran = run(sh("sleep 5 & echo done"), b"", Heard::Stdout, SOON)
            .await
            .unwrap();
        assert_eq!(ran.said, "done");
        assert!(begun.elapsed() < Duration::from_secs(4));
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!(
            "sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait",
            file.display()
        );
        let running = tokio::spawn(run(sh(&script), b"", Heard::Stdout, Duration::from_secs(2)));
        assert!(matches!(running.await.unwrap(), Err(NotRun::Late)));
        let pid = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        assert!(Gone::watch(pid).is_none_or(|child| child.within(DEADLINE)));
    }

    #[tokio::test]
    async fn a_missing_program_is_told_apart() {
        let command = Command::new("/nonexistent/notify-send");
        assert!(matches!(
            run(command, b"", Heard::Stderr, SOON).await,
            Err(NotRun::Missing)
        ));
    }
}
