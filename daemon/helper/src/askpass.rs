//! What `ssh` runs to ask the user something: hands the question to the daemon that started that `ssh`, and prints the
//! answer. Knows nothing of what is asked and shows nothing to anybody.

use std::{
    env,
    ffi::OsStr,
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::{ffi::OsStrExt as _, net::UnixStream},
    path::Path,
    process::ExitCode,
};

/// The variable that names the daemon's socket, and by which a call is known to be one of ssh's.
pub const SOCKET: &str = "OUTLAST_ASKPASS";

/// The variable by which ssh tells what kind of answer it wants: `confirm`, `none`, or anything else for a text.
const KIND: &str = "SSH_ASKPASS_PROMPT";

/// Longest answer, bytes. A passphrase is shorter.
const ANSWER_MAX: u64 = 64 << 10;

/// Sends `<kind> NUL <question>`, and prints what comes back: a plus sign and the answer, or nothing when nobody
/// answered, which is told by the exit code.
#[must_use]
pub fn ask(socket: &Path, question: &OsStr) -> ExitCode {
    match answer(socket, question) {
        Ok(Some(answer)) if io::stdout().write_all(&answer).is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn answer(socket: &Path, question: &OsStr) -> io::Result<Option<Vec<u8>>> {
    let mut stream = UnixStream::connect(socket)?;
    let kind = env::var_os(KIND).unwrap_or_default();
    stream.write_all(kind.as_bytes())?;
    stream.write_all(b"\0")?;
    stream.write_all(question.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    // People take their time; ssh ends this when it does not want to know any more.
    let mut said = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut said)?;
    Ok(said.strip_prefix(b"+").map(|answer| [answer, b"\n"].concat()))
}
