//! The programs under test: those that were built together with this test.

use std::{env, path::PathBuf};

/// Names a directory with more programs of outlast.
pub(crate) const LIBDIR: &str = "OUTLAST_LIBDIR";

/// Path of one of the programs of this build (`outlast`, `outlastd`, `outlast-helper`).
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(
        path.is_file(),
        "{} is not there: run `cargo build --workspace --bins` first (same profile as the tests)",
        path.display()
    );
    path
}

/// Path of the helper that is sent to hosts of this machine's kind: the portable one in `$OUTLAST_LIBDIR`, where the tests
/// are run with that, else the plain one of this build.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn far_helper() -> PathBuf {
    let Some(dir) = env::var_os(LIBDIR) else {
        return program("outlast-helper");
    };
    let path = PathBuf::from(dir).join(format!("outlast-helper-{}-linux-musl", env::consts::ARCH));
    assert!(
        path.is_file(),
        "{} is not there, and {LIBDIR} is set",
        path.display()
    );
    path
}

/// Directory of the programs: tests run from `target/<profile>/deps/`, benches too, examples and binaries beside.
pub(crate) fn directory() -> PathBuf {
    let own = env::current_exe().expect("a test knows its own executable");
    let dir = own.parent().expect("an executable lies in a directory");
    if dir.ends_with("deps") {
        dir.parent().expect("deps lies in a directory").to_owned()
    } else {
        dir.to_owned()
    }
}
