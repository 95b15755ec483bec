//! The system calls that no crate offers in safe form: fork and exec, signal masks, collecting children with what they
//! used, the user's entry in the password database. The only file of this crate with `unsafe` in it.
#![allow(
    unsafe_code,
    reason = "every block says why it is sound; see the module's documentation"
)]

use std::{
    ffi::{CStr, CString},
    io, mem,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStringExt as _,
    },
    path::PathBuf,
    ptr,
    sync::Arc,
};

use libc::c_int;
use tokio::io::unix::AsyncFd;

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fork {
    /// The old process, with the number of the new one.
    Parent(u32),
    /// The new process.
    Child,
}

/// Makes a second process of this one. Only for programs with one thread, as `supervise` and `pane` are.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the callers have one thread, so no lock can be left held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid.cast_unsigned())),
    }
}

/// Ends this process at once, without running anything that is registered for the end of a program.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Closes every file that was inherited but the three standard ones. To be called first of all, while no value of this
/// program owns a file.
pub(crate) fn close_inherited() {
    // SAFETY: nothing owns these descriptors yet, by the contract above.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3 as c_int, c_int::MAX, 0 as c_int) };
    if done == 0 {
        return;
    }
    // Older than Linux 5.9.
    let fds: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in fds.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: as above; the one that read the directory is closed already and gives a harmless EBADF.
        unsafe { libc::close(fd) };
    }
}

/// Ignores these signals. Numbers that cannot be ignored are passed over.
pub(crate) fn ignore_signals(signals: &[c_int]) {
    for &signal in signals {
        // SAFETY: SIG_IGN runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Makes these signals wait for being read from the file this returns, whatever became of them before. Children inherit
/// that they wait; [`start_gated`] undoes it for programs.
pub(crate) fn signal_fd(signals: &[c_int]) -> io::Result<OwnedFd> {
    for &signal in signals {
        // An ignored signal never comes, and children of one who ignores SIGCHLD vanish unseen.
        // SAFETY: SIG_DFL runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let set = signal_set(signals);
    // SAFETY: the set is initialised, and a null pointer for the old one is allowed.
    if unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the set is initialised; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads which signals have come.
pub(crate) fn take_signals(fd: &OwnedFd) -> Vec<c_int> {
    const LENGTH: usize = size_of::<libc::signalfd_siginfo>();
    let mut taken = Vec::new();
    let mut buffer = [0; LENGTH * 8];
    // Signals of one number count once while they wait, so this is short.
    while let Ok(got @ LENGTH..) = rustix::io::read(fd, &mut buffer) {
        for entry in buffer[..got].as_chunks::<LENGTH>().0 {
            // The number is the first field, 32 bits.
            taken.push(c_int::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]));
        }
    }
    taken
}

fn signal_set(signals: &[c_int]) -> libc::sigset_t {
    // SAFETY: all zero bytes are a valid sigset_t, which sigemptyset then makes an empty set of.
    let mut set = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a live set; unknown numbers are refused without harm.
    unsafe {
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
    }
    set
}

/// How a child changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It ended with this exit code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// This signal stopped it.
    Stopped(i32),
}

/// A child that changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Changed {
    /// The child.
    pub(crate) pid: u32,
    /// What became of it.
    pub(crate) how: How,
    /// Processor microseconds of it and the children it waited for.
    pub(crate) cpu_us: u64,
    /// Peak resident memory of the largest of these, in bytes.
    pub(crate) max_rss_bytes: u64,
}

/// Collects a child that ended or was stopped. None: there is none now.
pub(crate) fn next_changed_child() -> Option<Changed> {
    let mut status = 0;
    // SAFETY: all zero bytes are a valid rusage.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: both pointers are to live values of the right types.
    let pid = unsafe {
        libc::wait4(
            -1,
            &raw mut status,
            libc::WNOHANG | libc::WUNTRACED,
            &raw mut usage,
        )
    };
    if pid <= 0 {
        return None;
    }
    let how = if libc::WIFSTOPPED(status) {
        How::Stopped(libc::WSTOPSIG(status))
    } else if libc::WIFSIGNALED(status) {
        How::Signalled(libc::WTERMSIG(status))
    } else {
        How::Exited(libc::WEXITSTATUS(status))
    };
    let us = |time: libc::timeval| (time.tv_sec as u64).saturating_mul(1_000_000) + time.tv_usec as u64;
    Some(Changed {
        pid: pid.cast_unsigned(),
        how,
        cpu_us: us(usage.ru_utime) + us(usage.ru_stime),
        // Linux counts in KiB.
        max_rss_bytes: (usage.ru_maxrss as u64).saturating_mul(1024),
    })
}

