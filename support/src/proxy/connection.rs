//! A connection through the proxy: one thread for requests, one for replies.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use super::{Proxy, Way};

/// What the two threads tell each other.
#[derive(Default)]
struct Exchange {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The API keys of requests under way, by their correlation. Some are never answered.
    asked: HashMap<i32, i16>,
    /// Those that were held back.
    held: HashSet<i32>,
    over: bool,
}

pub(super) fn forward(proxy: &Proxy, client: TcpStream, broker: TcpStream) {
    let exchange = Arc::new(Exchange::default());
    let (to_client, from_broker) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
    let (other, its_proxy) = (Arc::clone(&exchange), proxy.clone());
    std::thread::spawn(move || other.replies(&its_proxy, from_broker, to_client));
    let proxy = proxy.clone();
    std::thread::spawn(move || exchange.requests(&proxy, client, broker));
}

impl Exchange {
    /// Until the client leaves.
    fn requests(&self, proxy: &Proxy, mut client: TcpStream, mut broker: TcpStream) {
        while let Ok(message) = message(&mut client, 8) {
            let (api_key, correlation) = (int16(&message[4..]), int32(&message[8..]));
            self.state.lock().unwrap().asked.insert(correlation, api_key);
            if proxy.pass(Way::ToBroker, api_key) {
                self.state.lock().unwrap().held.insert(correlation);
            }
            if broker.write_all(&message).is_err() {
                break;
            }
        }
        // The broker drops what it has not looked at when a connection is closed.
        let waits = |state: &mut State| !state.held.is_empty() && !state.over;
        drop(self.changed.wait_while(self.state.lock().unwrap(), waits).unwrap());
        drop(broker.shutdown(Shutdown::Both));
    }

    /// Until the broker leaves. That the client has left is no reason to stop: see above.
    fn replies(&self, proxy: &Proxy, mut broker: TcpStream, mut client: TcpStream) {
        while let Ok(message) = message(&mut broker, 4) {
            let correlation = int32(&message[4..]);
            let asked = self.state.lock().unwrap().asked.remove(&correlation);
            if let Some(api_key) = asked {
                proxy.pass(Way::ToClient, api_key);
            }
            drop(client.write_all(&message));
            self.state.lock().unwrap().held.remove(&correlation);
            self.changed.notify_all();
        }
        self.state.lock().unwrap().over = true;
        self.changed.notify_all();
        drop(client.shutdown(Shutdown::Both));
    }
}

/// The next message, which has at least so many bytes, with its length before it.
fn message(from: &mut TcpStream, least: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let rest = usize::try_from(u32::from_be_bytes(length)).unwrap();
    let mut message = length.to_vec();
    // Not all at once: a length that is none is followed by little.
    if from.take(rest.try_into().unwrap()).read_to_end(&mut message)? < rest.max(least) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(message)
}

fn int16(bytes: &[u8]) -> i16 {
    i16::from_be_bytes([bytes[0], bytes[1]])
}

fn int32(bytes: &[u8]) -> i32 {
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
