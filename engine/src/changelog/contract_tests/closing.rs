//! What is closed says so.

use super::*;

pub fn a_closed_changelog_says_so<S: Subject>() {
    let subject = subject::<S>();
    let log = subject.log();
    let mut reader = log.reader(&a(0), 0).unwrap();
    let is_told_at_once = log.abilities().one_sequence;
    let wakes = Arc::new(AtomicUsize::new(0));
    let (sender, woken) = std::sync::mpsc::channel();
    let on_wake: Waker = {
        let wakes = wakes.clone();
        Arc::new(move || {
            wakes.fetch_add(1, Ordering::SeqCst);
            sender.send(()).ok();
        })
    };
    log.watch(Arc::downgrade(&on_wake));
    log.append(to(a(0), records(0..1))).wait_blocking().unwrap();
    if !is_told_at_once {
        woken.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    assert!(wakes.load(Ordering::SeqCst) > 0, "woken before it is acknowledged, or once it has arrived");
    assert!(!is_told_at_once || wakes.load(Ordering::SeqCst) == 1);
    log.room().wait_blocking();
    let before = wakes.load(Ordering::SeqCst);
    log.close().unwrap();
    log.close().unwrap();
    assert!(wakes.load(Ordering::SeqCst) > before);
    assert_eq!(kind(log.append(to(a(0), records(0..1))).wait_blocking()), ErrorKind::Closed);
    assert_eq!(kind(reader.poll(1)), ErrorKind::Closed);
    assert_eq!(kind(log.topics()), ErrorKind::Closed);
    assert_eq!(kind(log.offsets(&a(0))), ErrorKind::Closed);
    assert_eq!(kind(log.heard_offsets(&a(0))), ErrorKind::Closed);
    assert_eq!(kind(log.latest_offsets(&a(0))), ErrorKind::Closed);
    assert_eq!(kind(log.epochs_after("p", &Position::new())), ErrorKind::Closed);
    assert_eq!(kind(log.sync()), ErrorKind::Closed);
    assert_eq!(kind(log.hold("c", &Position::new())), ErrorKind::Closed);
    assert_eq!(kind(log.terms()), ErrorKind::Closed);
    assert_eq!(kind(log.term()), ErrorKind::Closed);
    assert_eq!(kind(log.lease("p").map(drop)), ErrorKind::Closed);
    log.room().wait_blocking();
    if S::REMEMBERS {
        // Of others it is told that they do not know.
        assert_eq!(kind(log.stored_bytes()), ErrorKind::Closed);
        assert_eq!(kind(log.appended(0)), ErrorKind::Closed);
        assert_eq!(kind(log.owner("p")), ErrorKind::Closed);
        assert_eq!(kind(log.set_owner("p", "one")), ErrorKind::Closed);
        assert_eq!(kind(log.names()), ErrorKind::Closed);
        assert_eq!(kind(log.release("p")), ErrorKind::Closed);
    }
}
