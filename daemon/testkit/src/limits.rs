//! What the kernel lets one process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything but what is counted: other tests may run in this process.
const OTHERS: u64 = 1000;

/// Lets this process have so many files open at once, besides those of other tests. The limit is only ever raised.
///
/// # Panics
/// When the system does not allow that.
pub fn allow_open_files(count: u64) {
    let wanted = count + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    assert!(
        limit.maximum.is_none_or(|maximum| maximum >= wanted),
        "this test needs {wanted} open files: raise the hard limit (ulimit -Hn)"
    );
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).expect("a limit can be raised up to the hard one");
    }
}
