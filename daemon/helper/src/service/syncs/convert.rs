//! Messages and what they mean.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

use bytes::Bytes;
use outlast_client::helper_v1::{SyncBatch, SyncEntry, SyncKind, SyncOp, sync_op};
use outlast_tree::{Entry, Kind, MAX_PATH, RelPath};

use crate::target::{Content, Op, Refusal, Refused};

/// Changes of one batch at most.
const OPS_MAX: usize = 1_000;

/// Bytes of one batch at most, packed or not.
const DATA_MAX: usize = 8 << 20;

/// A batch that was understood.
pub(super) struct Batch {
    /// Its changes; those that make no sense are refused already.
    pub(super) ops: Vec<Result<Op, Refused>>,
    /// Contents, unpacked.
    pub(super) data: Bytes,
}

/// Understands a batch.
///
/// # Errors
/// With a sentence, when it is none.
pub(super) fn batch(batch: SyncBatch) -> Result<Batch, String> {
    if batch.ops.len() > OPS_MAX {
        return Err(format!("a batch has at most {OPS_MAX} changes"));
    }
    if batch.data.len() > DATA_MAX {
        return Err("a batch has at most 8 MiB of data".to_owned());
    }
    let data = match batch.unpacked {
        None => batch.data,
        Some(length) => unpack(&batch.data, length, DATA_MAX)?,
    };
    let mut at = 0;
    let ops = batch.ops.into_iter().map(|op| understand(op, &mut at)).collect();
    Ok(Batch { ops, data })
}

/// Unpacks bytes that are to have this length.
pub(super) fn unpack(packed: &[u8], length: u64, most: usize) -> Result<Bytes, String> {
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= most)
        .ok_or("more is packed than may be")?;
    let unpacked = lz4_flex::block::decompress(packed, length);
    let unpacked = unpacked.map_err(|error| format!("what is packed cannot be unpacked: {error}"))?;
    if unpacked.len() != length {
        return Err("what is packed has another length than it was said to have".to_owned());
    }
    Ok(unpacked.into())
}

/// Understands a change; `at` is how far the contents of those before it reach.
fn understand(op: SyncOp, at: &mut usize) -> Result<Op, Refused> {
    let size = op.entry.as_ref().map_or(0, |entry| entry.size);
    let content = match op.content {
        None | Some(sync_op::Content::Inline(false)) => Content::There,
        Some(sync_op::Content::Inline(true)) => {
            let start = *at;
            // Beyond all data there is none, which whoever looks for it finds.
            *at = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
            Content::Inline(start..*at)
        }
        Some(sync_op::Content::SameAs(path)) => match RelPath::new(&path) {
            Ok(path) => Content::SameAs(path),
            Err(_bad) => return Err(Refused::need("the file it is to be copied from has no such path")),
        },
        Some(sync_op::Content::Arrived(number)) => Content::Arrived(number),
    };
    let path = RelPath::new(&op.path).map_err(|bad| Refused::new(Refusal::Name, bad.to_string()))?;
    Ok(Op {
        path,
        entry: op.entry.as_ref().map(wanted).transpose()?,
        content,
        replace: op.replace,
    })
}

fn wanted(entry: &SyncEntry) -> Result<Entry, Refused> {
    let mode = u16::try_from(entry.mode & 0o777).unwrap_or_default();
    let senseless = |text: &str| Refused::new(Refusal::Failed, text);
    match entry.kind() {
        SyncKind::File => {
            let hash = entry.hash.as_ref().try_into();
            let hash = hash.map_err(|_length| senseless("no hash of its content came along"))?;
            Ok(Entry::file(mode, entry.mtime_ns, entry.size, hash))
        }
        SyncKind::Dir => Ok(Entry::dir(mode)),
        SyncKind::Link if entry.link.len() > MAX_PATH => {
            Err(Refused::new(Refusal::Name, "what the link says is too long"))
        }
        SyncKind::Link if !entry.link.is_empty() && !entry.link.contains(&0) => Ok(Entry::link(&entry.link)),
        SyncKind::Link => Err(senseless("a link has to say something")),
        SyncKind::Other | SyncKind::Unspecified => {
            Err(senseless("only files, directories and links are made"))
        }
    }
}

/// How an entry that is there is told.
pub(super) fn told(entry: &Entry) -> SyncEntry {
    let kind = match entry.kind {
        Kind::File => SyncKind::File,
        Kind::Dir => SyncKind::Dir,
        Kind::Link => SyncKind::Link,
        Kind::Other => SyncKind::Other,
    };
    SyncEntry {
        kind: kind.into(),
        mode: entry.mode.into(),
        mtime_ns: entry.mtime_ns,
        size: entry.size,
        hash: Bytes::new(),
        link: entry
            .link
            .as_deref()
            .map(Bytes::copy_from_slice)
            .unwrap_or_default(),
    }
}

/// A path as bytes.
pub(super) fn bytes_of(path: &Path) -> Bytes {
    Bytes::copy_from_slice(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &[u8], size: u64, inline: bool) -> SyncOp {
        SyncOp {
            path: Bytes::copy_from_slice(path),
            entry: Some(SyncEntry {
                kind: SyncKind::File.into(),
                size,
                hash: Bytes::from_static(&[7; 32]),
                ..SyncEntry::default()
            }),
            content: inline.then_some(sync_op::Content::Inline(true)),
            replace: false,
        }
    }

    #[test]
    fn contents_follow_each_other_past_changes_that_make_no_sense() {
        let ops = vec![
            file(b"a", 2, true),
            file(b"../b", 3, true),
            file(b"c", 0, false),
            file(b"d", 1, true),
        ];
        let understood = batch(SyncBatch {
            ops,
            data: Bytes::from_static(b"aabbbd"),
            unpacked: None,
        });
        let ops = understood.unwrap().ops;
        assert_eq!(ops[0].as_ref().unwrap().content, Content::Inline(0..2));
        assert_eq!(ops[1].as_ref().unwrap_err().why, Refusal::Name);
        assert_eq!(ops[2].as_ref().unwrap().content, Content::There);
        assert_eq!(ops[3].as_ref().unwrap().content, Content::Inline(5..6));
    }

    #[test]
    fn no_length_makes_us_take_memory() {
        let packed = lz4_flex::block::compress(&[1; 1000]);
        assert_eq!(unpack(&packed, 1000, 1000).unwrap().len(), 1000);
        for bad in [999, 1001, u64::MAX] {
            assert!(unpack(&packed, bad, 2000).is_err(), "{bad}");
        }
        assert!(unpack(&packed, 1000, 900).is_err());
        let ops = vec![file(b"a", u64::MAX, true), file(b"b", u64::MAX, true)];
        let huge = SyncBatch {
            ops,
            ..SyncBatch::default()
        };
        assert_eq!(batch(huge).unwrap().ops.len(), 2);
    }
}
