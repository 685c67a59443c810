//! Brokers of the tests' own: they speak the few requests that the direct path needs, over sockets, and do wrong what a test
//! tells them to.
//!
//! A cluster has one log for each partition of one topic; all brokers of it see the same.

use super::written::WrittenBatch;
use bytes::{Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, StrBytes, decode_request_header_from_buffer,
};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The name of the only topic.
pub(crate) const TOPIC: &str = "orders";

/// A partition, the offset it was asked for from, and the most bytes.
pub(crate) type AskedPartition = (i32, i64, i32);

/// What goes wrong with a fetch.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The connection ends in the middle of the response.
    HangUp,
    /// Every partition answers with this.
    Code(ResponseError),
    /// Nothing comes, and the client is to leave the broker alone.
    Throttle(Duration),
    /// Of each partition's records only so many bytes come.
    Cut(usize),
    /// The leader names another broker as nearer.
    Nearer(i32),
    /// The response says that it has so many bytes.
    Huge(i32),
}

/// A partition, and how it is described.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub batches: Vec<WrittenBatch>,
    pub start: i64,
    /// The last stable offset; the end of the batches if it is not set.
    pub stable: Option<i64>,
    pub aborted: Vec<(i64, i64)>,
    pub leader: i32,
    /// Who else may be fetched from.
    pub replica: Option<i32>,
    pub epoch: i32,
    /// What is answered to where an epoch has ended; the end of the log if it is not set.
    pub epoch_end: Option<i64>,
}

impl Log {
    pub(crate) fn of(batches: Vec<WrittenBatch>) -> Self {
        Self {
            batches,
            start: 0,
            stable: None,
            aborted: Vec::new(),
            leader: 0,
            replica: None,
            epoch: 0,
            epoch_end: None,
        }
    }

    fn end(&self) -> i64 {
        let end = |batch: &WrittenBatch| batch.base_offset + i64::from(batch.last_delta) + 1;
        // Compaction leaves the end where it was.
        self.batches.last().map_or(self.start, end).max(self.stable.unwrap_or(0))
    }

    fn stable(&self) -> i64 {
        self.stable.unwrap_or(self.end())
    }

    /// The batches from `offset` on up to the last stable offset: whole ones, up to `most` bytes but at least one.
    fn read(&self, offset: i64, most: usize) -> Vec<u8> {
        let mut read = Vec::new();
        for batch in &self.batches {
            let end = batch.base_offset + i64::from(batch.last_delta) + 1;
            if end <= offset || batch.base_offset >= self.stable() {
                continue;
            }
            let bytes = batch.bytes();
            if !read.is_empty() && read.len() + bytes.len() > most {
                break;
            }
            read.extend(bytes);
        }
        read
    }
}

/// What all brokers of a cluster share.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub logs: Vec<Log>,
    pub topic_id: Uuid,
    /// What metadata says of the topic instead.
    pub topic_error: Option<ResponseError>,
    /// The ports of the brokers, by their numbers; those that are none are down.
    ports: Vec<u16>,
    pub faults: VecDeque<Fault>,
    /// What was asked for: the broker, when, and the partitions with their offsets and most bytes.
    pub fetches: Vec<(i32, Instant, Vec<AskedPartition>)>,
    /// The last version of `Fetch` that is known.
    pub fetch_version: i16,
    ended: bool,
}

/// Some brokers, which end when they are dropped.
pub(crate) struct Brokers {
    shared: Arc<(Mutex<Cluster>, Condvar)>,
    addresses: Vec<String>,
}

impl Brokers {
    /// So many brokers, with a topic of these partitions.
    pub(crate) fn start(brokers: usize, logs: Vec<Log>) -> Self {
        let listeners: Vec<_> = (0..brokers).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        let addresses = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let cluster = Cluster {
            logs,
            topic_id: Uuid::from_u128(7),
            topic_error: None,
            ports,
            faults: VecDeque::new(),
            fetches: Vec::new(),
            fetch_version: 17,
            ended: false,
        };
        let shared = Arc::new((Mutex::new(cluster), Condvar::new()));
        for (node, listener) in listeners.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for socket in listener.incoming() {
                    if shared.0.lock().unwrap().ended {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    // A connection that breaks is the client's business.
                    std::thread::spawn(move || serve(&shared, node as i32, socket.unwrap()));
                }
            });
        }
        Self { shared, addresses }
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.addresses[0]
    }

    /// What is done wrong, and what was asked.
    pub(crate) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.shared.0.lock().unwrap()
    }

    /// Waits until the brokers were asked for what `asked` says.
    pub(crate) fn wait_for_fetch(&self, mut asked: impl FnMut(i32, &[AskedPartition]) -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        let mut cluster = self.cluster();
        while !cluster.fetches.iter().any(|(node, _, partitions)| asked(*node, partitions)) {
            let left = until.checked_duration_since(Instant::now()).expect("it was not asked for");
            cluster = self.shared.1.wait_timeout(cluster, left).unwrap().0;
        }
    }

    /// Something was written: whoever waits for records is answered.
    pub(crate) fn written(&self) {
        self.shared.1.notify_all();
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        self.cluster().ended = true;
        self.written();
        for address in &self.addresses {
            // Wakes the listener.
            let _ = TcpStream::connect(address);
        }
    }
}

