//! Directory trees as both ends of a sync see them: what a path is, what an entry is, tables of many of them, how anything
//! below a root is opened, the files in which a helper writes down what it wrote, and hashes of large files block by
//! block.
//!
//! Knows no protocol, no runtime and nobody else of the workspace. It reads and writes the files it is told to, nothing
//! else.

mod beneath;
pub mod blocks;
mod codec;
mod entry;
pub mod hashes;
pub mod journal;
pub mod manifest;
mod path;
mod table;

pub use self::{
    beneath::open_beneath,
    codec::Damaged,
    entry::{Entry, Far, Hash, Kind, StatKey},
    path::{BadPath, MAX_PATH, RESERVED, RelPath, order},
    table::{Cursor, Iter, Table},
};
