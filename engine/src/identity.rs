//! Identities: what tells one state or log from every other one. No result depends on them.

use std::hash::{BuildHasher, RandomState};

/// An identity that occurs nowhere else.
pub(crate) fn new_identity() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn identities_differ() {
        let identities: BTreeSet<_> = (0..100).map(|_| new_identity()).collect();
        assert_eq!((identities.len(), identities.first().unwrap().len()), (100, 32));
    }
}
