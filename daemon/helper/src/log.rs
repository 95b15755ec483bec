//! `outlast-helper log DIR`: copies standard input to the log of a session. tmux starts it beside a pane
//! and feeds it what the program writes to its terminal.

use std::{os::fd::AsFd as _, path::Path};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    stdio::stdin,
};

use crate::{
    spool::{Control, Dir, LOG_CONTROL, LogWriter, Stream},
    sys,
};

/// Bytes read at once: what a pipe or a pair of sockets holds.
const READ_BYTES: usize = 64 << 10;

/// Copies until the input ends, or until somebody who knows says that all was said: then what is there is still read.
/// What cannot be kept is dropped, counted and marked, as [`LogWriter`] does; the input is
/// read in any case, since tmux would collect in memory what is not.
pub fn log(dir: &Path) {
    sys::close_inherited();
    sys::ignore_signals(&[
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGPIPE,
        libc::SIGXFSZ,
    ]);
    let dir = Dir::new(dir.to_owned());
    // Without a readable spec there is no limit to know of, and everything is kept.
    let max = dir.read_spec().ok().and_then(|spec| spec.log_max_bytes);
    let mut log = LogWriter::new(&dir, max);
    // Without it the end of the input alone tells us, which comes when tmux forgets the screen.
    let mut control = Control::open(&dir, LOG_CONTROL).ok();
    let mut buffer = vec![0; READ_BYTES];
    let mut told = false;
    loop {
        let ready = wait(control.as_ref().filter(|_| !told), told);
        if !ready {
            if told {
                break;
            }
            told = control
                .as_mut()
                .is_some_and(|control| control.receive().is_some());
            continue;
        }
        match rustix::io::read(stdin(), &mut buffer) {
            Ok(0) => break,
            Ok(got) => log.write(Stream::Stdout, &buffer[..got]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => break,
        }
    }
    log.settle();
    drop(control);
    dir.forget_log();
}

/// Waits until there is input (true) or a request (false), or, once told to end, only looks.
fn wait(control: Option<&Control>, told: bool) -> bool {
    let mut fds = vec![PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
    fds.extend(control.map(|control| PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN)));
    let now = Timespec::default();
    // What cannot be waited for is read, which waits as well and says what is wrong.
    match poll(&mut fds, told.then_some(&now)) {
        Ok(_) => fds.first().is_some_and(|input| !input.revents().is_empty()),
        Err(_) => true,
    }
}
