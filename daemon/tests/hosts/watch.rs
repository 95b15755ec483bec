//! A job that prints numbered lines and a session with somebody attached, on a host to which the way breaks; and what
//! must be true of them afterwards.

use std::{
    cell::Cell,
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use outlast_client::v1::{
    GetJobRequest, GetSessionRequest, JobState, Link, ListHostsRequest, SessionState,
    host_service_client::HostServiceClient, job_service_client::JobServiceClient,
    session_service_client::SessionServiceClient,
};
use outlast_testkit::{Client, DEADLINE, Process, Sandbox, Sshd, Terminal, wait_until};
use serde_json::Value;

use crate::PATIENCE;

/// How long after the network's return everything has to be back on a machine that others use too; what is promised
/// are 2 s, and what it took is printed.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// Counts until it is told to stop, and writes down how far it came.
const COUNT: &str =
    "n=0; while [ ! -e stop ]; do n=$((n+1)); echo \"line $n\"; sleep 0.02; done; echo $n >counted";

/// Answers each line.
const ECHO: &str = "echo ready; while read x; do echo \"got <$x>\"; done";

/// The work, and who looks on.
pub struct Watch<'a> {
    sandbox: &'a Sandbox,
    home: PathBuf,
    client: Client<'a>,
    job: String,
    /// Absent once it has ended.
    follower: Option<Process>,
    terminal: Terminal,
    /// How often the link was told to be up.
    ups: Cell<usize>,
}

impl<'a> Watch<'a> {
    /// Starts job and session on `far`, follows and attaches.
    pub fn begin(sandbox: &'a Sandbox, sshd: &Sshd) -> Self {
        let follower = sandbox.spawn(&["run", "--host", "far", "--name", "count", "--", "sh", "-c", COUNT]);
        let create = [
            "session", "create", "web", "--host", "far", "--", "sh", "-c", ECHO,
        ];
        drop(sandbox.outlast(&create).success());
        let terminal = Terminal::open(sandbox, "t", "outlast", &["attach", "web"]);
        terminal.wait_text("ready");
        terminal.enter("before");
        terminal.wait_text("got <before>");
        follower.wait_line(|line| line == "line 10");
        let job = sandbox
            .outlast(&["job", "show", "count", "--json"])
            .success()
            .json();
        let watch = Self {
            sandbox,
            home: sshd.home(),
            client: Client::new(sandbox, PATIENCE),
            job: job["id"].as_str().unwrap().to_owned(),
            follower: Some(follower),
            terminal,
            ups: Cell::new(0),
        };
        assert_eq!(watch.link(), Link::Up);
        watch.ups.set(watch.told_up());
        watch
    }

    /// How much of the job's output was followed so far.
    fn followed(&self) -> usize {
        self.follower
            .as_ref()
            .map_or(0, |follower| follower.stdout().len())
    }

    /// The link to `far`, as it is told at this moment.
    pub fn link(&self) -> Link {
        let listed = self.client.call(async |channel| {
            HostServiceClient::new(channel)
                .list_hosts(ListHostsRequest {})
                .await
        });
        listed
            .hosts
            .iter()
            .find(|host| host.name == "far")
            .unwrap()
            .link()
    }

