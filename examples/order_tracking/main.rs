//! A web service that keeps track of orders: three topics of facts, a table of where each order stands, and HTTP to feed and
//! to ask it. The example to start a service of one's own from.
//!
//! ```text
//! orders ────┐
//! payments ──┼─ left joins ─► status ──┬─► by customer      GET /customers/{customer}/orders
//! shipments ─┘      │                  └─► count by stage   GET /stages
//!                   └► GET /orders/{id}, and GET /orders/{id}/events as server-sent events
//! ```
//!
//! What is written is answered with a position in the header `Millpond-Position`. Whoever sends that header with a request
//! reads what was written, or is told (503) that it is not there yet. Kill the service at any moment and start it again with
//! the same `--dir`: whatever was acknowledged is there.
//!
//! `--demo` runs a client against it and ends. See `orders.rs` for the graph, `api.rs` for the routes, `position.rs` for reading
//! one's own writes, and `failure.rs` for what becomes of errors.

mod api;
mod demo;
mod failure;
mod orders;
mod position;

use api::App;
use clap::Parser;
use std::error::Error;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Keeps track of orders, over HTTP.
#[derive(Parser)]
#[command(name = "order_tracking")]
struct Arguments {
    /// Listens on this address; with port 0 on any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// Keeps changelog and tables in this directory; without it they are thrown away at the end
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Waits so long for connections that are still open when it is told to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    grace: u64,

    /// Listens on a free port, runs a client against itself, and ends
    #[arg(long, conflicts_with = "listen")]
    demo: bool,
}

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    // The standard output is for what was asked for: the address, and what the demonstration shows.
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("order_tracking: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Not `async`: opening an engine reads from the disk, and there is nobody yet whom that would hold up.
fn run() -> Outcome {
    let arguments = Arguments::parse();
    let thrown_away = tempfile::tempdir()?;
    let dir = arguments.dir.clone().unwrap_or_else(|| thrown_away.path().to_owned());
    let app = Arc::new(App::open(&dir)?);
    tokio::runtime::Runtime::new()?.block_on(start(app, &arguments))
}

async fn start(app: Arc<App>, arguments: &Arguments) -> Outcome {
    let address = if arguments.demo { SocketAddr::from(([127, 0, 0, 1], 0)) } else { arguments.listen };
    let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
    let url = format!("http://{}", listener.local_addr()?);
    let grace = Duration::from_secs(arguments.grace);
    if arguments.demo {
        let (stop, stopped) = oneshot::channel();
        let client = tokio::task::spawn_blocking(move || demo::run(&url, stop));
        // The client says when it has seen enough; if it fails it says so by being gone.
        serve(app, listener, grace, async { drop(stopped.await) }).await?;
        client.await?
    } else {
        // Before anybody knows the address, so that whoever does can stop it.
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let told = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        writeln!(io::stdout(), "listening on {url}")?;
        serve(app, listener, grace, told).await
    }
}

/// Serves until `told` to stop.
///
/// The engine is closed before the server is: streams of changes end with their engine, and the server waits for all
/// connections to end. The other way round an open page of events would keep it alive for ever. What is asked between the two
/// is answered with 503.
async fn serve(app: Arc<App>, listener: TcpListener, grace: Duration, told: impl Future) -> Outcome {
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, api::routes(Arc::clone(&app)))
        .with_graceful_shutdown(async { drop(stopped.await) });
    let server = tokio::spawn(server.into_future());
    told.await;
    tracing::info!("told to stop");
    let closed = app.engine.close().await;
    stop.send(()).ok();
    if let Ok(ended) = tokio::time::timeout(grace, server).await {
        ended??;
    } else {
        // A client that never ends its request, or never reads its answer, must not hold up the end.
        tracing::warn!("connections are still open after {grace:?} and are cut");
    }
    Ok(closed?)
}
