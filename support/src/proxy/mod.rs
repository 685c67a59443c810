//! A proxy in front of a [`Broker`](crate::broker::Broker), for tests of what happens between client and broker: it cuts
//! connections, refuses them, delays, and holds back requests or replies of a kind until a test lets them go.
//!
//! It knows where a message of Kafka's protocol ends and which request it is or answers, nothing more, so it sees nothing
//! through TLS. Within a connection order is kept: what comes after a message that is held back waits with it. A request that
//! is held back reaches the broker when it is let go, even if its client has left in the meantime, as one that was slow on
//! its way does. Its threads end with the test program.
//!
//! ```no_run
//! # use millpond_support::broker::Broker;
//! # use millpond_support::proxy::{Proxy, api};
//! let proxy = Proxy::start();
//! let Some(broker) = Broker::options().proxied_by(&proxy).start() else { return };
//! proxy.hold_requests(|key| key == api::END_TXN);
//! // .. a client of `proxy.bootstrap()` commits a transaction beside this thread ..
//! proxy.wait_until_held();
//! proxy.release();
//! ```

use std::fmt;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

mod connection;

/// The keys of requests that tests name.
pub mod api {
    #![allow(missing_docs, reason = "Kafka's own names")]
    pub const PRODUCE: i16 = 0;
    pub const FETCH: i16 = 1;
    pub const LIST_OFFSETS: i16 = 2;
    pub const METADATA: i16 = 3;
    pub const OFFSET_COMMIT: i16 = 8;
    pub const OFFSET_FETCH: i16 = 9;
    pub const FIND_COORDINATOR: i16 = 10;
    pub const JOIN_GROUP: i16 = 11;
    pub const HEARTBEAT: i16 = 12;
    pub const LEAVE_GROUP: i16 = 13;
    pub const SYNC_GROUP: i16 = 14;
    pub const SASL_HANDSHAKE: i16 = 17;
    pub const API_VERSIONS: i16 = 18;
    pub const CREATE_TOPICS: i16 = 19;
    pub const DELETE_RECORDS: i16 = 21;
    pub const INIT_PRODUCER_ID: i16 = 22;
    pub const ADD_PARTITIONS_TO_TXN: i16 = 24;
    pub const ADD_OFFSETS_TO_TXN: i16 = 25;
    pub const END_TXN: i16 = 26;
    pub const SASL_AUTHENTICATE: i16 = 36;
}

/// A port that forwards to a broker. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Proxy(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    port: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The port of the broker, once it is known.
    broker: Option<u16>,
    closed: bool,
    delay: Duration,
    requests: Gate,
    replies: Gate,
    /// Both ends of every connection that was made.
    connections: Vec<(TcpStream, TcpStream)>,
}

/// Where messages of some kinds wait.
#[derive(Default)]
struct Gate {
    holds: Option<Box<dyn Fn(i16) -> bool + Send>>,
    waiting: usize,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("holds", &self.holds.is_some()).field("waiting", &self.waiting).finish()
    }
}

impl Gate {
    fn holds(&self, api_key: i16) -> bool {
        self.holds.as_ref().is_some_and(|holds| holds(api_key))
    }
}

/// Where a message goes.
#[derive(Clone, Copy)]
enum Way {
    ToBroker,
    ToClient,
}

impl State {
    fn gate(&mut self, way: Way) -> &mut Gate {
        match way {
            Way::ToBroker => &mut self.requests,
            Way::ToClient => &mut self.replies,
        }
    }
}

impl Proxy {
    /// A proxy on a free port, which forwards once it knows [where to](Self::forward_to).
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self(Arc::new(Shared { port, state: Mutex::default(), changed: Condvar::new() }));
        let serving = proxy.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                serving.serve(client.unwrap());
            }
        });
        proxy
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Where clients connect in order to come through it.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The port of the broker, for connections to come.
    pub fn forward_to(&self, broker: u16) {
        self.state().broker = Some(broker);
    }

    /// Cuts all connections there are, with whatever is under way in them. Clients may connect anew.
    pub fn cut(&self) {
        for (client, broker) in self.state().connections.drain(..) {
            // One of them may have gone already.
            drop((client.shutdown(Shutdown::Both), broker.shutdown(Shutdown::Both)));
        }
        self.0.changed.notify_all();
    }

    /// Cuts clients off, while requests of theirs that are held back are still on their way to the broker.
    pub fn cut_clients(&self) {
        for (client, _) in self.state().connections.drain(..) {
            drop(client.shutdown(Shutdown::Both));
        }
    }

    /// Cuts all connections, and closes new ones at once, until [`open`](Self::open).
    pub fn close(&self) {
        self.state().closed = true;
        self.cut();
    }

    /// Takes connections again.
    pub fn open(&self) {
        self.state().closed = false;
    }

    /// Lets each request wait so long before it goes to the broker. Zero ends that, also for those that wait.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
        self.0.changed.notify_all();
    }

    /// Holds back requests, those whose API key `holds` says, until they are let go by [`release`](Self::release).
    pub fn hold_requests(&self, holds: impl Fn(i16) -> bool + Send + 'static) {
        self.state().requests.holds = Some(Box::new(holds));
    }

    /// Holds back replies to such requests: what was asked for has happened, and the client does not know.
    pub fn hold_replies(&self, holds: impl Fn(i16) -> bool + Send + 'static) {
        self.state().replies.holds = Some(Box::new(holds));
    }

    /// Waits until a message is held back.
    pub fn wait_until_held(&self) {
        let held = |state: &mut State| state.requests.waiting + state.replies.waiting == 0;
        drop(self.0.changed.wait_while(self.state(), held).unwrap());
    }

    /// Lets all that is held back go on, and holds back no more.
    pub fn release(&self) {
        let mut state = self.state();
        (state.requests.holds, state.replies.holds) = (None, None);
        self.0.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Waits as long as a message has to; says whether it was held back.
    fn pass(&self, way: Way, api_key: i16) -> bool {
        let mut state = self.state();
        if matches!(way, Way::ToBroker) && !state.delay.is_zero() {
            let since = Instant::now();
            while let Some(rest) = state.delay.checked_sub(since.elapsed()).filter(|rest| !rest.is_zero()) {
                state = self.0.changed.wait_timeout(state, rest).unwrap().0;
            }
        }
        if !state.gate(way).holds(api_key) {
            return false;
        }
        state.gate(way).waiting += 1;
        self.0.changed.notify_all();
        state = self.0.changed.wait_while(state, |state| state.gate(way).holds(api_key)).unwrap();
        state.gate(way).waiting -= 1;
        true
    }

    /// Forwards a connection on threads of its own. If the broker is not there, the client sees its connection closed.
    fn serve(&self, client: TcpStream) {
        let mut state = self.state();
        let (false, Some(broker)) = (state.closed, state.broker) else { return };
        let Ok(broker) = TcpStream::connect(("127.0.0.1", broker)) else { return };
        for end in [&client, &broker] {
            end.set_nodelay(true).unwrap();
        }
        state.connections.push((client.try_clone().unwrap(), broker.try_clone().unwrap()));
        connection::forward(self, client, broker);
    }
}
