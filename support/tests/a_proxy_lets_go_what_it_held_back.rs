//! A proxy forwards every message once and in order: those that it held back when they are let go, even if their client has
//! left; none after its connection was cut. Clients that come through it to a broker stay with it.
//!
//! Method: a server that answers each request with its correlation and notes it; a producer of Kafka's own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use millpond_support::broker::Broker;
use millpond_support::proxy::{Proxy, api};

/// A server that tells what it was asked: API key and correlation.
fn server() -> (u16, mpsc::Receiver<(i16, i32)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let (connection, tell) = (connection.unwrap(), tell.clone());
            std::thread::spawn(move || answer(connection, &tell));
        }
    });
    (port, told)
}

fn answer(mut connection: TcpStream, tell: &mpsc::Sender<(i16, i32)>) {
    let mut request = [0; 12];
    while connection.read_exact(&mut request).is_ok() {
        let key = i16::from_be_bytes(request[4..6].try_into().unwrap());
        let correlation: [u8; 4] = request[8..].try_into().unwrap();
        tell.send((key, i32::from_be_bytes(correlation))).unwrap();
        // Whoever asked may have left.
        drop(connection.write_all(&[&[0, 0, 0, 4], correlation.as_slice()].concat()));
    }
}

fn ask(connection: &mut TcpStream, key: i16, correlation: i32) {
    let mut request = vec![0, 0, 0, 8];
    request.extend_from_slice(&key.to_be_bytes());
    request.extend_from_slice(&[0, 0]);
    request.extend_from_slice(&correlation.to_be_bytes());
    connection.write_all(&request).unwrap();
}

fn reply(connection: &mut TcpStream) -> std::io::Result<i32> {
    let mut reply = [0; 8];
    connection.read_exact(&mut reply)?;
    Ok(i32::from_be_bytes(reply[4..].try_into().unwrap()))
}

fn proxied() -> (Proxy, mpsc::Receiver<(i16, i32)>) {
    let (port, told) = server();
    let proxy = Proxy::start();
    proxy.forward_to(port);
    (proxy, told)
}

fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.bootstrap()).unwrap()
}

#[test]
fn what_is_held_back_goes_on_in_order() {
    let (proxy, told) = proxied();
    let mut client = connect(&proxy);
    proxy.hold_requests(|key| key == api::END_TXN);
    ask(&mut client, api::PRODUCE, 1);
    ask(&mut client, api::END_TXN, 2);
    ask(&mut client, api::PRODUCE, 3);
    assert_eq!(reply(&mut client).unwrap(), 1);
    proxy.wait_until_held();
    // Another connection is not in its way.
    let mut other = connect(&proxy);
    ask(&mut other, api::PRODUCE, 4);
    assert_eq!(reply(&mut other).unwrap(), 4);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [(api::PRODUCE, 1), (api::PRODUCE, 4)]);
    proxy.release();
    assert_eq!([reply(&mut client).unwrap(), reply(&mut client).unwrap()], [2, 3]);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [(api::END_TXN, 2), (api::PRODUCE, 3)]);
    // It holds back no more.
    ask(&mut client, api::END_TXN, 5);
    assert_eq!(reply(&mut client).unwrap(), 5);
}

#[test]
fn a_held_request_arrives_after_its_client_has_left() {
    for cut_off in [false, true] {
        let (proxy, told) = proxied();
        let mut client = connect(&proxy);
        proxy.hold_requests(|key| key == api::END_TXN);
        ask(&mut client, api::END_TXN, 1);
        proxy.wait_until_held();
        if cut_off {
            proxy.cut_clients();
            assert!(reply(&mut client).is_err());
        }
        drop(client);
        let mut next = connect(&proxy);
        ask(&mut next, api::PRODUCE, 2);
        assert_eq!(reply(&mut next).unwrap(), 2);
        proxy.release();
        assert_eq!([told.recv().unwrap(), told.recv().unwrap()], [(api::PRODUCE, 2), (api::END_TXN, 1)]);
    }
}

#[test]
fn a_held_reply_is_of_what_has_happened() {
    let (proxy, told) = proxied();
    let mut client = connect(&proxy);
    proxy.hold_replies(|key| key == api::END_TXN);
    ask(&mut client, api::END_TXN, 1);
    proxy.wait_until_held();
    assert_eq!(told.try_recv().unwrap(), (api::END_TXN, 1));
    client.set_nonblocking(true).unwrap();
    assert_eq!(reply(&mut client).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.set_nonblocking(false).unwrap();
    proxy.release();
    assert_eq!(reply(&mut client).unwrap(), 1);
}

#[test]
fn what_is_cut_never_arrives() {
    let (proxy, told) = proxied();
    let mut client = connect(&proxy);
    proxy.hold_requests(|key| key == api::END_TXN);
    ask(&mut client, api::END_TXN, 1);
    proxy.wait_until_held();
    proxy.close();
    assert!(reply(&mut client).is_err());
    assert!(reply(&mut connect(&proxy)).is_err(), "it takes no connections");
    proxy.release();
    proxy.open();
    let mut client = connect(&proxy);
    ask(&mut client, api::PRODUCE, 2);
    assert_eq!(reply(&mut client).unwrap(), 2);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [(api::PRODUCE, 2)]);
}

#[test]
fn a_delay_is_at_least_what_was_asked_for() {
    let (proxy, _told) = proxied();
    let mut client = connect(&proxy);
    let delay = Duration::from_millis(50);
    proxy.delay(delay);
    let asked = Instant::now();
    ask(&mut client, api::PRODUCE, 1);
    assert_eq!(reply(&mut client).unwrap(), 1);
    assert!(asked.elapsed() >= delay);
    // One that would take for ever is over when there is none any more.
    proxy.delay(Duration::from_secs(3600));
    ask(&mut client, api::PRODUCE, 2);
    proxy.delay(Duration::ZERO);
    assert_eq!(reply(&mut client).unwrap(), 2);
}

#[test]
fn clients_stay_with_the_proxy() {
    let proxy = Proxy::start();
    let Some(broker) = Broker::options().proxied_by(&proxy).start() else { return };
    let topic = broker.create_topic("proxied", 1, &[]);
    let end = || broker.tool("offsets", &["--topic", &topic], "");
    proxy.hold_requests(|key| key == api::PRODUCE);
    let bootstrap = proxy.bootstrap();
    let arguments = ["--bootstrap-server", &bootstrap, "--topic", &topic];
    std::thread::scope(|scope| {
        let produced = scope.spawn(|| broker.tool("console-producer", &arguments, "a record\n"));
        proxy.wait_until_held();
        assert_eq!(end(), format!("{topic}:0:0\n"));
        proxy.release();
        produced.join().unwrap();
    });
    assert_eq!(end(), format!("{topic}:0:1\n"));
}
