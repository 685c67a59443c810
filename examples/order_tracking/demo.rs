//! A client, over real HTTP: what `--demo` shows.

use crate::Outcome;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write};
use tokio::sync::oneshot;
use ureq::http::Response;
use ureq::{Agent, Body};

const HEADER: &str = "Millpond-Position";

/// Follows an order from the first event to the last, and has the service stop then.
pub(crate) fn run(url: &str, stop: oneshot::Sender<()>) -> Outcome {
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let post = |path: &str, body: Value| -> Outcome<String> {
        let response = agent.post(format!("{url}{path}")).send_json(&body)?;
        let position =
            response.headers().get(HEADER).ok_or("an answer without a position")?.to_str()?.to_owned();
        writeln!(io::stdout(), "POST {path} {body}\n  {} {HEADER}: {position}", response.status().as_u16())?;
        Ok(position)
    };
    let get = |path: &str, position: &str| -> Outcome {
        let response = agent.get(format!("{url}{path}")).header(HEADER, position).call()?;
        shown(path, response)
    };

    let position =
        post("/orders", json!({ "id": 1, "customer": "ada", "items": ["tea", "cups"], "cents": 2400 }))?;
    get("/orders/1", &position)?;
    let mut events = Events::open(&agent, &format!("{url}/orders/1/events"))?;
    events.show_next()?;
    post("/orders/1/payments", json!({ "cents": 2400 }))?;
    events.show_next()?;
    post("/orders/1/shipments", json!({ "carrier": "Penguin Post", "delivered": false }))?;
    events.show_next()?;
    let position =
        post("/orders", json!({ "id": 2, "customer": "ada", "items": ["biscuits"], "cents": 300 }))?;
    get("/customers/ada/orders", &position)?;
    get("/stages", &position)?;
    get("/orders/3", &position)?;
    get("/health", &position)?;

    writeln!(io::stdout(), "the service is told to stop")?;
    stop.send(()).ok();
    events.show_end()
}

fn shown(path: &str, mut response: Response<Body>) -> Outcome {
    let body = response.body_mut().read_to_string()?;
    writeln!(io::stdout(), "GET {path}\n  {} {body}", response.status().as_u16())?;
    Ok(())
}

/// The events of an order.
struct Events(BufReader<ureq::BodyReader<'static>>);

impl Events {
    fn open(agent: &Agent, url: &str) -> Outcome<Self> {
        Ok(Self(BufReader::new(agent.get(url).call()?.into_body().into_reader())))
    }

    /// The data of the next event; `None` at the end of the stream.
    fn next(&mut self) -> Outcome<Option<String>> {
        let mut line = String::new();
        while self.0.read_line(&mut line)? > 0 {
            if let Some(data) = line.strip_prefix("data:") {
                return Ok(Some(data.trim().to_owned()));
            }
            line.clear();
        }
        Ok(None)
    }

    fn show_next(&mut self) -> Outcome {
        writeln!(io::stdout(), "event\n  {}", self.next()?.ok_or("the events have ended")?)?;
        Ok(())
    }

    fn show_end(&mut self) -> Outcome {
        if let Some(event) = self.next()? {
            return Err(format!("an event that nobody has caused: {event}").into());
        }
        writeln!(io::stdout(), "the events have ended")?;
        Ok(())
    }
}
