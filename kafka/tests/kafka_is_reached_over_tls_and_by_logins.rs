//! A whole engine, which folds by the direct path and appends through librdkafka, over TLS and for users who log in.
//!
//! Method: a real broker with each kind of listener; one graph on one topic, opened again and again in another way, so that
//! each goes on where the former stood.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::{Engine, Error, ErrorKind, Graph, GraphBuilder, StoredTable, Topic};
use millpond_kafka::Kafka;
use millpond_support::broker::Broker;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::OnceLock;

const PASSWORD: &str = "secret-of-folder";

fn broker() -> Option<&'static Broker> {
    static BROKER: OnceLock<Option<Broker>> = OnceLock::new();
    let start = || Broker::options().sasl().ssl().sasl_ssl().user("folder", PASSWORD).start();
    BROKER.get_or_init(start).as_ref()
}

fn graph(broker: &Broker, name: &str) -> (Topic<u32, u64>, Graph, StoredTable<u32, u64>) {
    let topic = Topic::new(&broker.create_topic(name, 2, &[])).partitions(2);
    let graph = GraphBuilder::new();
    let sums = graph.stream(&topic).group_by_key().fold("sums", || 0_u64, |sum, _, number| *sum += number);
    (topic, graph.build().unwrap(), sums)
}

fn open(graph: &Graph, dir: &Path, kafka: Kafka) -> Result<Engine, Error> {
    Engine::builder(graph).state_dir(dir).changelog(kafka).memory(64 << 20).start()
}

fn logging_in(bootstrap: &str, protocol: &str, mechanism: &str, password: &str) -> Kafka {
    Kafka::new("test")
        .bootstrap(bootstrap)
        .property("security.protocol", protocol)
        .property("sasl.mechanism", mechanism)
        .property("sasl.username", "folder")
        .property("sasl.password", password)
}

#[test]
fn an_engine_folds_and_appends_over_each_kind_of_connection() {
    let Some(broker) = broker() else { return };
    let (topic, graph, sums) = graph(broker, "secured");
    let authority = broker.authority();
    let authority = authority.to_str().unwrap();
    let ssl = || Kafka::new("test").property("security.protocol", "ssl");
    let to_another_host = forwarded_to(broker.ssl_bootstrap().parse().unwrap()).unwrap().to_string();
    let ways = [
        ssl().bootstrap(&broker.ssl_bootstrap()).property("ssl.ca.location", authority),
        ssl()
            .bootstrap(&broker.ssl_bootstrap())
            .property("ssl.ca.pem", std::fs::read_to_string(authority).unwrap())
            .property("compression.type", "gzip"),
        ssl()
            .bootstrap(&to_another_host)
            .property("ssl.ca.location", authority)
            .property("ssl.endpoint.identification.algorithm", "none"),
        logging_in(&broker.sasl_bootstrap(), "sasl_plaintext", "PLAIN", PASSWORD),
        logging_in(&broker.sasl_bootstrap(), "sasl_plaintext", "SCRAM-SHA-256", PASSWORD),
        logging_in(&broker.sasl_ssl_bootstrap(), "sasl_ssl", "SCRAM-SHA-512", PASSWORD)
            .property("ssl.ca.location", authority),
        logging_in(&broker.sasl_ssl_bootstrap(), "sasl_ssl", "PLAIN", PASSWORD)
            .property("ssl.ca.location", authority),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (round, kafka) in (1_u64..).zip(ways) {
        let way = format!("{kafka:?}");
        let engine = open(&graph, dir.path(), kafka).unwrap_or_else(|error| panic!("{way}: {error}"));
        engine.ready_blocking().unwrap();
        let acks: Vec<_> = (0..20).map(|key| engine.append(&topic, &key, &1)).collect();
        for ack in acks {
            ack.wait_blocking().unwrap_or_else(|error| panic!("{way}: {error}"));
        }
        engine.catch_up_blocking().unwrap();
        for key in 0..20 {
            assert_eq!(engine.view(&sums).unwrap().get(&key).unwrap(), Some(round), "{way}");
        }
        engine.close_blocking().unwrap();
    }
}

#[test]
fn whoever_is_not_to_be_trusted_is_not() {
    let Some(broker) = broker() else { return };
    let (_, graph, _) = graph(broker, "guessed");
    let dir = tempfile::tempdir().unwrap();
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let guesses = logging_in(&broker.sasl_bootstrap(), "sasl_plaintext", mechanism, "guessed");
        let error = open(&graph, dir.path(), guesses).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{mechanism}: {error}");
        let text = error.to_string();
        assert!(text.contains("folder") && !text.contains("guessed"), "{text}");
    }
    let authority = broker.authority();
    let ssl = || Kafka::new("test").property("security.protocol", "ssl").property("socket.timeout.ms", "500");
    // Signed by somebody whom the system does not know; and for another host than the one that is asked.
    let unknown = ssl().bootstrap(&broker.ssl_bootstrap());
    let elsewhere = forwarded_to(broker.ssl_bootstrap().parse().unwrap()).unwrap();
    let elsewhere =
        ssl().bootstrap(&elsewhere.to_string()).property("ssl.ca.location", authority.to_str().unwrap());
    for kafka in [unknown.clone(), elsewhere] {
        let error = open(&graph, dir.path(), kafka).unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    // That the name does not matter does not mean that anybody will do.
    let anybody = unknown.property("ssl.endpoint.identification.algorithm", "none");
    let error = open(&graph, dir.path(), anybody).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// Another address of this machine, for which the broker's certificate is not, at which the broker can be reached.
fn forwarded_to(broker: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.2:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(broker)) else { continue };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    Ok(address)
}
