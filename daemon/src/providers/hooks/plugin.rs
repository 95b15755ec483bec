//! The plugin of opencode: a file of our own, told by its first line.

use super::Unfit;

const PLUGIN: &str = include_str!("outlast.js");

pub(super) fn install(current: Option<&str>) -> Result<String, Unfit> {
    match current {
        Some(text) if !is_ours(text) => Err(not_ours()),
        _ => Ok(PLUGIN.to_owned()),
    }
}

pub(super) fn uninstall(current: &str) -> Result<Option<String>, Unfit> {
    if is_ours(current) {
        Ok(None)
    } else {
        Err(not_ours())
    }
}

fn is_ours(text: &str) -> bool {
    text.lines().next() == PLUGIN.lines().next()
}

fn not_ours() -> Unfit {
    Unfit::new("it was not written by outlast", "move it away, and try again")
}