    /// Asserts that job and session are told to run, whatever the link.
    pub fn states_are_right(&self) {
        let began = Instant::now();
        let job = self.client.call(async |channel| {
            let request = GetJobRequest {
                job: self.job.clone(),
            };
            JobServiceClient::new(channel).get_job(request).await
        });
        let session = self.client.call(async |channel| {
            let request = GetSessionRequest {
                session: "web".to_owned(),
            };
            SessionServiceClient::new(channel).get_session(request).await
        });
        let (job, session) = (job.job.unwrap(), session.session.unwrap());
        assert_eq!(job.state(), JobState::Running, "{job:?}");
        assert_eq!(session.state(), SessionState::Running, "{session:?}");
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "answers took {:?}",
            began.elapsed()
        );
    }

    /// Waits until the link is not up any more, while everything else stays as it is. How long that took.
    pub fn wait_away(&self, within: Duration) -> Duration {
        let began = Instant::now();
        wait_until(within, "the loss to be seen", || {
            self.states_are_right();
            (self.link() != Link::Up).then_some(())
        });
        began.elapsed()
    }

    /// While the host is away: the terminal says so on one line over the old screen, and input is refused.
    pub fn is_told_at_the_terminal(&self) {
        let screen = self.terminal.wait_text("outlast: host far is away");
        let lines = screen.lines().filter(|line| line.contains("outlast:")).count();
        assert_eq!(lines, 1, "{screen}");
        assert!(screen.contains("got <before>"), "the screen is gone: {screen}");
        self.terminal.enter("refused");
    }

    /// How often the link was told to be up so far.
    fn told_up(&self) -> usize {
        let events = self
            .sandbox
            .outlast(&["events", "--json", "--kind", "host.link", "--subject", "far"])
            .success();
        let up = |line: &&str| serde_json::from_str::<Value>(line).unwrap()["data"]["link"] == "up";
        events.out().lines().filter(up).count()
    }

    /// Waits until it is connected anew and all is back: link, log and terminal. How long that took.
    pub fn wait_back(&self) -> [Duration; 3] {
        let began = Instant::now();
        let ups = wait_until(BACK_WITHIN, "the link to be back", || {
            Some(self.told_up()).filter(|ups| *ups > self.ups.get())
        });
        let link = began.elapsed();
        self.ups.set(ups);
        let before = self.followed();
        wait_until(BACK_WITHIN, "the log to go on", || {
            (self.followed() > before).then_some(())
        });
        let log = began.elapsed();
        // Only the terminal's new attachment can show this.
        let back = format!("back{ups}");
        drop(self.sandbox.outlast(&["session", "send", "web", &back]).success());
        self.terminal.wait_screen("the redrawn screen", |screen| {
            screen.contains("got <before>")
                && screen.contains(&format!("got <{back}>"))
                && !screen.contains("outlast:")
        });
        let terminal = began.elapsed();
        self.states_are_right();
        println!("back after: link {link:?}, log {log:?}, terminal {terminal:?}");
        [link, log, terminal]
    }

    /// Ends the work, and asserts that nothing of it is missing, repeated or told wrong.
    pub fn end(mut self) {
        self.terminal.enter("after");
        let screen = self.terminal.wait_text("got <after>");
        assert!(
            !screen.contains("refused"),
            "what was refused was typed later: {screen}"
        );
        self.states_are_right();
        fs::write(self.home.join("stop"), "").unwrap();
        let followed = self.follower.take().unwrap().finish(PATIENCE).success();
        let count = fs::read_to_string(self.home.join("counted")).unwrap();
        let count: u64 = count.trim().parse().unwrap();
        let whole: String = (1..=count).map(|n| format!("line {n}\n")).collect();
        assert!(followed.out() == whole, "of {count} lines: {followed}");
        let logs = self.sandbox.outlast(&["job", "logs", "count"]).success();
        assert!(logs.out() == whole, "of {count} lines: {logs}");
        self.terminal.press(&["C-b", "d"]);
        assert_eq!(self.terminal.wait_exit(), 0);
        assert_eq!(
            states(self.sandbox, &self.job),
            ["queued", "running", "succeeded"]
        );
        let session = self
            .sandbox
            .outlast(&["session", "show", "web", "--json"])
            .success()
            .json();
        let id = session["id"].as_str().unwrap();
        assert_eq!(states(self.sandbox, id), ["creating", "running"]);
        let logs = self.sandbox.outlast(&["session", "logs", "web"]).success();
        for (text, times) in [("got <before>", 1), ("got <after>", 1), ("refused", 0)] {
            assert_eq!(logs.out().matches(text).count(), times, "{text}: {logs}");
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let files = fs::read_dir(self.sandbox.state_dir().join("logs"))
                .into_iter()
                .flatten()
                .flatten();
            files.for_each(|file| println!("{}", fs::read_to_string(file.path()).unwrap_or_default()));
        }
    }
}

/// Every state that was ever told of a thing, without repeats in a row.
fn states(sandbox: &Sandbox, id: &str) -> Vec<String> {
    let events = sandbox.outlast(&["events", "--json", "--subject", id]).success();
    let mut states: Vec<String> = events
        .out()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|event| Some(event["data"]["state"].as_str()?.to_owned()))
        .collect();
    states.dedup();
    states
}

/// Waits until the link of `far` is one of these.
pub fn wait_link(sandbox: &Sandbox, links: &[&str]) -> Value {
    wait_until(DEADLINE, &format!("a link that is one of {links:?}"), || {
        let host = crate::bed::seen(sandbox, "far");
        links.contains(&host["link"].as_str()?).then_some(host)
    })
}
