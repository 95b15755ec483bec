//! Gets the helper to run at the other end of a byte stream to a shell: one command line, and the helper itself where it
//! is missing there.
//!
//! Nothing is sent before the far end asked for it or said that the helper is there, and what start files print before
//! that is passed over. What keeps a helper from running is one error with a cause and a hint.

use std::{fmt::Write as _, io, time::Duration};

use outlast_helper::installed;
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    time::{Instant, timeout, timeout_at},
};
use uuid::Uuid;

use crate::{
    connect::{Purpose, WantedHelper},
    error::{Cause, ConnectError},
    library::{ARCHITECTURES, Program, Upload},
    marker::{Line, Marker},
    stream::Stream,
};

/// The script, as people read it.
const SCRIPT: &str = include_str!("bootstrap.sh");

/// How long the far end may say nothing. Slow start files on a slow host take seconds; while the helper is on its way,
/// a sign of life comes every 5 s.
const SILENCE: Duration = Duration::from_secs(30);

/// How much may be printed before the far end speaks to us.
const NOISE_MAX: usize = 1 << 20;

/// How long all that is printed before the far end speaks to us may take: no start file is this slow and lives.
const NOISE_WITHIN: Duration = Duration::from_secs(120);

/// What the helper is sent in. Each piece is given [`SILENCE`] to be taken, which a line of 2 kB/s does.
const PIECE: usize = 32 << 10;

/// How much of it is read ahead: each reading is a visit to a thread that may wait for the disk.
const AHEAD: usize = 512 << 10;

/// The longest an upload may take: what a line of 1 kB/s needs for the largest helper there is, and an end to all others.
const UPLOAD_WITHIN: Duration = Duration::from_secs(45 * 60);

/// How long to wait for the reason of an end, once the bytes have ended.
const REASON_WITHIN: Duration = Duration::from_secs(1);

/// One start of a helper.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    nonce: String,
    line: String,
    programs: Vec<Program>,
}

/// A helper that runs and waits to be spoken to.
#[derive(Debug)]
pub(crate) struct Started {
    /// The first bytes of its protocol.
    pub(crate) rest: Vec<u8>,
    /// How many bytes had to be sent, where it was missing.
    pub(crate) uploaded: Option<u64>,
}

