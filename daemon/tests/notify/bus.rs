//! A desktop's end of notifications: a real session bus, and a service on it that notes what it is told. The protocol is
//! spoken here byte by byte, because nothing that is installed everywhere can be such a service.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
    thread,
};

use outlast_testkit::{Process, Sandbox};

/// What a program asks before it calls.
const INTROSPECTION: &str = r#"<node><interface name="org.freedesktop.Notifications"><method name="Notify">
<arg type="s" direction="in"/><arg type="u" direction="in"/><arg type="s" direction="in"/><arg type="s" direction="in"/>
<arg type="s" direction="in"/><arg type="as" direction="in"/><arg type="a{sv}" direction="in"/><arg type="i" direction="in"/>
<arg type="u" direction="out"/></method></interface></node>"#;

/// A bus where the programs of a sandbox look for it.
pub struct Bus {
    _daemon: Process,
    told: Arc<Mutex<Vec<[String; 3]>>>,
}

impl Bus {
    /// Starts both.
    pub fn start(sandbox: &Sandbox) -> Self {
        let path = sandbox.path().join("run/bus");
        let mut command = sandbox.command("dbus-daemon");
        command.args(["--session", "--nofork", "--nopidfile", "--print-address"]);
        command.arg(format!("--address=unix:path={}", path.display()));
        let daemon = Process::start(command);
        daemon.wait_line(|line| line.starts_with("unix:"));
        let told = Arc::<Mutex<Vec<_>>>::default();
        let mut service = Service::connect(&path.display().to_string());
        let heard = Arc::clone(&told);
        thread::spawn(move || service.serve(&heard));
        Self {
            _daemon: daemon,
            told,
        }
    }

    /// Program, title and body of each notification so far.
    pub fn told(&self) -> Vec<[String; 3]> {
        self.told.lock().unwrap().clone()
    }
}

struct Service {
    stream: BufReader<UnixStream>,
    serial: u32,
}

/// A message that came.
struct Message {
    kind: u8,
    serial: u32,
    member: String,
    sender: String,
    body: Vec<u8>,
}

/// Reads and writes values at their alignment, little-endian.
struct Cursor<'a>(&'a [u8], usize);

impl Cursor<'_> {
    fn align(&mut self, to: usize) {
        self.1 = self.1.next_multiple_of(to);
    }

    fn byte(&mut self) -> u8 {
        self.1 += 1;
        self.0[self.1 - 1]
    }

    fn number(&mut self) -> u32 {
        self.align(4);
        self.1 += 4;
        u32::from_le_bytes(self.0[self.1 - 4..self.1].try_into().unwrap())
    }

    fn text(&mut self, length: usize) -> String {
        let text = String::from_utf8(self.0[self.1..self.1 + length].to_vec()).unwrap();
        self.1 += length + 1;
        text
    }

    fn string(&mut self) -> String {
        let length = self.number();
        self.text(length as usize)
    }

    fn signature(&mut self) -> String {
        let length = self.byte();
        self.text(length.into())
    }
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    align(bytes, 4);
    bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

