//! The two requests that making a topic takes, written by hand: a tool of Kafka's takes a second to start.

use std::io::{Read, Write};
use std::net::TcpStream;

const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;

/// Makes a topic, and returns when its partitions have a leader.
pub(super) fn create_topic(broker: &str, topic: &str, partitions: u32, settings: &[(&str, &str)]) {
    let mut connection = TcpStream::connect(broker).unwrap();
    let mut request = Request::new(CREATE_TOPICS, 2);
    request.count(1).string(topic).count(partitions).int16(1).count(0);
    request.count(settings.len().try_into().unwrap());
    for (key, value) in settings {
        request.string(key).string(value);
    }
    // At most so many milliseconds; not only to see whether it could be.
    request.count(30_000).bytes(&[0]);
    let mut reply = request.send(&mut connection);
    let (_throttled, _topics, _name) = (reply.int32(), reply.int32(), reply.string());
    let error = reply.int16();
    assert!(error == 0, "the topic {topic} cannot be made: {} (error {error})", reply.string());
    while !has_leaders(&mut connection, topic, partitions) {
        std::thread::yield_now();
    }
}

fn has_leaders(connection: &mut TcpStream, topic: &str, partitions: u32) -> bool {
    let mut request = Request::new(METADATA, 1);
    request.count(1).string(topic);
    let mut reply = request.send(connection);
    for _ in 0..reply.int32() {
        let (_node, _host, _port, _rack) = (reply.int32(), reply.string(), reply.int32(), reply.string());
    }
    let (_controller, _topics, error) = (reply.int32(), reply.int32(), reply.int16());
    let (_name, _internal) = (reply.string(), reply.take(1));
    let known = reply.int32();
    let all_led = (0..known).all(|_| {
        let (error, _partition, leader) = (reply.int16(), reply.int32(), reply.int32());
        for _replicas_then_in_sync in 0..2 {
            let nodes = usize::try_from(reply.int32()).unwrap();
            reply.take(4 * nodes);
        }
        error == 0 && leader >= 0
    });
    error == 0 && u32::try_from(known) == Ok(partitions) && all_led
}

struct Request(Vec<u8>);

impl Request {
    fn new(api_key: i16, version: i16) -> Self {
        let mut request = Self(vec![0; 4]);
        request.int16(api_key).int16(version).count(0).string("millpond-tests");
        request
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn int16(&mut self, number: i16) -> &mut Self {
        self.bytes(&number.to_be_bytes())
    }

    fn count(&mut self, number: u32) -> &mut Self {
        self.bytes(&number.to_be_bytes())
    }

    fn string(&mut self, text: &str) -> &mut Self {
        self.int16(text.len().try_into().unwrap()).bytes(text.as_bytes())
    }

    fn send(mut self, connection: &mut TcpStream) -> Reply {
        let length = u32::try_from(self.0.len() - 4).unwrap();
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        connection.write_all(&self.0).unwrap();
        let mut length = [0; 4];
        connection.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; u32::from_be_bytes(length).try_into().unwrap()];
        connection.read_exact(&mut bytes).unwrap();
        let mut reply = Reply { bytes, at: 0 };
        let _correlation = reply.int32();
        reply
    }
}

struct Reply {
    bytes: Vec<u8>,
    at: usize,
}

impl Reply {
    fn take(&mut self, length: usize) -> &[u8] {
        self.at += length;
        &self.bytes[self.at - length..self.at]
    }

    fn int16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn int32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    /// Empty if there is none.
    fn string(&mut self) -> String {
        let length = usize::try_from(self.int16()).unwrap_or(0);
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }
}
