//! An append is all or nothing where the log can do that, and keeps its order.

use super::*;

pub fn offsets_ascend_and_records_keep_them<S: Subject>() {
    let mut subject = subject::<S>();
    let after = subject.log().append(to(a(0), records(0..50))).wait_blocking().unwrap();
    let placed = read_placed(subject.log(), &a(0), 0, 1 << 20);
    assert_eq!(after, position(&[(a(0), placed[49].0 + 1)]));
    let after = subject.log().append(to(a(0), records(50..51))).wait_blocking().unwrap();
    let placed = read_placed(subject.log(), &a(0), 0, 1 << 20);
    assert_eq!(placed.iter().map(|(_, record)| record.clone()).collect::<Vec<_>>(), records(0..51));
    assert_eq!(after, position(&[(a(0), placed[50].0 + 1)]));
    let end = ends(subject.log(), &a(0)).end;
    for _ in 0..2 {
        for first in [0, 1, 17, 49, 50, 51] {
            let from = placed.get(first).map_or(end, |(offset, _)| *offset);
            for max_bytes in [1, 1 << 20] {
                assert_eq!(
                    read_placed(subject.log(), &a(0), from, max_bytes),
                    placed[first..],
                    "from {from}"
                );
            }
        }
        assert_eq!(ends(subject.log(), &a(0)), 0..end);
        assert_eq!(ends(subject.log(), &a(1)), 0..0);
        if subject.log().abilities().dense_offsets {
            assert_eq!(end, 51);
        }
        subject = subject.reopen();
    }
}

pub fn an_append_is_all_or_nothing<S: Subject>() {
    let subject = subject::<S>();
    if !subject.log().abilities().atomic_appends {
        return;
    }
    let unknown = [to(a(0), records(0..3)), to(a(2), records(0..1))].concat();
    assert_eq!(kind(subject.log().append(unknown).wait_blocking()), ErrorKind::Invalid);
    let too_large =
        [to(b(), records(0..3)), to(a(0), vec![Record::new(vec![0; MAX_KEY_BYTES + 1], "")])].concat();
    assert_eq!(kind(subject.log().append(too_large).wait_blocking()), ErrorKind::Invalid);
    assert_eq!(subject.log().offsets(&a(0)).unwrap(), 0..0);
    assert_eq!(subject.log().offsets(&b()).unwrap(), 0..0);

    let both =
        [to(a(0), records(0..3)), to(b(), records(3..5)), to(a(0), records(5..6)), to(a(1), vec![])].concat();
    let after = subject.log().append(both).wait_blocking().unwrap();
    assert_eq!(after, position(&[(a(0), 4), (a(1), 0), (b(), 2)]));
}

pub fn an_append_keeps_its_order<S: Subject>() {
    let subject = subject::<S>();
    let both = [to(a(0), records(0..3)), to(b(), records(3..5)), to(a(0), records(5..6))].concat();
    let later = to(a(0), records(6..9));
    // Without a wait in between.
    let acks = [subject.log().append(both), subject.log().append(later)];
    let [_, after] = acks.map(|ack| ack.wait_blocking().unwrap());
    let in_a = [records(0..3), records(5..9)].concat();
    assert_eq!(read_from(subject.log(), &a(0), 0, 1), in_a);
    assert_eq!(read_from(subject.log(), &b(), 0, 1), records(3..5));
    assert_eq!(after.offset(&a(0)), read_placed(subject.log(), &a(0), 0, 1000).last().unwrap().0 + 1);
    assert_eq!(subject.log().append(vec![]).wait_blocking().unwrap(), Position::new());
    assert_eq!(kind(subject.log().append(to(a(2), records(0..1))).wait_blocking()), ErrorKind::Invalid);
    assert_eq!(read_from(subject.log(), &a(0), 0, 1), in_a);
}
