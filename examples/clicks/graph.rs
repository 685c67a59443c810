//! The graph: from one topic to the tables that are asked.

use millpond::stream::{Session, Tumbling, WindowedTable};
use millpond::{Graph, GraphBuilder, Result, StoredTable, Topic};
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub(crate) const PARTITIONS: u32 = 4;

/// How long a window waits for what is out of order.
const GRACE: Duration = Duration::from_secs(10);

/// So long after a minute is over it can be asked for; its top pages and the totals stay.
const KEPT: Duration = Duration::from_secs(3_600);

/// Who looks at nothing for so long has left.
const PAUSE: Duration = Duration::from_secs(5 * 60);

/// So many pages of each minute are remembered.
const TOP: usize = 5;

/// An entry of the list of a minute: by views, and of pages with equally many the last one of the alphabet first.
pub(crate) type Entry = (u64, String);

/// What a user did in all sessions that are over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Visits {
    pub(crate) sessions: u64,
    pub(crate) views: u64,
    /// From the first view of a session to its last one.
    pub(crate) longest_ms: i64,
    /// When the last session to end began.
    pub(crate) last_start_ms: i64,
}

/// The topic, the graph over it, and its tables.
pub(crate) struct Clicks {
    /// User -> page.
    pub(crate) views: Topic<u32, String>,
    pub(crate) graph: Graph,
    /// All views of each page, also late ones.
    pub(crate) pages: StoredTable<String, u64>,
    /// Views of each page in each minute of the last hour, from the first one on.
    pub(crate) minutes: WindowedTable<String, u64, Tumbling>,
    /// Minute -> its most viewed pages, once it is closed.
    pub(crate) top: StoredTable<i64, Vec<Entry>>,
    /// Views of each page that came when their minute was closed.
    pub(crate) late: StoredTable<String, u64>,
    pub(crate) visits: StoredTable<u32, Visits>,
}

impl Clicks {
    pub(crate) fn new() -> Result<Self> {
        let views = Topic::new("views").partitions(PARTITIONS);
        let graph = GraphBuilder::new();
        let stream = graph.stream(&views);

        let by_page = stream.group_by(|_user, page: &String| page.clone());
        let pages = by_page.count("pages");
        let by_minute = by_page.windowed(Tumbling::of(Duration::from_secs(60)).grace(GRACE)).keep(KEPT);
        let minutes = by_minute.count("minutes");
        let late = by_minute.late().group_by_key().count("late");
        // Each page of a minute comes once, when nothing can change it any more: nothing has to be taken back.
        let top = minutes
            .on_close()
            .map(|minute, views| (minute.start_ms, (views, minute.key)))
            .group_by_key()
            .top_k("top", TOP, Entry::clone);

        let sessions = stream.group_by_key().windowed(Session::gap(PAUSE).grace(GRACE)).count("sessions");
        let visits = sessions
            .on_close()
            .map(|session, views| (session.key, (session.start_ms, session.end_ms, views)))
            .group_by_key()
            .fold("visits", Visits::default, |visits, _, (start_ms, end_ms, views)| {
                visits.sessions += 1;
                visits.views += views;
                // A session ends a millisecond behind its last view.
                visits.longest_ms = visits.longest_ms.max(end_ms - 1 - start_ms);
                visits.last_start_ms = start_ms;
            });
        Ok(Self { views, graph: graph.build()?, pages, minutes, top, late, visits })
    }
}
