//! What is closed says so.

use super::*;

pub(super) fn a_closed_changelog_says_so<S: Subject>() {
    let subject = subject::<S>();
    let log = subject.log();
    let mut reader = log.reader(&a(0), 0).unwrap();
    let wakes = Arc::new(AtomicUsize::new(0));
    let on_wake: Waker = {
        let wakes = wakes.clone();
        Arc::new(move || {
            wakes.fetch_add(1, Ordering::SeqCst);
        })
    };
    log.watch(Arc::downgrade(&on_wake));
    log.append(to(a(0), records(0..1))).wait_blocking().unwrap();
    assert_eq!(wakes.load(Ordering::SeqCst), 1, "woken before it is acknowledged");
    log.room().wait_blocking();
    log.close().unwrap();
    log.close().unwrap();
    assert!(wakes.load(Ordering::SeqCst) > 1);
    assert_eq!(kind(log.append(to(a(0), records(0..1))).wait_blocking()), ErrorKind::Closed);
    assert_eq!(kind(reader.poll(1)), ErrorKind::Closed);
    assert_eq!(kind(log.topics()), ErrorKind::Closed);
    assert_eq!(kind(log.offsets(&a(0))), ErrorKind::Closed);
    assert_eq!(kind(log.epochs_after("p", &Position::new())), ErrorKind::Closed);
    assert_eq!(kind(log.sync()), ErrorKind::Closed);
    assert_eq!(kind(log.stored_bytes()), ErrorKind::Closed);
    assert_eq!(kind(log.hold("c", &Position::new())), ErrorKind::Closed);
    assert_eq!(kind(log.appended(0)), ErrorKind::Closed);
    assert_eq!(kind(log.terms()), ErrorKind::Closed);
    assert_eq!(kind(log.term()), ErrorKind::Closed);
    assert_eq!(kind(log.lease("p").map(drop)), ErrorKind::Closed);
    assert_eq!(kind(log.owner("p")), ErrorKind::Closed);
    assert_eq!(kind(log.set_owner("p", "one")), ErrorKind::Closed);
    assert_eq!(kind(log.names()), ErrorKind::Closed);
    assert_eq!(kind(log.release("p")), ErrorKind::Closed);
    log.room().wait_blocking();
}
