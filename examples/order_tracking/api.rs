//! The routes.
//!
//! Views are synchronous: they touch memory and the local disk, nothing else. One row is looked up right where it is asked for:
//! it is in memory if anybody has asked for it lately, and takes a read of the local disk otherwise, which is less than what
//! it costs to hand the question to another thread. What reads any number of rows goes to a thread that may block, so that
//! it does not hold up the requests that share its thread. Appends and waits are futures.

use crate::failure::Failure;
use crate::orders::{Order, OrderGraph, Payment, Shipment, Stage, Status};
use crate::position::{HEADER, ReadYourWrites};
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt, stream};
use millpond::changelog::Ack;
use millpond::{Engine, Health, View};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What all handlers share.
pub(crate) struct App {
    pub(crate) engine: Engine,
    facts: OrderGraph,
    status: View<u64, Status>,
    by_customer: View<(String, u64), Status>,
    stages: View<Stage, u64>,
}

impl App {
    pub(crate) fn open(dir: &std::path::Path) -> millpond::Result<Self> {
        let facts = OrderGraph::new()?;
        let engine = Engine::open(dir, &facts.graph)?;
        Ok(Self {
            status: engine.view(&facts.status)?,
            by_customer: engine.view(&facts.by_customer)?,
            stages: engine.view(&facts.stages)?,
            facts,
            engine,
        })
    }
}

pub(crate) fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/orders", post(place))
        .route("/orders/{id}", get(status).delete(cancel))
        .route("/orders/{id}/payments", post(pay))
        .route("/orders/{id}/shipments", post(ship))
        .route("/orders/{id}/events", get(events))
        .route("/customers/{customer}/orders", get(of_customer))
        .route("/stages", get(stages))
        .route("/health", get(health))
        .with_state(app)
}

type Id = Result<Path<u64>, PathRejection>;
type Body<T> = Result<Json<T>, JsonRejection>;

/// An order with the number that the client has given it. If the service gave numbers, a client that has not seen the answer
/// could not send its order once more without ordering twice.
#[derive(Serialize, Deserialize)]
struct Numbered<T> {
    id: u64,
    #[serde(flatten)]
    row: T,
}

/// Answers once what was appended is durable, with its position.
async fn acknowledged(ack: Ack, status: StatusCode) -> Result<Response, Failure> {
    let position = ack.await?;
    Ok((status, [(HEADER, position.to_string())]).into_response())
}

async fn place(State(app): State<Arc<App>>, order: Body<Numbered<Order>>) -> Result<Response, Failure> {
    let Json(Numbered { id, row }) = order?;
    acknowledged(app.engine.append(&app.facts.orders, &id, &row), StatusCode::CREATED).await
}

/// Whether the order is known is not asked: it may have been placed a moment ago, or be on its way.
async fn pay(State(app): State<Arc<App>>, id: Id, payment: Body<Payment>) -> Result<Response, Failure> {
    let (Path(id), Json(payment)) = (id?, payment?);
    acknowledged(app.engine.append(&app.facts.payments, &id, &payment), StatusCode::CREATED).await
}

async fn ship(State(app): State<Arc<App>>, id: Id, shipment: Body<Shipment>) -> Result<Response, Failure> {
    let (Path(id), Json(shipment)) = (id?, shipment?);
    acknowledged(app.engine.append(&app.facts.shipments, &id, &shipment), StatusCode::CREATED).await
}

async fn cancel(State(app): State<Arc<App>>, id: Id) -> Result<Response, Failure> {
    let Path(id) = id?;
    acknowledged(app.engine.delete(&app.facts.orders, &id), StatusCode::NO_CONTENT).await
}

async fn status(State(app): State<Arc<App>>, _: ReadYourWrites, id: Id) -> Result<Json<Status>, Failure> {
    let Path(id) = id?;
    match app.status.get(&id)? {
        Some(status) => Ok(Json(status)),
        None => Err(Failure::not_found(format!("there is no order {id}"))),
    }
}

/// All orders of a customer. Who has customers with very many asks for a `range` of them, page by page.
async fn of_customer(
    State(app): State<Arc<App>>,
    _: ReadYourWrites,
    customer: Result<Path<String>, PathRejection>,
) -> Result<Json<Vec<Numbered<Status>>>, Failure> {
    let Path(customer) = customer?;
    let orders = blocking(move || {
        let orders = app.by_customer.prefix(&(&*customer,))?;
        orders.map(|order| order.map(|((_, id), row)| Numbered { id, row })).collect()
    });
    Ok(Json(orders.await?))
}

/// A row of `GET /stages`.
#[derive(Serialize)]
struct Count {
    stage: Stage,
    orders: u64,
}

/// How many orders are at each stage. One epoch: an order that moves on is never counted twice, and never not at all.
async fn stages(State(app): State<Arc<App>>, _: ReadYourWrites) -> Result<Json<Vec<Count>>, Failure> {
    let counts = blocking(move || {
        app.stages.scan()?.map(|row| row.map(|(stage, orders)| Count { stage, orders })).collect()
    });
    Ok(Json(counts.await?))
}

/// Runs what reads many rows on a thread that may block.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> millpond::Result<T> + Send + 'static,
) -> millpond::Result<T> {
    let panicked = |error| millpond::Error::internal("a query has not come to its end").with_source(error);
    tokio::task::spawn_blocking(read).await.map_err(panicked)?
}

/// The status of an order, if there is one, and then whatever becomes of it, as server-sent events. Who reads slowly is told
/// the newest status only. The events end when the service stops: a browser then connects again by itself.
async fn events(
    State(app): State<Arc<App>>,
    _: ReadYourWrites,
    id: Id,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Failure> {
    let Path(id) = id?;
    let changes = app.status.subscribe(&id)?;
    let current = changes.current().cloned().map(|status| Ok(Some(status)));
    let events = stream::iter(current).chain(changes).map(event);
    // Comments now and then, or a proxy may take the silence for the end.
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

fn event(status: millpond::Result<Option<Status>>) -> Result<Event, axum::Error> {
    match status {
        Ok(Some(status)) => Event::default().event("status").json_data(status),
        Ok(None) => Event::default().event("cancelled").json_data(()),
        Err(error) => {
            tracing::error!("a stream of events ends: {error}");
            Event::default().event("error").json_data("the status is not known any more")
        }
    }
}

/// Whether the service is up to date: what a load balancer asks before it sends requests.
async fn health(State(app): State<Arc<App>>) -> (StatusCode, Json<Health>) {
    let health = app.engine.health();
    let status = match health {
        Health::Running => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(health))
}
