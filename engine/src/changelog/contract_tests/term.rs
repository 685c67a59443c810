//! A log that tells of terms begins one whenever it is opened and appended to.

use super::*;

/// Where every partition ends.
fn all_ends(log: &impl Changelog) -> Position {
    let ends = [a(0), a(1), b()].map(|partition| {
        let end = super::ends(log, &partition).end;
        (partition, end)
    });
    ends.into_iter().filter(|(_, end)| *end > 0).collect()
}

fn named(position: &Position) -> Position {
    position.iter().filter(|(_, offset)| *offset > 0).map(|(id, offset)| (id.clone(), offset)).collect()
}

pub fn every_opening_that_appends_begins_a_term<S: Subject>() {
    let mut subject = subject::<S>();
    let mut before: Option<Vec<Term>> = None;
    for round in 0..5 {
        let start = all_ends(subject.log());
        subject.log().append(to(a(round % 2), records(0..3))).wait_blocking().unwrap();
        let terms = subject.log().terms().unwrap();
        assert_eq!(
            subject.log().term().unwrap().as_ref(),
            terms.last(),
            "the term that runs is the last one"
        );
        if !S::BEGINS_TERMS {
            assert!(before.is_none_or(|before| before == terms), "another term without an opening");
            before = Some(terms);
            subject = subject.reopen();
            continue;
        }
        if terms.is_empty() {
            assert!(
                before.is_none_or(|before| before.is_empty()),
                "a log that tells of terms goes on to do so"
            );
            before = Some(terms);
            subject = subject.reopen();
            continue;
        }
        assert!(terms.windows(2).all(|pair| pair[0].number < pair[1].number), "{terms:?}");
        let identities: std::collections::BTreeSet<_> = terms.iter().map(|term| &term.identity).collect();
        assert_eq!(identities.len(), terms.len(), "an identity occurs nowhere else");
        assert_eq!(named(&terms.last().unwrap().start), start, "it begins where the log ended");
        if let Some(before) = before {
            assert_eq!(terms[..terms.len() - 1], before, "what was told of a term stays true");
        }
        // It runs on as long as the log is open.
        subject.log().append(to(b(), records(0..1))).wait_blocking().unwrap();
        let mark = EpochMark {
            from: position(&[(b(), round.into())]),
            to: position(&[(b(), u64::from(round) + 1)]),
        };
        subject.log().append_epoch("p", &mark, to(a(0), records(0..1))).unwrap();
        assert_eq!(subject.log().terms().unwrap(), terms);
        before = Some(terms);
        subject = subject.reopen();
    }
}

pub fn terms_of_two_logs_have_nothing_in_common<S: Subject>() {
    if !S::BEGINS_TERMS {
        return;
    }
    let identities = || -> Vec<String> {
        let subject = subject::<S>();
        subject.log().append(to(b(), records(0..1))).wait_blocking().unwrap();
        subject.log().terms().unwrap().into_iter().map(|term| term.identity).collect()
    };
    let (one, other) = (identities(), identities());
    assert!(one.iter().all(|identity| !other.contains(identity)), "{one:?} and {other:?}");
}
