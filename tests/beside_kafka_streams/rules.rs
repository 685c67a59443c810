//! Where Kafka Streams goes by other rules than millpond: each of them by name, so that each can be seen to matter by itself.

macro_rules! rules {
    ($($(#[doc = $what:literal])+ $name:ident,)*) => {
        /// Rules by which a log is folded; none of them is millpond's.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct Rules {
            $($(#[doc = $what])+ pub(crate) $name: bool,)*
        }

        impl Rules {
            /// What each is called, and what it says.
            pub(crate) const NAMES: &[(&str, &str)] = &[$((stringify!($name), concat!($($what),+))),*];

            /// All of them: Kafka Streams.
            pub(crate) fn kafka_streams() -> Self {
                Self { $($name: true),* }
            }

            /// All but the one with this number.
            pub(crate) fn without(number: usize) -> Self {
                let mut rules = Self::kafka_streams();
                let each = [$(&mut rules.$name),*];
                for (at, rule) in each.into_iter().enumerate() {
                    *rule = at != number;
                }
                rules
            }
        }
    };
}

rules! {
    /// Records without a value count to tumbling, hopping and session windows. In streams of millpond there are none.
    empty_records_count,
    /// There are no windows that begin before 1970: hopping windows over it are left out, and a sliding window begins with it that
    /// holds all records that would be in others.
    nothing_before_1970,
    /// Records without a value do not take time on for sliding windows and joins. Here each record of a partition does.
    empty_records_take_no_time,
    /// A session is told when time has come to its end, the gap and the grace: a millisecond before it is closed, so that it
    /// may be told again with more in it. So is a sliding window.
    told_before_the_close,
    /// What is in a sliding window is taken from the windows that are there when a record comes. Here it is what KIP-450 defines. Without
    /// it, no other rule is looked at for them.
    sliding_from_what_is_there,
    /// A late record counts if a session that it would be in happens to be there. Here it is late if it is so by itself.
    late_records_join_sessions,
    /// Late records meet whatever the other side still keeps in a join. Here a record whose partition had come to the close of
    /// either meets nothing.
    late_records_meet,
    /// A record out of order is told to have met none at once if time is beyond what it reaches, although its grace still runs; it may
    /// meet another all the same. Here it is told at its close, and never taken back.
    lonely_at_once,
    /// What has met none is told with the next record that takes time on and finds the time of that side's bound gone by.
    lonely_with_the_next,
    /// A record that waits for a row as of its time is let go when the stream alone has come to the grace, a millisecond earlier, and
    /// meets what is known by then; a late one is joined at once. Here both sides have to come there, and a late one meets nothing.
    as_of_by_the_stream,
    /// A deletion with the timestamp of the only version of a key takes that away and leaves no trace of itself, so an update that is
    /// older and comes later holds on beyond it. Here a deletion is a version.
    deletions_leave_no_trace,
}
