//! The one place of the client library that needs `unsafe`: what is done between fork and exec, and descriptors that
//! the runtime waits for.
#![allow(unsafe_code)]

use std::{
    io,
    os::{
        fd::{BorrowedFd, OwnedFd, RawFd},
        unix::process::CommandExt as _,
    },
    process::Command,
};

use tokio::io::{Interest, unix::AsyncFd};

/// A descriptor that the runtime can wait for until there is something to read.
///
/// # Errors
/// When the system refuses, as for regular files.
pub fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open and stays the same descriptor as long as the AsyncFd owns it.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    Ok(registered?)
}

/// Puts the program into a session of its own and lets it inherit one descriptor, which the caller keeps open until
/// the program was spawned.
pub(super) fn detach_with(command: &mut Command, inherited: RawFd) {
    let prepare = move || -> io::Result<()> {
        rustix::process::setsid()?;
        // SAFETY: the caller keeps the descriptor open until the spawn is done, and this runs before that.
        let inherited = unsafe { BorrowedFd::borrow_raw(inherited) };
        rustix::io::fcntl_setfd(inherited, rustix::io::FdFlags::empty())?;
        Ok(())
    };
    // SAFETY: between fork and exec only setsid(2) and fcntl(2) are called. Both are async-signal-safe, and nothing
    // is allocated, locked or unwound.
    unsafe {
        command.pre_exec(prepare);
    }
}
