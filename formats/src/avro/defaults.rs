//! Defaults: the JSON in a schema as the bytes of a value.

use super::schema::{Base, Names, Placed};
use super::transcode::put_long;
use apache_avro::Schema;
use serde_json::Value;

/// How deep a default may nest: a record may have itself as a field, and default to that.
const MOST_DEEP: usize = 64;

/// Appends `json`, which is the default of something with the schema `placed`.
///
/// # Errors
/// If it is not a value of that schema.
pub(super) fn encode<'s>(
    json: &Value,
    placed: Placed<'s>,
    names: &Names<'s>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    Defaults { names, deep: 0 }.put(json, placed, out)
}

struct Defaults<'n, 's> {
    names: &'n Names<'s>,
    deep: usize,
}

impl<'s> Defaults<'_, 's> {
    fn put(&mut self, json: &Value, placed: Placed<'s>, out: &mut Vec<u8>) -> Result<(), String> {
        self.deep += 1;
        if self.deep > MOST_DEEP {
            return Err("it nests without end".to_owned());
        }
        let done = self.put_within(json, placed, out);
        self.deep -= 1;
        done
    }

    fn put_within(&mut self, json: &Value, placed: Placed<'s>, out: &mut Vec<u8>) -> Result<(), String> {
        let placed = self.names.follow(placed)?;
        match (placed.base(), json) {
            (Base::Null, Value::Null) => {}
            (Base::Boolean, Value::Bool(yes)) => out.push(u8::from(*yes)),
            (Base::Int, Value::Number(number)) => {
                let number = number.as_i64().and_then(|number| i32::try_from(number).ok());
                put_long(number.ok_or("it is no int")?.into(), out);
            }
            (Base::Long, Value::Number(number)) => put_long(number.as_i64().ok_or("it is no long")?, out),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "what is written as a default of a float is rounded to one"
            )]
            (Base::Float, Value::Number(_) | Value::String(_)) => {
                out.extend((float(json)? as f32).to_le_bytes());
            }
            (Base::Double, Value::Number(_) | Value::String(_)) => out.extend(float(json)?.to_le_bytes()),
            (Base::String, Value::String(text)) => put_bytes(text.as_bytes(), out)?,
            (Base::Bytes, Value::String(text)) => put_bytes(&code_points(text)?, out)?,
            (Base::Fixed(fixed), Value::String(text)) => {
                let bytes = code_points(text)?;
                if bytes.len() != fixed.size {
                    return Err(format!("it has {} bytes instead of {}", bytes.len(), fixed.size));
                }
                out.extend(bytes);
            }
            (Base::Enum(symbols), Value::String(text)) => {
                let number = symbols.symbols.iter().position(|symbol| symbol == text);
                let number = number.ok_or_else(|| format!("`{text}` is no symbol"))?;
                put_count(number, out)?;
            }
            (Base::Array(inner), Value::Array(items)) => {
                if !items.is_empty() {
                    put_count(items.len(), out)?;
                }
                for item in items {
                    self.put(item, placed.inner(inner), out)?;
                }
                out.push(0);
            }
            (Base::Map(inner), Value::Object(entries)) => {
                if !entries.is_empty() {
                    put_count(entries.len(), out)?;
                }
                for (key, value) in entries {
                    put_bytes(key.as_bytes(), out)?;
                    self.put(value, placed.inner(inner), out)?;
                }
                out.push(0);
            }
            (Base::Record(record), Value::Object(entries)) => {
                for field in &record.fields {
                    let value = entries.get(&field.name).or(field.default.as_ref());
                    let value = value.ok_or_else(|| format!("it lacks field `{}`", field.name))?;
                    self.put(value, placed.inner(&field.schema), out)?;
                }
            }
            (Base::Union(union), json) => return self.put_branch(json, &placed, union.variants(), out),
            (_, json) => return Err(format!("{json} is not {}", placed.told())),
        }
        Ok(())
    }

    /// The first branch by the older rule, any that fits by the newer one.
    fn put_branch(
        &mut self,
        json: &Value,
        placed: &Placed<'s>,
        branches: &'s [Schema],
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let start = out.len();
        for (number, branch) in branches.iter().enumerate() {
            put_count(number, out)?;
            if self.put(json, placed.inner(branch), out).is_ok() {
                return Ok(());
            }
            out.truncate(start);
        }
        Err(format!("{json} is of no branch of the union"))
    }
}

fn float(json: &Value) -> Result<f64, String> {
    match json {
        Value::String(text) if text == "NaN" => Ok(f64::NAN),
        Value::String(text) if text == "Infinity" || text == "INF" => Ok(f64::INFINITY),
        Value::String(text) if text == "-Infinity" || text == "-INF" => Ok(f64::NEG_INFINITY),
        json => json.as_f64().ok_or_else(|| format!("{json} is no number")),
    }
}

/// Bytes stand in a schema as the characters with their numbers.
fn code_points(text: &str) -> Result<Vec<u8>, String> {
    let byte = |c: char| u8::try_from(u32::from(c)).map_err(|_| format!("`{c}` stands for no byte"));
    text.chars().map(byte).collect()
}

fn put_count(count: usize, out: &mut Vec<u8>) -> Result<(), String> {
    put_long(i64::try_from(count).map_err(|_| "it is too long")?, out);
    Ok(())
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    put_count(bytes.len(), out)?;
    out.extend(bytes);
    Ok(())
}
