//! The facts, and the graph that makes tables of them.
//!
//! Each record says the whole of what is known of its order at that point, and is stored under the order's number. So a client
//! that has not seen the answer to a request may send it once more: the same fact twice is that fact. Facts may come in any
//! order: a payment that is there before its order waits in its table.

use millpond::codec::Json;
use millpond::{Graph, GraphBuilder, Key, Result, StoredTable, Topic};
use serde::{Deserialize, Serialize};

/// A value of topic `orders`; a tombstone says that the order was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) customer: String,
    pub(crate) items: Vec<String>,
    pub(crate) cents: u64,
}

/// A value of topic `payments`: all that was paid for an order so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub(crate) cents: u64,
}

/// A value of topic `shipments`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shipment {
    pub(crate) carrier: String,
    pub(crate) delivered: bool,
}

/// How far an order is. It is the key of a table, whose rows lie in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Key)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    Placed,
    Paid,
    Shipped,
    Delivered,
}

/// A row of table `status`: what is known of an order from all topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) stage: Stage,
    pub(crate) customer: String,
    pub(crate) items: Vec<String>,
    pub(crate) cents: u64,
    pub(crate) paid_cents: u64,
    pub(crate) carrier: Option<String>,
}

impl Status {
    fn new(order: &Order, payment: Option<&Payment>) -> Self {
        let Order { customer, items, cents } = order.clone();
        let paid_cents = payment.map_or(0, |payment| payment.cents);
        let stage = if paid_cents >= cents { Stage::Paid } else { Stage::Placed };
        Self { stage, customer, items, cents, paid_cents, carrier: None }
    }

    fn shipped(&self, shipment: Option<&Shipment>) -> Self {
        let mut status = self.clone();
        if let Some(Shipment { carrier, delivered }) = shipment {
            status.stage = if *delivered { Stage::Delivered } else { Stage::Shipped };
            status.carrier = Some(carrier.clone());
        }
        status
    }
}

/// The topics, the graph over them, and its tables.
pub(crate) struct OrderGraph {
    pub(crate) orders: Topic<u64, Order>,
    pub(crate) payments: Topic<u64, Payment>,
    pub(crate) shipments: Topic<u64, Shipment>,
    pub(crate) graph: Graph,
    pub(crate) status: StoredTable<u64, Status>,
    pub(crate) by_customer: StoredTable<(String, u64), Status>,
    pub(crate) stages: StoredTable<Stage, u64>,
}

impl OrderGraph {
    pub(crate) fn new() -> Result<Self> {
        // Topics in JSON, so that other programs can read the log, and fields can be added to what is there. Tables in the
        // default codec, which takes less room: they are this service's own, and are built anew from the log when they change.
        let orders = Topic::with_codec("orders", Json).partitions(4);
        let payments = Topic::with_codec("payments", Json).partitions(4);
        let shipments = Topic::with_codec("shipments", Json).partitions(4);

        let graph = GraphBuilder::new();
        let status = graph
            .table(&orders, "orders")
            .left_join(&graph.table(&payments, "payments"), |_, order, payment| Status::new(order, payment))
            .left_join(&graph.table(&shipments, "shipments"), |_, status: &Status, shipment| {
                status.shipped(shipment)
            })
            .materialize("status");
        let by_customer = status.re_key("by_customer", |id, status| (status.customer.clone(), *id));
        let stages = status.group_by(|_, status| (status.stage, ())).count("stages");
        Ok(Self { orders, payments, shipments, graph: graph.build()?, status, by_customer, stages })
    }
}
