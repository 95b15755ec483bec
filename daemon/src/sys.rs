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

/// Gives memory back to the system that is not needed while nothing happens: what is free in the heap, also what lies below
/// something that is not free, and the pages of the program itself. Of these most were needed for something that is over.
/// Blocks for milliseconds; what is allocated meanwhile waits.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it takes a number and touches free memory only.
        unsafe { libc::malloc_trim(0) };
    }
    #[cfg(target_os = "linux")]
    for code in own_code() {
        // SAFETY: it is mapped for reading and running from a file and was written to by nobody, so what is needed again
        // comes back from there as it was, mostly from the page cache.
        let given = unsafe {
            rustix::mm::madvise(
                std::ptr::with_exposed_provenance_mut(code.start),
                code.len(),
                rustix::mm::Advice::LinuxDontNeed,
            )
        };
        if let Err(errno) = given {
            tracing::debug!(%errno, "pages of the program cannot be given back");
        }
    }
}

/// Where the code of this program is mapped. Nothing, where that is not told.
#[cfg(target_os = "linux")]
fn own_code() -> Vec<std::ops::Range<usize>> {
    let told = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let Ok(program) = std::fs::read_link("/proc/self/exe") else {
        return Vec::new();
    };
    let program = program.to_string_lossy();
    let is_ours = |line: &&str| line.contains(" r-xp ") && line.ends_with(&format!(" {program}"));
    let range = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some(number(start)?..number(end)?)
    };
    told.lines().filter(is_ours).filter_map(range).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_and_everything_goes_on() {
        let code = own_code();
        let here = give_back_memory as *const () as usize;
        assert!(
            code.iter().any(|range| range.contains(&here)),
            "{here:x} is not in {code:x?}"
        );
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("RssFile:"))
                .unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        // All of it is used once, as by a program that has done everything.
        let sum = |range: &std::ops::Range<usize>| {
            let pages = range.clone().step_by(4096);
            // SAFETY: it is mapped for reading, as the kernel says.
            let read = |at| unsafe { std::ptr::with_exposed_provenance::<u8>(at).read_volatile() };
            pages.map(|at| u64::from(read(at))).sum::<u64>()
        };
        let before = code.iter().map(sum).sum::<u64>();
        let used = resident();
        give_back_memory();
        assert!(resident() < used * 2 / 3, "{} of {used} kB", resident());
        assert_eq!(code.iter().map(sum).sum::<u64>(), before);
    }
}
