//! What topics are configured with, as a broker tells it.

use super::error;
use super::state::Shared;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::DescribeConfigsRequest;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::protocol::StrBytes;
use millpond_engine::{Error, Result};
use std::collections::BTreeMap;
use std::time::Instant;

/// The number of topics among the kinds of resources.
const TOPIC: i8 = 2;

impl Shared {
    /// The settings `names` of `topic`; none if the user must not see them.
    pub(super) fn topic_config(
        &self,
        topic: &str,
        names: &[&str],
        deadline: Instant,
    ) -> Result<Option<BTreeMap<String, String>>> {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(topic))
            .with_configuration_keys(Some(names.iter().copied().map(text).collect()));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let mut last = Error::unavailable("no broker is known");
        for address in self.addresses() {
            let response = match self.ask_at(&address, &request, deadline) {
                Ok(response) => response,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let Some(result) = response.results.into_iter().next() else { continue };
            return match ResponseError::try_from_code(result.error_code) {
                None => {
                    let value =
                        |value: Option<StrBytes>| value.map(|value| value.to_string()).unwrap_or_default();
                    let settings = result.configs.into_iter();
                    Ok(Some(settings.map(|config| (config.name.to_string(), value(config.value))).collect()))
                }
                Some(ResponseError::TopicAuthorizationFailed | ResponseError::ClusterAuthorizationFailed) => {
                    Ok(None)
                }
                Some(ResponseError::UnknownTopicOrPartition) => {
                    Err(error::unknown(format_args!("topic {topic}")))
                }
                Some(error) => Err(Error::unavailable(format!(
                    "the brokers do not tell how topic {topic} is configured: {error}"
                ))),
            };
        }
        Err(last.context(format!("no broker tells how topic {topic} is configured")))
    }
}
