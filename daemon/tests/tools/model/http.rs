//! HTTP as far as it is needed: one request a connection.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

use serde_json::Value;

/// A request.
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: Vec<u8>,
}

impl Request {
    /// Reads one. None: nobody asked anything.
    pub fn read(stream: &TcpStream) -> io::Result<Option<Self>> {
        let mut reader = BufReader::new(stream);
        let first = line(&mut reader)?;
        let mut words = first.split(' ').map(str::to_owned);
        let Some((method, path)) = words.next().zip(words.next()) else {
            return Ok(None);
        };
        let (mut length, mut chunked) = (0, false);
        loop {
            let header = line(&mut reader)?.to_lowercase();
            if header.is_empty() {
                break;
            }
            match header.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().map_err(io::Error::other)?,
                Some(("transfer-encoding", value)) => chunked = value.contains("chunked"),
                Some(("expect", _)) => (&*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
                _ => {}
            }
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                let size = usize::from_str_radix(&line(&mut reader)?, 16).map_err(io::Error::other)?;
                take(&mut reader, size, &mut body)?;
                line(&mut reader)?;
                if size == 0 {
                    break;
                }
            }
        } else {
            take(&mut reader, length, &mut body)?;
        }
        Ok(Some(Self { method, path, body }))
    }
}

fn line(reader: &mut BufReader<&TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn take(reader: &mut BufReader<&TcpStream>, size: usize, into: &mut Vec<u8>) -> io::Result<()> {
    let begin = into.len();
    into.resize(begin + size, 0);
    reader.read_exact(&mut into[begin..])
}

/// Answers with a document.
pub fn whole(mut stream: &TcpStream, status: u16, document: &Value) -> io::Result<()> {
    let body = document.to_string();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Begins a stream of events, which ends with the connection.
pub fn begin(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
}

/// Some events, which are there at once.
pub fn events(mut stream: &TcpStream, events: &[String]) -> io::Result<()> {
    stream.write_all(events.concat().as_bytes())?;
    stream.flush()
}
