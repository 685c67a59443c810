//! Property: the codecs of the engine keep the contracts that users' own codecs are held to.
//! Method: the public laws, over the types that keys and values are made of.
#![cfg(feature = "testing")]

use millpond_engine::codec::{BigEndian, Bincode, Json, Ordered, Raw, Utf8};
use millpond_operators::testing::laws;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

#[test]
fn keys_obey_their_laws() {
    laws::key_codec(any::<u64>());
    laws::key_codec(any::<i32>());
    laws::key_codec(any::<bool>());
    laws::key_codec(any::<String>());
    laws::key_codec("[a\0]{0,3}".prop_map(String::from));
    laws::key_codec(any::<Option<i8>>());
    laws::key_codec((any::<String>(), any::<u8>()));
    laws::key_codec((any::<Option<String>>(), any::<i64>(), any::<bool>()));
}

#[test]
fn values_obey_their_laws() {
    laws::value_codec(&Bincode, any::<(u64, i128, Option<bool>)>());
    laws::value_codec(&Bincode, vec(any::<String>(), 0..4));
    laws::value_codec(&Bincode, btree_map(any::<i64>(), any::<u64>(), 0..4));
    laws::value_codec(&Json, vec(any::<(String, i64)>(), 0..4));
    laws::value_codec(&Json, any::<i64>());
    laws::value_codec(&Raw, vec(any::<u8>(), 0..8));
}

#[test]
fn codecs_of_the_wire_obey_the_laws_of_values() {
    laws::value_codec(&Utf8, any::<String>());
    laws::value_codec(&BigEndian, any::<i64>());
    laws::value_codec(&BigEndian, any::<i16>());
    laws::value_codec(&BigEndian, any::<u32>().prop_map(|number| number >> 1));
    laws::value_codec(&BigEndian, any::<f64>().prop_filter("equals itself", |number| !number.is_nan()));
    laws::value_codec(&Raw, any::<[u8; 5]>());
    laws::value_codec(&Ordered, any::<(String, Option<i32>, bool)>());
}
