//! A schema registry for tests: a small HTTP server that knows the handful of requests that are made, and can be away, slow, strict
//! and closed to strangers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test uses a part of it")]

use millpond_support::waiting::Weir;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

#[derive(Default)]
pub(crate) struct State {
    /// By their ids, which begin with 1.
    schemas: Vec<Value>,
    subjects: BTreeMap<String, Vec<u32>>,
    /// Whether connections are dropped without an answer.
    pub(crate) away: bool,
    /// What every request is answered with.
    pub(crate) answers: Option<(u16, String)>,
    /// Whether another schema for a subject that has one is refused.
    pub(crate) strict: bool,
    /// What `Authorization` has to say.
    pub(crate) authorization: Option<String>,
    /// Who stands in the way of requests.
    pub(crate) slow: Option<Weir>,
    /// Whether nobody asks any more.
    ended: bool,
    /// All requests, as `GET /schemas/ids/1`.
    pub(crate) requests: Vec<String>,
}

/// The server; it ends when this is dropped.
pub(crate) struct RegistryServer {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl RegistryServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let serving = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                let state = Arc::clone(&serving);
                if state.lock().unwrap().ended {
                    return;
                }
                std::thread::spawn(move || _ = serve(connection.unwrap(), &state));
            }
        });
        Self { url, state, thread: Some(thread) }
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// Registers as somebody else.
    pub(crate) fn register(&self, subject: &str, schema: &str, more: &Value) -> u32 {
        let mut body = json!({ "schema": schema });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.with(|state| state.register(subject, body)).unwrap()
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.with(|state| state.requests.clone())
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        self.with(|state| state.ended = true);
        // It looks at the next connection.
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
        self.thread.take().unwrap().join().unwrap();
    }
}

type Answer = (u16, Value);

fn refuse(status: u16, code: u32, message: &str) -> Answer {
    (status, json!({ "error_code": code, "message": message }))
}

impl State {
    fn register(&mut self, subject: &str, body: Value) -> Result<u32, Answer> {
        if body["schema"].as_str().is_none_or(str::is_empty) {
            return Err(refuse(422, 42201, "Invalid schema"));
        }
        let known = self.schemas.iter().position(|known| *known == body);
        let number = known.unwrap_or_else(|| {
            self.schemas.push(body);
            self.schemas.len() - 1
        });
        let id = u32::try_from(number + 1).unwrap();
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        if versions.contains(&id) {
            return Ok(id);
        }
        if self.strict && !versions.is_empty() {
            let told = "Schema being registered is incompatible with an earlier schema: READER_FIELD_MISSING_DEFAULT_VALUE";
            return Err(refuse(409, 409, told));
        }
        versions.push(id);
        Ok(id)
    }

    fn schema(&self, id: u32) -> Option<&Value> {
        self.schemas.get(usize::try_from(id).unwrap().checked_sub(1)?)
    }

    fn answer(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let path: Vec<String> = path.trim_start_matches('/').split('/').map(decoded).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let body = || serde_json::from_str::<Value>(body).unwrap();
        let absent = |what: &str| refuse(404, 40403, &format!("{what} not found."));
        match (method, &path[..]) {
            ("GET", ["schemas", "ids", id]) => match self.schema(id.parse().unwrap()) {
                Some(schema) => (200, schema.clone()),
                None => absent("Schema"),
            },
            ("POST", ["subjects", subject, "versions"]) => match self.register(subject, body()) {
                Ok(id) => (200, json!({ "id": id })),
                Err(refused) => refused,
            },
            ("POST", ["subjects", subject]) => {
                let Some(versions) = self.subjects.get(*subject) else { return absent("Subject") };
                match versions.iter().find(|id| self.schema(**id) == Some(&body())) {
                    Some(id) => (200, json!({ "subject": subject, "version": 1, "id": id, "schema": "" })),
                    None => absent("Schema"),
                }
            }
            ("GET", ["subjects", subject, "versions", version]) => {
                let versions = self.subjects.get(*subject).cloned().unwrap_or_default();
                let id = match version.parse::<usize>() {
                    Ok(version) => versions.get(version - 1),
                    Err(_) => versions.last(),
                };
                let Some(&id) = id else { return absent("Version") };
                let mut found = self.schema(id).unwrap().clone();
                found.as_object_mut().unwrap().insert("id".to_owned(), json!(id));
                (200, found)
            }
            _ => refuse(404, 404, "HTTP 404 Not Found"),
        }
    }
}

fn serve(connection: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let slow = {
        let mut state = state.lock().unwrap();
        state.requests.push(format!("{method} {path}"));
        state.slow.clone()
    };
    if let Some(slow) = slow {
        slow.pass();
    }
    let (status, answer) = {
        let mut state = state.lock().unwrap();
        if state.away {
            return Ok(());
        }
        match &state.answers {
            Some((status, text)) => (*status, text.clone()),
            None if state.authorization.is_some() && state.authorization != authorization => {
                let status = if authorization.is_some() { 403 } else { 401 };
                (status, refuse(status, u32::from(status), "Unauthorized").1.to_string())
            }
            None => {
                let (status, answer) = state.answer(&method, &path, std::str::from_utf8(&body).unwrap());
                (status, answer.to_string())
            }
        }
    };
    let mut connection = connection;
    write!(
        connection,
        "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    )
}

/// A part of a path, without percent signs.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
