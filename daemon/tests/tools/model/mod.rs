//! A model that says what its script says: an HTTP server that speaks just enough of four protocols for a program to
//! answer with text, to ask whether it may run a command or make a file, and to go on.

mod anthropic;
mod chat;
mod gemini;
mod http;
mod responses;

use std::{
    io,
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use serde_json::Value;

use http::Request;

/// What is typed, and what the model does then.
pub mod prompts {
    /// It thinks before it says anything.
    pub const THINK: &str = "zz-think please";
    /// It stops in the midst of its answer.
    pub const SLOW: &str = "zz-slow please";
    /// It wants to run a command.
    pub const RUN: &str = "zz-run please";
    /// It wants to make a file.
    pub const EDIT: &str = "zz-edit please";
}

/// What it says in two pieces, and between them it can be held.
pub const WORDS: [&str; 2] = ["Done ", "here."];

/// What it says to questions of the program's own, as for a title.
const TITLE: &str = "Done here.";

/// What a program lets a model do: the name of the tool, and what it is called with.
#[derive(Debug, Clone)]
pub struct Call {
    pub tool: &'static str,
    pub arguments: Value,
}

/// What the model does when it is asked for a command or a file.
#[derive(Debug, Clone)]
pub enum Deed {
    /// It calls a tool.
    Call(Call),
    /// It says so, and the program finds it in the text.
    Text(String),
}

/// The deeds of one program.
#[derive(Debug, Clone)]
pub struct Deeds {
    pub run: Deed,
    pub edit: Deed,
}

/// What a request is about, whatever its protocol.
#[derive(Debug, Default)]
struct Asked {
    /// The last that was typed, with what the program puts around it.
    prompt: String,
    /// There are tools, as nowhere but in the conversation itself.
    has_tools: bool,
    /// What is answered is the outcome of a tool.
    of_tool: bool,
    /// The answer is to come in pieces.
    streams: bool,
}

/// One answer.
#[derive(Debug)]
enum Answer {
    /// Text in pieces.
    Text(Vec<String>),
    /// A tool is called.
    Call(Call),
}

/// Where an answer stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Before,
    Within,
}

/// A protocol: what a request asks, and an answer as the pieces of its stream.
struct Dialect {
    asked: fn(&Value) -> Asked,
    /// The events before anything is said, those of each piece, and those of the end.
    stream: fn(&Answer) -> Vec<Vec<String>>,
    /// An answer in one piece.
    whole: fn(&str) -> Value,
}

fn dialect(path: &str) -> Option<&'static Dialect> {
    let path = path.split('?').next().unwrap_or_default();
    if path.ends_with("/messages") {
        Some(&anthropic::DIALECT)
    } else if path.ends_with("/responses") {
        Some(&responses::DIALECT)
    } else if path.ends_with("/chat/completions") {
        Some(&chat::DIALECT)
    } else if path.ends_with("enerateContent") {
        Some(&gemini::DIALECT)
    } else {
        None
    }
}

/// The model.
pub struct Model {
    shared: Arc<Shared>,
}

struct Shared {
    deeds: Deeds,
    /// Answers go on without a stop.
    free: Mutex<bool>,
    freed: Condvar,
}

impl Model {
    /// Answers whoever comes to this listener.
    pub fn start(listener: TcpListener, deeds: Deeds) -> Self {
        let shared = Arc::new(Shared {
            deeds,
            free: Mutex::new(false),
            freed: Condvar::new(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, serving) = (stream.unwrap(), Arc::clone(&serving));
                // A program that is gone before its answer is no fault.
                thread::spawn(move || drop(serving.serve(&stream)));
            }
        });
        Self { shared }
    }

    /// From now on it stops where its script says so.
    pub fn hold(&self) {
        *self.shared.free() = false;
    }

    /// What it holds goes on, and nothing is held until [`Model::hold`].
    pub fn let_go(&self) {
        *self.shared.free() = true;
        self.shared.freed.notify_all();
    }
}

impl Shared {
    fn free(&self) -> MutexGuard<'_, bool> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        let mut free = self.free();
        while !*free {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let Some(request) = Request::read(stream)? else {
            return Ok(());
        };
        println!("model: {} {}", request.method, request.path);
        let spoken = dialect(&request.path).filter(|_| request.method == "POST");
        let Some((dialect, body)) = spoken.zip(serde_json::from_slice(&request.body).ok()) else {
            // Lists of models and the like: none are known, and that is fine.
            let status = if request.method == "POST" { 404 } else { 200 };
            return http::whole(stream, status, &Value::Object(serde_json::Map::new()));
        };
        let asked = (dialect.asked)(&body);
        let (answer, stop) = self.answer(&asked);
        println!("model: {asked:?}: {answer:?}");
        if stop == Some(Stop::Before) {
            self.wait();
        }
        // What of the protocols is asked for by the path alone.
        let streams = asked.streams || request.path.contains(":stream");
        if !streams {
            return http::whole(stream, 200, &(dialect.whole)(TITLE));
        }
        http::begin(stream)?;
        for (number, events) in (dialect.stream)(&answer).iter().enumerate() {
            // The first are what comes before all words, then there is a word.
            if stop == Some(Stop::Within) && number == 2 {
                self.wait();
            }
            http::events(stream, events)?;
        }
        Ok(())
    }

    fn answer(&self, asked: &Asked) -> (Answer, Option<Stop>) {
        let says = |prompt: &str| asked.prompt.contains(prompt);
        let words = || Answer::Text(WORDS.map(str::to_owned).to_vec());
        let deed = |deed: &Deed| match deed {
            Deed::Call(call) => Answer::Call(call.clone()),
            Deed::Text(text) => Answer::Text(vec![text.clone()]),
        };
        // A program without tools asks in text, and asks nothing of its own.
        let bare = matches!(self.deeds.run, Deed::Text(_));
        if !asked.has_tools && !bare {
            (Answer::Text(vec![TITLE.to_owned()]), None)
        } else if asked.of_tool {
            (words(), Some(Stop::Within))
        } else if says(prompts::RUN) {
            (deed(&self.deeds.run), None)
        } else if says(prompts::EDIT) {
            (deed(&self.deeds.edit), None)
        } else if says(prompts::THINK) {
            (words(), Some(Stop::Before))
        } else if says(prompts::SLOW) {
            (words(), Some(Stop::Within))
        } else {
            (words(), None)
        }
    }
}

/// An id that nothing had before: programs take what has the same for the same.
fn fresh(kind: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    format!("{kind}_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// The texts in a value of any shape: strings, lists of parts, parts.
fn texts(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(texts).collect::<Vec<_>>().join("\n"),
        Value::Object(part) => part.get("text").map(texts).unwrap_or_default(),
        _ => String::new(),
    }
}

/// The last element of a list that fits.
fn last(list: &Value, fits: impl Fn(&Value) -> bool) -> Option<&Value> {
    list.as_array()?.iter().rfind(|one| fits(one))
}

/// Whether somebody's tools are more than none.
fn has_tools(body: &Value) -> bool {
    body["tools"].as_array().is_some_and(|tools| !tools.is_empty())
}

/// An event with its name, as two of the protocols have it.
fn named(event: &Value) -> String {
    let name = event["type"].as_str().unwrap_or_default();
    format!("event: {name}\ndata: {event}\n\n")
}

/// An event without a name.
fn nameless(event: &Value) -> String {
    format!("data: {event}\n\n")
}
