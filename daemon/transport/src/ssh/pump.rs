//! Carries bytes between a channel and our side of a socket pair, both ways, until one of them ends. Sleeps in poll
//! while nothing happens: an idle connection costs no wake-up.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use ssh2::{BlockDirections, Channel};

use super::wire::{Patience, Wire};
use crate::{
    error::{Cause, ConnectError},
    stream::Said,
};

/// Bytes on the way in each direction.
const BUFFER: usize = 128 << 10;

/// How long the host may take to say how a command ended whose output has ended.
const CLOSE_WITHIN: Patience = Patience::Each(Duration::from_secs(2));

/// While standard output flows, standard error is looked at in one turn of so many: to look is to walk along all that has
/// arrived and is not yet taken, thousands of pieces in a wide window.
const LOOK_EVERY: u32 = 16;

/// Bytes that were taken from one side and not yet given to the other.
struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Self {
        Self {
            bytes: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Reads into the empty buffer.
    fn fill(&mut self, from: &mut impl Read) -> io::Result<usize> {
        self.start = 0;
        self.end = 0;
        self.end = from.read(&mut self.bytes)?;
        Ok(self.end)
    }

    /// Writes what is there, as far as that goes now.
    fn pour(&mut self, to: &mut impl Write) -> io::Result<usize> {
        let count = to.write(self.bytes.get(self.start..self.end).unwrap_or_default())?;
        self.start += count;
        Ok(count)
    }
}

/// What a turn left to wait for on the ssh socket.
#[derive(Clone, Copy, Default)]
struct Awaited {
    inbound: bool,
    outbound: bool,
}

impl Awaited {
    /// Takes in what the call that just said "not yet" waits for. True: it waits to send.
    fn add(&mut self, wire: &Wire) -> bool {
        let (inbound, outbound) = match wire.session.block_directions() {
            BlockDirections::None => (false, false),
            BlockDirections::Inbound => (true, false),
            BlockDirections::Outbound => (false, true),
            BlockDirections::Both => (true, true),
        };
        self.inbound |= inbound;
        self.outbound |= outbound;
        outbound
    }
}

struct Pump<'a> {
    wire: &'a Wire,
    channel: &'a mut Channel,
    ours: &'a UnixStream,
    said: &'a Said,
    /// From us to the host.
    up: Buffer,
    up_ended: bool,
    eof_sent: bool,
    /// From the host to us.
    down: Buffer,
    down_ended: bool,
    awaited: Awaited,
    /// Turns since standard error was looked at.
    unlooked: u32,
}

/// Carries until an end is reached, and answers why it ended.
pub(super) fn pump(wire: &Wire, channel: &mut Channel, ours: &UnixStream, said: &Said) -> ConnectError {
    let mut pump = Pump {
        wire,
        channel,
        ours,
        said,
        up: Buffer::new(),
        up_ended: false,
        eof_sent: false,
        down: Buffer::new(),
        down_ended: false,
        awaited: Awaited::default(),
        unlooked: LOOK_EVERY,
    };
    let end = pump.run();
    finish(ours);
    match end {
        Ok(()) => how_it_ended(wire, channel),
        Err(error) => {
            let (cause, message) = match error.kind() {
                io::ErrorKind::TimedOut => (Cause::TimedOut, "the host does not answer any more".to_owned()),
                io::ErrorKind::BrokenPipe => (Cause::Cut, "the connection was closed here".to_owned()),
                _ => (Cause::Cut, format!("the connection to the host broke: {error}")),
            };
            ConnectError::new(cause, message)
        }
    }
}

/// Ends our side, with an end that the other reads as one: what it wrote and nobody took would make it an error.
fn finish(mut ours: &UnixStream) {
    let _ = ours.shutdown(Shutdown::Both);
    let mut bytes = [0; 4096];
    while ours.read(&mut bytes).is_ok_and(|count| count > 0) {}
}

/// The word a host has for the end of a command.
fn how_it_ended(wire: &Wire, channel: &mut Channel) -> ConnectError {
    let _ = wire.finish(CLOSE_WITHIN, |_| channel.wait_close());
    // A signal first: the exit status is 0 then.
    let signal = channel.exit_signal().ok().and_then(|signal| signal.exit_signal);
    let how = match (signal, channel.exit_status()) {
        (Some(signal), _) => format!("was killed by SIG{signal}"),
        (None, Ok(status)) => format!("ended with exit code {status}"),
        (None, Err(_)) => "ended".to_owned(),
    };
    ConnectError::new(Cause::HelperFailed, format!("the command on the host {how}"))
}

