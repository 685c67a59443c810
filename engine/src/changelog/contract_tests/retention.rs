//! Nothing that is held is dropped.

use super::*;

pub fn nothing_held_is_trimmed<S: Subject>() {
    let clock = Arc::new(ManualClock::new(0));
    let mut subject = S::open(clock.clone());
    if !subject.log().abilities().keeps_holds {
        return;
    }
    let brief = TopicConfig { retention_age: Some(Duration::from_millis(10)), ..topic(2) };
    subject.log().create_topic("a", &brief).unwrap();
    subject.log().create_topic("b", &topic(1)).unwrap();
    for number in 0..200 {
        subject.log().append(to(a(0), records(number..number + 1))).wait_blocking().unwrap();
        subject.log().append(to(b(), records(number..number + 1))).wait_blocking().unwrap();
    }
    let start = |subject: &S| subject.log().offsets(&a(0)).unwrap().start;
    subject.log().enforce_retention().unwrap();
    assert_eq!(start(&subject), 0, "nothing is old yet");

    clock.advance(1_000_000);
    subject.log().hold("one", &position(&[(a(0), 120), (a(1), 0)])).unwrap();
    subject.log().hold("two", &position(&[(a(0), 80)])).unwrap();
    subject.log().hold("other", &position(&[(b(), 0)])).unwrap();
    subject = subject.reopen();
    subject.log().enforce_retention().unwrap();
    let first = start(&subject);
    assert!(first > 0 && first <= 80, "{first}");
    assert_eq!(read_from(subject.log(), &a(0), 80, 1), records(80..200));
    assert_eq!(kind(subject.log().reader(&a(0), first - 1).map(drop)), ErrorKind::BehindChangelog);
    assert_eq!(
        read_from(subject.log(), &b(), 0, 1),
        records(0..200),
        "a topic without retention keeps everything"
    );

    subject.log().hold("two", &Position::new()).unwrap();
    subject = subject.reopen();
    subject.log().enforce_retention().unwrap();
    let second = start(&subject);
    assert!(second > first && second <= 120, "{second}");
    subject = subject.reopen();
    assert_eq!(start(&subject), second);
    assert_eq!(read_from(subject.log(), &a(0), second, 1), records(second..200));
    subject.log().append(to(a(0), records(200..201))).wait_blocking().unwrap();
    assert_eq!(read_from(subject.log(), &a(0), second, 1), records(second..201));
}

pub fn an_emptied_partition_keeps_its_offsets<S: Subject>() {
    let mut subject = S::open(Arc::new(ManualClock::new(1_000_000)));
    if !subject.log().abilities().keeps_holds {
        return;
    }
    let tiny = TopicConfig { retention_bytes: Some(0), ..topic(1) };
    subject.log().create_topic("b", &tiny).unwrap();
    assert_eq!(subject.log().stored_bytes().unwrap(), Some(0));
    subject.log().append(to(b(), records(0..20))).wait_blocking().unwrap();
    let stored = subject.log().stored_bytes().unwrap();
    assert!(stored.is_some_and(|bytes| bytes > 200), "{stored:?}");
    // The embedded log never drops the segment that it writes.
    subject = subject.reopen();
    assert_eq!(subject.log().stored_bytes().unwrap(), stored);
    assert_eq!(Some(subject.log().enforce_retention().unwrap()), stored);
    assert_eq!(subject.log().stored_bytes().unwrap(), Some(0));
    assert_eq!(subject.log().offsets(&b()).unwrap(), 20..20);
    subject = subject.reopen();
    assert_eq!(subject.log().offsets(&b()).unwrap(), 20..20);
    assert_eq!(
        subject.log().append(to(b(), records(20..22))).wait_blocking().unwrap(),
        position(&[(b(), 22)])
    );
    subject = subject.reopen();
    assert_eq!(read_from(subject.log(), &b(), 20, 1), records(20..22));
}
