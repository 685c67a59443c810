//! Foreign-key joins equal the join of two maps, whatever moves in one epoch: rows that change their partner, partners
//! that change, come and go, many rows of one partner, and both sides at once.

use crate::support::*;
use millpond_engine::Topic;
use millpond_operators::GraphBuilder;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// An order: which customer, how much.
type Order = (u8, i32);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let order =
        (0..12_u16, prop::option::weighted(0.8, (0..4_u8, 0..9_i32))).prop_map(|(k, v)| Step::Order(k, v));
    let customer = (0..4_u8, prop::option::weighted(0.7, 0..9_i32)).prop_map(|(k, v)| Step::Customer(k, v));
    prop::collection::vec(prop_oneof![3 => order, 2 => customer], 0..80)
}

#[derive(Debug, Clone)]
enum Step {
    Order(u16, Option<Order>),
    Customer(u8, Option<i32>),
}

fn change<K: Ord, V>(rows: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => rows.insert(key, value),
        None => rows.remove(&key),
    };
}

/// The rows of both sides after `steps`, and the records that make them.
fn sides(
    steps: &[Step],
    orders: &Topic<u16, Order>,
    customers: &Topic<u8, i32>,
) -> (BTreeMap<u16, Order>, BTreeMap<u8, i32>, Vec<Input>) {
    let (mut all_orders, mut all_customers, mut inputs) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (step, now_ms) in steps.iter().zip(0..) {
        match step {
            Step::Order(key, value) => {
                inputs.push(upsert(orders, key, value.as_ref(), now_ms));
                change(&mut all_orders, *key, *value);
            }
            Step::Customer(key, value) => {
                inputs.push(upsert(customers, key, value.as_ref(), now_ms));
                change(&mut all_customers, *key, *value);
            }
        }
    }
    (all_orders, all_customers, inputs)
}

