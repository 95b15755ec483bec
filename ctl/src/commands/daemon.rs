//! `daemon`: the daemon itself.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use outlast_client::{
    client::{ClientError, Daemon, GONE_WITHIN, Start, watch_dir},
    v1::{self, ErrorKind, GetDaemonRequest},
};

use super::sent;
use crate::{
    cli::DaemonLogs,
    context::Context,
    error::{Failure, Result},
    follow::waiting,
    pump::{Output, Pump, answer},
    render::json,
};

/// How much of a log file is read at once, at most.
const PIECE: u64 = 64 << 10;

/// `daemon start`: nothing happens when it runs.
pub async fn start(ctx: &Context) -> Result<u8> {
    let daemon = match ctx.connect(Start::Never).await {
        Ok(daemon) => {
            let daemon = who(&daemon).await?;
            ctx.note(&format!("outlastd runs already, pid {}", daemon.pid));
            daemon
        }
        Err(ClientError::NotRunning { .. }) => {
            let daemon = who(&ctx.connect(Start::IfNeeded).await?).await?;
            ctx.note(&format!("outlastd runs, pid {}", daemon.pid));
            daemon
        }
        Err(error) => return Err(error.into()),
    };
    if ctx.global.json {
        answer(&json::line(&json::Daemon::from(&daemon)))?;
    }
    Ok(0)
}

/// `daemon stop`: returns when the process is gone.
pub async fn stop(ctx: &Context) -> Result<u8> {
    let daemon = match ctx.connect(Start::Never).await {
        Ok(daemon) => daemon,
        Err(ClientError::NotRunning { .. }) => {
            if ctx.global.json {
                answer("{\"pid\":null}\n")?;
            }
            ctx.note("outlastd is not running");
            return Ok(0);
        }
        Err(error) => return Err(error.into()),
    };
    let process = daemon.stop(false).await?;
    if !process.gone(GONE_WITHIN).await {
        return Err(Failure::new(
            ErrorKind::Failed,
            format!(
                "outlastd (pid {}) was told to stop and is still there",
                process.pid()
            ),
        )
        .hint(format!("kill {}", process.pid())));
    }
    if ctx.global.json {
        answer(&format!("{{\"pid\":{}}}\n", process.pid()))?;
    }
    ctx.note("outlastd has stopped; jobs and sessions go on");
    Ok(0)
}

/// `daemon restart`: a fresh one takes its place.
pub async fn restart(ctx: &Context) -> Result<u8> {
    let places = ctx.places()?;
    let socket = ctx.socket();
    // Before the old one goes, so that a slip in the file does not leave the user without any.
    super::config::verify()?;
    let fresh = Daemon::restart(&places, socket.as_deref()).await?;
    let daemon = who(&fresh).await?;
    if ctx.global.json {
        answer(&json::line(&json::Daemon::from(&daemon)))?;
    }
    ctx.note(&format!("outlastd {} runs, pid {}", daemon.version, daemon.pid));
    Ok(0)
}

async fn who(daemon: &Daemon) -> Result<v1::Daemon> {
    let answered = daemon
        .answer(daemon.stranger().get_daemon(GetDaemonRequest {}))
        .await?;
    sent(answered.daemon, "daemon")
}

/// `daemon logs`: the daemon's own log, whether it runs or not.
pub async fn logs(ctx: &Context, args: &DaemonLogs) -> Result<u8> {
    let dir = ctx.places()?.log_dir();
    let Some(newest) = newest(&dir)? else {
        return Err(Failure::new(
            ErrorKind::NotFound,
            format!("there is no log in {}", dir.display()),
        )
        .hint("a daemon that systemd runs writes to the journal: journalctl --user -u outlastd"));
    };
    let mut tail = Tail::open(newest)?;
    let start = tail.last_lines(args.lines)?;
    let mut pump = Pump::new();
    tail.seek(start)?;
    tail.copy(&mut pump).await?;
    if !args.follow {
        pump.finish().await?;
        return Ok(0);
    }
    let watch = watch_dir(&dir).map_err(|error| Failure::io("watching", dir.display(), &error))?;
    let follow = async {
        loop {
            tail.copy(&mut pump).await?;
            if let Some(next) = self::newest(&dir)?.filter(|next| *next != tail.path) {
                // A new day, a new file.
                tail = Tail::open(next)?;
                continue;
            }
            watch
                .changed()
                .await
                .map_err(|error| Failure::io("watching", dir.display(), &error))?;
        }
    };
    let resume = || "outlast daemon logs -f".to_owned();
    waiting(ctx, args.timeout, "outlastd goes on", resume, follow).await
}

/// The log file that was begun last; their names carry the date.
fn newest(dir: &Path) -> Result<Option<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::io("reading", dir.display(), &error)),
    };
    Ok(entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .max())
}

/// A growing file.
struct Tail {
    path: PathBuf,
    file: File,
}

impl Tail {
    fn open(path: PathBuf) -> Result<Self> {
        match File::open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(Failure::io("opening", path.display(), &error)),
        }
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::io("reading", self.path.display(), error)
    }

    fn seek(&mut self, offset: u64) -> Result<()> {
        match self.file.seek(SeekFrom::Start(offset)) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Where the last so many lines begin, found from the end.
    fn last_lines(&mut self, lines: usize) -> Result<u64> {
        let mut end = self.file.metadata().map_err(|error| self.failed(&error))?.len();
        // The newline that ends the last line begins no other.
        let mut wanted = lines.saturating_add(1);
        let mut last = true;
        while end > 0 {
            let start = end.saturating_sub(PIECE);
            self.seek(start)?;
            let mut piece = Vec::new();
            (&self.file)
                .take(end - start)
                .read_to_end(&mut piece)
                .map_err(|error| self.failed(&error))?;
            if std::mem::take(&mut last) && piece.last() != Some(&b'\n') {
                wanted = wanted.saturating_sub(1);
            }
            for (at, byte) in piece.iter().enumerate().rev() {
                if *byte == b'\n' {
                    wanted = wanted.saturating_sub(1);
                    if wanted == 0 {
                        return Ok(start + at as u64 + 1);
                    }
                }
            }
            end = start;
        }
        Ok(0)
    }

    /// Hands over what is new.
    async fn copy(&mut self, pump: &mut Pump) -> Result<()> {
        loop {
            let mut piece = Vec::new();
            let read = (&self.file).take(PIECE).read_to_end(&mut piece);
            match read {
                Ok(0) => return Ok(()),
                Ok(_) => pump.write(Output::Stdout, piece.into()).await?,
                Err(error) => return Err(self.failed(&error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(text: &str, lines: usize) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, text).unwrap();
        let start = Tail::open(path).unwrap().last_lines(lines).unwrap();
        text[usize::try_from(start).unwrap()..].to_owned()
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
        assert_eq!(tail("a\nb\n", 9), "a\nb\n");
        assert_eq!(tail("", 3), "");
        assert_eq!(tail("a\nb\n", 0), "");
        let long = "x\n".repeat(100_000);
        assert_eq!(tail(&long, 70_000).len(), 140_000);
    }
}
