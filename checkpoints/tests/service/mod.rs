//! A small service, and a store that does what a test wants at each of its calls.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use millpond::changelog::{Changelog, MemoryChangelog, Producer};
use millpond::{Engine, EngineBuilder, Graph, GraphBuilder, ManualClock, StoredTable, Topic};
use object_store::path::Path as Location;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What the service has folded: the length of all texts of a key, and the last one.
pub(crate) type Rows = BTreeMap<u32, (u64, String)>;

/// A graph that folds texts, and what it reads them from.
pub(crate) struct Service {
    pub(crate) graph: Graph,
    pub(crate) topic: Topic<u32, String>,
    pub(crate) table: StoredTable<u32, (u64, String)>,
    pub(crate) log: Arc<dyn Changelog>,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::on(Arc::new(MemoryChangelog::new()))
    }

    pub(crate) fn on(log: Arc<dyn Changelog>) -> Self {
        let topic = Topic::<u32, String>::new("texts").partitions(2);
        let graph = GraphBuilder::new();
        let table = graph.stream(&topic).group_by_key().fold(
            "texts",
            || (0, String::new()),
            |row: &mut (u64, String), _, text: String| {
                row.0 += text.len() as u64;
                row.1 = text;
            },
        );
        Self { graph: graph.build().unwrap(), topic, table, log }
    }

    pub(crate) fn builder(&self, state: &Path) -> EngineBuilder {
        Engine::builder(&self.graph).changelog(Arc::clone(&self.log)).state_dir(state).name("texts")
    }

    /// An engine that has folded all there is.
    pub(crate) fn start(&self, state: &Path) -> Engine {
        self.start_as("texts", state)
    }

    pub(crate) fn start_as(&self, name: &str, state: &Path) -> Engine {
        let engine = self.builder(state).name(name).start().unwrap();
        engine.catch_up_blocking().unwrap();
        engine
    }

    pub(crate) fn append(&self, texts: impl IntoIterator<Item = (u32, String)>) {
        let clock = Arc::new(ManualClock::new(0));
        let producer = Producer::new(Arc::clone(&self.log), &self.topic, clock).unwrap();
        let acks: Vec<_> = texts.into_iter().map(|(key, text)| producer.put(&key, &text)).collect();
        for ack in acks {
            ack.wait_blocking().unwrap();
        }
    }

    pub(crate) fn rows(&self, engine: &Engine) -> Rows {
        engine.catch_up_blocking().unwrap();
        engine.view(&self.table).unwrap().scan().unwrap().map(std::result::Result::unwrap).collect()
    }

    /// The rows of a state that nobody has open.
    pub(crate) fn rows_in(&self, state: &Path) -> Rows {
        let reader = millpond::StateReader::open(state, &self.graph).unwrap();
        reader.view(&self.table).unwrap().scan().unwrap().map(std::result::Result::unwrap).collect()
    }
}

/// So many texts that no compression makes smaller, of 16 keys each.
pub(crate) fn texts(
    random: &mut millpond_support::random::Random,
    count: u64,
    bytes: usize,
) -> Vec<(u32, String)> {
    (0..count).map(|_| (random.below(16) as u32, text(random, bytes))).collect()
}

/// A text of so many bytes that no compression makes smaller.
pub(crate) fn text(random: &mut millpond_support::random::Random, bytes: usize) -> String {
    random.bytes(bytes).into_iter().map(|byte| char::from(b'0' + byte % 64)).collect()
}

/// A call of a store, with what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) kind: &'static str,
    pub(crate) location: String,
}

/// What happens at each call.
#[async_trait]
pub(crate) trait Hook: fmt::Debug + Send + Sync + 'static {
    /// Before the call, which is not made if this fails.
    async fn before(&self, call: &Call) -> Result<()>;

    /// After the call, whose answer is this error if it fails.
    async fn after(&self, _: &Call) -> Result<()> {
        Ok(())
    }
}

/// The error that nobody expects.
pub(crate) fn broken() -> object_store::Error {
    object_store::Error::Generic { store: "test", source: "the wire is cut".into() }
}

/// A store with a hook.
#[derive(Debug)]
pub(crate) struct Hooked<H> {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) hook: Arc<H>,
}

impl<H> fmt::Display for Hooked<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hooked({})", self.inner)
    }
}

impl<H: Hook> Hooked<H> {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, hook: Arc<H>) -> Arc<Self> {
        Arc::new(Self { inner, hook })
    }
}

fn call(kind: &'static str, location: &Location) -> Call {
    Call { kind, location: location.to_string() }
}

