//! What a user's word for a thing means: exact name, exact id, then unique id prefix, in this order.

use std::str::FromStr;

use outlast_model::id::Id;
use rusqlite::Connection;

/// Ids named when a prefix fits several; enough to see which digit to add.
const NAMED: usize = 5;

/// What a word means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved<T> {
    /// This one.
    One(T),
    /// Nothing.
    None,
    /// A prefix of several ids, of which these are the first (at most 5).
    Many(Vec<Id>),
}

/// The ids a word is a prefix of, in their order; at most one more than is named. A word that cannot begin an id fits
/// none: nothing in it is a wildcard.
pub(crate) fn ids_with_prefix(
    connection: &Connection,
    sql: &'static str,
    word: &str,
) -> rusqlite::Result<Vec<Id>> {
    let can_begin_an_id = (1..=36).contains(&word.len())
        && word
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !can_begin_an_id {
        return Ok(Vec::new());
    }
    // 'g' comes after every character an id has.
    let ids = connection
        .prepare_cached(sql)?
        .query_map([word.to_owned(), format!("{word}g")], |row| {
            row.get::<_, String>(0)
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(ids
        .iter()
        .filter_map(|id| Id::from_str(id).ok())
        .take(NAMED)
        .collect())
}
