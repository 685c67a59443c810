//! The example `order_tracking` keeps its promises over HTTP: whoever writes reads it, events come in order and end with the
//! service, and nothing acknowledged is lost, however the service ends.
//!
//! Method: the program runs as a child on a free port and is asked as any client would. Events are read while orders change,
//! one by one and in a rush, and must end (not break off) when the service is asked to stop. Four clients write until the
//! service is killed (SIGKILL), and send once more what was not acknowledged; after several such lives every order is there,
//! once, as it was written, in all three tables. Bad requests get the status that says whose fault they are, and write nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use millpond_support::process::{ChildProcess, example};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use ureq::Agent;
use ureq::http::Response;

const HEADER: &str = "Millpond-Position";

/// The service, and a client of it.
struct Service {
    child: ChildProcess,
    client: Client,
}

#[derive(Clone)]
struct Client {
    url: String,
    agent: Agent,
}

/// A status and a body.
type Answer = (u16, Value);

impl Service {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(example("order_tracking"));
        command.args(["--listen", "127.0.0.1:0", "--grace", "1", "--dir"]).arg(dir);
        let mut child = ChildProcess::start(command);
        let Some(line) = child.line() else { panic!("it does not start: {:?}", child.end()) };
        let url = line.strip_prefix("listening on ").unwrap().to_owned();
        let agent = Agent::config_builder().http_status_as_error(false).build().into();
        Self { child, client: Client { url, agent } }
    }

    /// Asks it to stop, and returns its log.
    fn stop(self) -> String {
        self.child.terminate();
        self.ended()
    }

    fn ended(self) -> String {
        let (lines, log, status) = self.child.end();
        assert!(status.success(), "{status}: {log}");
        assert_eq!(lines, [] as [&str; 0]);
        log
    }
}

fn answer(mut response: Response<ureq::Body>) -> Answer {
    let text = response.body_mut().read_to_string().unwrap();
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    (response.status().as_u16(), body)
}

impl Client {
    /// Appends; the position of what was appended, or `None` if the service is gone.
    fn try_post(&self, path: &str, body: &Value) -> Option<String> {
        let response = self.agent.post(format!("{}{path}", self.url)).send_json(body).ok()?;
        assert_eq!(response.status(), 201, "{path} {body}");
        Some(response.headers()[HEADER].to_str().unwrap().to_owned())
    }

    fn post(&self, path: &str, body: &Value) -> String {
        self.try_post(path, body).unwrap()
    }

    fn cancel(&self, id: u64) -> String {
        let response = self.agent.delete(format!("{}/orders/{id}", self.url)).call().unwrap();
        assert_eq!(response.status(), 204);
        response.headers()[HEADER].to_str().unwrap().to_owned()
    }

    fn get_at(&self, path: &str, positions: &[&str]) -> Answer {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        for position in positions {
            request = request.header(HEADER, *position);
        }
        answer(request.call().unwrap())
    }

    /// The answer that includes `positions`; asks again while it is not there yet.
    fn get(&self, path: &str, positions: &[&str]) -> Answer {
        loop {
            match self.get_at(path, positions) {
                (503, _) => {}
                answer => return answer,
            }
        }
    }

    fn events(&self, id: u64) -> Events {
        let response = self.agent.get(format!("{}/orders/{id}/events", self.url)).call().unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events(BufReader::new(response.into_body().into_reader()))
    }
}

struct Events(BufReader<ureq::BodyReader<'static>>);

impl Iterator for Events {
    type Item = (String, Value);

    /// The kind and the data of the next event; the end only if the service has ended the answer, not if it broke off.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut kind = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(name) = line.strip_prefix("event:") {
                name.trim().clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data:") {
                return Some((kind, serde_json::from_str(data).unwrap()));
            }
        }
    }
}

impl Events {
    /// What the next event says of the stage and of what was paid.
    fn status(&mut self) -> (String, u64) {
        let (kind, status) = self.next().unwrap();
        assert_eq!(kind, "status", "{status}");
        (status["stage"].as_str().unwrap().to_owned(), status["paid_cents"].as_u64().unwrap())
    }
}

fn order(id: u64, cents: u64) -> Value {
    json!({ "id": id, "customer": format!("customer {}", id % 3), "items": ["tea", "cups"], "cents": cents })
}

fn is(stage: &str, paid_cents: u64) -> (String, u64) {
    (stage.to_owned(), paid_cents)
}

