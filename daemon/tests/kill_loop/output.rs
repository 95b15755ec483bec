//! Jobs whose output is known beforehand.

use std::path::Path;

use outlast_testkit::Random;

/// What a job writes, known beforehand: numbered lines on both outputs, some with bytes that are no text.
#[derive(Clone)]
pub(crate) struct Output {
    key: String,
    /// Number of lines; None: it goes on until it is ended.
    lines: Option<u64>,
}

impl Output {
    /// Some output of random length.
    pub(crate) fn random(key: &str, random: &mut Random) -> Self {
        Self {
            key: key.to_owned(),
            lines: Some(random.between(0, 400)),
        }
    }

    /// Output that goes on until the job is ended.
    pub(crate) fn endless(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            lines: None,
        }
    }

    /// All of its standard output.
    pub(crate) fn stdout(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in 0..self.lines.unwrap_or(0) {
            bytes.extend_from_slice(format!("{} out {line}\n", self.key).as_bytes());
            if line % 50 == 49 {
                bytes.extend_from_slice(b"\0\xff\x1b[");
            }
        }
        bytes
    }

    /// All of its standard error.
    pub(crate) fn stderr(&self) -> Vec<u8> {
        let lines = (0..self.lines.unwrap_or(0)).filter(|line| line % 7 == 0);
        lines
            .flat_map(|line| format!("{} err {line}\n", self.key).into_bytes())
            .collect()
    }
}

/// The command of a job that counts its start in a file, writes its output with short rests, and exits with a code.
pub(crate) fn program_of(output: &Output, count_file: &Path, code: i32) -> Vec<String> {
    let script = r#"echo ran >>"$1"; i=0
        while [ "$i" != "$3" ]; do
            echo "$2 out $i"
            [ $((i % 7)) = 0 ] && echo "$2 err $i" >&2
            [ $((i % 50)) = 49 ] && printf '\000\377\033['
            [ $((i % 20)) = 19 ] && sleep 0.02
            i=$((i + 1))
        done
        exit "$4""#;
    let lines = output.lines.map_or("never".to_owned(), |lines| lines.to_string());
    let file = count_file.to_str().expect("sandbox paths are text");
    [
        "sh",
        "-c",
        script,
        "job",
        file,
        &output.key,
        &lines,
        &code.to_string(),
    ]
    .map(str::to_owned)
    .to_vec()
}
