//! Many records by path, in the order of paths, in little memory: a sorted array whose paths lie one after the other in one
//! piece, and a small map of what came later, which is merged in when it has grown.

use std::{collections::BTreeMap, iter::Peekable, ops::Bound};

use crate::{BadPath, RelPath, order};

/// Additions that are gathered before they are merged in, however small the table.
const GATHER: usize = 1024;

/// Records by path.
#[derive(Debug, Clone)]
pub struct Table<R> {
    /// All paths of `rows`, one after the other.
    paths: Vec<u8>,
    /// In order. A row without a record was removed.
    rows: Vec<Row<R>>,
    /// Rows without a record.
    removed: usize,
    /// What came since the last merge. No path of it is in `rows`.
    late: BTreeMap<RelPath, R>,
}

#[derive(Debug, Clone)]
struct Row<R> {
    /// Where its path ends in `paths`; it begins where the one before ends.
    end: usize,
    record: Option<R>,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            rows: Vec::new(),
            removed: 0,
            late: BTreeMap::new(),
        }
    }
}

impl<R> Table<R> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one with room for so many records.
    pub(crate) fn with_room(records: usize) -> Self {
        Self {
            rows: Vec::with_capacity(records),
            ..Self::default()
        }
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() - self.removed + self.late.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes it occupies, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let late = size_of::<(RelPath, R)>() + 64;
        self.paths.capacity() + self.rows.capacity() * size_of::<Row<R>>() + self.late.len() * late
    }

    /// The record of a path.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&R> {
        match self.find(path) {
            Ok(at) => self.rows[at].record.as_ref(),
            Err(_) => self.late(path),
        }
    }

    /// The record of a path that is not among the rows.
    fn late(&self, path: &[u8]) -> Option<&R> {
        if self.late.is_empty() {
            return None;
        }
        self.late.get(&RelPath::known(path))
    }

    /// The record of a path, to be changed.
    pub fn get_mut(&mut self, path: &[u8]) -> Option<&mut R> {
        match self.find(path) {
            Ok(at) => self.rows[at].record.as_mut(),
            Err(_) if self.late.is_empty() => None,
            Err(_) => self.late.get_mut(&RelPath::known(path)),
        }
    }

    /// Sets the record of a path and returns the one it had. Paths that come in order cost least.
    pub fn insert(&mut self, path: RelPath, record: R) -> Option<R> {
        match self.find(&path) {
            Ok(at) => {
                let old = self.rows[at].record.replace(record);
                self.removed -= usize::from(old.is_none());
                old
            }
            Err(at) if at == self.rows.len() && self.late.is_empty() => {
                self.push_late(&path, record);
                None
            }
            Err(_) => {
                let old = self.late.insert(path, record);
                self.merge_if_grown();
                old
            }
        }
    }

    /// Sets the record of a path. As [`Self::insert`], but what comes in order takes no memory for its path alone.
    ///
    /// # Errors
    /// When it is no path.
    pub fn append(&mut self, path: &[u8], record: R) -> Result<(), BadPath> {
        RelPath::check(path)?;
        self.append_known(path, record);
        Ok(())
    }

    /// The same of a path that was checked before.
    pub(crate) fn append_known(&mut self, path: &[u8], record: R) {
        let last = self.rows.len().checked_sub(1);
        if self.late.is_empty() && last.is_none_or(|last| order(self.path(last), path).is_lt()) {
            self.push_late(path, record);
        } else {
            self.insert(RelPath::known(path), record);
        }
    }

    /// Removes the record of a path and returns it.
    pub fn remove(&mut self, path: &[u8]) -> Option<R> {
        match self.find(path) {
            Ok(at) => {
                let old = self.rows[at].record.take();
                self.removed += usize::from(old.is_some());
                self.merge_if_grown();
                old
            }
            Err(_) if self.late.is_empty() => None,
            Err(_) => self.late.remove(&RelPath::known(path)),
        }
    }

    /// All of them in order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, R> {
        self.between(0, Bound::Unbounded, None)
    }

    /// Looks up what comes in order at little cost.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'_, R> {
        Cursor { table: self, row: 0 }
    }

    /// All of them in so many parts that follow each other, about equal and some of them perhaps empty.
    #[must_use]
    pub fn parts(&self, count: usize) -> Vec<Iter<'_, R>> {
        let step = self.rows.len().div_ceil(count.max(1)).max(1);
        let mut parts: Vec<Iter<'_, R>> = (0..self.rows.len())
            .step_by(step)
            .map(|row| {
                let until = (row + step).min(self.rows.len());
                // What came late and lies before the first row or after the last one belongs to these.
                let from = match row {
                    0 => Bound::Unbounded,
                    _ => Bound::Included(RelPath::known(self.path(row))),
                };
                let to = match until == self.rows.len() {
                    true => Bound::Unbounded,
                    false => Bound::Excluded(RelPath::known(self.path(until))),
                };
                Iter {
                    table: self,
                    row,
                    until,
                    late: self.late.range((from, to)).peekable(),
                    below: None,
                }
            })
            .collect();
        if parts.is_empty() {
            parts.push(self.iter());
        }
        parts
    }

    /// That of `path` and everything below it, in order. The empty path: all.
    #[must_use]
    pub fn range(&self, path: &[u8]) -> Iter<'_, R> {
        if path.is_empty() {
            return self.iter();
        }
        let from = self.find(path).unwrap_or_else(|at| at);
        self.between(from, Bound::Included(RelPath::known(path)), Some(path.into()))
    }

    /// Everything below `path` but not itself, in order. The empty path: all.
    pub fn below<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a R)> {
        self.range(path)
            .filter(move |(found, _)| found.len() > path.len())
    }

    /// Takes in what came late and gives memory back.
    pub fn merge(&mut self) {
        let late = std::mem::take(&mut self.late);
        if late.is_empty() && self.removed == 0 {
            self.paths.shrink_to_fit();
            self.rows.shrink_to_fit();
            return;
        }
        let (paths, rows) = (std::mem::take(&mut self.paths), std::mem::take(&mut self.rows));
        self.paths
            .reserve_exact(paths.len() + late.keys().map(|path| path.len()).sum::<usize>());
        self.rows.reserve_exact(rows.len() - self.removed + late.len());
        self.removed = 0;
        let mut late = late.into_iter().peekable();
        let mut begin = 0;
        for row in rows {
            let path = &paths[begin..row.end];
            begin = row.end;
            let Some(record) = row.record else { continue };
            while let Some((path, record)) = late.next_if(|(new, _)| order(new, path).is_lt()) {
                self.push(&path, record);
            }
            self.push(path, record);
        }
        for (path, record) in late {
            self.push(&path, record);
        }
    }

    fn push(&mut self, path: &[u8], record: R) {
        self.paths.extend_from_slice(path);
        self.rows.push(Row {
            end: self.paths.len(),
            record: Some(record),
        });
    }

    /// Adds what comes after all that is there. It grows by as much as merging lets it, not to twice its size.
    fn push_late(&mut self, path: &[u8], record: R) {
        if self.rows.len() == self.rows.capacity() {
            self.rows.reserve_exact(GATHER.max(self.rows.len() / 8));
        }
        if self.paths.capacity() - self.paths.len() < path.len() {
            let room = (GATHER * 16).max(self.paths.len() / 8);
            self.paths.reserve_exact(room.max(path.len()));
        }
        self.push(path, record);
    }

    fn merge_if_grown(&mut self) {
        if self.late.len() + self.removed > GATHER.max(self.rows.len() / 8) {
            self.merge();
        }
    }

    fn path(&self, at: usize) -> &[u8] {
        let begin = at.checked_sub(1).map_or(0, |before| self.rows[before].end);
        &self.paths[begin..self.rows[at].end]
    }

    /// Where the row of a path is, or would be.
    fn find(&self, path: &[u8]) -> Result<usize, usize> {
        // What comes in order is looked for at the end first.
        if let Some(last) = self.rows.len().checked_sub(1)
            && order(self.path(last), path).is_lt()
        {
            return Err(self.rows.len());
        }
        let (mut low, mut high) = (0, self.rows.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match order(self.path(middle), path) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    fn between(&self, row: usize, late: Bound<RelPath>, below: Option<Box<[u8]>>) -> Iter<'_, R> {
        Iter {
            table: self,
            row,
            until: self.rows.len(),
            late: self.late.range((late, Bound::Unbounded)).peekable(),
            below,
        }
    }
}