fn serve(shared: &(Mutex<Cluster>, Condvar), node: i32, mut socket: TcpStream) -> Option<()> {
    loop {
        let mut length = [0; 4];
        socket.read_exact(&mut length).ok()?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        socket.read_exact(&mut request).ok()?;
        if shared.0.lock().unwrap().ended {
            return None;
        }
        let mut request = Bytes::from(request);
        let header = decode_request_header_from_buffer(&mut request).unwrap();
        let version = header.request_api_version;
        let mut response = BytesMut::new();
        let mut fault = None;
        match ApiKey::try_from(header.request_api_key).unwrap() {
            ApiKey::ApiVersions => {
                put(&mut response, &header, &api_versions(&shared.0.lock().unwrap()));
            }
            ApiKey::Metadata => {
                let _ = MetadataRequest::decode(&mut request, version).unwrap();
                put(&mut response, &header, &metadata(&shared.0.lock().unwrap()));
            }
            ApiKey::ListOffsets => {
                let request = ListOffsetsRequest::decode(&mut request, version).unwrap();
                put(&mut response, &header, &list_offsets(&shared.0.lock().unwrap(), node, &request));
            }
            ApiKey::OffsetForLeaderEpoch => {
                let request = OffsetForLeaderEpochRequest::decode(&mut request, version).unwrap();
                put(&mut response, &header, &epoch_ends(&shared.0.lock().unwrap(), &request));
            }
            ApiKey::Fetch => {
                let request = FetchRequest::decode(&mut request, version).unwrap();
                fault = fetch(shared, node, &request, &header, &mut response).ok()?;
            }
            other => panic!("{other:?} is not spoken here"),
        }
        let mut frame = (response.len() as i32).to_be_bytes().to_vec();
        frame.extend(&response);
        match fault {
            Some(Fault::HangUp) => {
                let _ = socket.write_all(&frame[..frame.len() / 2]);
                return None;
            }
            Some(Fault::Huge(bytes)) => socket.write_all(&bytes.to_be_bytes()).ok()?,
            _ => socket.write_all(&frame).ok()?,
        }
    }
}

/// A response in the version of its request.
fn put<R: Encodable + HeaderVersion>(out: &mut BytesMut, asked: &RequestHeader, response: &R) {
    let version = asked.request_api_version;
    let header = ResponseHeader::default().with_correlation_id(asked.correlation_id);
    header.encode(out, R::header_version(version)).unwrap();
    response.encode(out, version).unwrap();
}

fn api_versions(cluster: &Cluster) -> ApiVersionsResponse {
    let known = [
        (ApiKey::ApiVersions, 0, 4),
        (ApiKey::Metadata, 0, 12),
        (ApiKey::ListOffsets, 1, 8),
        (ApiKey::OffsetForLeaderEpoch, 2, 4),
        (ApiKey::Fetch, 4, cluster.fetch_version),
    ];
    let version = |(key, least, most): (ApiKey, i16, i16)| {
        ApiVersion::default().with_api_key(key as i16).with_min_version(least).with_max_version(most)
    };
    ApiVersionsResponse::default().with_api_keys(known.into_iter().map(version).collect())
}

fn metadata(cluster: &Cluster) -> MetadataResponse {
    let broker = |(node, port): (usize, &u16)| {
        MetadataResponseBroker::default()
            .with_node_id((node as i32).into())
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(i32::from(*port))
    };
    let partition = |(number, log): (usize, &Log)| {
        MetadataResponsePartition::default()
            .with_partition_index(number as i32)
            .with_leader_id(log.leader.into())
            .with_leader_epoch(log.epoch)
    };
    let mut topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str(TOPIC))))
        .with_topic_id(cluster.topic_id)
        .with_partitions(cluster.logs.iter().enumerate().map(partition).collect());
    if let Some(error) = cluster.topic_error {
        topic = topic.with_error_code(error.code()).with_partitions(Vec::new());
    }
    MetadataResponse::default()
        .with_cluster_id(Some(StrBytes::from_static_str("of the tests")))
        .with_brokers(cluster.ports.iter().enumerate().map(broker).collect())
        .with_topics(vec![topic])
}

fn list_offsets(cluster: &Cluster, node: i32, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let topic = |topic: &list_offsets_request::ListOffsetsTopic| {
        let partition = |asked: &list_offsets_request::ListOffsetsPartition| {
            let log = &cluster.logs[asked.partition_index as usize];
            let end = if request.isolation_level == 1 { log.stable() } else { log.end() };
            let code = if log.leader == node { 0 } else { ResponseError::NotLeaderOrFollower.code() };
            ListOffsetsPartitionResponse::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(code)
                .with_offset(if asked.timestamp == -2 { log.start } else { end })
        };
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partitions.iter().map(partition).collect())
    };
    ListOffsetsResponse::default().with_topics(request.topics.iter().map(topic).collect())
}

