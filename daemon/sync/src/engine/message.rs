//! What is said to the host, made from what is known here.

use outlast_client::helper_v1::{SyncEntry, SyncKind, SyncOp, sync_op::Content};
use outlast_tree::{Entry, Kind, RelPath};

/// One entry as it is told.
pub(crate) fn entry(entry: &Entry) -> SyncEntry {
    SyncEntry {
        kind: match entry.kind {
            Kind::File => SyncKind::File,
            Kind::Dir => SyncKind::Dir,
            Kind::Link => SyncKind::Link,
            Kind::Other => SyncKind::Other,
        }
        .into(),
        mode: entry.mode.into(),
        mtime_ns: entry.mtime_ns,
        size: entry.size,
        hash: match entry.kind {
            Kind::File => entry.hash.to_vec().into(),
            _ => Vec::new().into(),
        },
        link: entry.link.as_deref().unwrap_or_default().to_vec().into(),
    }
}

/// A path that is to go.
pub(crate) fn removal(path: &RelPath) -> SyncOp {
    SyncOp {
        path: path.to_vec().into(),
        entry: None,
        content: None,
        replace: false,
    }
}

/// A path that is to be so.
pub(crate) fn put(path: &RelPath, new: &Entry, content: Option<Content>, replace: bool) -> SyncOp {
    SyncOp {
        path: path.to_vec().into(),
        entry: Some(entry(new)),
        content,
        replace,
    }
}
