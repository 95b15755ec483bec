//! `outlast-helper log DIR --run N`: copies standard input to the log of a session, and keeps what the terminal was told by
//! it ([`crate::terminal`]). tmux starts it beside a pane and feeds it what the program writes to its terminal.

use std::{os::fd::AsFd as _, path::Path, time::Instant};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    stdio::stdin,
};

use crate::{
    spool::{Control, Dir, LOG_CONTROL, LogWriter, Stream},
    sys,
    terminal::Told,
};

/// Bytes read at once: what a pipe or a pair of sockets holds.
const READ_BYTES: usize = 64 << 10;

/// Copies until the input ends, or until somebody who knows says that all was said: then what is there is still read.
/// What cannot be kept is dropped, counted and marked, as [`LogWriter`] does; the input is
/// read in any case, since tmux would collect in memory what is not.
pub fn log(dir: &Path, run: u32) {
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
    let mut terminal = Told::new(&dir, run);
    // Without it the end of the input alone tells us, which comes when tmux forgets the screen.
    let mut control = Control::open(&dir, LOG_CONTROL).ok();
    let mut buffer = vec![0; READ_BYTES];
    let mut told = false;
    loop {
        let until = if told {
            Some(Instant::now())
        } else {
            terminal.due()
        };
        let ready = wait(control.as_ref().filter(|_| !told), until);
        if !ready {
            if told {
                break;
            }
            terminal.write_due();
            told = control
                .as_mut()
                .is_some_and(|control| control.receive().is_some());
            continue;
        }
        match rustix::io::read(stdin(), &mut buffer) {
            Ok(0) => break,
            Ok(got) => {
                log.write(Stream::Stdout, &buffer[..got]);
                terminal.see(&buffer[..got]);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => break,
        }
    }
    log.settle();
    terminal.finish();
    drop(control);
    dir.forget_log();
}

/// Waits until there is input (true), a request, or it is this time (false).
fn wait(control: Option<&Control>, until: Option<Instant>) -> bool {
    let mut fds = vec![PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
    fds.extend(control.map(|control| PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN)));
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    // What cannot be waited for is read, which waits as well and says what is wrong.
    match poll(&mut fds, left.as_ref()) {
        Ok(_) => fds.first().is_some_and(|input| !input.revents().is_empty()),
        Err(_) => true,
    }
}
