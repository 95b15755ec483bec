//! What syncs are compared with. Each goes over the connection that `ssh` keeps, where nothing else is said.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use outlast_testkit::{Process, run};

use crate::{
    bed::{Bed, Machine},
    measure::time,
    mirror::PATIENCE,
    programs,
};

/// Where a peer's program lies. Says so when it does not.
fn find(name: &str) -> Option<PathBuf> {
    let found = programs::find(name);
    if found.is_none() {
        eprintln!("{name} is not installed and left out");
    }
    found
}

/// lsyncd as it is set up for one host reached by ssh (`default.rsyncssh`), over a kept connection and with a delay of 0:
/// nothing it can be told makes it quicker. (Its own delay is 15 s; 1 is what is mostly seen.)
pub(crate) struct Lsyncd {
    process: Process,
    /// Directory on the host.
    pub(crate) target: PathBuf,
}

impl Lsyncd {
    /// Starts it; everything is there when it is back. None when it is not installed.
    pub(crate) fn start(bed: &Bed, machine: &Machine, source: &Path) -> Option<Self> {
        let program = find("lsyncd").filter(|_| find("rsync").is_some())?;
        let target = machine.sshd.home().join("lsyncd");
        fs::create_dir(&target).expect("the sandbox can be written");
        let (ssh, words) = (machine.kept(), machine.kept());
        let (binary, extra) = ssh.split_first().expect("a command has a name");
        let extra: Vec<String> = extra.iter().map(|word| format!("\"{word}\"")).collect();
        let config = format!(
            "settings {{ nodaemon = true }}\n\
             sync {{ default.rsyncssh, source = \"{}\", host = \"{}\", targetdir = \"{}\", delay = 0,\n\
             \x20 rsync = {{ archive = true, rsh = \"{}\" }},\n\
             \x20 ssh = {{ binary = \"{binary}\", _extra = {{ {} }} }} }}\n",
            source.display(),
            machine.name,
            target.display(),
            words.join(" "),
            extra.join(", "),
        );
        let file = bed.sandbox.path().join(format!("lsyncd-{}.lua", machine.name));
        fs::write(&file, config).expect("the sandbox can be written");
        let mut command = bed.sandbox.command(program.to_str()?);
        command.arg(file);
        let process = Process::start(command);
        drop(process.wait_line(|line| line.contains("Startup of") && line.contains("finished")));
        Some(Self { process, target })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// `rsync -a`, run by hand.
pub(crate) struct Rsync {
    program: PathBuf,
    /// Directory on the host.
    pub(crate) target: PathBuf,
}

impl Rsync {
    /// None when it is not installed.
    pub(crate) fn new(machine: &Machine) -> Option<Self> {
        let program = find("rsync")?;
        let target = machine.sshd.home().join("rsync");
        Some(Self { program, target })
    }

    /// Milliseconds that it takes.
    pub(crate) fn run(&self, bed: &Bed, machine: &Machine, source: &Path) -> f64 {
        self.run_over(bed, machine, source, &machine.kept())
    }

    /// Milliseconds that it takes with a connection of its own, as it makes one unless it is told otherwise.
    pub(crate) fn run_anew(&self, bed: &Bed, machine: &Machine, source: &Path) -> f64 {
        self.run_over(bed, machine, source, &machine.anew())
    }

    fn run_over(&self, bed: &Bed, machine: &Machine, source: &Path, ssh: &[String]) -> f64 {
        let mut command = bed.sandbox.command(text(&self.program));
        command.args(["-a", "-e", &ssh.join(" ")]);
        command.arg(format!("{}/", source.display()));
        command.arg(format!("{}:{}/", machine.name, self.target.display()));
        time(&mut command)
    }
}

/// `unison -batch`, run by hand.
pub(crate) struct Unison {
    program: PathBuf,
    /// Directory on the host.
    pub(crate) target: PathBuf,
}

impl Unison {
    /// None when it is not installed.
    pub(crate) fn new(machine: &Machine) -> Option<Self> {
        let program = find("unison")?;
        let target = machine.sshd.home().join("unison");
        Some(Self { program, target })
    }

    /// Milliseconds that it takes.
    pub(crate) fn run(&self, bed: &Bed, machine: &Machine, source: &Path) -> f64 {
        let ssh = machine.kept();
        let (binary, rest) = ssh.split_first().expect("a command has a name");
        let mut command = bed.sandbox.command(text(&self.program));
        command
            .arg(source)
            .arg(format!("ssh://{}/{}", machine.name, self.target.display()));
        command.args(["-batch", "-sshcmd", binary, "-sshargs", &rest.join(" ")]);
        time(&mut command)
    }

    /// Forgets what was copied, as if it had never run.
    pub(crate) fn forget(&self, bed: &Bed, machine: &Machine) {
        for home in [bed.sandbox.home(), machine.sshd.home()] {
            let _ = fs::remove_dir_all(home.join(".unison"));
        }
    }
}

/// A shell's pipe through ssh: `first | ssh HOST second`.
pub(crate) fn pipe(bed: &Bed, machine: &Machine, first: &str, second: &str) -> f64 {
    let line = format!(
        "{first} | {} {} \"{second}\"",
        machine.kept().join(" "),
        machine.name
    );
    let mut command = bed.sandbox.command("sh");
    command.args(["-c", &line]);
    let start = Instant::now();
    drop(run(command, PATIENCE).success());
    start.elapsed().as_secs_f64() * 1e3
}

fn text(program: &Path) -> &str {
    program.to_str().expect("paths of peers are text")
}
