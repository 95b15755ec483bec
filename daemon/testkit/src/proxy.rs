//! A TCP proxy that makes a network bad: delay, a slow line, silence, resets.
//!
//! Delay is true latency: every piece of bytes carries the time at which it may go on, so throughput stays what it was.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    net::sockopt::set_socket_linger,
};

/// Bytes one read takes at most.
const PIECE: usize = 64 << 10;

/// Bytes under way in one direction: what a line of 1 GB/s with 60 ms holds.
const UNDER_WAY: usize = 64 << 20;

/// Bytes under way in one direction of a slow line: the buffers of a common router.
const UNDER_WAY_SLOW: usize = 256 << 10;

/// A proxy on a port of its own. Everything through it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<Accepting>,
}

#[derive(Debug)]
struct Accepting {
    stop: Arc<OwnedFd>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    accepted: AtomicU64,
    /// Bytes that went on to the far side.
    carried: AtomicU64,
    links: Mutex<Vec<Arc<Link>>>,
    settings: Mutex<Settings>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Settings {
    /// One way.
    delay: Duration,
    /// Bytes a second in each direction; None: as fast as it goes.
    rate: Option<u64>,
    stalled: bool,
    /// Nothing goes on to the far side once so many bytes did.
    last: Option<u64>,
}

/// One connection through the proxy.
#[derive(Debug)]
struct Link {
    /// Readable once it is cut.
    cut: OwnedFd,
    /// None: it is over.
    lines: Mutex<Option<[Line; 2]>>,
    changed: Condvar,
}

/// Bytes on their way in one direction.
#[derive(Debug, Default)]
struct Line {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    ended: bool,
    /// When a slow line is through with what it let go last.
    free_at: Option<Instant>,
}

impl Proxy {
    /// A proxy to an address, that does no harm yet.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            to,
            accepted: AtomicU64::new(0),
            carried: AtomicU64::new(0),
            links: Mutex::default(),
            settings: Mutex::default(),
        });
        let accepting = Some(accept(listener, &shared));
        Self {
            shared,
            address,
            accepting,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds every byte back for so long in each direction: half of what it adds to a round trip.
    pub fn delay(&self, one_way: Duration) {
        self.change(|settings| settings.delay = one_way);
    }

    /// Lets so many bytes a second through in each direction, all of them with None.
    pub fn throttle(&self, rate: Option<u64>) {
        self.change(|settings| settings.rate = rate);
    }

    /// Lets nothing through; connections stay, and new ones are accepted and hear nothing.
    pub fn stall(&self) {
        self.change(|settings| settings.stalled = true);
    }

    /// Lets so many more bytes through to the far side, rounded up to a piece, and nothing after them until it is healed.
    /// Gives what [`Proxy::carried`] reaches then.
    pub fn stall_after(&self, bytes: u64) -> u64 {
        let last = self.carried() + bytes;
        self.change(|settings| settings.last = Some(last));
        last
    }

    /// Resets every connection. New ones are let in.
    pub fn cut(&self) {
        for link in locked(&self.shared.links).drain(..) {
            link.end();
        }
    }

    /// Refuses new connections; those that are there go on.
    pub fn refuse(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            wake(&accepting.stop);
            drop(accepting.thread.join());
        }
    }

    /// Undoes [`Proxy::stall`], [`Proxy::stall_after`] and [`Proxy::refuse`]; delay and rate stay.
    ///
    /// # Panics
    /// When somebody else took the port meanwhile.
    pub fn heal(&mut self) {
        self.change(|settings| (settings.stalled, settings.last) = (false, None));
        if self.accepting.is_none() {
            let listener = TcpListener::bind(self.address).expect("the port is still free");
            self.accepting = Some(accept(listener, &self.shared));
        }
    }

    /// How many connections it accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How many bytes went on to the far side so far.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::Relaxed)
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        let links = locked(&self.shared.links);
        links.iter().filter(|link| locked(&link.lines).is_some()).count()
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut locked(&self.shared.settings));
        for link in &*locked(&self.shared.links) {
            // Whoever looked at the settings before is waiting now, and cannot miss it.
            drop(locked(&link.lines));
            link.changed.notify_all();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
        self.cut();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    fn end(&self) {
        *locked(&self.lines) = None;
        self.changed.notify_all();
        wake(&self.cut);
    }

    fn wait<'a>(&self, lines: MutexGuard<'a, Option<[Line; 2]>>) -> MutexGuard<'a, Option<[Line; 2]>> {
        self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a descriptor is ready. False: the connection was cut.
    fn ready(&self, fd: &TcpStream, what: PollFlags) -> bool {
        let mut fds = [PollFd::new(fd, what), PollFd::new(&self.cut, PollFlags::IN)];
        while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
        fds[1].revents().is_empty()
    }
}

fn wake(fd: &OwnedFd) {
    let _ = rustix::io::write(fd, &1_u64.to_ne_bytes());
}

fn wake_fd() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd can be had")
}

fn accept(listener: TcpListener, shared: &Arc<Shared>) -> Accepting {
    let stop = Arc::new(wake_fd());
    let (stopped, shared) = (Arc::clone(&stop), Arc::clone(shared));
    let thread = thread::spawn(move || {
        loop {
            let mut fds = [
                PollFd::new(&listener, PollFlags::IN),
                PollFd::new(&*stopped, PollFlags::IN),
            ];
            while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
            if !fds[1].revents().is_empty() {
                return;
            }
            if let Ok((near, _)) = listener.accept() {
                let shared = Arc::clone(&shared);
                // In a thread of its own, because the far side may take its time to answer.
                thread::spawn(move || join(near, &shared));
            }
        }
    });
    Accepting { stop, thread }
}

