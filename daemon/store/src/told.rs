//! Up to where somebody was told of what happened.

use rusqlite::Connection;

use crate::{Store, error::StoreError, meta};

/// Up to where it was told: the number of an event, and ids behind it.
const TOLD_TO: &str = "told_to";

/// Up to where it was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToldTo {
    /// Number of the last event up to which everything was told or needs no telling.
    pub seq: u64,
    /// Ids of sessions of which that is not so: what they came to is still to be told.
    pub left: Vec<String>,
}

impl ToldTo {
    fn to_text(&self) -> String {
        let mut text = self.seq.to_string();
        for id in &self.left {
            text.push(' ');
            text.push_str(id);
        }
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        Some(Self {
            seq: words.next()?.parse().ok()?,
            left: words.map(str::to_owned).collect(),
        })
    }
}

impl Store {
    /// Up to where it was told. Absent: that was never written, or makes no sense.
    pub async fn told_to(&self) -> Result<Option<ToldTo>, StoreError> {
        self.readers()
            .read("reading what was told", |connection| {
                let text = meta::get(connection, TOLD_TO)?;
                Ok(text.as_deref().and_then(ToldTo::from_text))
            })
            .await
    }

    /// Writes up to where it was told. It is flushed to the disk with the next durable write.
    pub async fn set_told_to(&self, told: &ToldTo) -> Result<(), StoreError> {
        let text = told.to_text();
        self.writer()
            .write("writing what was told", false, move |connection: &Connection| {
                Ok(meta::set(connection, TOLD_TO, &text)?)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_not_there() {
        for bad in ["", " ", "x", "-1", "x 2"] {
            assert_eq!(ToldTo::from_text(bad), None, "{bad:?}");
        }
        for left in [vec![], vec!["a".to_owned(), "b".to_owned()]] {
            let told = ToldTo { seq: 7, left };
            assert_eq!(ToldTo::from_text(&told.to_text()), Some(told));
        }
    }
}
