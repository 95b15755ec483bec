//! Reading logs: against plain models of what a log is.

use std::fs;

use outlast_helper::spool::{Dir, LogReader, LogWriter, Root, State, Stream, is_id, last_lines_offset};
use proptest::{collection::vec, prelude::*};

fn stream() -> impl Strategy<Value = Stream> {
    prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr), Just(Stream::Marker)]
}

fn chunks() -> impl Strategy<Value = Vec<(Stream, Vec<u8>)>> {
    vec(
        (
            stream(),
            vec(prop_oneof![3 => any::<u8>(), 1 => Just(b'\n')], 0..40),
        ),
        0..30,
    )
}

fn dir() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::new(temp.path().join("d"));
    dir.create_new().unwrap();
    (temp, dir)
}

/// Every byte with its stream.
fn flat(chunks: &[(Stream, Vec<u8>)]) -> Vec<(Stream, u8)> {
    chunks
        .iter()
        .flat_map(|(stream, bytes)| bytes.iter().map(|byte| (*stream, *byte)))
        .collect()
}

/// Where the last lines of a text begin, by its definition.
fn model(text: &[u8], lines: u64) -> usize {
    let starts: Vec<usize> = (0..text.len())
        .filter(|&at| at == 0 || text[at - 1] == b'\n')
        .collect();
    match starts.len().checked_sub(usize::try_from(lines).unwrap()) {
        Some(skipped) => starts.get(skipped).copied().unwrap_or(text.len()),
        None => 0,
    }
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(
        chunks in chunks(),
        later in chunks(),
        from in 0u64..900,
        max in 1usize..100,
    ) {
        let (_temp, dir) = dir();
        let mut writer = LogWriter::new(&dir, None);
        let mut reader = None;
        let mut got = Vec::new();
        let mut all = Vec::new();
        for part in [&chunks, &later] {
            for (stream, bytes) in part {
                writer.write(*stream, bytes);
            }
            all.extend(flat(part));
            let reader = match &mut reader {
                Some(reader) => reader,
                None => reader.insert(LogReader::open(&dir, from).unwrap()),
            };
            let start = from.min(flat(&chunks).len() as u64);
            loop {
                prop_assert_eq!(reader.offset(), start + got.len() as u64);
                let Some(chunk) = reader.next(max).unwrap() else { break };
                prop_assert_eq!(chunk.offset, start + got.len() as u64);
                prop_assert!(!chunk.data.is_empty() && chunk.data.len() <= max);
                got.extend(chunk.data.iter().map(|byte| (chunk.stream, *byte)));
            }
            prop_assert_eq!(&got[..], &all[start as usize..]);
        }
        prop_assert_eq!(dir.log_len(), all.len() as u64);
    }

    #[test]
    fn the_last_lines_are_those_of_the_definition(
        chunks in chunks(),
        lines in 0u64..30,
        only in proptest::option::of(stream()),
    ) {
        let (_temp, dir) = dir();
        let mut writer = LogWriter::new(&dir, None);
        for (stream, bytes) in &chunks {
            writer.write(*stream, bytes);
        }
        let offset = last_lines_offset(&dir, lines, only).unwrap();
        let all = flat(&chunks);
        let is_meant = |stream: Stream| only.is_none_or(|only| only == stream);
        let text: Vec<u8> = all.iter().filter(|(stream, _)| is_meant(*stream)).map(|(_, byte)| *byte).collect();
        let got: Vec<u8> = all[usize::try_from(offset).unwrap()..]
            .iter()
            .filter(|(stream, _)| is_meant(*stream))
            .map(|(_, byte)| *byte)
            .collect();
        prop_assert_eq!(got, &text[model(&text, lines)..]);
    }

    #[test]
    fn no_index_can_make_a_reader_panic_or_loop(
        log in vec(any::<u8>(), 0..200),
        index in vec(prop_oneof![any::<u8>(), Just(0)], 0..400),
        from: u64,
        lines in 0u64..5,
    ) {
        let (_temp, dir) = dir();
        fs::write(dir.path().join("log"), &log).unwrap();
        fs::write(dir.path().join("index"), &index).unwrap();
        let mut reader = LogReader::open(&dir, from).unwrap();
        let mut served = 0;
        while let Some(chunk) = reader.next(64).unwrap() {
            served += chunk.data.len();
            prop_assert!(served <= log.len());
        }
        last_lines_offset(&dir, lines, Some(Stream::Stdout)).unwrap();
        last_lines_offset(&dir, lines, None).unwrap();
    }
}

#[test]
fn lines_are_found_across_blocks_and_many_records() {
    let (_temp, dir) = dir();
    let mut writer = LogWriter::new(&dir, None);
    let long = vec![b'x'; 150_000];
    writer.write(Stream::Stdout, b"first\n");
    writer.write(Stream::Stdout, &long);
    for n in 0..1000 {
        writer.write(
            if n % 2 == 0 {
                Stream::Stderr
            } else {
                Stream::Marker
            },
            b"e\n",
        );
    }
    assert_eq!(last_lines_offset(&dir, 1, Some(Stream::Stdout)).unwrap(), 6);
    assert_eq!(last_lines_offset(&dir, 2, Some(Stream::Stdout)).unwrap(), 0);
    assert_eq!(last_lines_offset(&dir, 1000, None).unwrap(), 6);
    assert_eq!(
        last_lines_offset(&dir, 499, Some(Stream::Stderr)).unwrap(),
        150_010
    );
}

#[test]
fn a_log_that_is_not_there_yet_is_empty_and_then_is_read() {
    let (_temp, dir) = dir();
    let mut reader = LogReader::open(&dir, 7).unwrap();
    assert_eq!((reader.next(10).unwrap(), reader.offset()), (None, 0));
    assert!(reader.next(0).is_err());
    assert_eq!(last_lines_offset(&dir, 3, None).unwrap(), 0);
    LogWriter::new(&dir, None).write(Stream::Stdout, b"now");
    assert_eq!(reader.next(10).unwrap().unwrap().data, "now");
}

#[test]
fn only_ids_reach_directories() {
    let temp = tempfile::tempdir().unwrap();
    let root = Root::new(temp.path().join("spool"));
    assert!(root.jobs().unwrap().is_empty());
    assert!(root.job("a-1").create_new().unwrap());
    assert!(!root.job("a-1").create_new().unwrap());
    assert!(root.session("b").create_new().unwrap());
    fs::create_dir(root.path().join("jobs/not.an.id")).unwrap();
    assert_eq!(
        (root.jobs().unwrap(), root.sessions().unwrap()),
        (vec!["a-1".to_owned()], vec!["b".to_owned()])
    );
    for id in ["", ".", "..", "../x", "a/b", "a\0", "ä", &"x".repeat(65)] {
        assert!(!is_id(id));
        let dir = root.job(id);
        assert!(!dir.exists());
        assert!(
            dir.create_new().is_err() && dir.remove().is_err() && dir.state(None).is_err(),
            "{id}"
        );
    }
    assert_eq!(root.job("c").state(None).unwrap(), State::Fresh);
    root.job("a-1").remove().unwrap();
    root.job("a-1").remove().unwrap();
    assert!(!root.job("a-1").exists());
}