/// Joins an accepted connection to the far side; when that refuses, so does this.
fn join(near: TcpStream, shared: &Arc<Shared>) {
    // Whatever ends it without a word, its end is a reset.
    let _ = set_socket_linger(&near, Some(Duration::ZERO));
    let link = Arc::new(Link {
        cut: wake_fd(),
        lines: Mutex::new(Some(Default::default())),
        changed: Condvar::new(),
    });
    shared.accepted.fetch_add(1, Ordering::Relaxed);
    {
        let mut links = locked(&shared.links);
        links.retain(|link| locked(&link.lines).is_some());
        links.push(Arc::clone(&link));
    }
    let Ok(far) = TcpStream::connect(shared.to) else {
        link.end();
        return;
    };
    let _ = set_socket_linger(&far, Some(Duration::ZERO));
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_nonblocking(true);
    }
    let (near, far) = (Arc::new(near), Arc::new(far));
    let up = carry(0, [Arc::clone(&near), Arc::clone(&far)], shared, &link);
    let down = carry(1, [far, near], shared, &link);
    for thread in up.into_iter().chain(down) {
        drop(thread.join());
    }
    link.end();
}

/// Two threads for one direction: one takes bytes in, one lets them go when they are due.
fn carry(
    way: usize,
    [from, to]: [Arc<TcpStream>; 2],
    shared: &Arc<Shared>,
    link: &Arc<Link>,
) -> [JoinHandle<()>; 2] {
    let (shared_in, link_in) = (Arc::clone(shared), Arc::clone(link));
    let (shared, link) = (Arc::clone(shared), Arc::clone(link));
    [
        thread::spawn(move || take_in(way, &from, &shared_in, &link_in)),
        thread::spawn(move || let_go(way, &to, &shared, &link)),
    ]
}

fn take_in(way: usize, mut from: &TcpStream, shared: &Shared, link: &Link) {
    let mut buffer = vec![0; PIECE];
    while link.ready(from, PollFlags::IN) {
        let count = match from.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // A reset goes on to the other side.
            Err(_) => return link.end(),
        };
        let mut lines = locked(&link.lines);
        loop {
            let Some(line) = lines.as_mut().map(|lines| &mut lines[way]) else {
                return;
            };
            let settings = *locked(&shared.settings);
            let room = if settings.rate.is_some() {
                UNDER_WAY_SLOW
            } else {
                UNDER_WAY
            };
            if line.bytes < room {
                line.ended = count == 0;
                line.bytes += count;
                line.pieces
                    .push_back((Instant::now() + settings.delay, buffer[..count].to_vec()));
                break;
            }
            lines = link.wait(lines);
        }
        drop(lines);
        link.changed.notify_all();
        if count == 0 {
            return;
        }
    }
}

fn let_go(way: usize, mut to: &TcpStream, shared: &Shared, link: &Link) {
    while let Some(piece) = next(way, shared, link) {
        if piece.is_empty() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        let mut rest = piece.as_slice();
        while !rest.is_empty() {
            match to.write(rest) {
                Ok(count) => {
                    rest = &rest[count..];
                    if way == 0 {
                        shared.carried.fetch_add(count as u64, Ordering::Relaxed);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !link.ready(to, PollFlags::OUT) {
                        return;
                    }
                }
                Err(_) => return link.end(),
            }
        }
    }
}

/// Waits for the next piece to be due; an empty one is the end of the direction. None: it was cut.
fn next(way: usize, shared: &Shared, link: &Link) -> Option<Vec<u8>> {
    let mut lines = locked(&link.lines);
    loop {
        let line = &mut lines.as_mut()?[way];
        let settings = *locked(&shared.settings);
        let now = Instant::now();
        let due = line
            .pieces
            .front()
            .map(|(due, _)| (*due).max(line.free_at.unwrap_or(now)));
        let carried = shared.carried.load(Ordering::Relaxed);
        let is_stalled = settings.stalled || way == 0 && settings.last.is_some_and(|last| carried >= last);
        match due.filter(|_| !is_stalled) {
            Some(due) if due <= now => {
                let (due, mut piece) = line.pieces.pop_front()?;
                if let Some(rate) = settings.rate.filter(|rate| *rate > 0) {
                    // In pieces of about 5 ms, so that a slow line is slow and not jerky.
                    let most = usize::try_from(rate / 200).unwrap_or(PIECE).clamp(64, PIECE);
                    if piece.len() > most {
                        let rest = piece.split_off(most);
                        line.pieces.push_front((due, rest));
                    }
                    let takes = Duration::from_secs_f64(piece.len() as f64 / rate as f64);
                    line.free_at = Some(line.free_at.unwrap_or(now).max(now) + takes);
                }
                line.bytes -= piece.len();
                drop(lines);
                link.changed.notify_all();
                return Some(piece);
            }
            Some(due) => {
                let waited = link.changed.wait_timeout(lines, due - now);
                lines = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            None => lines = link.wait(lines),
        }
    }
}
