//! Containers, entered by a command: a root directory with next to nothing in it, whatever made it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use outlast_testkit::{DEADLINE, Gone, Namespace, Sandbox, program, run, wait_until};
use rustix::process::Signal;

use crate::bed::{names, outlast_in};

/// A container with one program in it, which is all the programs there are, and what its kernel gives.
struct Container {
    root: PathBuf,
    _namespace: Namespace,
    /// What leads to a shell in it.
    command: String,
}

impl Container {
    fn new(sandbox: &Sandbox) -> Self {
        let root = sandbox.path().join("box");
        for dir in ["bin", "root", "tmp", "proc", "dev", "etc"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        let busybox = ["/usr/bin/busybox", "/bin/busybox"]
            .iter()
            .find(|path| Path::new(path).exists());
        let busybox = busybox.expect("busybox is not there: install busybox-static");
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        let mut list = Command::new(busybox);
        list.arg("--list");
        for name in run(list, DEADLINE).success().out().lines() {
            if name != "busybox" {
                symlink("busybox", root.join("bin").join(name)).unwrap();
            }
        }
        // The helper that users have is static. That of a build for tests need not be, and brings what it takes.
        let mut needs = Command::new("ldd");
        needs.arg(program("outlast-helper"));
        let needs = run(needs, DEADLINE).out();
        for file in needs.split_whitespace().filter(|word| word.starts_with('/')) {
            let there = root.join(file.trim_start_matches('/'));
            fs::create_dir_all(there.parent().unwrap()).unwrap();
            fs::copy(file, there).unwrap();
        }
        let setup = "mount -t proc proc \"$1/box/proc\"
            mount -t tmpfs -o mode=0755 dev \"$1/box/dev\"
            mkdir \"$1/box/dev/pts\"
            mount -t devpts -o newinstance,ptmxmode=0666 devpts \"$1/box/dev/pts\"
            ln -s pts/ptmx \"$1/box/dev/ptmx\"
            for name in null zero random urandom tty; do
                : >\"$1/box/dev/$name\"
                mount --bind \"/dev/$name\" \"$1/box/dev/$name\"
            done";
        let namespace = Namespace::new(sandbox, setup);
        let chroot = namespace.command(sandbox, "chroot");
        let mut words: Vec<String> = std::iter::once(chroot.get_program())
            .chain(chroot.get_args())
            .map(|word| word.to_str().unwrap().to_owned())
            .collect();
        let root_word = root.to_str().unwrap();
        words.push(root_word.to_owned());
        let env = ["/bin/env", "-i", "HOME=/root", "PATH=/bin"];
        words.extend(env.map(str::to_owned));
        // So that what stays behind is found.
        words.push(format!("CONTAINER={root_word}"));
        words.push("/bin/sh".to_owned());
        Self {
            root,
            _namespace: namespace,
            command: words.join(" "),
        }
    }

    fn helpers(&self) -> PathBuf {
        self.root.join("root/.cache/outlast/helper")
    }

    /// The helpers that lie there whole. One that was on its way when its attempt was ended stays behind for a day.
    fn arrived(&self) -> Vec<String> {
        let mut there = names(&self.helpers());
        there.retain(|name| name.starts_with("outlast-helper-"));
        there
    }
}

#[test]
fn a_container_with_busybox_alone_runs_jobs_and_says_what_sessions_need() {
    let sandbox = Sandbox::new();
    let container = Container::new(&sandbox);
    let add = ["host", "add", "box", "--command", &container.command];
    drop(sandbox.outlast(&add).success());
    assert_eq!(container.arrived().len(), 1);
    let ran = sandbox
        .outlast(&["run", "--host", "box", "--", "sh", "-c", "pwd; ls /; exit 3"])
        .code(3);
    assert!(
        ran.out().starts_with("/root\n") && ran.out().contains("bin\n"),
        "{ran}"
    );
    let refused = sandbox.outlast(&["session", "create", "web", "--host", "box"]);
    println!("{refused}");
    assert_ne!(refused.exit(), 0, "{refused}");
    for part in ["tmux", "install"] {
        assert!(refused.err().contains(part), "{part:?} is missing: {refused}");
    }
    let missing = sandbox
        .outlast(&["run", "--host", "box", "--", "no-such-program"])
        .code(127);
    assert!(!missing.err().is_empty(), "{missing}");

    // The command ends, as when the container's engine is restarted: what runs in the container runs on.
    let script = "echo begun; while [ ! -e go-on ]; do sleep 0.05; done; echo end; exit 6";
    let job = [
        "run", "-d", "--host", "box", "--name", "long", "--", "sh", "-c", script,
    ];
    drop(sandbox.outlast(&job).success());
    sandbox.wait_job("long", |state| state == "running");
    let follower = sandbox.spawn(&["job", "logs", "-f", "long"]);
    follower.wait_line(|line| line == "begun");
    let serving = sandbox.processes().into_iter().filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"serve")
    });
    let mut ended = 0;
    for process in serving.filter_map(Gone::watch) {
        process.signal(Signal::KILL);
        assert!(process.within(DEADLINE));
        ended += 1;
    }
    assert_ne!(ended, 0);
    wait_until(DEADLINE, "the host to be back", || {
        (sandbox.outlast(&["host", "exec", "box", "--", "true"]).exit() == 0).then_some(())
    });
    fs::write(container.root.join("root/go-on"), "").unwrap();
    drop(sandbox.outlast(&["job", "wait", "long"]).code(6));
    assert_eq!(follower.finish(DEADLINE).success().out(), "begun\nend\n");
}