#[test]
fn whoever_writes_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    let client = &service.client;
    assert_eq!(client.get("/health", &[]), (200, json!({ "state": "running" })));
    for id in 0..20 {
        // A payment that comes before its order waits for it.
        let paid = client.post(&format!("/orders/{id}/payments"), &json!({ "cents": id }));
        assert_eq!(client.get(&format!("/orders/{id}"), &[&paid]).0, 404);
        let placed = client.post("/orders", &order(id, 10));
        let shipped = client
            .post(&format!("/orders/{id}/shipments"), &json!({ "carrier": "P", "delivered": id >= 15 }));
        let (status, row) = client.get(&format!("/orders/{id}"), &[&shipped, &placed]);
        let stage = if id >= 15 { "delivered" } else { "shipped" };
        let expected = json!({
            "stage": stage, "customer": format!("customer {}", id % 3), "items": ["tea", "cups"], "cents": 10,
            "paid_cents": id, "carrier": "P",
        });
        assert_eq!((status, row), (200, expected), "order {id}");
    }
    let placed = client.post("/orders", &order(20, 10));
    let cancelled = client.cancel(0);
    let stages = json!([
        { "stage": "placed", "orders": 1 }, { "stage": "shipped", "orders": 14 }, { "stage": "delivered", "orders": 5 },
    ]);
    assert_eq!(client.get("/stages", &[&placed, &cancelled]), (200, stages.clone()));
    assert_eq!(client.get("/orders/0", &[&cancelled]).0, 404);
    let (_, of_customer) = client.get("/customers/customer%200/orders", &[]);
    let ids: Vec<u64> =
        of_customer.as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [3, 6, 9, 12, 15, 18]);
    service.stop();

    let service = Service::start(dir.path());
    assert_eq!(service.client.get("/stages", &[&placed, &cancelled]), (200, stages));
    assert_eq!(service.client.get("/customers/customer%200/orders", &[]), (200, of_customer));
    assert_eq!(service.client.get("/orders/0", &[]).0, 404);
    service.stop();
}

#[test]
fn events_come_in_order_and_end_with_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    let client = &service.client;
    // Nothing is there to be told yet.
    let mut events = client.events(7);
    client.post("/orders", &order(7, 100));
    assert_eq!(events.status(), is("placed", 0));
    client.post("/orders/7/payments", &json!({ "cents": 50 }));
    assert_eq!(events.status(), is("placed", 50));
    client.post("/orders/8/payments", &json!({ "cents": 1 }));
    client.post("/orders/7/payments", &json!({ "cents": 100 }));
    assert_eq!(events.status(), is("paid", 100));
    // Who comes later begins with what is there.
    let mut late = client.events(7);
    assert_eq!(late.status(), is("paid", 100));

    // Whoever does not read meanwhile is told the newest, and never what was before it.
    for cents in 101..=150 {
        client.post("/orders/7/payments", &json!({ "cents": cents }));
    }
    for events in [&mut events, &mut late] {
        let mut seen = 100;
        while seen < 150 {
            let (stage, paid) = events.status();
            assert!(stage == "paid" && paid > seen, "{stage} {paid} after {seen}");
            seen = paid;
        }
    }
    client.cancel(7);
    for events in [&mut events, &mut late] {
        assert_eq!(events.next(), Some(("cancelled".to_owned(), Value::Null)));
    }

    let mut others: Vec<Events> = (0..20).map(|id| client.events(id)).collect();
    service.child.terminate();
    for events in others.iter_mut().chain([&mut events, &mut late]) {
        assert_eq!(events.next(), None, "an event that nobody has caused");
    }
    let log = service.ended();
    assert!(log.contains("the engine is closed") && !log.contains("are cut"), "{log}");
}

