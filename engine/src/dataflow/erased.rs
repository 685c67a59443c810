//! Operators and sources without their types, as a graph keeps them.
//!
//! Invariant: what a node is given is what the nodes before it put out, for the [`Builder`](crate::graph::Builder) makes each
//! of these from an operator whose types fit. A batch of another type is a defect of the engine.

use super::inputs::{Inputs, Taking};
use super::source::{Skipped, Source, SourceBatch};
use super::{Context, Exchange, Failure, Operator, Router, Stamped};
use crate::Result;
use crate::flow::{Batch, Output};
use std::marker::PhantomData;

/// A node that reads other nodes.
pub(crate) trait AnyOperator: Send + Sync {
    fn run(&self, context: &mut Context<'_>, taking: Taking<'_>) -> Result<Output, Failure>;

    /// As [`Operator::is_due`].
    fn is_due(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let _ = context;
        Ok(false)
    }
}

/// An operator whose output stays on its shard.
pub(crate) struct Local<O>(pub(crate) O);

impl<O: Operator> AnyOperator for Local<O> {
    fn run(&self, context: &mut Context<'_>, mut taking: Taking<'_>) -> Result<Output, Failure> {
        let input = O::Input::take(&mut taking)?;
        let output = self.0.run(context, input)?;
        Ok(output.map_or(Output::Nothing, |output| Output::Local(Batch::new(output))))
    }

    fn is_due(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        self.0.is_due(context)
    }
}

/// The sending side of an exchange.
pub(crate) struct Scatter<X>(pub(crate) X);

impl<X: Exchange> AnyOperator for Scatter<X> {
    fn run(&self, context: &mut Context<'_>, mut taking: Taking<'_>) -> Result<Output, Failure> {
        let input = X::Input::take(&mut taking)?;
        let parts = self.0.route(context, input)?;
        Ok(Output::Routed(parts.into_iter().map(Batch::new).collect()))
    }

    fn is_due(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        self.0.is_due(context)
    }
}

/// The receiving side of an exchange: from `Vec<T>` of every shard to one `Vec<T>` in the order of the stamps, so that the
/// result does not depend on how many shards there are. Values of one stamp keep the order in which they were made.
pub(crate) struct Gather<T>(PhantomData<fn() -> T>);

impl<T> Default for Gather<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Stamped + Clone + Send + 'static> AnyOperator for Gather<T> {
    fn run(&self, _context: &mut Context<'_>, mut taking: Taking<'_>) -> Result<Output, Failure> {
        Ok(Output::Local(Batch::new(Batch::in_order::<T>(taking.parts(0)?)?)))
    }
}

/// A node that reads a topic.
pub(crate) trait AnySource: Send + Sync {
    /// One batch for each shard.
    fn decode(&self, records: &SourceBatch<'_>, router: Router) -> Result<Vec<Batch>>;

    /// What several batches of records have become for one shard, in the order of the log.
    fn gather(&self, parts: Vec<Batch>) -> Result<Batch>;

    /// `batch` without what was made of records that are left out.
    fn leave_out(&self, batch: Batch, skipped: &Skipped) -> Result<Batch>;

    /// `batch`, where its partition had come as far as `stream_time_ms` before.
    fn raise(&self, batch: Batch, stream_time_ms: i64) -> Result<Batch>;
}

impl<S: Source> AnySource for S {
    fn decode(&self, records: &SourceBatch<'_>, router: Router) -> Result<Vec<Batch>> {
        Ok(Source::decode(self, records, &router)?.into_iter().map(Batch::new).collect())
    }

    fn gather(&self, parts: Vec<Batch>) -> Result<Batch> {
        Ok(Batch::new(Batch::in_order::<S::Item>(parts)?))
    }

    fn leave_out(&self, batch: Batch, skipped: &Skipped) -> Result<Batch> {
        let mut items: Vec<S::Item> = batch.downcast()?;
        items.retain(|item| !skipped.contains_key(&item.stamp().sequence));
        Ok(Batch::new(items))
    }

    fn raise(&self, batch: Batch, stream_time_ms: i64) -> Result<Batch> {
        let mut items: Vec<S::Item> = batch.downcast()?;
        for stamp in items.iter_mut().map(Stamped::stamp_mut) {
            stamp.stream_time_ms = stamp.stream_time_ms.max(stream_time_ms);
        }
        Ok(Batch::new(items))
    }
}