/// A directory with the helper as an installation has it: named for every Linux, and packed beside.
fn library(sandbox: &Sandbox) -> (PathBuf, u64) {
    let dir = sandbox.path().join("lib");
    fs::create_dir(&dir).unwrap();
    let helper = dir.join(format!("outlast-helper-{}-linux-musl", std::env::consts::ARCH));
    fs::copy(program("outlast-helper"), &helper).unwrap();
    let mut hash = Command::new("sha256sum");
    hash.arg(&helper);
    let hash = run(hash, DEADLINE).success().out();
    let name = format!(
        "{}.{}.gz",
        helper.file_name().unwrap().to_str().unwrap(),
        &hash[..16]
    );
    let packed = dir.join(name);
    let mut gzip = Command::new("gzip");
    gzip.args(["-1", "-n", "-c"])
        .arg(&helper)
        .stdout(fs::File::create(&packed).unwrap());
    assert!(gzip.status().unwrap().success());
    let size = packed.metadata().unwrap().len();
    (dir, size)
}

#[test]
fn busybox_unpacks_a_packed_helper() {
    let sandbox = Sandbox::new();
    let container = Container::new(&sandbox);
    let (library, packed) = library(&sandbox);
    let set = [("OUTLAST_LIBDIR", library.to_str().unwrap())];
    // An attempt of the daemon's own finds no shell, so that the check below is what sends the helper.
    let (bin, away) = (container.root.join("bin"), container.root.join("away"));
    fs::rename(&bin, &away).unwrap();
    let add = [
        "host",
        "add",
        "box",
        "--no-check",
        "--command",
        &container.command,
    ];
    drop(outlast_in(&sandbox, &set, &add).success());
    drop(sandbox.outlast(&["host", "check", "box"]).code(6));
    fs::rename(&away, &bin).unwrap();
    let checked = sandbox.outlast(&["host", "check", "box"]).success();
    println!("{checked}");
    let there = container.arrived();
    assert_eq!(there.len(), 1, "{there:?}");
    let placed = fs::read(container.helpers().join(&there[0])).unwrap();
    assert!(
        placed == fs::read(program("outlast-helper")).unwrap(),
        "it is another program"
    );
    // Either this check sent it, or the daemon was quicker and it says that it is there.
    let sent = checked
        .out()
        .lines()
        .find(|line| line.contains("sent, "))
        .map(str::to_owned);
    if let Some(sent) = sent {
        assert!(sent.contains(&format!("{packed} bytes")), "{sent}");
    }
    drop(sandbox.outlast(&["run", "--host", "box", "--", "true"]).success());
}