impl Bootstrap {
    /// The start of a helper by one of these programs.
    ///
    /// # Errors
    /// When the owner is no id.
    pub(crate) fn new(
        helper: &WantedHelper,
        purpose: Purpose,
        programs: Vec<Program>,
    ) -> Result<Self, ConnectError> {
        let is_word = |text: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !text.is_empty() && text.bytes().all(fits)
        };
        if !is_word(&helper.owner) {
            let text = format!("the owner {:?} is no id", helper.owner);
            return Err(ConnectError::new(Cause::Misconfigured, text));
        }
        let nonce = Uuid::new_v4().simple().to_string();
        let mut arguments = format!(
            "--owner {} --history-limit {}",
            helper.owner, helper.sessions.history_limit
        );
        if helper.sessions.user_copy_mode_keys {
            arguments.push_str(" --user-copy-mode-keys");
        }
        if purpose.is_much() {
            arguments.push_str(" --bulk");
        }
        let line = line(&nonce, &programs, &arguments);
        Ok(Self {
            nonce,
            line,
            programs,
        })
    }

    /// What the far shell is to run: one line.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// Writes the line to a shell that reads its standard input. Whether anybody took it shows in what comes back.
    ///
    /// # Errors
    /// When nobody reads.
    pub(crate) async fn type_line(&self, stream: &mut Stream) -> Result<(), ConnectError> {
        let line = format!("{}\n", self.line);
        let written = async {
            stream.io.write_all(line.as_bytes()).await?;
            stream.io.flush().await
        };
        match timeout(SILENCE, written).await {
            Ok(_) => Ok(()),
            Err(_elapsed) => Err(silent(stream, &Marker::new(&self.nonce))),
        }
    }

    /// Waits until the helper runs, and sends it where it is asked for. `person_asked` says when somebody was being asked
    /// something last, which is now while that goes on: until then nobody was in a hurry.
    ///
    /// # Errors
    /// Why it does not run.
    pub(crate) async fn run(
        &self,
        stream: &mut Stream,
        person_asked: &(dyn Fn() -> Option<Instant> + Sync),
    ) -> Result<Started, ConnectError> {
        let mut marker = Marker::new(&self.nonce);
        let line = listen(
            &mut stream.io,
            &mut marker,
            &[],
            [SILENCE, NOISE_WITHIN],
            person_asked,
        )
        .await;
        match self.heard(line, stream, &marker).await? {
            Heard::Ready(rest) => Ok(Started { rest, uploaded: None }),
            Heard::Need(upload, rest) => {
                let line = send_and_listen(stream, &upload, &mut marker, &rest).await;
                match self.heard(line, stream, &marker).await? {
                    Heard::Ready(rest) => Ok(Started {
                        rest,
                        uploaded: Some(upload.size),
                    }),
                    Heard::Need(..) => Err(ConnectError::new(
                        Cause::Protocol,
                        "the host asked for the helper a second time",
                    )),
                }
            }
        }
    }

    async fn heard(
        &self,
        line: Result<Line, Unheard>,
        stream: &mut Stream,
        marker: &Marker,
    ) -> Result<Heard, ConnectError> {
        let line = match line {
            Ok(line) => line,
            Err(Unheard::Ended) => return Err(self.ended(stream, marker).await),
            Err(Unheard::Silent) => return Err(silent(stream, marker)),
            Err(Unheard::Noise | Unheard::Late) => return Err(noise(stream, marker)),
            Err(Unheard::Stuck) => {
                let text = "sending the helper to the host does not get on";
                return Err(ConnectError::new(Cause::TimedOut, text));
            }
            Err(Unheard::File(error)) => {
                let text = format!("reading the helper program: {error}");
                return Err(ConnectError::new(Cause::Misconfigured, text));
            }
        };
        match line.word.as_str() {
            "READY" => Ok(Heard::Ready(line.rest)),
            "NEED" => {
                let (form, platform) = line.text.split_once(' ').unwrap_or((&line.text, ""));
                let program = self.program(platform).ok_or_else(|| self.unsupported(platform))?;
                let upload = match (form, &program.packed) {
                    ("gzip", Some(packed)) => packed,
                    _ => &program.plain,
                };
                Ok(Heard::Need(upload.clone(), line.rest))
            }
            "FAIL" => Err(self.failed(&line.text, stream)),
            word => Err(ConnectError::new(
                Cause::Protocol,
                format!("the host says {word:?}, which means nothing here"),
            )),
        }
    }

    /// The program for what `uname -sm` says.
    fn program(&self, platform: &str) -> Option<&Program> {
        let machine = platform.strip_prefix("Linux ")?;
        let (arch, _) = ARCHITECTURES.iter().find(|(_, names)| names.contains(&machine))?;
        self.programs.iter().find(|program| program.arch == *arch)
    }

    fn unsupported(&self, platform: &str) -> ConnectError {
        let have: Vec<&str> = self.programs.iter().map(|program| program.arch).collect();
        let text = format!(
            "the host is {platform}, and the helpers installed here are for Linux on {}",
            have.join(" and ")
        );
        let known = ARCHITECTURES.iter().find(|(arch, names)| {
            let machine = platform.strip_prefix("Linux ").unwrap_or_default();
            names.contains(&machine) && !have.contains(arch)
        });
        let hint = match known {
            Some((arch, _)) => format!("install outlast-helper-{arch}-linux-musl beside outlastd"),
            None => "hosts run Linux on x86_64 or aarch64".to_owned(),
        };
        ConnectError::new(Cause::Unsupported, text).with_hint(hint)
    }

    /// The errors the script tells of: a class, and what the system said.
    fn failed(&self, text: &str, stream: &Stream) -> ConnectError {
        let (class, said) = text.split_once(' ').unwrap_or((text, ""));
        let elsewhere = "set XDG_CACHE_HOME in the login shell's start file there to a directory that fits";
        let helper_failed = |text: String| ConnectError::new(Cause::HelperFailed, text);
        match class {
            "platform" => self.unsupported(said),
            "home" => helper_failed("the host gives this user no home directory".to_owned())
                .with_hint("set HOME or XDG_CACHE_HOME in the login shell's start file there"),
            "cache" => {
                helper_failed(format!("the host's cache directory cannot be made: {said}")).with_hint(elsewhere)
            }
            "write" if ["No space left", "quota"].iter().any(|word| said.contains(word)) => {
                helper_failed(format!("the host has no room for the helper: {said}"))
                    .with_hint("free some space there; the helper takes about 4 MB")
            }
            "write" => helper_failed(format!("the helper cannot be written on the host: {said}"))
                .with_hint(elsewhere),
            "noexec" => helper_failed(format!("the host lets no program run from {said}")).with_hint(format!(
                "if that file system is mounted noexec, {elsewhere}"
            )),
            "damaged" => helper_failed("the helper arrived damaged on the host and was thrown away".to_owned())
                .with_hint("trying again sends it again"),
            "exec" => helper_failed(format!("the helper does not run on the host (exit code {said})"))
                .with_hint("a static helper runs on every Linux of its architecture: install outlast-helper-<arch>-linux-musl here"),
            _ => helper_failed(format!("the helper on the host could not be started{}", its_words(&stream.said.text())))
                .with_hint("removing ~/.cache/outlast/helper there has it sent again"),
        }
    }

    /// The bytes ended before the far end spoke to us.
    async fn ended(&self, stream: &mut Stream, marker: &Marker) -> ConnectError {
        let known = timeout(REASON_WITHIN, stream.closed.wait_for(Option::is_some)).await;
        let reason = known.ok().and_then(Result::ok).and_then(|reason| reason.clone());
        match reason {
            // The command itself ended, and not what carries it.
            None => not_a_shell(stream, marker, None),
            Some(reason) if reason.cause == Cause::HelperFailed => not_a_shell(stream, marker, Some(&reason)),
            Some(reason) => reason,
        }
    }
}