fn epoch_ends(cluster: &Cluster, request: &OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let topic = |topic: &offset_for_leader_epoch_request::OffsetForLeaderTopic| {
        let partition = |asked: &offset_for_leader_epoch_request::OffsetForLeaderPartition| {
            let log = &cluster.logs[asked.partition as usize];
            EpochEndOffset::default()
                .with_partition(asked.partition)
                .with_leader_epoch(asked.leader_epoch)
                .with_end_offset(log.epoch_end.unwrap_or(log.end()))
        };
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic.clone())
            .with_partitions(topic.partitions.iter().map(partition).collect())
    };
    OffsetForLeaderEpochResponse::default().with_topics(request.topics.iter().map(topic).collect())
}

/// The test is over.
struct Ended;

/// Answers a fetch, or waits as long as the client allows if there is nothing to answer with.
fn fetch(
    shared: &(Mutex<Cluster>, Condvar),
    node: i32,
    request: &FetchRequest,
    header: &RequestHeader,
    out: &mut BytesMut,
) -> Result<Option<Fault>, Ended> {
    let asked = request.topics.iter().flat_map(|topic| &topic.partitions);
    let asked: Vec<_> =
        asked.map(|asked| (asked.partition, asked.fetch_offset, asked.partition_max_bytes)).collect();
    assert_eq!(request.isolation_level, 1, "only what is committed is asked for");
    let mut cluster = shared.0.lock().unwrap();
    cluster.fetches.push((node, Instant::now(), asked));
    shared.1.notify_all();
    let fault = cluster.faults.pop_front();
    let until = Instant::now() + Duration::from_millis(request.max_wait_ms as u64);
    loop {
        let mut answers = answers(&cluster, node, request, fault.as_ref());
        let news = |data: &PartitionData| {
            data.error_code != 0 || data.records.as_ref().is_some_and(|records| !records.is_empty())
        };
        let left = until.saturating_duration_since(Instant::now());
        if cluster.ended {
            return Err(Ended);
        }
        if fault.is_none() && !left.is_zero() && !answers.iter().flat_map(|topic| &topic.partitions).any(news)
        {
            cluster = shared.1.wait_timeout(cluster, left).unwrap().0;
            continue;
        }
        let mut throttle = 0;
        if let Some(Fault::Throttle(time)) = fault {
            throttle = time.as_millis() as i32;
            answers.clear();
        }
        let response = FetchResponse::default().with_throttle_time_ms(throttle).with_responses(answers);
        put(out, header, &response);
        return Ok(fault);
    }
}

fn answers(
    cluster: &Cluster,
    node: i32,
    request: &FetchRequest,
    fault: Option<&Fault>,
) -> Vec<FetchableTopicResponse> {
    let mut left = request.max_bytes as usize;
    let mut answers = Vec::new();
    for topic in &request.topics {
        let by_id = !topic.topic_id.is_nil();
        let mut partitions = Vec::new();
        for asked in &topic.partitions {
            let log = &cluster.logs[asked.partition as usize];
            let mut data = PartitionData::default().with_partition_index(asked.partition);
            let error = match fault {
                Some(Fault::Code(error)) => Some(*error),
                _ if cluster.topic_error.is_some() => cluster.topic_error,
                _ if by_id && topic.topic_id != cluster.topic_id => Some(ResponseError::UnknownTopicId),
                _ if log.leader != node && log.replica != Some(node) => {
                    Some(ResponseError::NotLeaderOrFollower)
                }
                _ if (0..log.epoch).contains(&asked.current_leader_epoch) => {
                    Some(ResponseError::FencedLeaderEpoch)
                }
                _ if asked.fetch_offset < log.start || asked.fetch_offset > log.end() => {
                    Some(ResponseError::OffsetOutOfRange)
                }
                _ => None,
            };
            if let Some(error) = error {
                partitions.push(data.with_error_code(error.code()).with_records(Some(Bytes::new())));
                continue;
            }
            let mut records = log.read(asked.fetch_offset, left.min(asked.partition_max_bytes as usize));
            if let Some(Fault::Cut(bytes)) = fault {
                records.truncate(*bytes);
            }
            if let Some(Fault::Nearer(replica)) = fault {
                records.clear();
                data = data.with_preferred_read_replica((*replica).into());
            }
            left = left.saturating_sub(records.len());
            let aborted = log.aborted.iter().map(|(producer, first)| {
                AbortedTransaction::default().with_producer_id((*producer).into()).with_first_offset(*first)
            });
            data = data
                .with_high_watermark(log.end())
                .with_last_stable_offset(log.stable())
                .with_log_start_offset(log.start)
                .with_aborted_transactions(Some(aborted.collect()))
                .with_records(Some(records.into()));
            partitions.push(data);
        }
        answers.push(
            FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions),
        );
    }
    answers
}
