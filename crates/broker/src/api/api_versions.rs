//! ApiVersions: what is served, in which versions.
//!
//! Everything served is advertised. Produce is advertised from version 0 although only 3 and later are served, as brokers do since 4.0
//! because an old librdkafka needs it.

use milena_wire::messages::api_versions::request::ApiVersionsRequest;
use milena_wire::messages::api_versions::response::{ApiVersion, ApiVersionsResponse};
use milena_wire::{ApiKey, ErrorCode};

use super::SERVED;
use crate::release::KafkaRelease;

/// All APIs, or a complaint about how the client calls itself (KIP-511).
pub(super) fn answer(release: KafkaRelease, request: &ApiVersionsRequest, version: i16) -> ApiVersionsResponse {
    let names = [&request.client_software_name, &request.client_software_version];
    if version >= NAMED_SINCE && !names.into_iter().all(|name| is_software_name(name)) {
        return ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST.0, ..Default::default() };
    }
    ApiVersionsResponse {
        api_keys: SERVED.into_iter().filter_map(|api| advertised(release, api)).collect(),
        ..Default::default()
    }
}

/// For a version that is not served: in version 0, which everybody reads, with the versions that are.
pub(super) fn unsupported(release: KafkaRelease) -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION.0,
        api_keys: advertised(release, ApiKey::API_VERSIONS).into_iter().collect(),
        ..Default::default()
    }
}

fn advertised(release: KafkaRelease, api: ApiKey) -> Option<ApiVersion> {
    let served = super::served(release, api)?;
    Some(ApiVersion {
        api_key: api.0,
        min_version: if api == ApiKey::PRODUCE { 0 } else { *served.start() },
        max_version: *served.end(),
        ..Default::default()
    })
}

/// Letters and digits, with `-` and `.` between them.
fn is_software_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let ends = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric());
    name.chars().all(inner) && ends(name.chars().next()) && ends(name.chars().next_back())
}

/// The first version in which the client says what it is.
const NAMED_SINCE: i16 = 3;