/// A place in a table, mostly that of the path that is asked for next.
#[derive(Debug)]
pub struct Cursor<'a, R> {
    table: &'a Table<R>,
    row: usize,
}

impl<'a, R> Cursor<'a, R> {
    /// The record of a path.
    pub fn get(&mut self, path: &[u8]) -> Option<&'a R> {
        let is_next = self.row < self.table.rows.len() && self.table.path(self.row) == path;
        let at = match is_next {
            true => Ok(self.row),
            false => self.table.find(path),
        };
        match at {
            Ok(at) => {
                self.row = at + 1;
                self.table.rows[at].record.as_ref()
            }
            Err(at) => {
                self.row = at;
                self.table.late(path)
            }
        }
    }
}

/// Records with their paths, in order.
#[derive(Debug)]
pub struct Iter<'a, R> {
    table: &'a Table<R>,
    row: usize,
    /// Where it ends among the rows.
    until: usize,
    late: Peekable<std::collections::btree_map::Range<'a, RelPath, R>>,
    /// Ends where something is neither this nor below it.
    below: Option<Box<[u8]>>,
}

impl<'a, R> Iterator for Iter<'a, R> {
    type Item = (&'a [u8], &'a R);

    fn next(&mut self) -> Option<Self::Item> {
        let rows = &self.table.rows[..self.until];
        while rows.get(self.row).is_some_and(|row| row.record.is_none()) {
            self.row += 1;
        }
        let early = rows
            .get(self.row)
            .and_then(|row| Some((self.table.path(self.row), row.record.as_ref()?)));
        let late = self.late.peek().map(|(path, record)| (path.as_bytes(), *record));
        let (found, is_late) = match (early, late) {
            (None, None) => return None,
            (Some(early), None) => (early, false),
            (None, Some(late)) => (late, true),
            (Some(early), Some(late)) if order(late.0, early.0).is_lt() => (late, true),
            (Some(early), Some(_)) => (early, false),
        };
        if let Some(top) = &self.below
            && !(found.0.starts_with(top) && matches!(found.0.get(top.len()), None | Some(b'/')))
        {
            return None;
        }
        if is_late {
            self.late.next();
        } else {
            self.row += 1;
        }
        Some(found)
    }
}