/// What a new process needs to become a program. Made before the fork, after which nothing may be allocated.
#[derive(Debug)]
pub(crate) struct Exec {
    /// The file to run.
    pub(crate) path: CString,
    /// Arguments, the name of the program first.
    pub(crate) argv: Vec<CString>,
    /// Arguments for `/bin/sh` if the file turns out to be a script that does not name its interpreter.
    pub(crate) script_argv: Vec<CString>,
    /// The whole environment, `NAME=value`.
    pub(crate) env: Vec<CString>,
    /// Working directory.
    pub(crate) cwd: CString,
}

/// How a program is started.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    /// In a process session of its own.
    pub(crate) own_session: bool,
    /// Standard input, output and error; None: those of this process.
    pub(crate) stdio: Option<[&'a OwnedFd; 3]>,
    /// The signal it gets when this process dies.
    pub(crate) on_our_death: c_int,
}

/// What kept a program from being started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Entering the working directory.
    Cwd,
    /// Running the file.
    Exec,
    /// Preparing the process.
    Setup,
}

/// A process that is ready to become its program.
#[derive(Debug)]
pub(crate) struct Gated {
    /// The process.
    pub(crate) pid: u32,
    /// A byte written here lets it go on; closed without, it ends.
    pub(crate) gate: OwnedFd,
    /// Ends when the program runs, or gives what [`read_failure`] understands.
    pub(crate) outcome: OwnedFd,
}

/// Forks a process that waits at a gate before it becomes the program.
pub(crate) fn start_gated(exec: &Exec, how: &Start<'_>) -> io::Result<Gated> {
    use rustix::pipe::{PipeFlags, pipe_with};
    let (gate_out, gate) = pipe_with(PipeFlags::CLOEXEC)?;
    let (outcome, outcome_in) = pipe_with(PipeFlags::CLOEXEC)?;
    let argv = pointers(&exec.argv);
    let script_argv = pointers(&exec.script_argv);
    let env = pointers(&exec.env);
    let parent = std::process::id();
    match fork()? {
        Fork::Parent(pid) => Ok(Gated { pid, gate, outcome }),
        Fork::Child => {
            // Else it would hold its own gate open.
            drop(gate);
            let step = become_program(exec, how, [&argv, &script_argv, &env], &gate_out, parent);
            let errno = io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(0)
                .to_ne_bytes();
            let _ = rustix::io::write(&outcome_in, &[step as u8, errno[0], errno[1], errno[2], errno[3]]);
            exit_now(127)
        }
    }
}

/// What a process said that could not become its program. None: the program runs.
pub(crate) fn read_failure(outcome: &OwnedFd) -> Option<(Step, io::Error)> {
    let mut said = [0; 5];
    match rustix::io::retry_on_intr(|| rustix::io::read(outcome, &mut said)) {
        Ok(5) => {
            let step = match said[0] {
                0 => Step::Cwd,
                1 => Step::Exec,
                _ => Step::Setup,
            };
            let errno = i32::from_ne_bytes([said[1], said[2], said[3], said[4]]);
            Some((step, io::Error::from_raw_os_error(errno)))
        }
        _ => None,
    }
}

/// The new process's side. It returns only when that did not work, with `errno` saying why.
fn become_program(
    exec: &Exec,
    how: &Start<'_>,
    [argv, script_argv, env]: [&[*const libc::c_char]; 3],
    gate: &OwnedFd,
    parent: u32,
) -> Step {
    // SAFETY: only system calls on values that live to the end of this function; the arrays end with a null pointer and
    // point into `exec`. This process has one thread.
    unsafe {
        if how.own_session && libc::setsid() < 0 {
            return Step::Setup;
        }
        if libc::prctl(libc::PR_SET_PDEATHSIG, how.on_our_death as libc::c_ulong, 0, 0, 0) < 0 {
            return Step::Setup;
        }
        // Died before it could be told.
        if libc::getppid().cast_unsigned() != parent {
            libc::_exit(127);
        }
        for (number, fd) in how.stdio.iter().flatten().enumerate() {
            if libc::dup2(fd.as_raw_fd(), number as c_int) < 0 {
                return Step::Setup;
            }
        }
        let mut byte = 0_u8;
        loop {
            match libc::read(gate.as_raw_fd(), (&raw mut byte).cast(), 1) {
                1 => break,
                0 => libc::_exit(127),
                _ if *libc::__errno_location() == libc::EINTR => {}
                _ => libc::_exit(127),
            }
        }
        libc::umask(0o022);
        // By the system call itself, since the C library hides two signals that can be inherited as ignored like any.
        // All zeros are the kernel's own form of the default; KILL and STOP refuse and are as they should be.
        let default = [0_u64; 8];
        for signal in 1..=64 as c_int {
            let old = ptr::null_mut::<u64>();
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                old,
                size_of::<u64>(),
            );
        }
        let none = signal_set(&[]);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        if libc::chdir(exec.cwd.as_ptr()) < 0 {
            return Step::Cwd;
        }
        libc::execve(exec.path.as_ptr(), argv.as_ptr(), env.as_ptr());
        if *libc::__errno_location() == libc::ENOEXEC {
            libc::execve(c"/bin/sh".as_ptr(), script_argv.as_ptr(), env.as_ptr());
        }
        Step::Exec
    }
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Clock ticks in a second, in which `/proc` counts.
pub(crate) fn clock_ticks() -> u64 {
    // SAFETY: it takes a number and returns one.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    // Never anything but 100 on the machines this runs on.
    u64::try_from(ticks)
        .ok()
        .filter(|&ticks| ticks > 0)
        .unwrap_or(100)
}

