//! A pseudo terminal with a program on it.
//!
//! The program gets a process session of its own with the terminal as its controlling one, so that it is hung up when
//! the master side is closed.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{InputModes, OptionalActions, SpecialCodeIndex, Winsize, tcgetattr, tcsetattr, tcsetwinsize},
};
use tokio::process::{Child, Command};

use crate::{fd::Fd, sys};

/// Largest terminal, in cells each way. tmux knows no larger one.
const CELLS_MAX: u32 = 10_000;

/// Size of a terminal in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

impl Size {
    /// A size, or None when it is no size that a terminal can have.
    #[must_use]
    pub fn new(columns: u32, rows: u32) -> Option<Self> {
        let cells = |count: u32| {
            u16::try_from(count)
                .ok()
                .filter(|_| (1..=CELLS_MAX).contains(&count))
        };
        Some(Self {
            columns: cells(columns)?,
            rows: cells(rows)?,
        })
    }
}

/// The master side.
#[derive(Debug)]
pub struct Pty {
    /// Reads what the program shows, writes what is typed.
    pub master: Fd,
    /// Path of the program's side, which is what tmux calls its client.
    pub name: String,
}

/// Starts `command` on a new pty of this size.
///
/// # Errors
/// When the system has no pty left, or the program cannot be started.
pub fn spawn(command: &mut Command, size: Size) -> io::Result<(Pty, Child)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = open(
        name.as_c_str(),
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    resize(&master, size)?;
    let mut modes = tcgetattr(&master)?;
    // Else what is typed is erased byte by byte.
    modes.input_modes |= InputModes::IUTF8;
    tcsetattr(&master, OptionalActions::Now, &modes)?;
    command
        .stdin(slave.try_clone()?)
        .stdout(slave.try_clone()?)
        .stderr(slave);
    sys::with_terminal(command.as_std_mut());
    let child = command.spawn()?;
    // The command keeps its copies of the program's side, and with them the terminal open.
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let master = Fd::new(master)?;
    let name = OsString::from_vec(name.into_bytes())
        .to_string_lossy()
        .into_owned();
    Ok((Pty { master, name }, child))
}

impl Pty {
    /// Reads what the program shows, waiting until it shows something, and what is there already with it: a pty hands
    /// out 4 KiB at a time. 0: the program's side is closed.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = self.master.read(buffer).await?;
        if count > 0 {
            while let Some(room @ [_, ..]) = buffer.get_mut(count..)
                && let Ok(Some(more @ 1..)) = self.master.read_now(room)
            {
                count += more;
            }
        }
        Ok(count)
    }

    /// The key that means the end of input on this terminal now. None: there is no such key.
    #[must_use]
    pub fn end_of_input(&self) -> Option<u8> {
        let modes = tcgetattr(self.master.get()).ok()?;
        Some(modes.special_codes[SpecialCodeIndex::VEOF]).filter(|key| *key != 0)
    }

    /// Changes the size; the program is told by SIGWINCH.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        resize(self.master.get(), size)
    }
}

fn resize(master: &OwnedFd, size: Size) -> io::Result<()> {
    let size = Winsize {
        ws_col: size.columns,
        ws_row: size.rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(master, size)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(pty: &Pty) -> String {
        let (mut text, mut buffer) = (Vec::new(), [0; 1024]);
        loop {
            match pty.master.read(&mut buffer).await.unwrap() {
                0 => return String::from_utf8(text).unwrap(),
                count => text.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[tokio::test]
    async fn a_program_has_a_controlling_terminal_of_its_size() {
        let mut command = Command::new("sh");
        command.args(["-c", "stty size </dev/tty; read x; stty size; echo got $x"]);
        let (pty, mut child) = spawn(&mut command, Size::new(90, 33).unwrap()).unwrap();
        assert!(pty.name.starts_with("/dev/"));
        let mut buffer = [0; 64];
        let count = pty.master.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..count], b"33 90\r\n");
        pty.resize(Size::new(100, 40).unwrap()).unwrap();
        pty.master.write_all(b"hello\n").await.unwrap();
        let rest = all(&pty).await;
        assert!(rest.ends_with("40 100\r\ngot hello\r\n"), "{rest:?}");
        assert!(child.wait().await.unwrap().success());
    }

    #[tokio::test]
    async fn closing_the_master_hangs_the_program_up() {
        use std::os::unix::process::ExitStatusExt as _;
        let mut command = Command::new("sh");
        command.args(["-c", "echo up; exec sleep 600"]);
        let (pty, mut child) = spawn(&mut command, Size::new(80, 24).unwrap()).unwrap();
        let mut buffer = [0; 64];
        pty.master.read(&mut buffer).await.unwrap();
        drop(pty);
        assert_eq!(child.wait().await.unwrap().signal(), Some(1));
    }

    #[test]
    fn sizes_are_what_a_terminal_can_have() {
        assert!(Size::new(0, 24).is_none() && Size::new(80, 0).is_none());
        assert!(Size::new(10_001, 24).is_none() && Size::new(70_000, 24).is_none());
    }
}
