//! Topics are created once, keep their retention unless somebody decides, and remember what they hold.

use super::*;

pub fn topics_are_created_once<S: Subject>() {
    let subject = subject::<S>();
    let again = TopicConfig { partitions: Some(2), retention_bytes: Some(9), ..TopicConfig::default() };
    subject.log().create_topic("a", &again).unwrap();
    assert_eq!(kind(subject.log().create_topic("a", &topic(3))), ErrorKind::Invalid);
    assert_eq!(kind(subject.log().create_topic("", &topic(1))), ErrorKind::Invalid);
    assert_eq!(kind(subject.log().create_topic(&"x".repeat(250), &topic(1))), ErrorKind::Invalid);
    assert_eq!(kind(subject.log().create_topic("c", &topic(0))), ErrorKind::Invalid);
    let subject = subject.reopen();
    let mut topics = subject.log().topics().unwrap();
    // What others may have there.
    topics.retain(|(name, _)| ["a", "b", "c", ""].contains(&&**name));
    assert_eq!(topics, [("a".into(), 2), ("b".into(), 1)]);
}

pub fn a_topic_without_a_number_is_taken_as_it_is<S: Subject>() {
    let subject = subject::<S>();
    let any = TopicConfig { retention_bytes: Some(1 << 30), ..TopicConfig::default() };
    subject.log().ensure_topic("a", &any).unwrap();
    subject.log().create_topic("a", &any).unwrap();
    subject.log().create_topic("new", &any).unwrap();
    let subject = subject.reopen();
    let counts = |name| subject.log().partitions(name).unwrap();
    assert_eq!(
        [counts("a"), counts("b"), counts("new"), counts("nowhere")],
        [Some(2), Some(1), Some(1), None]
    );
    for name in ["a", "new"] {
        let told = subject.log().topic_config(name).unwrap();
        assert!(told.is_none_or(|told| told.partitions == counts(name)), "{name}");
    }
    let error = subject.log().ensure_topic("a", &topic(7)).unwrap_err();
    assert!(error.message().contains("has 2 partitions, not 7"), "{error}");
    subject.log().close().unwrap();
    assert_eq!(kind(subject.log().partitions("a")), ErrorKind::Closed);
}

/// The log dates the records of a topic whose timestamps are to be its own, whoever appends them and however.
pub fn a_topic_may_be_dated_by_the_log<S: Subject>() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let mut subject = S::open(clock.clone());
    let dated = TopicConfig::default().timestamps(Timestamps::Appended);
    subject.log().create_topic("a", &dated).unwrap();
    subject.log().ensure_topic("b", &TopicConfig::default()).unwrap();
    let times = |subject: &S, partition: &TopicPartition| -> Vec<i64> {
        read_from(subject.log(), partition, 0, 1000).iter().map(|record| record.timestamp_ms).collect()
    };
    let mut before = Vec::new();
    for round in 0..3 {
        clock.advance(1_000);
        subject
            .log()
            .append([to(a(0), records(0..2)), to(b(), records(0..1))].concat())
            .wait_blocking()
            .unwrap();
        let mark = EpochMark { from: position(&[(b(), round)]), to: position(&[(b(), round + 1)]) };
        if appends_epochs(subject.log()) {
            subject.log().append_epoch("p", &mark, to(a(0), records(2..3))).unwrap();
            subject.log().sync().unwrap();
        }
        let now = times(&subject, &a(0));
        assert!(now.is_sorted() && now.iter().all(|at| *at > 1_000_000), "{now:?}");
        assert_eq!(now[..before.len()], before, "what was read stays as it was");
        assert!(now.len() >= before.len() + 2);
        before = now;
        assert!(times(&subject, &b()).iter().all(|at| *at == 1), "others are dated by their producers");
        subject = subject.reopen();
        subject.log().create_topic("a", &TopicConfig::default()).unwrap();
        subject.log().ensure_topic("a", &dated).unwrap();
        let other = TopicConfig::default().timestamps(Timestamps::Created);
        let error = subject.log().ensure_topic("a", &other).unwrap_err();
        assert!(
            error.kind() == ErrorKind::Invalid && error.message().contains("dated when they are appended"),
            "{error}"
        );
        assert_eq!(kind(subject.log().create_topic("b", &dated)), ErrorKind::Invalid);
        subject.log().create_topic("b", &other).unwrap();
    }
}

