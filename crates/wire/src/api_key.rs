//! Which API a request is for, and which versions of it this crate has messages for.
//!
//! The names and version ranges come from Kafka's definitions; see `messages/apis.rs`. They are the same whatever features
//! are on, so that two crates in one build cannot change what a third one sees. Which of them a peer understands is not
//! decided here: that is what its ApiVersions response says.

use std::fmt;
use std::ops::RangeInclusive;

use crate::messages::apis;

/// The number of an API, as in the first two bytes of a request.
///
/// ```
/// use milena_wire::ApiKey;
///
/// let metadata = ApiKey(3);
/// assert_eq!(metadata, ApiKey::METADATA);
/// assert_eq!(metadata.name(), "Metadata");
/// assert_eq!(metadata.versions(), Some(0..=13));
/// assert_eq!(metadata.flexible_from(), Some(9));
/// assert!(metadata.is_flexible(9) && !metadata.is_flexible(8));
/// // Kafka may still change the newest version of this one.
/// assert_eq!(ApiKey::INIT_PRODUCER_ID.stable_versions(), Some(0..=5));
/// assert!(ApiKey::with_messages().any(|api| api == metadata));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKey(pub i16);

impl ApiKey {
    /// Kafka's name of the API; `Unknown` for a number that its definitions lack.
    pub fn name(self) -> &'static str {
        match apis::NAMES.binary_search_by_key(&self.0, |entry| entry.0) {
            Ok(found) => apis::NAMES[found].1,
            Err(_) => "Unknown",
        }
    }

    /// The APIs that clients send, in the order of their numbers: those that this crate has messages for, if the feature
    /// of their family is on.
    pub fn with_messages() -> impl Iterator<Item = ApiKey> {
        apis::APIS.iter().map(|api| api.key)
    }

    /// Every version with messages here; `None` for the APIs that only brokers and controllers send each other.
    pub fn versions(self) -> Option<RangeInclusive<i16>> {
        self.api().map(Api::versions)
    }

    /// The versions that peers may use without having agreed otherwise: Kafka may still change its newest ones, and
    /// brokers hide those unless `unstable.api.versions.enable` is set.
    pub fn stable_versions(self) -> Option<RangeInclusive<i16>> {
        self.api().map(|api| api.version_min..=api.version_stable_max)
    }

    /// The first version with compact lengths and tagged fields; `None` if there is none or the API is unknown.
    pub fn flexible_from(self) -> Option<i16> {
        let from = self.api()?.flexible_from;
        (from != i16::MAX).then_some(from)
    }

    /// Whether this version has compact lengths and tagged fields. A version newer than all known ones counts as well:
    /// flexibility, once there, stays.
    pub fn is_flexible(self, version: i16) -> bool {
        self.flexible_from().is_some_and(|from| version >= from)
    }

    fn api(self) -> Option<&'static Api> {
        let found = apis::APIS.binary_search_by_key(&self, |api| api.key).ok()?;
        Some(&apis::APIS[found])
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "Unknown" => write!(f, "Unknown({})", self.0),
            name => f.write_str(name),
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the definitions say about an API as a whole; one per generated file.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) version_min: i16,
    pub(crate) version_max: i16,
    /// Below `version_max` when the definitions call the newest version unstable.
    pub(crate) version_stable_max: i16,
    /// `i16::MAX` when no version is flexible.
    pub(crate) flexible_from: i16,
}

impl Api {
    pub(crate) const fn versions(&self) -> RangeInclusive<i16> {
        self.version_min..=self.version_max
    }

    /// Whether the version is flexible, or `None` when it has no definition.
    pub(crate) fn flexible(&self, version: i16) -> Option<bool> {
        self.versions().contains(&version).then_some(version >= self.flexible_from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_init_producer_id_version_is_known_but_not_stable() {
        assert_eq!(ApiKey::INIT_PRODUCER_ID.versions(), Some(0..=6));
        assert_eq!(ApiKey::INIT_PRODUCER_ID.stable_versions(), Some(0..=5));
        assert_eq!(ApiKey::PRODUCE.stable_versions(), Some(3..=13));
    }

    #[test]
    fn an_api_without_messages_has_a_name_but_no_versions() {
        let vote = ApiKey(52);
        assert_eq!(vote.name(), "Vote");
        assert_eq!(vote.versions(), None);
        assert_eq!(vote.flexible_from(), None);
        assert_eq!(ApiKey(9999).to_string(), "Unknown(9999)");
    }

    #[test]
    fn an_api_is_known_whether_or_not_its_messages_are_compiled() {
        assert_eq!(ApiKey::JOIN_GROUP.versions(), Some(0..=9));
        assert_eq!(ApiKey::with_messages().count(), 72);
        assert!(ApiKey::with_messages().is_sorted());
    }

    #[test]
    fn flexibility_holds_for_versions_newer_than_the_definitions() {
        assert!(!ApiKey::API_VERSIONS.is_flexible(2));
        assert!(ApiKey::API_VERSIONS.is_flexible(3));
        assert!(ApiKey::API_VERSIONS.is_flexible(99));
    }
}