/// What the password database says of this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// Login name.
    pub(crate) name: String,
    /// Home directory.
    pub(crate) home: PathBuf,
    /// Login shell.
    pub(crate) shell: PathBuf,
}

/// Looks up this user. None: the database does not know them.
pub(crate) fn user() -> Option<User> {
    let mut buffer: Vec<libc::c_char> = vec![0; 16 << 10];
    loop {
        // SAFETY: all zero bytes are a valid passwd.
        let mut entry: libc::passwd = unsafe { mem::zeroed() };
        let mut found = ptr::null_mut();
        // SAFETY: every pointer is to a live value, and the length is that of the buffer.
        let error = unsafe {
            libc::getpwuid_r(
                libc::getuid(),
                &raw mut entry,
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        // A megabyte is more than any sane entry.
        if error == libc::ERANGE && buffer.len() < 1 << 20 {
            buffer.resize(buffer.len() * 2, 0);
            continue;
        }
        if error != 0 || found.is_null() {
            return None;
        }
        let text = |text: *const libc::c_char| {
            // SAFETY: a found entry points to strings within the buffer, which lives here.
            let bytes = unsafe { CStr::from_ptr(text) }.to_bytes().to_vec();
            PathBuf::from(std::ffi::OsString::from_vec(bytes))
        };
        return Some(User {
            name: text(entry.pw_name).to_string_lossy().into_owned(),
            home: text(entry.pw_dir),
            shell: text(entry.pw_shell),
        });
    }
}

/// Makes a file one that tokio waits for.
pub(crate) fn async_fd(fd: impl Into<Arc<OwnedFd>>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: a shared OwnedFd can be neither closed nor replaced while the AsyncFd has its part of it.
    Ok(unsafe { AsyncFd::register(fd.into()) }?)
}

/// Makes the child the leader of a process session of its own, with its standard input, a terminal, as the controlling
/// one.
pub(crate) fn with_terminal(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt as _;
    let prepare = || {
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        Ok(())
    };
    // SAFETY: between fork and exec it makes two system calls, takes no lock and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}

/// Makes the child the leader of a process session of its own, without a terminal, and has the kernel kill it when the
/// thread that starts it ends, and so when this process does.
pub(crate) fn own_session_with_us(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt as _;
    let parent = std::process::id();
    let prepare = move || {
        rustix::process::setsid()?;
        ends_with(parent, rustix::process::Signal::KILL)
    };
    // SAFETY: between fork and exec it makes three system calls, takes no lock and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}

/// What a new process does to get this signal when its parent dies, which is an error when it died already.
fn ends_with(parent: u32, signal: rustix::process::Signal) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(signal))?;
    // Died before it could be told.
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned()) != Some(parent) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

/// Takes standard input and output for ourselves, and puts `/dev/null` and standard error in their place, so that nobody
/// else writes into the protocol.
pub(crate) fn take_stdio() -> io::Result<[OwnedFd; 2]> {
    let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok([input, output])
}

/// Has the kernel ask the child to end when the thread that starts it ends, and so when this process does.
pub(crate) fn ends_with_us(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt as _;
    let parent = std::process::id();
    let prepare = move || ends_with(parent, rustix::process::Signal::TERM);
    // SAFETY: between fork and exec it makes two system calls, takes no lock and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}
