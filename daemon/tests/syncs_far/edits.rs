//! Random changes of a source, as people and programs make them. What cannot be done is left: paths are as old as the
//! last look. Nothing is ever written through a symlink, and none leads out of the sandbox: this may be run by root.

use std::{
    ffi::OsStr,
    fs::{self, File, FileTimes, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use outlast_testkit::{Random, Sandbox, run};

use crate::{
    PATIENCE, content,
    tree::{Kind, Node, Tree, at, join, look, name, walk},
};

/// Lines of files of patterns for git.
const GIT_PATTERNS: [&str; 18] = [
    "*.log",
    "!important.log",
    "!n 3.log",
    "build/",
    "/out",
    "*.o",
    "tmp*/",
    "d1/*",
    "!d1/f1.txt",
    "d2/**/f3*",
    "**/deep/*.txt",
    "# a comment",
    "",
    "weird*",
    "\\#hash*",
    "\\!bang1",
    "f[4-6].txt",
    "!d3/",
];

/// Lines of `.outlastignore`. What brings something back fits no directory.
const OWN_PATTERNS: [&str; 8] = [
    "*.bak",
    "f7*",
    "/d4/",
    "!keep*",
    "keep2*",
    "deep/",
    "n 5.log",
    "**/d3/*.o",
];

/// What some links lead to: a file of the sandbox outside of the source. It must stay as it is.
pub const OUTSIDE: &str = "outside";

/// A name that a file or directory may have. The same ones come again and again.
pub fn any_name(random: &mut Random) -> Vec<u8> {
    let n = random.between(0, 9);
    let text = match random.between(0, 30) {
        0..8 => format!("f{n}.txt"),
        8..10 => format!("n {n}.log"),
        10 => format!("keep{n}.log"),
        11 => format!("keep{n}.o"),
        12 => format!("f{n}.o"),
        13 => format!("f{n}.bak"),
        14 => "important.log".to_owned(),
        15 => format!("weird\n{n}"),
        16 => format!("caf\u{e9}{n}"),
        17 => format!("cafe\u{301}{n}"),
        18 => format!("-rf{n}"),
        19 => format!("*[{n}]?"),
        20 => format!("back\\slash{n}"),
        21 => format!("#hash{n}"),
        22 => format!("!bang{n}"),
        23 => format!("end {n} "),
        24 => format!(".hidden{n}"),
        25 => format!("f{n}.drop"),
        26 => return [b"raw\xff\xfe", n.to_string().as_bytes()].concat(),
        27 => format!("\u{202e}rtl{n}"),
        28 => format!("\x1b[2J{n}"),
        _ => format!("f{n}"),
    };
    text.into_bytes()
}

fn any_dir_name(random: &mut Random) -> Vec<u8> {
    let n = random.between(0, 6);
    let text = match random.between(0, 12) {
        0..6 => format!("d{n}"),
        6 => "build".to_owned(),
        7 => "out".to_owned(),
        8 => format!("tmp {n}"),
        9 => "deep".to_owned(),
        10 => format!("\u{fc}n\u{ef}{n}"),
        _ => "skip".to_owned(),
    };
    text.into_bytes()
}

/// A source that is changed.
pub struct Edits<'a> {
    pub sandbox: &'a Sandbox,
    pub source: &'a Path,
    pub random: Random,
    /// As of the last look.
    seen: Vec<(Vec<u8>, Node)>,
}

impl<'a> Edits<'a> {
    /// Nothing was changed yet.
    pub fn new(sandbox: &'a Sandbox, source: &'a Path, random: Random) -> Self {
        Self {
            sandbox,
            source,
            random,
            seen: Vec::new(),
        }
    }

    /// Makes a tree of about so many entries, with files of patterns at several levels.
    pub fn plant(&mut self, count: u64) {
        for _ in 0..count / 8 {
            let _ = self.make_dir();
            self.look();
        }
        for _ in 0..count {
            let _ = self.create();
        }
        self.look();
        for _ in 0..6 {
            let _ = self.write_patterns();
        }
        for _ in 0..4 {
            let _ = self.link();
        }
        let dir = self.dir();
        let fifo = self.path(&join(&dir, b"fifo"));
        let mut command = self.sandbox.command("mkfifo");
        command.arg(fifo);
        drop(run(command, PATIENCE));
        self.look();
        self.track();
    }

    /// Changes a number of things, mostly few, seldom as many as ten thousand. Gives back how many.
    pub fn storm(&mut self, most: u64) -> u64 {
        let count = match self.random.between(0, 100) {
            0..40 => 1,
            40..70 => self.random.between(2, 20),
            70..95 => self.random.between(20, 300),
            95..99 => self.random.between(300, 2_000),
            _ => 10_000,
        };
        let count = count.min(most);
        self.look();
        if count >= 300 {
            let _ = self.many(count);
        } else {
            for number in 0..count {
                let _ = self.one();
                if number % 16 == 15 {
                    self.look();
                }
            }
        }
        count
    }

    /// Many files at once: new ones in a directory, all of a kind changed, or a directory copied.
    pub fn many(&mut self, count: u64) -> io::Result<()> {
        let dir = join(
            &self.dir(),
            format!("many{}", self.random.between(0, 3)).as_bytes(),
        );
        fs::create_dir_all(self.path(&dir))?;
        let mark = self.random.number();
        for number in 0..count {
            let sub = join(&dir, format!("s{}", number % 50).as_bytes());
            if number < 50 {
                fs::create_dir_all(self.path(&sub))?;
            }
            fs::write(
                self.path(&join(&sub, format!("f{number}").as_bytes())),
                format!("{mark} {number}\n"),
            )?;
        }
        Ok(())
    }

    fn one(&mut self) -> io::Result<()> {
        match self.random.between(0, 100) {
            0..16 => self.create(),
            16..24 => self.overwrite(),
            24..30 => self.append(),
            30..34 => self.truncate(),
            34..40 => self.patch_keeping_mtime(),
            40..46 => self.rename(false),
            46..50 => self.rename(true),
            50..54 => self.save_by_rename(),
            54..58 => self.swap_kind(),
            58..63 => self.chmod(),
            63..67 => self.link(),
            67..70 => self.write_patterns(),
            70..72 => {
                self.track();
                Ok(())
            }
            72..76 => self.touch(),
            76..80 => self.copy(),
            80..83 => self.hard_link(),
            83..88 => self.make_dir(),
            88..97 => self.delete(false),
            97..98 => self.delete(true),
            _ => self.delete_patterns(),
        }
    }

    /// Looks what there is.
    pub fn look(&mut self) {
        let tree: Tree = walk(self.source);
        self.seen = tree.into_iter().collect();
    }

    fn path(&self, path: &[u8]) -> PathBuf {
        at(self.source, path)
    }

    /// One of the entries of a kind, files of patterns aside.
    fn pick(&mut self, kind: Kind) -> Option<Vec<u8>> {
        let start = usize::try_from(self.random.between(0, self.seen.len() as u64)).ok()?;
        let turned = self.seen[start.min(self.seen.len())..].iter().chain(&self.seen);
        let mut fit = turned.filter(|(path, node)| node.kind == kind && !name(path).ends_with(b"ignore"));
        fit.next().map(|(path, _)| path.clone())
    }

    fn file(&mut self) -> io::Result<PathBuf> {
        let file = self.pick(Kind::File).ok_or(io::ErrorKind::NotFound)?;
        let path = self.path(&file);
        // It may have become a link since it was seen.
        let is_file = look(&path)?.kind == Kind::File;
        if is_file {
            Ok(path)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Where something may be written: nothing is there, or a file.
    fn place(&mut self) -> io::Result<PathBuf> {
        let path = self.new_path();
        match look(&path) {
            Ok(found) if found.kind != Kind::File => Err(io::ErrorKind::AlreadyExists.into()),
            _ => Ok(path),
        }
    }

    /// A directory; the empty path is the source.
    fn dir(&mut self) -> Vec<u8> {
        if self.random.one_in(6) {
            return Vec::new();
        }
        self.pick(Kind::Dir).unwrap_or_default()
    }

    fn new_path(&mut self) -> PathBuf {
        let dir = self.dir();
        let name = any_name(&mut self.random);
        self.path(&join(&dir, &name))
    }

    fn create(&mut self) -> io::Result<()> {
        let path = self.place()?;
        fs::write(&path, content::any(&mut self.random))?;
        if self.random.one_in(3) {
            fs::set_permissions(&path, self.any_mode(0o400))?;
        }
        Ok(())
    }

    fn any_mode(&mut self, at_least: u32) -> Permissions {
        let bits = u32::try_from(self.random.between(0, 0o1000)).unwrap_or_default();
        Permissions::from_mode(bits | at_least)
    }

    fn make_dir(&mut self) -> io::Result<()> {
        let dir = self.dir();
        let name = any_dir_name(&mut self.random);
        let path = self.path(&join(&dir, &name));
        fs::create_dir(&path)?;
        if self.random.one_in(5) {
            fs::set_permissions(&path, self.any_mode(0o500))?;
        }
        Ok(())
    }

    fn overwrite(&mut self) -> io::Result<()> {
        let file = self.file()?;
        fs::write(file, content::any(&mut self.random))
    }

    fn append(&mut self) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(self.file()?)?;
        file.write_all(format!("more {}\n", self.random.number()).as_bytes())
    }

    fn truncate(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.file()?)?;
        let length = file.metadata()?.len();
        file.set_len(self.random.between(0, length + 100))
    }

    /// Neither size nor time tell of this change.
    fn patch_keeping_mtime(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(self.file()?)?;
        let before = file.metadata()?;
        let place = self.random.between(0, before.len());
        let patch = self.random.number().to_le_bytes();
        let length = usize::try_from(before.len() - place).unwrap_or(8).min(8);
        file.write_all_at(&patch[..length], place)?;
        file.set_times(FileTimes::new().set_modified(before.modified()?))
    }

    fn rename(&mut self, is_dir: bool) -> io::Result<()> {
        let from = self
            .pick(if is_dir { Kind::Dir } else { Kind::File })
            .ok_or(io::ErrorKind::NotFound)?;
        let dir = self.dir();
        let name = if is_dir {
            any_dir_name(&mut self.random)
        } else {
            any_name(&mut self.random)
        };
        fs::rename(self.path(&from), self.path(&join(&dir, &name)))
    }

    /// As editors do.
    fn save_by_rename(&mut self) -> io::Result<()> {
        let file = self.file()?;
        let mut beside = file.clone().into_os_string();
        beside.push("~");
        fs::write(&beside, content::any(&mut self.random))?;
        fs::rename(beside, file)
    }

    /// A file becomes a directory with something in it, a directory a file.
    fn swap_kind(&mut self) -> io::Result<()> {
        if self.random.one_in(2) {
            let file = self.file()?;
            fs::remove_file(&file)?;
            fs::create_dir(&file)?;
            fs::write(
                file.join(OsStr::from_bytes(&any_name(&mut self.random))),
                "inside\n",
            )
        } else {
            let dir = self.pick(Kind::Dir).ok_or(io::ErrorKind::NotFound)?;
            let path = self.path(&dir);
            if self
                .seen
                .iter()
                .filter(|(other, _)| other.starts_with(&dir))
                .count()
                > 40
            {
                return Ok(());
            }
            fs::remove_dir_all(&path)?;
            if self.random.one_in(3) {
                symlink("f1.txt", path)
            } else {
                fs::write(path, "a file now\n")
            }
        }
    }

    fn chmod(&mut self) -> io::Result<()> {
        if self.random.one_in(3) {
            let dir = self.pick(Kind::Dir).ok_or(io::ErrorKind::NotFound)?;
            return fs::set_permissions(self.path(&dir), self.any_mode(0o500));
        }
        fs::set_permissions(self.file()?, self.any_mode(0o400))
    }

    fn link(&mut self) -> io::Result<()> {
        let outside = self.sandbox.path().join(OUTSIDE);
        let says: &[u8] = match self.random.between(0, 6) {
            0 => b"f1.txt",
            1 => b"../d1",
            2 => outside.as_os_str().as_bytes(),
            3 => b"nowhere at all",
            4 => b"raw\xff\xfe0",
            _ => b".",
        };
        let path = self.new_path();
        if self.random.one_in(2) {
            let _ = fs::remove_file(&path);
        }
        symlink(OsStr::from_bytes(says), path)
    }

    fn write_patterns(&mut self) -> io::Result<()> {
        let dir = self.dir();
        let (name, patterns) = match self.random.between(0, 8) {
            0..4 => (&b".gitignore"[..], &GIT_PATTERNS[..]),
            4..7 => (&b".outlastignore"[..], &OWN_PATTERNS[..]),
            _ => (&b".git/info/exclude"[..], &GIT_PATTERNS[..]),
        };
        let dir = if name.starts_with(b".git/") {
            Vec::new()
        } else {
            dir
        };
        let mut text = String::new();
        for _ in 0..self.random.between(0, 4) {
            let pick = usize::try_from(self.random.between(0, patterns.len() as u64)).unwrap_or_default();
            text.push_str(patterns[pick]);
            text.push('\n');
        }
        fs::write(self.path(&join(&dir, name)), text)
    }

    fn delete_patterns(&mut self) -> io::Result<()> {
        let mut lists = self
            .seen
            .iter()
            .filter(|(path, _)| name(path).ends_with(b"ignore"));
        match lists.next() {
            Some((path, _)) => fs::remove_file(self.path(path)),
            None => Ok(()),
        }
    }

    /// Has git track something, whether it is ignored or not, or track it no more.
    fn track(&mut self) {
        for _ in 0..self.random.between(1, 6) {
            let Some(file) = self.pick(Kind::File) else { return };
            let mut command = self.sandbox.command("git");
            command.current_dir(self.source).arg("--literal-pathspecs");
            if self.random.one_in(4) {
                command.args(["rm", "-q", "--cached", "--"]);
            } else {
                command.args(["add", "-f", "--"]);
            }
            command.arg(OsStr::from_bytes(&file));
            drop(run(command, PATIENCE));
        }
    }

    fn touch(&mut self) -> io::Result<()> {
        let file = File::open(self.file()?)?;
        let seconds = self.random.between(0, 2_000_000_000);
        let nanos = u32::try_from(self.random.between(0, 1_000_000_000)).unwrap_or_default();
        let since = Duration::new(seconds, nanos);
        let time = match self.random.between(0, 10) {
            0 => SystemTime::UNIX_EPOCH,
            1 => SystemTime::UNIX_EPOCH - since / 4,
            _ => SystemTime::UNIX_EPOCH + since,
        };
        file.set_times(FileTimes::new().set_modified(time))
    }

    fn copy(&mut self) -> io::Result<()> {
        let (from, to) = (self.file()?, self.place()?);
        fs::copy(from, to).map(drop)
    }

    fn hard_link(&mut self) -> io::Result<()> {
        let (from, to) = (self.file()?, self.new_path());
        fs::hard_link(from, to)
    }

    fn delete(&mut self, is_dir: bool) -> io::Result<()> {
        if is_dir {
            let dir = self.pick(Kind::Dir).ok_or(io::ErrorKind::NotFound)?;
            return fs::remove_dir_all(self.path(&dir));
        }
        if self.random.one_in(6)
            && let Some(link) = self.pick(Kind::Link)
        {
            return fs::remove_file(self.path(&link));
        }
        fs::remove_file(self.file()?)
    }
}
