//! An epoch is appended once.

use super::*;

pub fn an_epoch_is_appended_once<S: Subject>() {
    let mark = |from, to| EpochMark { from: position(&[(b(), from)]), to: position(&[(b(), to)]) };
    let mut subject = subject::<S>();
    // Where several processes share a name, only one that has joined them appends any.
    if !appends_epochs(subject.log()) {
        assert_eq!(kind(subject.log().append_epoch("p", &mark(0, 5), vec![])), ErrorKind::Invalid);
        return;
    }
    assert!(subject.log().append_epoch("p", &mark(0, 5), to(a(0), records(0..2))).unwrap());
    assert!(subject.log().append_epoch("p", &mark(6, 9), to(a(0), records(2..3))).unwrap());
    assert!(subject.log().append_epoch("q", &mark(0, 5), to(a(1), records(0..1))).unwrap());
    subject.log().sync().unwrap();
    for _ in 0..2 {
        subject = subject.reopen();
        assert!(!subject.log().append_epoch("p", &mark(0, 5), to(a(0), records(0..2))).unwrap());
        assert!(!subject.log().append_epoch("p", &mark(6, 9), to(a(0), records(2..3))).unwrap());
        assert_eq!(kind(subject.log().append_epoch("p", &mark(8, 12), vec![])), ErrorKind::Invalid);
        assert_eq!(read_from(subject.log(), &a(0), 0, 1000), records(0..3));
        let after = |offset| subject.log().epochs_after("p", &position(&[(b(), offset)])).unwrap();
        assert_eq!(after(0), [mark(0, 5), mark(6, 9)]);
        assert_eq!(after(5), [mark(6, 9)]);
        assert_eq!(after(9), []);
    }
    // A hold of the producer forgets the marks behind it, and the last mark still tells old from new.
    subject.log().hold("p", &position(&[(b(), 9)])).unwrap();
    let subject = subject.reopen();
    assert_eq!(subject.log().epochs_after("p", &Position::new()).unwrap(), [mark(6, 9)]);
    assert!(!subject.log().append_epoch("p", &mark(6, 9), to(a(0), records(2..3))).unwrap());
    assert!(subject.log().append_epoch("p", &mark(9, 10), to(a(0), records(3..4))).unwrap());
    assert_eq!(read_from(subject.log(), &a(0), 0, 1000), records(0..4));
}
