//! What operators are handed: the outputs of the nodes before them, with their types.

use crate::flow::{Batch, NodeId, NodeOutput, NodeRef};
use crate::{Error, Result};
use std::fmt;
use std::marker::PhantomData;

/// What an [`Operator`](super::Operator) is handed, by the types of its inputs: `(A,)` is what one node puts out, `(A, B)` is
/// that of two, [`All`] that of any number of nodes of one type, [`Behind`] that of one behind another, [`Unread`] takes nothing, and `()` has
/// no nodes. There are no others: the trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what nodes put out",
    note = "one input is `(A,)`, two are `(A, B)`, any number of one type is `All<A>`, `Behind<A, B>` takes only the second, and `Unread<A>` takes nothing"
)]
pub trait Inputs: Sized + sealed::Sealed {
    /// The nodes that put these inputs out, as [`Builder::operator`](crate::graph::Builder::operator) takes them: one
    /// [`NodeRef`], a pair of them, or a vector.
    type Nodes;

    /// The nodes, without their types.
    #[doc(hidden)]
    fn ids(nodes: Self::Nodes) -> Vec<NodeId>;

    /// Takes what they have put out.
    #[doc(hidden)]
    fn take(taking: &mut Taking<'_>) -> Result<Self>;

    /// Whether anything is taken of the input with this number.
    #[doc(hidden)]
    #[must_use]
    fn takes(input: usize) -> bool {
        let _ = input;
        true
    }
}

/// The input of an operator that takes nothing of what a node puts out, and only stands behind it: it runs later, and has come as
/// far in time. To the node it is as if nobody read it.
#[derive(Debug, Clone)]
pub struct Unread<T>(PhantomData<fn() -> T>);

/// The inputs of an operator that stands behind one node, as with [`Unread`], and takes what another puts out.
#[derive(Debug, Clone)]
pub struct Behind<A, B>(pub B, PhantomData<fn() -> A>);

/// What any number of nodes of one type have put out, in the order in which they were named.
#[derive(Debug, Clone)]
pub struct All<T>(pub Vec<T>);

/// The outputs of the nodes that an operator reads from.
pub struct Taking<'a> {
    pub(crate) slots: &'a mut [NodeOutput],
    pub(crate) nodes: &'a [usize],
}

impl fmt::Debug for Taking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taking").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl Taking<'_> {
    /// The batch of a local input; it can be taken once.
    fn take<T: 'static>(&mut self, input: usize) -> Result<T> {
        let mut parts = self.parts(input)?;
        match (parts.pop(), parts.is_empty()) {
            (Some(batch), true) => batch.downcast(),
            _ => Err(Error::internal("an operator reads what a node did not put out")),
        }
    }

    /// What every shard sent, in the order of the shards.
    pub(super) fn parts(&mut self, input: usize) -> Result<Vec<Batch>> {
        let slot = self.nodes.get(input).and_then(|&node| self.slots.get_mut(node));
        slot.map(NodeOutput::take)
            .ok_or_else(|| Error::internal("an operator reads an input that it does not have"))
    }
}

mod sealed {
    /// Implemented for the inputs that there are.
    pub trait Sealed {}
}

impl sealed::Sealed for () {}

impl Inputs for () {
    type Nodes = ();

    fn ids((): ()) -> Vec<NodeId> {
        Vec::new()
    }

    fn take(_: &mut Taking<'_>) -> Result<Self> {
        Ok(())
    }
}

impl<A> sealed::Sealed for (A,) {}

impl<A: 'static> Inputs for (A,) {
    type Nodes = NodeRef<A>;

    fn ids(node: NodeRef<A>) -> Vec<NodeId> {
        vec![node.id()]
    }

    fn take(taking: &mut Taking<'_>) -> Result<Self> {
        Ok((taking.take(0)?,))
    }
}

impl<A, B> sealed::Sealed for (A, B) {}

impl<A: 'static, B: 'static> Inputs for (A, B) {
    type Nodes = (NodeRef<A>, NodeRef<B>);

    fn ids((a, b): (NodeRef<A>, NodeRef<B>)) -> Vec<NodeId> {
        vec![a.id(), b.id()]
    }

    fn take(taking: &mut Taking<'_>) -> Result<Self> {
        Ok((taking.take(0)?, taking.take(1)?))
    }
}

impl<A> sealed::Sealed for All<A> {}

impl<A: 'static> Inputs for All<A> {
    type Nodes = Vec<NodeRef<A>>;

    fn ids(nodes: Vec<NodeRef<A>>) -> Vec<NodeId> {
        nodes.into_iter().map(NodeRef::id).collect()
    }

    fn take(taking: &mut Taking<'_>) -> Result<Self> {
        (0..taking.nodes.len()).map(|input| taking.take(input)).collect::<Result<_>>().map(Self)
    }
}

impl<A> sealed::Sealed for Unread<A> {}

impl<A: 'static> Inputs for Unread<A> {
    type Nodes = NodeRef<A>;

    fn ids(node: NodeRef<A>) -> Vec<NodeId> {
        vec![node.id()]
    }

    fn take(_: &mut Taking<'_>) -> Result<Self> {
        Ok(Self(PhantomData))
    }

    fn takes(_: usize) -> bool {
        false
    }
}

impl<A, B> sealed::Sealed for Behind<A, B> {}

impl<A: 'static, B: 'static> Inputs for Behind<A, B> {
    type Nodes = (NodeRef<A>, NodeRef<B>);

    fn ids((a, b): (NodeRef<A>, NodeRef<B>)) -> Vec<NodeId> {
        vec![a.id(), b.id()]
    }

    fn take(taking: &mut Taking<'_>) -> Result<Self> {
        Ok(Self(taking.take(1)?, PhantomData))
    }

    fn takes(input: usize) -> bool {
        input != 0
    }
}
