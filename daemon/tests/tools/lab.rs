//! One program in a session of outlast, in a network of its own with a model in it and nothing else.

use std::{
    cell::RefCell,
    collections::HashMap,
    env, fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use outlast_client::v1::{
    Activity, CreateSessionRequest, Session, TerminalSize, session_service_client::SessionServiceClient,
};
use outlast_testkit::{Client, DEADLINE, Loopback, Sandbox, run, wait_until, write_program};
use serde_json::Value;

use crate::{
    model::Model,
    programs::Program,
    recording::{Says, Screen},
};

/// Where the programs are; `packaging/record.sh` puts them there.
const TOOLS: &str = "OUTLAST_TOOLS";

/// Size of the terminal: that of all recordings.
const SIZE: TerminalSize = TerminalSize {
    columns: 100,
    rows: 40,
};

/// Name of the session.
const NAME: &str = "tool";

/// Where the program is.
#[derive(Debug)]
pub struct Place {
    /// Its home directory.
    pub home: PathBuf,
    /// `$XDG_CONFIG_HOME`.
    pub config: PathBuf,
    /// Where it works, a repository.
    pub work: PathBuf,
    /// Base URL of the model.
    pub url: String,
}

/// A program and everything around it.
pub struct Lab {
    pub program: &'static Program,
    pub place: Place,
    pub sandbox: Sandbox,
    pub model: Model,
    /// What it says its version is.
    pub version: String,
    begun: Instant,
    // Goes last: what runs in it has ended then.
    _network: Loopback,
}

impl Lab {
    /// Puts the program in its place, and looks whether outlast can use it.
    pub fn new(program: &'static Program) -> Self {
        let tools = env::var_os(TOOLS).map(PathBuf::from);
        let tools = tools.expect("the programs are not there: packaging/record.sh gets them and runs this");
        let binary = tools.join(program.binary);
        assert!(
            binary.is_file(),
            "{} is not there: packaging/record.sh {}",
            binary.display(),
            program.name
        );
        let sandbox = Sandbox::new();
        let network = Loopback::new();
        let listener = network.listen();
        let place = Place {
            home: sandbox.home(),
            config: sandbox.path().join("config"),
            work: sandbox.path().join("src/lab"),
            url: format!("http://{}", listener.local_addr().unwrap()),
        };
        fs::create_dir_all(&place.work).unwrap();
        let mut git = sandbox.command("git");
        git.args(["init", "--quiet", "--initial-branch=main"])
            .arg(&place.work);
        drop(run(git, DEADLINE).success());
        (program.configure)(&place);
        write_program(
            &sandbox.bin().join(program.name),
            &format!(
                "#!/bin/sh\nPATH={}:$PATH exec nsenter --net={} -- {} \"$@\"\n",
                tools.join("node/bin").display(),
                network.file(),
                binary.display(),
            ),
        );
        let model = Model::start(listener, (program.deeds)(&place));
        let mut lab = Self {
            program,
            place,
            sandbox,
            model,
            version: String::new(),
            begun: Instant::now(),
            _network: network,
        };
        lab.version = lab.check();
        lab
    }

    /// Has outlast check the program, and gives back its version.
    fn check(&self) -> String {
        let mut command = self.sandbox.command("outlast");
        command
            .args(["provider", "check", self.program.name, "--json"])
            .envs((self.program.environment)(&self.place));
        let checked = run(command, PATIENCE).success().json();
        let said = checked["version"].as_str().unwrap();
        let mut words = said.split([' ', '\n']);
        let version = words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
        version
            .unwrap_or_else(|| panic!("no version: {checked}"))
            .to_owned()
    }

    /// Starts it in a session, with these options besides its own.
    pub fn start(&self, options: &[&str]) {
        let name = self.program.name;
        // Without options it is for the provider to say what is run.
        let mut command: Vec<String> = Vec::new();
        if !options.is_empty() {
            command.push(name.to_owned());
            command.extend(options.iter().map(|option| (*option).to_owned()));
        }
        let mut environment: HashMap<String, String> = self
            .sandbox
            .environment()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        for (key, value) in (self.program.environment)(&self.place) {
            environment.insert(key.to_owned(), value);
        }
        Client::new(&self.sandbox, PATIENCE).call(async |channel| {
            let request = CreateSessionRequest {
                name: NAME.to_owned(),
                cwd: Some(self.place.work.display().to_string()),
                command: command.clone(),
                base_env: environment.clone(),
                size: Some(SIZE),
                provider: Some(name.to_owned()),
                ..CreateSessionRequest::default()
            };
            SessionServiceClient::new(channel).create_session(request).await
        });
    }

    /// Waits until it does something, known from a source that begins so.
    pub fn does(&self, doing: Activity, source: &str) -> Session {
        let last = RefCell::new(None);
        let client = Client::new(&self.sandbox, PATIENCE);
        let is_it = |session: &Session| {
            let from = session.activity_source.clone().unwrap_or_default();
            let message = session.activity_message.clone().unwrap_or_default();
            let now = format!("{:?} by {from}: {message}", session.activity());
            if last.borrow().as_ref() != Some(&now) {
                self.tell(&now);
                last.replace(Some(now));
            }
            session.activity() == doing && from.starts_with(source)
        };
        client.session(NAME, is_it)
    }

    /// Waits until it rests, or asks this. True: it asks.
    pub fn rests_or_asks(&self, question: &str) -> bool {
        let asks = |session: &Session| session.activity_message.as_deref() == Some(question);
        let fits = |session: &Session| session.activity() == Activity::Idle || asks(session);
        asks(&Client::new(&self.sandbox, PATIENCE).session(NAME, fits))
    }

    /// For whoever reads how it went.
    fn tell(&self, what: &str) {
        println!("{:7.3} {what}", self.begun.elapsed().as_secs_f64());
    }

    /// Types a prompt. Gives back what comes after it.
    pub fn send(&self, text: &str) -> u64 {
        self.tell(&format!("typed: {text}"));
        after(&self.outlast(&["session", "send", NAME, text, "--json"]))
    }

    /// Types a prompt, and presses Enter when it is there: a program that shows itself need not read yet.
    pub fn send_first(&self, text: &str) -> u64 {
        self.tell(&format!("typed: {text}"));
        self.outlast(&["session", "send", NAME, text, "--no-enter", "--json"]);
        self.shows(text);
        self.press(&["Enter"])
    }

    /// Presses what interrupts it, one key after the other.
    pub fn interrupt(&self) {
        for (number, key) in self.program.interrupt.iter().enumerate() {
            if number > 0 {
                self.shows("again to interrupt");
            }
            self.press(&[key]);
        }
    }

    /// Waits until a text is on the screen.
    pub fn shows(&self, text: &str) {
        wait_until(PATIENCE, text, || self.look().text.contains(text).then_some(()));
    }

    /// Moves to a choice that begins so, and takes it.
    pub fn choose(&self, choice: &str) {
        let is_at = |line: &str| {
            let line = line.trim_start_matches([' ', '│']);
            let chosen = line.strip_prefix(['❯', '›', '●']);
            chosen.is_some_and(|line| {
                line.trim_start_matches(|c: char| c == ' ' || c == '.' || c.is_ascii_digit())
                    .starts_with(choice)
            })
        };
        wait_until(PATIENCE, choice, || {
            let at = self.settled().text.lines().any(is_at);
            if !at {
                self.press(&["Down"]);
            }
            at.then_some(())
        });
        self.press(&["Enter"]);
    }

    /// Sees that it is not taken for resting while it works on what was typed.
    pub fn rests_not(&self, seq: u64) {
        let seq = seq.to_string();
        let wait = ["session", "wait", NAME, "--until", "idle", "--after", &seq];
        let waited = self.sandbox.outlast(&[&wait[..], &["--timeout", "3s"]].concat());
        assert_eq!(waited.exit(), 124, "it rests: {waited:?}");
    }

    /// Presses keys. Gives back what comes after them.
    pub fn press(&self, keys: &[&str]) -> u64 {
        self.tell(&format!("pressed: {keys:?}"));
        after(&self.outlast(&[&["session", "send", NAME, "--json", "--keys"], keys].concat()))
    }

    /// Waits as scripts do until it asks something, looks at what that is, and that it can be seen.
    pub fn asks(&self, seq: u64, question: &str, source: &str, shown: &str) {
        let seq = seq.to_string();
        let wait = [
            "session",
            "wait",
            NAME,
            "--until",
            "waiting",
            "--after",
            &seq,
            "--timeout",
            "60s",
        ];
        let asked = self.sandbox.outlast_within(PATIENCE, &wait).success();
        let screen = self.look().text;
        assert!(screen.contains(shown), "{shown:?} is not to be seen:\n{screen}");
        let session = self.does(Activity::Waiting, source);
        assert_eq!(
            session.activity_message.unwrap_or_default(),
            question,
            "{}",
            self.look().text
        );
        assert_eq!(asked.out().trim_end(), question);
        let waiting = self.outlast(&["session", "list", "--waiting", "--json"]);
        assert_eq!(waiting[0]["name"], NAME, "{waiting}");
    }

    /// The screen as it is now.
    pub fn look(&self) -> Screen {
        let peeked = self.outlast(&["session", "peek", NAME, "--json"]);
        let id = peeked["session"]["id"].as_str().unwrap();
        let target = format!("=o-{id}:");
        let asked = [
            "display-message",
            "-p",
            "-t",
            &target,
            "#{?#{==:#{pane_title},#{host}},,#{pane_title}}",
        ];
        let title = self.sandbox.tmux(&asked).success().word();
        let text = peeked["screen"].as_str().unwrap();
        Screen {
            title,
            text: text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"),
        }
    }

    /// The screen when nothing moves on it any more.
    pub fn settled(&self) -> Screen {
        let before = RefCell::new(None);
        wait_until(PATIENCE, "a screen that does not move", || {
            let now = self.look();
            let last = before.replace(Some(now.clone()));
            (last == Some(now.clone())).then_some(now)
        })
    }

    /// What outlast says of the screen.
    pub fn says(&self, doing: Activity) -> Says {
        let session = self.does(doing, "screen:");
        Says::of(&session)
    }

    /// Waits for a file that the model had made.
    pub fn made(&self, file: &str) {
        let path = self.place.work.join(file);
        wait_until(PATIENCE, file, || path.is_file().then_some(()));
    }

    /// Runs `outlast`, whose answer is JSON.
    pub fn outlast(&self, args: &[&str]) -> Value {
        self.sandbox.outlast(args).success().json()
    }
}

impl Drop for Lab {
    /// What is on the screen says most about why a test failed.
    fn drop(&mut self) {
        if thread::panicking() {
            let told = ["events", "--json", "--kind", "session.activity"];
            println!("{}", self.sandbox.outlast(&told).out());
            let seen = self.sandbox.outlast(&["session", "peek", NAME]);
            println!(
                "the screen of {} {}:\n{}",
                self.program.name,
                self.version,
                seen.out()
            );
        }
    }
}

/// How long a program may take for anything; some need a while to start.
pub const PATIENCE: Duration = Duration::from_secs(60);

fn after(sent: &Value) -> u64 {
    sent["after_seq"].as_u64().unwrap()
}