/// What the far end said.
#[derive(Debug)]
enum Heard {
    Ready(Vec<u8>),
    Need(Upload, Vec<u8>),
}

/// Why the far end was not heard.
#[derive(Debug)]
enum Unheard {
    Ended,
    Silent,
    /// More was said than any start file says.
    Noise,
    /// Things were said for longer than anything takes.
    Late,
    Stuck,
    File(io::Error),
}

/// The one line for the far shell.
fn line(nonce: &str, programs: &[Program], arguments: &str) -> String {
    let mut cases = String::new();
    for program in programs {
        let machines = ARCHITECTURES
            .iter()
            .find(|(arch, _)| *arch == program.arch)
            .map_or(&[][..], |(_, machines)| machines);
        let names: Vec<String> = machines
            .iter()
            .map(|machine| format!("\"Linux {machine}\""))
            .collect();
        let _ = write!(
            cases,
            "{}) h={} s={} z={} y={} ;; ",
            names.join("|"),
            program.hash,
            installed::name(&program.hash),
            program.plain.size,
            program.packed.as_ref().map_or(0, |packed| packed.size),
        );
    }
    let script: Vec<String> = SCRIPT
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            line.replace("@NONCE@", nonce)
                .replace("@PROGRAMS@", cases.trim_end())
                .replace("@ANOTHER@", &installed::ANOTHER.to_string())
                .replace("@ARGUMENTS@", arguments)
        })
        .collect();
    format!("exec /bin/sh -c '{}'", script.join(" "))
}

/// Reads until a line of ours.
async fn listen<R: AsyncRead + Unpin>(
    from: &mut R,
    marker: &mut Marker,
    before: &[u8],
    [silence, within]: [Duration; 2],
    person_asked: &(dyn Fn() -> Option<Instant> + Sync),
) -> Result<Line, Unheard> {
    if let Some(line) = marker.push(before) {
        return Ok(line);
    }
    let mut give_up = Instant::now() + within;
    let mut buffer = vec![0; 16 << 10];
    loop {
        if marker.noise() > NOISE_MAX {
            return Err(Unheard::Noise);
        }
        if Instant::now() > give_up {
            return Err(Unheard::Late);
        }
        let mut quiet_since = Instant::now();
        let read = loop {
            match timeout_at(quiet_since + silence, from.read(&mut buffer)).await {
                Ok(read) => break read,
                Err(_elapsed) => match person_asked().filter(|asked| *asked > quiet_since) {
                    Some(asked) => {
                        quiet_since = asked;
                        give_up = give_up.max(asked + within);
                    }
                    None => return Err(Unheard::Silent),
                },
            }
        };
        match read {
            Ok(count @ 1..) => {
                if let Some(line) = marker.push(buffer.get(..count).unwrap_or_default()) {
                    return Ok(line);
                }
            }
            Ok(_) | Err(_) => return Err(Unheard::Ended),
        }
    }
}