#[async_trait]
impl<H: Hook> ObjectStore for Hooked<H> {
    async fn put_opts(
        &self,
        location: &Location,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let call = call("put", location);
        self.hook.before(&call).await?;
        let put = self.inner.put_opts(location, payload, options).await?;
        self.hook.after(&call).await.map(|()| put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Location,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let call = call("multipart", location);
        self.hook.before(&call).await?;
        let inner = self.inner.put_multipart_opts(location, options).await?;
        self.hook.after(&call).await?;
        Ok(Box::new(HookedUpload { inner, hook: Arc::clone(&self.hook), location: location.clone() }))
    }

    async fn get_opts(&self, location: &Location, options: GetOptions) -> Result<GetResult> {
        let kind = if options.head { "head" } else { "get" };
        self.hook.before(&call(kind, location)).await?;
        let got = self.inner.get_opts(location, options).await;
        self.hook.after(&call(kind, location)).await?;
        let mut got = got?;
        if kind == "get" {
            let meta = got.meta.clone();
            let (range, attributes, extensions) =
                (got.range.clone(), got.attributes.clone(), got.extensions.clone());
            let (hook, read) = (Arc::clone(&self.hook), call("read", location));
            // In pieces, so that it can end anywhere.
            let pieces = got.into_stream().map_ok(|bytes| {
                let pieces: Vec<Result<Bytes>> =
                    bytes.chunks(64 << 10).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
                futures_util::stream::iter(pieces)
            });
            let hooked = pieces.try_flatten().and_then(move |bytes| {
                let (hook, read) = (Arc::clone(&hook), read.clone());
                async move { hook.before(&read).await.map(|()| bytes) }
            });
            let payload = GetResultPayload::Stream(hooked.boxed());
            got = GetResult { payload, meta, range, attributes, extensions };
        }
        Ok(got)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Location>>,
    ) -> BoxStream<'static, Result<Location>> {
        let (inner, hook) = (Arc::clone(&self.inner), Arc::clone(&self.hook));
        locations
            .and_then(move |location| {
                let (inner, hook) = (Arc::clone(&inner), Arc::clone(&hook));
                async move {
                    let call = call("delete", &location);
                    hook.before(&call).await?;
                    let one = futures_util::stream::once(async { Ok(location) }).boxed();
                    let deleted = inner.delete_stream(one).try_collect::<Vec<_>>().await?.remove(0);
                    hook.after(&call).await.map(|()| deleted)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Location>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, hook) = (Arc::clone(&self.inner), Arc::clone(&self.hook));
        let prefix = prefix.cloned();
        let listed = async move {
            let call = call("list", &prefix.clone().unwrap_or_default());
            hook.before(&call).await?;
            let all = inner.list(prefix.as_ref()).try_collect::<Vec<_>>().await?;
            hook.after(&call).await?;
            Ok::<_, object_store::Error>(futures_util::stream::iter(all.into_iter().map(Ok)))
        };
        futures_util::stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Location>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Location, to: &Location, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct HookedUpload<H> {
    inner: Box<dyn MultipartUpload>,
    hook: Arc<H>,
    location: Location,
}

#[async_trait]
impl<H: Hook> MultipartUpload for HookedUpload<H> {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (hook, call) = (Arc::clone(&self.hook), call("part", &self.location));
        let part = self.inner.put_part(data);
        Box::pin(async move {
            hook.before(&call).await?;
            part.await?;
            hook.after(&call).await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let call = call("complete", &self.location);
        self.hook.before(&call).await?;
        let completed = self.inner.complete().await?;
        self.hook.after(&call).await.map(|()| completed)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

/// All objects of a store, with what they hold.
pub(crate) async fn contents(store: &Arc<dyn ObjectStore>) -> BTreeMap<String, Bytes> {
    let metas = store.list(None).try_collect::<Vec<_>>().await.unwrap();
    let mut contents = BTreeMap::new();
    for meta in metas {
        let got = store.get_opts(&meta.location, GetOptions::new()).await.unwrap();
        contents.insert(meta.location.to_string(), got.bytes().await.unwrap());
    }
    contents
}

/// Replaces an object.
pub(crate) async fn put(store: &Arc<dyn ObjectStore>, location: &str, bytes: Vec<u8>) {
    store.put_opts(&Location::from(location), bytes.into(), PutOptions::default()).await.unwrap();
}

/// Deletes an object.
pub(crate) async fn delete(store: &Arc<dyn ObjectStore>, location: &str) {
    let location = Location::from(location);
    let one = futures_util::stream::once(async { Ok(location) }).boxed();
    store.delete_stream(one).try_collect::<Vec<_>>().await.unwrap();
}