#[test]
fn a_client_that_never_ends_its_request_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    let mut stream = TcpStream::connect(service.client.url.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{").unwrap();
    // So that the one before is certainly known to it.
    assert_eq!(service.client.get("/health", &[]).0, 200);
    let log = service.stop();
    assert!(log.contains("are cut"), "{log}");
}

#[test]
fn bad_requests_say_so_and_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    let client = &service.client;
    let refused = |(status, body): Answer, expected: u16| {
        assert_eq!(status, expected, "{body}");
        body["error"].as_str().unwrap().to_owned()
    };
    let post = |path: &str, kind: &str, body: &str| {
        let request = client.agent.post(format!("{}{path}", client.url)).header("content-type", kind);
        answer(request.send(body).unwrap())
    };
    refused(post("/orders", "application/json", "{"), 400);
    refused(post("/orders", "application/json", r#"{"id":1,"customer":"ada"}"#), 422);
    refused(post("/orders", "application/json", r#"{"id":-1,"customer":"ada","items":[],"cents":1}"#), 422);
    refused(post("/orders", "text/plain", &order(1, 1).to_string()), 415);
    refused(post("/orders/one/payments", "application/json", r#"{"cents":1}"#), 400);
    refused(post("/orders/1/payments", "application/json", r#"{"cents":"1"}"#), 422);
    refused(client.get_at("/orders/one", &[]), 400);
    refused(client.get_at("/orders/1", &[]), 404);
    assert!(refused(client.get_at("/orders/1", &["yesterday"]), 400).contains("is no position"));
    refused(client.get_at("/orders/1", &["{orders/4@1}"]), 400);
    refused(client.get_at("/stages", &["{invoices/0@1}"]), 400);
    // What nobody has appended does not come, and nobody waits for ever.
    let ahead = client.agent.get(format!("{}/orders/1", client.url)).header(HEADER, "{orders/0@1}");
    let ahead = ahead.call().unwrap();
    assert_eq!(ahead.headers()["retry-after"], "1");
    assert!(refused(answer(ahead), 503).contains("not within 2s"));
    assert_eq!(client.get("/stages", &[]), (200, json!([])));
    service.stop();
}

const CLIENTS: u64 = 4;
const LIVES: u64 = 3;
/// So many orders are acknowledged before the service is killed.
const ORDERS: usize = 150;

/// Places orders and pays for every other one, from `id` on, until the service is gone. The id of the first that was not
/// acknowledged as a whole, and all positions.
fn write(client: &Client, mut id: u64, told: &Sender<()>) -> (u64, Vec<String>) {
    let mut positions = Vec::new();
    while let Some(position) = client.try_post("/orders", &order(id, id)) {
        positions.push(position);
        if id.is_multiple_of(2) {
            let paid = client.try_post(&format!("/orders/{id}/payments"), &json!({ "cents": id + 1 }));
            let Some(position) = paid else { break };
            positions.push(position);
        }
        told.send(()).ok();
        id += CLIENTS;
    }
    (id, positions)
}

#[test]
fn whatever_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut next: Vec<u64> = (0..CLIENTS).collect();
    for life in 0..LIVES {
        let mut service = Service::start(dir.path());
        let (told, acknowledged) = channel();
        let writers: Vec<_> = next
            .iter()
            .map(|&id| {
                let (client, told) = (service.client.clone(), told.clone());
                std::thread::spawn(move || write(&client, id, &told))
            })
            .collect();
        assert_eq!(acknowledged.iter().take(ORDERS).count(), ORDERS);
        service.child.kill();
        let written: Vec<(u64, Vec<String>)> =
            writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        assert_eq!(service.child.end().2.code(), None, "it ended by itself");
        next = written.iter().map(|(id, _)| *id).collect();

        let service = Service::start(dir.path());
        let positions: Vec<&str> =
            written.iter().flat_map(|(_, positions)| positions).map(|p| &**p).collect();
        check(&service.client, &positions, &next, life);
        // The next life begins after an orderly end, or after another kill.
        if life % 2 == 0 { drop(service.stop()) } else { kill(service) }
    }
}

fn kill(mut service: Service) {
    service.child.kill();
    drop(service.child.end());
}

/// Every order that was acknowledged is there, and at most one more of each client, in whatever state.
fn check(client: &Client, positions: &[&str], next: &[u64], life: u64) {
    // A few headers at a time, or they are too large for a request.
    for positions in positions.chunks(50) {
        client.get("/stages", positions);
    }
    let rows: Vec<Value> = (0..3)
        .flat_map(|customer| {
            let (status, rows) = client.get(&format!("/customers/customer%20{customer}/orders"), &[]);
            assert_eq!(status, 200);
            rows.as_array().unwrap().clone()
        })
        .collect();
    let is_acknowledged = |id: u64| id < next[(id % CLIENTS) as usize];
    let mut found = 0;
    let mut placed = 0;
    for row in &rows {
        let id = row["id"].as_u64().unwrap();
        let paid = row["paid_cents"].as_u64().unwrap();
        placed += u64::from(row["stage"] == "placed");
        if !is_acknowledged(id) {
            assert!(next.contains(&id), "life {life}: order {id} was never sent");
            continue;
        }
        found += 1;
        let expected = if id.is_multiple_of(2) { ("paid", id + 1) } else { ("placed", 0) };
        assert_eq!((row["stage"].as_str().unwrap(), paid), expected, "life {life}: order {id}");
        assert_eq!(row["items"], json!(["tea", "cups"]));
        let (status, mut alone) = client.get(&format!("/orders/{id}"), &[]);
        alone["id"] = json!(id);
        assert_eq!((status, &alone), (200, row));
    }
    let expected: u64 = next.iter().map(|next| next / CLIENTS).sum();
    assert_eq!(found, expected, "life {life}: orders that were acknowledged");
    let (_, stages) = client.get("/stages", &[]);
    let count = |stage: &str| -> u64 {
        let rows = stages.as_array().unwrap().iter().filter(|row| row["stage"] == stage);
        rows.map(|row| row["orders"].as_u64().unwrap()).sum()
    };
    assert_eq!(
        (count("placed"), count("paid")),
        (placed, rows.len() as u64 - placed),
        "life {life}: {stages}"
    );
}
