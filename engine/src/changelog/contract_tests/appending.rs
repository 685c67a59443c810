//! An append is all or nothing, and keeps its order.

use super::*;

pub(super) fn offsets_are_dense_and_records_keep_them<S: Subject>() {
    let mut subject = subject::<S>();
    let after = subject.log().append(to(a(0), records(0..50))).wait_blocking().unwrap();
    assert_eq!(after, position(&[(a(0), 50)]));
    let after = subject.log().append(to(a(0), records(50..51))).wait_blocking().unwrap();
    assert_eq!(after, position(&[(a(0), 51)]));
    for _ in 0..2 {
        for offset in [0, 1, 17, 49, 50, 51] {
            let expected = records(offset..51);
            assert_eq!(read_from(subject.log(), &a(0), offset, 1), expected, "from {offset}");
            assert_eq!(read_from(subject.log(), &a(0), offset, 1 << 20), expected, "from {offset}");
        }
        assert_eq!(subject.log().offsets(&a(0)).unwrap(), 0..51);
        assert_eq!(subject.log().offsets(&a(1)).unwrap(), 0..0);
        subject = subject.reopen();
    }
}

pub(super) fn an_append_is_all_or_nothing<S: Subject>() {
    let subject = subject::<S>();
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
    assert_eq!(read_from(subject.log(), &a(0), 0, 1), [records(0..3), records(5..6)].concat());
    assert_eq!(read_from(subject.log(), &b(), 0, 1), records(3..5));
    assert_eq!(subject.log().append(vec![]).wait_blocking().unwrap(), Position::new());
}
