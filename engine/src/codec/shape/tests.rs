//! Shapes of types of every kind, the types that codecs refuse, and the stored form.

use super::*;
use crate::codec::{Bincode, Json, Raw, ValueCodec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;

fn bincode<V: Serialize + DeserializeOwned>() -> Shape {
    ValueCodec::<V>::shape(&Bincode).unwrap()
}

fn json<V: Serialize + DeserializeOwned>() -> Shape {
    ValueCodec::<V>::shape(&Json).unwrap()
}

#[track_caller]
fn is<V: Serialize + DeserializeOwned>(expected: &str) {
    let shape = bincode::<V>();
    assert_eq!(shape.to_string(), expected);
    assert!(shape.difference_from(&shape.to_text()).is_none(), "what was stored agrees");
    assert_eq!(ShapeNode::from_text(&shape.to_text()), shape.node);
}

#[track_caller]
fn is_refused<V: Serialize + DeserializeOwned>(codec: &impl ValueCodec<V>, part: &str) {
    let error = codec.shape().unwrap_err().to_string();
    assert!(error.contains(part), "`{part}` is not in: {error}");
}

#[derive(Serialize, Deserialize)]
struct Account {
    paid: u64,
    owed: i64,
}

#[derive(Serialize, Deserialize)]
struct Swapped {
    owed: i64,
    paid: u64,
}

#[derive(Serialize, Deserialize)]
struct Cents(u64);

#[derive(Serialize, Deserialize)]
struct Pair(u8, String);

#[derive(Serialize, Deserialize)]
struct Nothing;

#[derive(Serialize, Deserialize)]
enum Event {
    Opened,
    Paid(u64),
    Moved(u8, u16),
    Named { first: String, account: Option<Account> },
}

#[derive(Serialize, Deserialize)]
struct Generic<T> {
    of: T,
}

#[derive(Serialize, Deserialize)]
struct Twice {
    left: Generic<u8>,
    right: Generic<String>,
    first: Event,
    second: Event,
}

#[derive(Serialize, Deserialize)]
struct Aliased {
    #[serde(alias = "debt")]
    owed: u8,
    paid: u8,
}

#[test]
fn shapes_have_the_names_of_fields_and_variants() {
    is::<u64>("u64");
    is::<(u8, String, char, f32, bool, ())>("(u8, string, char, f32, bool, unit)");
    is::<Account>("{paid: u64, owed: i64}");
    is::<Cents>("u64");
    is::<Pair>("(u8, string)");
    is::<Nothing>("unit");
    is::<Option<Vec<HashMap<String, BTreeSet<i8>>>>>("option<[map<string, [i8]>]>");
    is::<(HashSet<u8>, VecDeque<u8>, Box<u8>, [u8; 3])>("([u8], [u8], u8, (u8, u8, u8))");
    is::<[u16; 32]>("[u16; 32]");
    is::<bytes::Bytes>("bytes");
    is::<Event>(
        "<Opened | Paid(u64) | Moved(u8, u16) | Named{first: string, account: option<{paid: u64, owed: i64}>}>",
    );
    is::<Generic<Generic<u8>>>("{of: {of: u8}}");
    is::<Aliased>("{#0: u8, #1: u8, debt|owed|paid: unit}");
    is::<Result<u8, String>>("<Ok(u8) | Err(string)>");
    let event = bincode::<Event>().to_string();
    is::<Twice>(&format!("{{left: {{of: u8}}, right: {{of: string}}, first: {event}, second: {event}}}"));
    assert_eq!(json::<Swapped>().to_string(), "{owed: i64, paid: u64}");
    assert_eq!(json::<Account>(), json::<Swapped>(), "names have no order");
    assert_ne!(bincode::<Account>(), bincode::<Swapped>());
}

#[derive(Serialize, Deserialize)]
enum List {
    Node(u8, Box<List>),
    End,
}

#[derive(Serialize, Deserialize)]
enum Expression {
    Add(Box<Expression>, Box<Expression>),
    Call(Vec<Expression>),
    Field { of: Box<Expression>, kind: Kind },
    Number(i64),
}

#[derive(Serialize, Deserialize)]
enum Kind {
    Plain,
    Of(Box<Expression>),
}

#[derive(Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Serialize, Deserialize)]
struct Person {
    name: String,
    boss: Option<Box<Person>>,
    notes: BTreeMap<String, Person>,
}

#[test]
fn recursion_is_told_by_how_far_up_it_leads() {
    is::<List>("<Node(u8, ^1) | End>");
    is::<Tree>("[^1]");
    is::<Person>("{name: string, boss: option<^1>, notes: map<string, ^1>}");
    is::<Expression>("<Add(^1, ^1) | Call([^1]) | Field{of: ^1, kind: <Plain | Of(^2)>} | Number(i64)>");
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Percent(u8);

impl TryFrom<u8> for Percent {
    type Error = String;

    fn try_from(value: u8) -> Result<Self, String> {
        if value <= 100 { Ok(Self(value)) } else { Err(format!("{value} %")) }
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> Self {
        percent.0
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
struct Touchy(u8);

impl From<u8> for Touchy {
    fn from(value: u8) -> Self {
        assert!(value < 200, "it does not like that");
        Self(value)
    }
}

impl From<Touchy> for u8 {
    fn from(touchy: Touchy) -> Self {
        touchy.0
    }
}

#[derive(Serialize, Deserialize)]
#[serde(try_from = "String")]
struct Never(String);

impl TryFrom<String> for Never {
    type Error = String;

    fn try_from(_: String) -> Result<Self, String> {
        Err("never".to_owned())
    }
}

#[derive(Serialize, Deserialize)]
struct Partly {
    known: u8,
    never: Never,
    unseen: u8,
}

#[test]
fn what_decides_by_the_value_is_doubtful() {
    let trust = |shape: Shape| shape.trust();
    assert_eq!(trust(bincode::<Event>()), Trust::Likely);
    assert_eq!(trust(json::<Event>()), Trust::Likely);
    assert_eq!(trust(bincode::<Expression>()), Trust::Likely);
    assert_eq!(trust(bincode::<(f64, i128, u128, Option<f32>)>()), Trust::Proven);
    assert_eq!(trust(json::<(f64, i128, u128, Option<f32>, HashMap<i8, bool>)>()), Trust::Proven);
    for shape in [bincode::<Percent>(), bincode::<Touchy>(), bincode::<NonZeroU32>(), json::<Percent>()] {
        assert_eq!(trust(shape), Trust::Doubtful);
    }
    assert_eq!(bincode::<(Percent, Touchy)>().to_string(), "(u8, u8)");
    assert_eq!(json::<IpAddr>().to_string(), "string");
    assert_eq!(bincode::<Partly>().to_string(), "Partly = {known: u8, never: string, unseen: ?}");
    assert_eq!(json::<serde_json::Value>().trust(), Trust::Doubtful);
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Internal {
    A { x: u8 },
    B,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
enum Adjacent {
    A(u8),
    B { y: String },
    C,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    inner: BTreeMap<String, u8>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Skipping {
    #[serde(skip_serializing_if = "Option::is_none")]
    maybe: Option<u8>,
    after: u8,
}

#[derive(Debug, Serialize, Deserialize)]
enum Shifted {
    A,
    #[serde(skip)]
    #[expect(dead_code, reason = "it is skipped")]
    B,
    C,
    D,
}

#[derive(Debug, Serialize, Deserialize)]
enum LastSkipped {
    A,
    B(u8),
    #[serde(skip)]
    #[expect(dead_code, reason = "it is skipped")]
    C,
}

#[derive(Debug, Serialize, Deserialize)]
struct OneWay {
    #[serde(skip_deserializing)]
    a: u8,
    b: u8,
}

#[derive(Debug, Serialize, Deserialize)]
struct Renamed {
    #[serde(rename(serialize = "x", deserialize = "y"))]
    a: u8,
}

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    row: u8,
}

#[test]
fn what_a_type_cannot_do_is_refused() {
    is_refused::<Internal>(&Bincode, "`Json`");
    is_refused::<Untagged>(&Bincode, "look at the data");
    is_refused::<Flat>(&Bincode, "`Json`");
    is_refused::<serde_json::Value>(&Bincode, "`Json`");
    is_refused::<Vec<Option<Internal>>>(&Bincode, "`Json`");
    is_refused::<Skipping>(&Bincode, "field `maybe` is skipped");
    is_refused::<Vec<Option<Skipping>>>(&Bincode, "field `maybe` is skipped");
    is_refused::<Shifted>(&Bincode, "skipped");
    is_refused::<Option<Generic<Shifted>>>(&Bincode, "skipped");
    is_refused::<OneWay>(&Bincode, "read back");
    is_refused::<BTreeMap<Place, u8>>(&Json, "`Bincode`");
    is_refused::<HashMap<(u8, u8), u8>>(&Json, "key must be a string");
    is_refused::<Renamed>(&Json, "missing field");
    is::<LastSkipped>("<A | B(u8)>");
    is::<BTreeMap<Place, u8>>("map<{row: u8}, u8>");
    is::<Renamed>("{y: u8}");
    for shape in [json::<Internal>(), json::<Untagged>(), json::<Flat>(), json::<Skipping>()] {
        assert!(shape.to_string().contains("any") || shape.trust() != Trust::Doubtful, "{shape}");
    }
    json::<Adjacent>();
    json::<Shifted>();
}

#[test]
fn names_count_where_nothing_else_is_known() {
    assert_ne!(json::<Internal>(), json::<Untagged>());
    assert_eq!(json::<Internal>(), json::<Internal>());
    assert_ne!(Shape::named("a"), Shape::named("b"));
    assert_eq!(Shape::of_name::<Vec<Account>>().to_string(), "Vec<Account>");
    assert_ne!(ValueCodec::<String>::shape(&Raw).unwrap(), bincode::<Account>());
    assert_eq!(
        shortened("core::option::Option<(alloc::string::String, my::deep::Thing<u64>)>"),
        "Option<(String,Thing<u64>)>"
    );
    assert_eq!(shortened("[u8; 4]"), "[u8;4]");
    assert!(is_ours_or_of_std("core::option::Option<(alloc::string::String, [u64; 4])>"));
    assert!(is_ours_or_of_std("millpond_operators::aggregate::multiset::Multiset<u64>"));
    assert!(!is_ours_or_of_std("millpond_operators::aggregate::multiset::Multiset<shop::Order>"));
    assert!(!is_ours_or_of_std("core::num::nonzero::NonZero<u32>") && !is_ours_or_of_std("shop::String"));
    assert!(is_told_by_its_name("Option<(String,[u64;4])>") && !is_told_by_its_name("Option<Thing>"));
}

#[test]
fn a_difference_says_where_it_is() {
    let told = |a: Shape, b: Shape| b.difference_from(&a.to_text()).unwrap();
    assert_eq!(told(bincode::<Account>(), bincode::<Swapped>()), "field `.owed` stands where `paid` was");
    assert_eq!(told(bincode::<Account>(), bincode::<u64>()), "it was `{paid: u64, owed: i64}` and is `u64`");
    assert_eq!(told(bincode::<Generic<u8>>(), bincode::<Generic<u16>>()), "`.of` was `u8` and is `u16`");
    assert_eq!(
        told(bincode::<Vec<Generic<Account>>>(), bincode::<Vec<Generic<Person>>>()),
        "field `[].of.name` is new"
    );
    assert_eq!(told(json::<Internal>(), json::<Untagged>()), "it was `Internal` and is `Untagged`");
}

#[derive(Serialize, Deserialize)]
struct More {
    paid: u64,
    owed: Option<i64>,
    #[serde(default)]
    tax: u8,
}

#[derive(Serialize, Deserialize)]
enum MoreEvents {
    Opened,
    Paid(u64),
    Moved(u8, u16),
    Named { first: String, account: Option<Account> },
    Closed,
}

#[derive(Serialize, Deserialize)]
struct Retyped {
    paid: u64,
    owed: i64,
    tax: String,
}

#[test]
fn a_shape_grows_as_its_codec_can_read() {
    let grown = |a: &Shape, b: &Shape| b.growth().union(a.node(), b.node());
    let (old, new) = (json::<Account>(), json::<More>());
    let both = grown(&old, &new).unwrap();
    assert_eq!(new.to_string(), "{owed?: option<i64>, paid: u64, tax?: u8}");
    assert_eq!(both.to_string(), "{owed: option<i64>, paid: u64, tax?: u8}");
    assert_eq!(Growth::Fields.union(&both, new.node()).unwrap(), both);
    assert!(grown(&new, &old).is_err(), "what may be absent does not have to be there again");
    // A field does not come back as something else, nor one that must be there.
    let error = Growth::Fields.union(&both, json::<Retyped>().node()).unwrap_err();
    assert!(error.contains("in `owed`"), "{error}");
    let error = grown(&json::<Generic<u8>>(), &json::<Generic<String>>()).unwrap_err();
    assert!(error.contains("in `of`") && error.contains("`u8`") && error.contains("`string`"), "{error}");
    assert!(grown(&json::<Account>(), &json::<Retyped>()).unwrap_err().contains("field `tax` is new"));
    assert!(grown(&json::<Account>(), &json::<Cents>()).is_err());
    assert!(grown(&json::<MoreEvents>(), &json::<Event>()).unwrap_err().contains("variant `Closed` is gone"));
    assert!(grown(&json::<Event>(), &json::<MoreEvents>()).is_ok());
    assert!(grown(&json::<u32>(), &json::<String>()).is_err());

    let (old, new) = (bincode::<Event>(), bincode::<MoreEvents>());
    assert_eq!(grown(&old, &new).unwrap(), *new.node());
    assert!(grown(&new, &old).is_err(), "it would not know the new variant");
    assert!(grown(&bincode::<Account>(), &bincode::<More>()).unwrap_err().contains("`.tax` is new"));
    assert!(grown(&bincode::<Account>(), &bincode::<Swapped>()).is_err());
    assert_eq!(grown(&bincode::<Account>(), &Shape::of_any_bytes()).unwrap(), *bincode::<Account>().node());
    assert!(grown(&Shape::named("a"), &Shape::named("b")).is_err());
    // A tool reads all of JSON.
    let any = json::<serde_json::Value>();
    assert_eq!(any.to_string(), "anything");
    for shape in [json::<Account>(), json::<Internal>(), json::<Vec<u8>>()] {
        assert_eq!(grown(&shape, &any).unwrap(), *shape.node());
        assert_eq!(grown(&any, &shape).unwrap(), *any.node());
    }
    assert!(grown(&json::<Internal>(), &json::<Untagged>()).is_err());
}

#[test]
fn the_stored_form_is_golden() {
    let golden =
        r#"{"struct":[["name","string"],["boss",{"option":"^1"}],["notes",{"map":["string","^1"]}]]}"#;
    assert_eq!(bincode::<Person>().to_text(), golden);
    let golden = r#"{"enum":[["Opened","unit"],["Paid","u64"],["Moved",{"tuple":["u8","u16"]}],["Named",{"struct":[["first","string"],["account",{"option":{"struct":[["paid","u64"],["owed","i64"]]}}]]}]]}"#;
    assert_eq!(bincode::<Event>().to_text(), golden);
    assert_eq!(json::<Untagged>().to_text(), r#"{"named":["Untagged","any"]}"#);
    assert_eq!(bincode::<[u8; 32]>().to_text(), r#"{"array":["u8",32]}"#);
    assert_eq!(ShapeNode::from_text("no shape"), ShapeNode::leaf("no shape"));
}
