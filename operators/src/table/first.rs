//! The first rows of a group, in the order of an index, while an epoch goes over them.
//!
//! An index keeps the rows of a group beside each other, in the order of their ranks. Of the rows that the epoch touches all
//! is known. Of the others nothing changes, so the first few of them, as many as are ever asked for, will do: often
//! what the group said before the epoch tells them, and only if it does not are they read, a few rows from one end. What an
//! epoch costs depends on what it changes, not on how many members a group has.

use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Failure};
use millpond_engine::graph::TableRef;
use millpond_engine::query::TableSnapshot;
use std::collections::{BTreeMap, BTreeSet};

/// Which end of a group is its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Least,
    Greatest,
}

/// The rows of one group of which something is known.
pub(super) struct First<R, X> {
    end: End,
    /// What the epoch touches, as it is now.
    touched: BTreeMap<R, X>,
    /// The first of the others, in order from `end`.
    others: Vec<(R, X)>,
    /// Whether no further ones can matter.
    enough: bool,
}

impl<R: Ord + Clone, X> First<R, X> {
    /// A group of which nothing is known but that the epoch begins.
    pub(super) fn new(end: End) -> Self {
        Self { end, touched: BTreeMap::new(), others: Vec::new(), enough: false }
    }

    /// Notes what a row that the epoch touches is now.
    pub(super) fn set(&mut self, rank: &R, row: Option<X>) {
        match row {
            Some(row) => self.touched.insert(rank.clone(), row),
            None => self.touched.remove(rank),
        };
    }

    /// Notes the first of the rows that the epoch does not touch, and whether no further ones can matter. Of the last one
    /// there may be more if they can.
    pub(super) fn know(&mut self, others: Vec<(R, X)>, enough: bool) {
        (self.others, self.enough) = (others, enough);
    }

    /// The first rows that together have `most` members, each with how many of its members are among them; `None` if
    /// rows that are not known could be among them.
    pub(super) fn rows(&self, most: usize, members: impl Fn(&X) -> usize) -> Option<Vec<(&R, &X, usize)>> {
        let (mut ascending, mut descending) = (self.touched.iter(), self.touched.iter());
        let mut touched = std::iter::from_fn(|| match self.end {
            End::Least => ascending.next(),
            End::Greatest => descending.next_back(),
        })
        .peekable();
        let mut others = self.others.iter().map(|(rank, row)| (rank, row)).peekable();
        let (mut rows, mut left) = (Vec::new(), most);
        while left > 0 {
            if others.peek().is_none() && !self.enough {
                return None;
            }
            let is_touched = match (touched.peek(), others.peek()) {
                (Some((touched, _)), Some((other, _))) => self.is_before(touched, other),
                (touched, _) => touched.is_some(),
            };
            let Some((rank, row)) = (if is_touched { touched.next() } else { others.next() }) else { break };
            let taken = members(row).min(left);
            left -= taken;
            rows.push((rank, row, taken));
        }
        Some(rows)
    }

    fn is_before(&self, a: &R, b: &R) -> bool {
        match self.end {
            End::Least => a < b,
            End::Greatest => a > b,
        }
    }
}

/// The rows of an index as they were before the epoch, read when first asked for.
pub(super) struct Before<'i, G, R, X> {
    index: &'i TableRef<(G, R), X>,
    rows: Option<TableSnapshot<(G, R), X>>,
}

impl<'i, G: Key, R: Key, X: Value> Before<'i, G, R, X> {
    pub(super) fn new(index: &'i TableRef<(G, R), X>) -> Self {
        Self { index, rows: None }
    }

    /// The first rows of `group` that are not in `touched`, until they have `most` members. There are none before `from`: to
    /// look there would be to pass what was deleted and is not cleared away yet.
    pub(super) fn read(
        &mut self,
        context: &Context<'_>,
        group: &G,
        (end, from): (End, Option<&R>),
        touched: &BTreeSet<&R>,
        most: usize,
        members: impl Fn(&X) -> usize,
    ) -> Result<Vec<(R, X)>, Failure> {
        if self.rows.is_none() {
            self.rows = Some(context.table_before(self.index)?);
        }
        let Some(before) = &self.rows else { return Ok(Vec::new()) };
        let scan = match (end, from) {
            (_, None) => before.prefix(&(group.clone(),)),
            (End::Least, Some(from)) => before.range((group.clone(), from.clone())..),
            (End::Greatest, Some(from)) => before.range(..=(group.clone(), from.clone())),
        };
        let mut scan: Box<dyn Iterator<Item = _>> = match end {
            End::Least => Box::new(scan),
            End::Greatest => Box::new(scan.rev()),
        };
        let (mut rows, mut passed, mut left) = (Vec::new(), 0, most);
        while left > 0
            && let Some(row) = scan.next()
        {
            let ((of, rank), row) = row?;
            if of != *group {
                break;
            }
            passed += 1;
            if !touched.contains(&rank) {
                left -= members(&row).min(left);
                rows.push((rank, row));
            }
        }
        context.charge::<((G, R), X)>(passed)?;
        Ok(rows)
    }
}