proptest! {
    #[test]
    fn a_foreign_join_is_the_join_of_the_maps(steps in steps(), run in runs()) {
        let orders = Topic::<u16, Order>::new("orders").partitions(3);
        let customers = Topic::<u8, i32>::new("customers").partitions(2);
        let graph = GraphBuilder::new();
        let left = graph.table(&orders, "orders");
        let right = graph.table(&customers, "customers");
        let inner = left.foreign_join(&right, "inner", |_, order| order.0, |_, order, c| (order.1, Some(*c)));
        let outer =
            left.foreign_left_join(&right, "outer", |_, order| order.0, |_, order, c| (order.1, c.copied()));
        let graph = graph.build()?;

        let (all_orders, all_customers, inputs) = sides(&steps, &orders, &customers);
        let pond = Pond::fed(&graph, &inputs, &run);
        let join = |(key, (customer, amount)): (&u16, &Order)| (*key, (*amount, all_customers.get(customer).copied()));
        let expected: BTreeMap<u16, (i32, Option<i32>)> = all_orders.iter().map(join).collect();
        prop_assert_eq!(&pond.rows(&outer), &expected);
        let partnered = expected.into_iter().filter(|(_, (_, customer))| customer.is_some()).collect();
        prop_assert_eq!(pond.rows(&inner), partnered);
    }

    /// A row that names nobody has no partner, and may name one later, or no more.
    #[test]
    fn rows_may_name_nobody(steps in steps(), run in runs()) {
        let orders = Topic::<u16, Order>::new("orders").partitions(3);
        let customers = Topic::<u8, i32>::new("customers").partitions(2);
        let graph = GraphBuilder::new();
        let left = graph.table(&orders, "orders");
        let right = graph.table(&customers, "customers");
        let named = |_: &u16, order: &Order| (order.0 > 1).then_some(order.0);
        let inner = left.foreign_join(&right, "inner", named, |_, order, c| (order.1, Some(*c)));
        let outer = left.foreign_left_join(&right, "outer", named, |_, order, c| (order.1, c.copied()));
        let followed = left.foreign_left_join(&right, "followed", named, |_, order, c| (order.1, c.copied()));
        let _met = graph.stream(&orders).left_join(&followed, |_, _, row| row.is_some());
        let graph = graph.build()?;

        let (all_orders, all_customers, inputs) = sides(&steps, &orders, &customers);
        let pond = Pond::fed(&graph, &inputs, &run);
        let partner = |order: &Order| named(&0, order).and_then(|customer| all_customers.get(&customer).copied());
        let join = |(key, order): (&u16, &Order)| (*key, (order.1, partner(order)));
        let expected: BTreeMap<u16, (i32, Option<i32>)> = all_orders.iter().map(join).collect();
        prop_assert_eq!(&pond.rows(&outer), &expected);
        prop_assert_eq!(&pond.rows(&followed), &expected);
        let partnered = expected.into_iter().filter(|(_, (_, customer))| customer.is_some()).collect();
        prop_assert_eq!(pond.rows(&inner), partnered);
    }

    /// Both sides are folded from the same records, so that one record moves rows on both.
    #[test]
    fn both_sides_may_change_for_one_record(
        records in prop::collection::vec((0..5_u8, 0..5_u8), 0..60),
        run in runs(),
    ) {
        let topic = Topic::<u8, u8>::new("records").partitions(2);
        let graph = GraphBuilder::new();
        let stream = graph.stream(&topic);
        let last = stream.to_table("last");
        let counts = stream.group_by(|_, value| *value).count("counts");
        let joined = last.foreign_left_join(&counts, "joined", |_, value| *value, |_, value, count| (*value, count.copied()));
        // A stream that joins the result has every step of it carried through.
        let asked = last.foreign_left_join(&counts, "asked", |_, value| *value, |_, value, count| (*value, count.copied()));
        let _met = stream.left_join(&asked, |_, _, row| row.copied());
        let graph = graph.build()?;

        let inputs: Vec<Input> =
            records.iter().zip(0..).map(|((key, value), now_ms)| put(&topic, key, value, now_ms)).collect();
        let pond = Pond::fed(&graph, &inputs, &run);
        let mut counted: BTreeMap<u8, u64> = BTreeMap::new();
        for (_, value) in &records {
            *counted.entry(*value).or_default() += 1;
        }
        let rows: BTreeMap<u8, u8> = records.iter().copied().collect();
        let expected: BTreeMap<u8, (u8, Option<u64>)> =
            rows.into_iter().map(|(key, value)| (key, (value, counted.get(&value).copied()))).collect();
        prop_assert_eq!(&pond.rows(&joined), &expected);
        prop_assert_eq!(&pond.rows(&asked), &expected);
    }
}

#[test]
fn a_row_that_moves_meets_its_new_partner_in_one_change() -> millpond_engine::Result<()> {
    let (orders, customers) = (Topic::<u16, Order>::new("orders"), Topic::<u8, i32>::new("customers"));
    let out = Topic::<u16, i32>::new("out");
    let graph = GraphBuilder::new();
    let (left, right) = (graph.table(&orders, "orders"), graph.table(&customers, "customers"));
    left.foreign_join(&right, "joined", |_, order| order.0, |_, order, c| order.1 + c)
        .to_stream()
        .to_upserts(&out);
    let mut pond = Pond::new(&graph.build()?, 3);
    pond.step(&[put(&customers, &1, &10, 0), put(&customers, &2, &20, 1), put(&orders, &7, &(1, 5), 2)]);
    pond.step(&[put(&orders, &7, &(2, 5), 3), put(&customers, &1, &11, 4), put(&customers, &2, &21, 5)]);
    pond.step(&[upsert(&customers, &2, None, 6)]);
    assert_eq!(pond.written(&out), [[(7, Some(15), 2), (7, Some(26), 3), (7, None, 6)]]);
    Ok(())
}