/// Sends a program, and reads until the next line of ours: that it runs, or what went wrong, which may come at any time.
async fn send_and_listen(
    stream: &mut Stream,
    upload: &Upload,
    marker: &mut Marker,
    before: &[u8],
) -> Result<Line, Unheard> {
    let (mut from, mut to) = tokio::io::split(&mut stream.io);
    let answer = listen(&mut from, marker, before, [SILENCE, UPLOAD_WITHIN], &|| None);
    let sending = send(&mut to, upload);
    tokio::pin!(answer, sending);
    let line = tokio::select! {
        biased;
        line = &mut answer => line,
        sent = &mut sending => match sent {
            // What was said last explains best why nothing more was taken.
            Ok(()) | Err(Unheard::Ended) => answer.await,
            Err(other) => Err(other),
        },
    };
    match line {
        // What it said meanwhile were signs of life.
        Err(Unheard::Late) => Err(Unheard::Stuck),
        other => other,
    }
}

async fn send<W: AsyncWrite + Unpin>(to: &mut W, upload: &Upload) -> Result<(), Unheard> {
    let file = File::open(&upload.path).await.map_err(Unheard::File)?;
    let mut file = BufReader::with_capacity(AHEAD, file);
    let mut piece = vec![0; PIECE];
    let mut left = upload.size;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let room = piece.get_mut(..most).unwrap_or_default();
        // Never more than was promised; less, and the far end finds it damaged.
        let count = file.read(room).await.map_err(Unheard::File)?;
        if count == 0 {
            return Err(Unheard::File(io::ErrorKind::UnexpectedEof.into()));
        }
        let bytes = piece.get(..count).unwrap_or_default();
        left = left.saturating_sub(count as u64);
        match timeout(SILENCE, to.write_all(bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_broken)) => return Err(Unheard::Ended),
            Err(_elapsed) => return Err(Unheard::Stuck),
        }
    }
    match timeout(SILENCE, to.flush()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_broken)) => Err(Unheard::Ended),
        Err(_elapsed) => Err(Unheard::Stuck),
    }
}

fn said(stream: &Stream, marker: &Marker) -> String {
    let errors = stream.said.text();
    if errors.is_empty() { marker.tail() } else { errors }
}

fn its_words(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!("; it said: {said}")
    }
}

fn not_a_shell(stream: &Stream, marker: &Marker, reason: Option<&ConnectError>) -> ConnectError {
    let how = reason.map_or_else(String::new, |reason| format!(" ({})", reason.message));
    let text = format!(
        "nothing that looks like a shell answered{how}{}",
        its_words(&said(stream, marker))
    );
    ConnectError::new(Cause::HelperFailed, text).with_hint(
        "outlast needs an account that may run /bin/sh: no forced command, no restricted shell, no login shell that refuses",
    )
}

fn silent(stream: &Stream, marker: &Marker) -> ConnectError {
    let text = format!(
        "the host is reached, but nothing was heard of it for {} s{}",
        SILENCE.as_secs(),
        its_words(&said(stream, marker))
    );
    ConnectError::new(Cause::TimedOut, text)
        .with_hint("does a start file of the login shell wait for something? Try: ssh HOST true")
}

