//! What the process inherits and cannot be had without `unsafe`. The only file of the daemon that uses it.
#![allow(unsafe_code)]

use std::{
    env,
    ffi::OsString,
    fs::File,
    io,
    os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    sync::Arc,
};

use tokio::io::unix::AsyncFd;

/// Takes variables out of the environment, so that no child ever sees them, and returns their values.
///
/// # Safety
/// No other thread may run yet: the C library reads the environment without a lock.
pub unsafe fn take_variables<const N: usize>(names: [&str; N]) -> [Option<OsString>; N] {
    names.map(|name| {
        let value = env::var_os(name);
        // SAFETY: the caller vouches that this thread is the only one.
        unsafe { env::remove_var(name) };
        value
    })
}

/// Takes over a descriptor that was inherited by number, and keeps it from children.
///
/// # Errors
/// When there is no such descriptor, or it is one of the standard three.
///
/// # Safety
/// Nothing else in this process may own `number`; called once, before anything was opened.
pub unsafe fn take_descriptor(number: RawFd) -> io::Result<File> {
    if number <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: borrowed only for the two calls below, which fail with EBADF when nothing is there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = rustix::io::fcntl_getfd(borrowed)?;
    rustix::io::fcntl_setfd(borrowed, flags | rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: it is open, as was just seen, and the caller vouches that nobody else owns it.
    Ok(unsafe { File::from_raw_fd(number) })
}

/// Lets the runtime wait for a descriptor. Inside a tokio runtime.
///
/// # Errors
/// When the descriptor cannot be waited for.
pub fn register(descriptor: OwnedFd) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: a shared descriptor can be neither closed nor replaced while the runtime has its part of it.
    Ok(unsafe { AsyncFd::register(Arc::new(descriptor)) }?)
}

/// What is longer than this is mapped by itself and gone as soon as it is freed. Buffers that are used all the time are
/// shorter, tables of many files are longer.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED: libc::c_int = 2 << 20;

/// Makes the allocator keep all threads' memory in one heap, but for what is long. By default it makes up to eight for each
/// processor and gives little of them back: a daemon that passed on some large logs stayed at twice its size. And what
/// counts as long grows with what was freed, until tables lie in the heap between what stays. Threads hardly meet there,
/// for each has a cache of its own. To be called before there are other threads.
pub fn use_one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it takes two numbers, and one that it does not like changes nothing.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
        }
    }
}

/// Gives memory that is free in the heap back to the system, also what lies below something that is not free. Blocks for
/// milliseconds; what is allocated meanwhile waits.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it takes a number and touches free memory only.
        unsafe { libc::malloc_trim(0) };
    }
}