impl Service {
    fn connect(path: &str) -> Self {
        let stream = UnixStream::connect(path).expect("the bus listens");
        let mut service = Self {
            stream: BufReader::new(stream),
            serial: 0,
        };
        let uid: String = rustix::process::getuid()
            .as_raw()
            .to_string()
            .bytes()
            .map(|digit| format!("{digit:02x}"))
            .collect();
        service.write(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes());
        let mut line = String::new();
        service.stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("OK "), "{line}");
        service.write(b"BEGIN\r\n");
        service.call("Hello", &[], "");
        let mut name = Vec::new();
        put_string(&mut name, "org.freedesktop.Notifications");
        align(&mut name, 4);
        name.extend(0_u32.to_le_bytes());
        let asked = service.call("RequestName", &name, "su");
        loop {
            let message = service.read();
            if message.kind == 2 && message.member == format!("reply to {asked}") {
                assert_eq!(message.body, 1_u32.to_le_bytes(), "it owns the name");
                return service;
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    fn call(&mut self, member: &str, body: &[u8], signature: &str) -> u32 {
        let fields = [
            (1, "o", "/org/freedesktop/DBus"),
            (2, "s", "org.freedesktop.DBus"),
            (3, "s", member),
            (6, "s", "org.freedesktop.DBus"),
        ];
        self.send(1, &fields, None, body, signature)
    }

    fn answer(&mut self, to: &Message, body: &[u8], signature: &str) {
        self.send(2, &[(6, "s", &to.sender)], Some(to.serial), body, signature);
    }

    fn send(
        &mut self,
        kind: u8,
        fields: &[(u8, &str, &str)],
        reply_to: Option<u32>,
        body: &[u8],
        signature: &str,
    ) -> u32 {
        self.serial += 1;
        let mut head = Vec::new();
        let put_signature = |head: &mut Vec<u8>, signature: &str| {
            head.push(u8::try_from(signature.len()).unwrap());
            head.extend(signature.as_bytes());
            head.push(0);
        };
        for (code, kind, value) in fields {
            align(&mut head, 8);
            head.push(*code);
            put_signature(&mut head, kind);
            put_string(&mut head, value);
        }
        if let Some(serial) = reply_to {
            align(&mut head, 8);
            head.push(5);
            put_signature(&mut head, "u");
            align(&mut head, 4);
            head.extend(serial.to_le_bytes());
        }
        if !signature.is_empty() {
            align(&mut head, 8);
            head.push(8);
            put_signature(&mut head, "g");
            put_signature(&mut head, signature);
        }
        let mut message = vec![b'l', kind, 0, 1];
        message.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        message.extend(self.serial.to_le_bytes());
        message.extend(u32::try_from(head.len()).unwrap().to_le_bytes());
        message.extend(head);
        align(&mut message, 8);
        message.extend(body);
        self.write(&message);
        self.serial
    }

    /// The next message. Of an answer the member is `reply to N`. The end of the bus ends the thread.
    fn read(&mut self) -> Message {
        let mut start = [0; 16];
        self.stream.read_exact(&mut start).unwrap();
        assert_eq!(start[0], b'l', "the bus speaks as we do");
        let mut cursor = Cursor(&start, 4);
        let (body_len, serial, head_len) = (cursor.number(), cursor.number(), cursor.number());
        let mut head = vec![0; (head_len as usize).next_multiple_of(8)];
        self.stream.read_exact(&mut head).unwrap();
        let mut message = Message {
            kind: start[1],
            serial,
            member: String::new(),
            sender: String::new(),
            body: vec![0; body_len as usize],
        };
        self.stream.read_exact(&mut message.body).unwrap();
        let mut cursor = Cursor(&head, 0);
        while cursor.1 < head_len as usize {
            cursor.align(8);
            let code = cursor.byte();
            match (code, cursor.signature().as_str()) {
                (3, _) => message.member = cursor.string(),
                (7, _) => message.sender = cursor.string(),
                (5, _) => message.member = format!("reply to {}", cursor.number()),
                (_, "u") => drop(cursor.number()),
                (_, "g") => drop(cursor.signature()),
                _ => drop(cursor.string()),
            }
        }
        message
    }

    fn serve(&mut self, told: &Mutex<Vec<[String; 3]>>) {
        loop {
            let message = self.read();
            if message.kind != 1 {
                continue;
            }
            match message.member.as_str() {
                "Introspect" => {
                    let mut body = Vec::new();
                    put_string(&mut body, INTROSPECTION);
                    self.answer(&message, &body, "s");
                }
                "Notify" => {
                    let mut cursor = Cursor(&message.body, 0);
                    let program = cursor.string();
                    drop((cursor.number(), cursor.string()));
                    let (title, body) = (cursor.string(), cursor.string());
                    told.lock().unwrap().push([program, title, body]);
                    self.answer(&message, &1_u32.to_le_bytes(), "u");
                }
                // What notify-send asks first, where that is installed.
                "GetServerInformation" => {
                    let mut body = Vec::new();
                    for text in ["test", "outlast", "1", "1.2"] {
                        put_string(&mut body, text);
                    }
                    self.answer(&message, &body, "ssss");
                }
                "GetCapabilities" => {
                    let mut list = Vec::new();
                    put_string(&mut list, "body");
                    let mut body = u32::try_from(list.len()).unwrap().to_le_bytes().to_vec();
                    body.extend(list);
                    self.answer(&message, &body, "as");
                }
                _ => self.answer(&message, &[], ""),
            }
        }
    }
}