pub fn only_who_decides_changes_the_retention<S: Subject>() {
    let mut subject = S::open(Arc::new(ManualClock::new(1_000_000)));
    if !subject.log().abilities().keeps_holds {
        // Retention is the business of others.
        return;
    }
    let tiny = TopicConfig { retention_bytes: Some(0), ..topic(1) };
    let trims = |subject: &S| {
        subject.log().enforce_retention().unwrap();
        let Range { start, end } = subject.log().offsets(&b()).unwrap();
        start == end
    };
    // Created by whoever appends to it first.
    subject.log().ensure_topic("b", &topic(1)).unwrap();
    subject.log().append(to(b(), records(0..20))).wait_blocking().unwrap();
    // The embedded log never drops the segment that it writes.
    subject = subject.reopen();
    subject.log().ensure_topic("b", &tiny).unwrap();
    assert!(!trims(&subject), "an append decided what is kept");
    subject.log().create_topic("b", &tiny).unwrap();
    subject.log().ensure_topic("b", &topic(1)).unwrap();
    subject = subject.reopen();
    subject.log().ensure_topic("b", &topic(1)).unwrap();
    assert!(trims(&subject), "an append decided what is kept");

    assert_eq!(kind(subject.log().ensure_topic("b", &topic(2))), ErrorKind::Invalid);
    assert_eq!(kind(subject.log().ensure_topic("", &topic(1))), ErrorKind::Invalid);
    subject.log().close().unwrap();
    assert_eq!(kind(subject.log().ensure_topic("b", &topic(1))), ErrorKind::Closed);
    assert_eq!(kind(subject.log().create_topic("b", &tiny)), ErrorKind::Closed);
}

pub fn a_topic_remembers_what_it_holds<S: Subject>() {
    let subject = subject::<S>();
    if !S::REMEMBERS {
        assert_eq!(subject.log().topic_type("a").unwrap(), None);
        return;
    }
    let holds = |topic: crate::Topic<u8, u64>| topic.declared().unwrap().clone();
    let (numbers, raised) = (holds(crate::Topic::new("a")), holds(crate::Topic::new("a").revision(1)));
    let texts = crate::Topic::<u8, String>::new("a").declared().unwrap().clone();
    let log = subject.log();
    assert_eq!(kind(log.declare_type("nowhere", &numbers)), ErrorKind::Invalid);
    assert_eq!(log.topic_type("a").unwrap(), None);
    log.declare_type("a", &numbers).unwrap();
    log.declare_type("b", &TopicType::mixed()).unwrap();
    let error = log.declare_type("a", &texts).unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.message().contains("topic `a`"), "{error}");
    let subject = subject.reopen();
    let log = subject.log();
    let with_retention = TopicConfig { retention_bytes: Some(1), ..topic(2) };
    log.create_topic("a", &with_retention).unwrap();
    assert_eq!(log.topic_type("a").unwrap(), Some(numbers.clone()));
    assert_eq!(log.topic_type("b").unwrap(), Some(TopicType::mixed()));
    assert_eq!(kind(log.declare_type("a", &texts)), ErrorKind::Invalid);
    log.declare_type("b", &texts).unwrap();
    log.declare_type("a", &raised).unwrap();
    let subject = subject.reopen();
    assert_eq!(subject.log().topic_type("a").unwrap(), Some(raised));
    assert_eq!(subject.log().topic_type("nowhere").unwrap(), None);
    subject.log().close().unwrap();
    assert_eq!(kind(subject.log().topic_type("a")), ErrorKind::Closed);
    assert_eq!(kind(subject.log().declare_type("a", &numbers)), ErrorKind::Closed);
}