impl<'a, R> IntoIterator for &'a Table<R> {
    type Item = (&'a [u8], &'a R);
    type IntoIter = Iter<'a, R>;

    fn into_iter(self) -> Iter<'a, R> {
        self.iter()
    }
}

impl<R> FromIterator<(RelPath, R)> for Table<R> {
    fn from_iter<I: IntoIterator<Item = (RelPath, R)>>(records: I) -> Self {
        let mut table = Self::new();
        for (path, record) in records {
            table.insert(path, record);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_oneof, proptest};

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(String, u32),
        Remove(String),
        Merge,
    }

    fn step() -> impl Strategy<Value = Step> {
        let path = "[ab!]{1,2}(/[ab.]{1,2}x){0,2}";
        prop_oneof![
            8 => (path, any::<u32>()).prop_map(|(path, record)| Step::Insert(path, record)),
            4 => path.prop_map(Step::Remove),
            1 => proptest::strategy::Just(Step::Merge),
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_would(steps in proptest::collection::vec(step(), 0..200)) {
            let mut table = Table::new();
            let mut map = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(path, record) => {
                        let path = RelPath::new(path.as_bytes()).expect("a path");
                        assert_eq!(table.insert(path.clone(), record), map.insert(path, record));
                    }
                    Step::Remove(path) => {
                        let path = RelPath::new(path.as_bytes()).expect("a path");
                        assert_eq!(table.remove(&path), map.remove(&path));
                    }
                    Step::Merge => table.merge(),
                }
                assert_eq!(table.len(), map.len());
            }
            let all: Vec<_> = table.iter().map(|(path, record)| (path.to_vec(), *record)).collect();
            let expected: Vec<_> = map.iter().map(|(path, record)| (path.to_vec(), *record)).collect();
            assert_eq!(all, expected);
            let mut cursor = table.cursor();
            for path in map.keys().chain(map.keys().rev()) {
                assert_eq!(table.get(path), map.get(path));
                assert_eq!(cursor.get(path), map.get(path));
            }
            assert_eq!(cursor.get(b"none"), None);
            for top in ["a", "b", "a!", "a/ax", "ab"] {
                let top = top.as_bytes();
                let found: Vec<_> = table.range(top).map(|(path, _)| path.to_vec()).collect();
                let expected: Vec<_> = map
                    .keys()
                    .filter(|path| *path.as_bytes() == *top || path.starts_with(&[top, b"/"].concat()))
                    .map(|path| path.to_vec())
                    .collect();
                assert_eq!(found, expected);
            }
            for count in [1, 2, 3, 7] {
                let parts = table.parts(count);
                assert!(!parts.is_empty() && parts.len() <= count);
                let found: Vec<_> = parts.into_iter().flatten().map(|(path, _)| path.to_vec()).collect();
                let expected: Vec<_> = map.keys().map(|path| path.to_vec()).collect();
                assert_eq!(found, expected, "in {count} parts");
            }
        }
    }

    #[test]
    fn a_large_one_stays_small() {
        let mut table = Table::new();
        for index in (0..100_000_u64).rev() {
            let path = format!("some/directory/of/a/project/{index:08}.rs");
            table.insert(RelPath::new(path.as_bytes()).expect("a path"), index);
        }
        table.merge();
        assert!(table.memory() < 100_000 * (40 + 24 + 8), "{}", table.memory());
    }
}
