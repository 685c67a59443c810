//! A name belongs to one engine at a time, and the log keeps what it is used for.

use super::*;

fn mark(from: u64, to: u64) -> EpochMark {
    EpochMark { from: position(&[(b(), from)]), to: position(&[(b(), to)]) }
}

pub fn a_name_is_leased_to_one_at_a_time<S: Subject>() {
    let subject = subject::<S>();
    let lease = subject.log().lease("p").unwrap();
    let other = subject.log().lease("q").unwrap();
    assert_eq!(kind(subject.log().lease("p").map(drop)), ErrorKind::Unavailable);
    let taken_away = subject.log().release("p");
    assert!(taken_away.is_err(), "nobody takes a name away");
    assert!(!S::REMEMBERS || kind(taken_away) == ErrorKind::Unavailable);
    drop(lease);
    let lease = subject.log().lease("p").unwrap();
    drop(other);
    assert_eq!(kind(subject.log().lease("p").map(drop)), ErrorKind::Unavailable);
    drop(lease);
    assert!(subject.log().release("p").is_ok() || !S::REMEMBERS);
    // A lease is of this process: whoever opens the log again has the name to give.
    std::mem::forget(subject.log().lease("r").unwrap());
    let subject = subject.reopen();
    if !S::LEASES_OUTLIVE_IT {
        subject.log().lease("r").map(drop).unwrap();
    }
    subject.log().lease("q").map(drop).unwrap();
}

pub fn a_name_keeps_its_owner<S: Subject>() {
    let mut subject = subject::<S>();
    if !S::REMEMBERS {
        return;
    }
    assert_eq!(subject.log().owner("p").unwrap(), None);
    subject.log().set_owner("p", "one").unwrap();
    subject.log().set_owner("p.build", "another").unwrap();
    for _ in 0..2 {
        assert_eq!(subject.log().owner("p").unwrap().as_deref(), Some("one"));
        assert_eq!(subject.log().owner("p.build").unwrap().as_deref(), Some("another"));
        assert_eq!(subject.log().owner("q").unwrap(), None);
        subject = subject.reopen();
    }
    subject.log().set_owner("p", "two").unwrap();
    assert_eq!(subject.reopen().log().owner("p").unwrap().as_deref(), Some("two"));
}

pub fn the_names_in_use_are_told<S: Subject>() {
    let mut subject = subject::<S>();
    if !S::REMEMBERS {
        return;
    }
    assert!(subject.log().names().unwrap().is_empty());
    let held = position(&[(a(0), 1)]);
    subject.log().set_owner("c", "someone").unwrap();
    subject.log().hold("b", &held).unwrap();
    subject.log().append_epoch("a", &mark(0, 5), to(a(0), records(0..2))).unwrap();
    subject.log().append_epoch("a", &mark(5, 6), to(a(0), records(2..3))).unwrap();
    subject.log().hold("given-up", &held).unwrap();
    subject.log().hold("given-up", &Position::new()).unwrap();
    for round in 0..2 {
        let lease = (round == 0).then(|| subject.log().lease("b").unwrap());
        let names = subject.log().names().unwrap();
        let told: Vec<_> = names
            .iter()
            .map(|name| (&*name.name, name.hold.clone(), name.marks, name.owner.as_deref(), name.leased))
            .filter(|(name, ..)| *name != "given-up")
            .collect();
        let expected = [
            ("a", None, 2, None, false),
            ("b", Some(held.clone()), 0, None, lease.is_some()),
            ("c", None, 0, Some("someone"), false),
        ];
        assert_eq!(told, expected);
        let given_up = names.iter().find(|name| name.name == "given-up");
        assert!(given_up.is_none_or(|name| name.hold.is_none() && name.marks == 0));
        drop(lease);
        subject = subject.reopen();
    }
}

pub fn a_released_name_is_a_new_one<S: Subject>() {
    let mut subject = subject::<S>();
    if !S::REMEMBERS {
        return;
    }
    let log = subject.log();
    for name in ["p", "p.build", "p.letters", "pp"] {
        log.append_epoch(name, &mark(0, 5), to(a(0), records(0..1))).unwrap();
        log.hold(name, &position(&[(a(0), 0)])).unwrap();
        log.set_owner(name, name).unwrap();
    }
    log.release("p").unwrap();
    log.release("never-used").unwrap();
    for _ in 0..2 {
        let names = subject.log().names().unwrap();
        assert_eq!(
            names.iter().map(|name| &*name.name).collect::<Vec<_>>(),
            ["pp"],
            "of the others nothing is kept"
        );
        assert_eq!(subject.log().epochs_after("p", &Position::new()).unwrap(), []);
        assert_eq!(subject.log().owner("p").unwrap(), None);
        subject = subject.reopen();
    }
    assert_eq!(read_from(subject.log(), &a(0), 0, 1000).len(), 4, "records belong to no name");
    assert!(!subject.log().append_epoch("pp", &mark(0, 5), to(a(0), records(0..1))).unwrap());
    assert!(subject.log().append_epoch("p", &mark(0, 5), to(a(0), records(0..1))).unwrap());
    assert_eq!(read_from(subject.log(), &a(0), 0, 1000).len(), 5);
}