fn noise(stream: &Stream, marker: &Marker) -> ConnectError {
    let text = format!(
        "the host prints without end ({} bytes so far) and no shell answers{}",
        marker.noise(),
        its_words(&said(stream, marker))
    );
    ConnectError::new(Cause::HelperFailed, text)
        .with_hint("something in a start file of the login shell prints; it should not without a terminal")
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::{Arc, Mutex},
        task::{Context, Poll},
    };

    use outlast_helper::service::SessionConfig;
    use tokio::io::ReadBuf;

    use super::*;
    use crate::{command, library, stream::Io};

    fn program(arch: &'static str) -> Program {
        Program {
            arch,
            hash: "0123456789abcdef".repeat(4),
            plain: Upload {
                path: "/nowhere".into(),
                size: 7,
            },
            packed: None,
        }
    }

    fn helper(owner: &str) -> WantedHelper {
        WantedHelper {
            owner: owner.to_owned(),
            sessions: SessionConfig {
                history_limit: 9,
                user_copy_mode_keys: true,
            },
            libraries: Vec::new(),
        }
    }

    #[test]
    fn the_line_holds_nothing_that_a_login_shell_would_take_for_its_own() {
        let programs = vec![program("x86_64"), program("aarch64")];
        let bootstrap = Bootstrap::new(&helper("me-1"), Purpose::Bulk, programs).unwrap();
        let script = bootstrap
            .line()
            .strip_prefix("exec /bin/sh -c '")
            .and_then(|rest| rest.strip_suffix('\''))
            .unwrap();
        for bad in ["'", "!", "\n", "\\\\", "@"] {
            assert!(!script.replace("$@", "").contains(bad), "{bad:?} in {script}");
        }
        assert!(
            script.contains("\"Linux aarch64\"|\"Linux arm64\") h=0123"),
            "{script}"
        );
        assert!(
            script.contains("--owner me-1 --history-limit 9 --user-copy-mode-keys --bulk;"),
            "{script}"
        );
        assert!(script.len() < 4000, "{}", script.len());
    }

    #[test]
    fn an_owner_that_is_no_id_reaches_no_shell() {
        for owner in ["", "a b", "$(id)", "a'", "a;b"] {
            let refused = Bootstrap::new(&helper(owner), Purpose::Control, Vec::new()).unwrap_err();
            assert_eq!(refused.cause, Cause::Misconfigured, "{owner}");
        }
    }

    /// A stream that notes in which direction bytes went, one letter for each change.
    struct Turns {
        io: Box<dyn Io>,
        seen: Arc<Mutex<String>>,
    }

    impl Turns {
        fn note(&self, way: char) {
            let mut seen = self.seen.lock().unwrap();
            if !seen.ends_with(way) {
                seen.push(way);
            }
        }
    }

    impl AsyncRead for Turns {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            to: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let polled = Pin::new(&mut self.io).poll_read(cx, to);
            if polled.is_ready() {
                self.note('r');
            }
            polled
        }
    }

    impl AsyncWrite for Turns {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
            if polled.is_ready() {
                self.note('w');
            }
            polled
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_shutdown(cx)
        }
    }

    /// Starting takes the round trip of the command itself, and one more where the helper is missing.
    #[tokio::test]
    async fn a_missing_helper_costs_one_more_round_trip() {
        let temp = tempfile::tempdir().unwrap();
        let libraries = [outlast_testkit::program("outlast-helper")
            .parent()
            .unwrap()
            .to_owned()];
        let plain = library::find(&libraries).await.unwrap();
        let size = plain[0].plain.size;
        starts(temp.path(), &plain, "wrwr", Some(size)).await;
        starts(temp.path(), &plain, "wr", None).await;
    }

    /// What is packed here is sent packed, and unpacked there before it is verified.
    #[tokio::test]
    async fn a_packed_helper_is_sent_packed() {
        let temp = tempfile::tempdir().unwrap();
        let helper = temp.path().join("outlast-helper");
        std::fs::copy(outlast_testkit::program("outlast-helper"), &helper).unwrap();
        let libraries = [temp.path().to_owned()];
        let hash = library::find(&libraries).await.unwrap()[0].hash.clone();
        let packed = temp.path().join(format!("outlast-helper.{}.gz", &hash[..16]));
        let gzip = std::process::Command::new("gzip")
            .args(["-1", "-c"])
            .arg(&helper)
            .stdout(std::fs::File::create(&packed).unwrap())
            .status();
        assert!(gzip.unwrap().success());
        let size = packed.metadata().unwrap().len();
        assert!(size < helper.metadata().unwrap().len());
        let programs = library::find(&libraries).await.unwrap();
        starts(temp.path(), &programs, "wrwr", Some(size)).await;
        starts(temp.path(), &programs, "wr", None).await;
    }

    /// Starts a helper in a shell that has its home in `home`, and looks at what that took.
    async fn starts(home: &std::path::Path, programs: &[Program], turns: &str, uploaded: Option<u64>) {
        let programs = programs.to_vec();
        let bootstrap = Bootstrap::new(&helper("me"), Purpose::Control, programs).unwrap();
        let places = ["HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"];
        let mut argv = vec!["env".to_owned()];
        argv.extend(places.map(|place| format!("{place}={}", home.display())));
        argv.push("sh".to_owned());
        let mut stream = command::shell(&argv, Purpose::Control).unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let io = std::mem::replace(&mut stream.io, Box::new(tokio::io::empty()));
        stream.io = Box::new(Turns {
            io,
            seen: Arc::clone(&seen),
        });
        bootstrap.type_line(&mut stream).await.unwrap();
        let started = bootstrap.run(&mut stream, &|| None).await.unwrap();
        assert_eq!(started.uploaded, uploaded);
        assert_eq!(*seen.lock().unwrap(), turns);
    }

    /// Nothing that the host finds out about itself holds up the helper.
    #[tokio::test]
    async fn a_missing_helper_is_asked_for_before_anything_is_tried() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        let stuck = temp.path().join("mkdir");
        std::fs::write(&stuck, "#!/bin/sh\nwhile [ -e \"$0\" ]; do sleep 0.1; done\n").unwrap();
        std::fs::set_permissions(&stuck, std::fs::Permissions::from_mode(0o700)).unwrap();
        let own = vec![program(std::env::consts::ARCH)];
        let bootstrap = Bootstrap::new(&helper("me"), Purpose::Control, own).unwrap();
        let path = std::env::var("PATH").unwrap();
        let argv = [
            "env".to_owned(),
            format!("PATH={}:{path}", temp.path().display()),
            format!("XDG_CACHE_HOME={}", temp.path().display()),
            "sh".to_owned(),
        ];
        let mut stream = command::shell(&argv, Purpose::Control).unwrap();
        bootstrap.type_line(&mut stream).await.unwrap();
        let mut marker = Marker::new(&bootstrap.nonce);
        let times = [SILENCE, NOISE_WITHIN];
        let line = listen(&mut stream.io, &mut marker, &[], times, &|| None).await;
        assert_eq!(line.unwrap().word, "NEED");
    }

    /// A stream on which nothing is ever said.
    fn silence() -> (Stream, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        let stream = Stream {
            io: Box::new(ours),
            said: Arc::default(),
            closed: tokio::sync::watch::channel(None).1,
            guard: Box::new(()),
        };
        (stream, theirs)
    }

    fn starting() -> Bootstrap {
        Bootstrap::new(&helper("me"), Purpose::Control, vec![program("x86_64")]).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_an_end() {
        let (mut stream, _theirs) = silence();
        let begun = Instant::now();
        let error = starting().run(&mut stream, &|| None).await.unwrap_err();
        assert_eq!(error.cause, Cause::TimedOut);
        assert!(error.message.contains("nothing was heard"), "{error}");
        let took = begun.elapsed();
        assert!(
            (SILENCE..SILENCE + Duration::from_secs(1)).contains(&took),
            "{took:?}"
        );
    }

    /// Silence is counted from the answer of whoever was asked, however long that took.
    #[tokio::test(start_paused = true)]
    async fn silence_begins_when_nobody_is_asked_any_more() {
        for minutes in [1, 20] {
            let bootstrap = starting();
            let (mut stream, mut theirs) = silence();
            let begun = Instant::now();
            let answered = begun + Duration::from_secs(minutes * 60 - 1);
            let person_asked = || Some(Instant::now().min(answered));
            let started = bootstrap.run(&mut stream, &person_asked);
            let speaking = async {
                tokio::time::sleep_until(answered + SILENCE - Duration::from_secs(1)).await;
                let ready = format!("\n\x1eREADY {}\n", bootstrap.nonce);
                theirs.write_all(ready.as_bytes()).await.unwrap();
            };
            let (started, ()) = tokio::join!(started, speaking);
            assert!(started.unwrap().uploaded.is_none());

            let (mut stream, _theirs) = silence();
            let answered = Instant::now() + Duration::from_secs(29);
            let person_asked = || Some(Instant::now().min(answered));
            let error = bootstrap.run(&mut stream, &person_asked).await.unwrap_err();
            assert_eq!(error.cause, Cause::TimedOut);
            assert!(Instant::now() >= answered + SILENCE);
        }
    }

    /// A host that takes the helper and is never done with it prints nothing: it was asked for signs of life.
    #[tokio::test(start_paused = true)]
    async fn an_upload_without_end_does_not_get_on() {
        let temp = tempfile::tempdir().unwrap();
        let mut program = program("x86_64");
        program.plain.path = temp.path().join("program");
        std::fs::write(&program.plain.path, "program").unwrap();
        let bootstrap = Bootstrap::new(&helper("me"), Purpose::Control, vec![program]).unwrap();
        let (mut stream, mut theirs) = silence();
        let begun = Instant::now();
        let host = async {
            let need = format!("\n\x1eNEED {} plain Linux x86_64\n", bootstrap.nonce);
            theirs.write_all(need.as_bytes()).await.unwrap();
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                theirs.write_all(b".").await.unwrap();
            }
        };
        let error = tokio::select! {
            started = bootstrap.run(&mut stream, &|| None) => started.unwrap_err(),
            () = host => unreachable!("it goes on for ever"),
        };
        assert_eq!(error.cause, Cause::TimedOut, "{error}");
        assert!(error.message.contains("does not get on"), "{error}");
        assert!(begun.elapsed() >= UPLOAD_WITHIN);
    }
}