impl Pump<'_> {
    /// Ends well when the command's output has ended and is handed over.
    fn run(&mut self) -> io::Result<()> {
        loop {
            self.awaited = Awaited::default();
            let mut moved = self.take_ours()?;
            let (up, up_outbound) = self.send()?;
            moved |= up;
            // Before standard output: reading it drains what has arrived of both, and what is then left of this one
            // would not wake anybody.
            let looked = self.unlooked >= LOOK_EVERY;
            if looked {
                self.unlooked = 0;
                moved |= self.take_errors()?;
            }
            moved |= self.receive()?;
            moved |= self.give_ours()?;
            if self.down_ended && self.down.is_empty() {
                // What came on standard error meanwhile belongs to the last words.
                self.take_errors()?;
                return Ok(());
            }
            self.unlooked += 1;
            if moved {
                continue;
            }
            if !looked {
                self.unlooked = LOOK_EVERY;
                continue;
            }
            self.unlooked = LOOK_EVERY;
            // A call after the one that said "not yet" may have taken in what that waited for.
            let can_send = !self.up.is_empty() && !up_outbound && self.channel.write_window().remaining > 0;
            let can_receive = self.down.is_empty() && self.channel.read_window().available > 0;
            if !can_send && !can_receive {
                self.sleep()?;
            }
        }
    }

    /// Reads from our side when what was read before is gone.
    fn take_ours(&mut self) -> io::Result<bool> {
        if self.up_ended || !self.up.is_empty() {
            return Ok(false);
        }
        match again(self.up.fill(&mut self.ours))? {
            Some(0) => {
                self.up_ended = true;
                Ok(true)
            }
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    /// Writes to the channel; after "not yet" the same bytes again. Also answers whether the socket is what is full.
    fn send(&mut self) -> io::Result<(bool, bool)> {
        let mut moved = false;
        while !self.up.is_empty() {
            match again(self.up.pour(self.channel)) {
                Ok(Some(count)) => moved |= count > 0,
                Ok(None) => return Ok((moved, self.awaited.add(self.wire))),
                Err(_) => return Ok((self.stop_sending(), false)),
            }
        }
        if self.up_ended && !self.eof_sent {
            match again(self.channel.send_eof().map_err(io::Error::from)) {
                Ok(Some(())) => {
                    self.eof_sent = true;
                    moved = true;
                }
                Ok(None) => return Ok((moved, self.awaited.add(self.wire))),
                Err(_) => return Ok((self.stop_sending(), false)),
            }
        }
        Ok((moved, false))
    }

    /// The command takes nothing any more: it may have ended, and its last output is still to come. Where it is the
    /// connection that broke, reading says so.
    fn stop_sending(&mut self) -> bool {
        self.up.start = self.up.end;
        self.up_ended = true;
        self.eof_sent = true;
        true
    }

    /// Standard error has to be read, or the window that it shares fills up.
    fn take_errors(&mut self) -> io::Result<bool> {
        let mut moved = false;
        let mut bytes = [0; 4096];
        loop {
            match again(self.channel.stderr().read(&mut bytes))? {
                Some(0) => return Ok(moved),
                Some(count) => {
                    self.said.push(bytes.get(..count).unwrap_or_default());
                    moved = true;
                }
                None => {
                    self.awaited.add(self.wire);
                    return Ok(moved);
                }
            }
        }
    }

    /// Reads from the channel when what was read before is gone.
    fn receive(&mut self) -> io::Result<bool> {
        if self.down_ended || !self.down.is_empty() {
            return Ok(false);
        }
        match again(self.down.fill(self.channel))? {
            Some(0) => {
                self.down_ended = self.channel.eof();
                Ok(self.down_ended)
            }
            Some(_) => Ok(true),
            None => {
                self.awaited.add(self.wire);
                Ok(false)
            }
        }
    }

    /// Hands over to our side.
    fn give_ours(&mut self) -> io::Result<bool> {
        let mut moved = false;
        while !self.down.is_empty() {
            match again(self.down.pour(&mut self.ours))? {
                Some(count) => moved |= count > 0,
                None => break,
            }
        }
        Ok(moved)
    }

    /// Waits for exactly what can go on.
    fn sleep(&self) -> io::Result<()> {
        let mut host = PollFlags::empty();
        // What arrives is of use unless our side is what keeps everything waiting.
        if self.down.is_empty() || !self.up.is_empty() {
            host |= PollFlags::IN;
        }
        if self.awaited.outbound {
            host |= PollFlags::OUT;
        }
        let mut ours = PollFlags::empty();
        if self.up.is_empty() && !self.up_ended {
            ours |= PollFlags::IN;
        }
        if !self.down.is_empty() {
            ours |= PollFlags::OUT;
        }
        self.wire.acknowledge_at_once();
        let mut fds = [PollFd::new(&self.wire.socket, host), PollFd::new(self.ours, ours)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [host_fd, our_fd] = &fds;
        let broken = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        if our_fd.revents().intersects(broken) && !our_fd.revents().intersects(ours) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if host_fd.revents().intersects(broken) && !host_fd.revents().intersects(host) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

/// Nothing instead of "not yet".
fn again<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
