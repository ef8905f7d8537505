//! Whole frames: a length of four bytes, a header, a message.
//!
//! Owns which header version goes with which message version, so nobody else has to know. One exception lives here too:
//! the answer to ApiVersions always has header version 0, because the client does not know yet what the broker speaks,
//! and with `UNSUPPORTED_VERSION` its body is version 0 as well (KIP-511).
//!
//! Leaves out matching answers to requests; the caller keeps what it has sent under which correlation id.

mod splitter;

use bytes::Bytes;

use crate::{ApiKey, DecodeError, EncodeError, ErrorCode, Reader, Request, Response, UnknownTags, Writer};

pub use splitter::{FRAME_BYTES_MAX, FrameSplitter, FrameTooLong};

/// What comes before a request.
///
/// ```
/// use milena_wire::frame::RequestHeader;
/// use milena_wire::{ApiKey, Reader, UnknownTags, Writer};
///
/// let header = RequestHeader {
///     api_key: ApiKey::METADATA,
///     api_version: 12,
///     correlation_id: 7,
///     client_id: Some("shop".into()),
///     unknown_tags: UnknownTags::default(),
/// };
/// let mut w = Writer::new();
/// header.write(&mut w)?;
/// assert_eq!(RequestHeader::read(&mut Reader::new(w.into_bytes().into()))?, header);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API that is asked.
    pub api_key: ApiKey,
    /// The version of the request, and of the response to it.
    pub api_version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// The client's name for itself, for logs and quotas.
    pub client_id: Option<Box<str>>,
    /// Tagged fields that the definitions lack.
    pub unknown_tags: UnknownTags,
}

impl RequestHeader {
    /// Reads the header, and leaves the reader at the message. An API or a version that this crate does not know is no
    /// error: the caller decides what to answer.
    pub fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let api_key = ApiKey(r.int16()?);
        let api_version = r.int16()?;
        let correlation_id = r.int32()?;
        // So that a broker can read it whatever the version.
        let client_id = r.in_old_form(Reader::nullable_string)?;
        r.set_flexible(api_key.is_flexible(api_version));
        let unknown_tags = r.unknown_tags()?;
        Ok(Self { api_key, api_version, correlation_id, client_id, unknown_tags })
    }

    /// Appends the header.
    pub fn write(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.int16(self.api_key.0);
        w.int16(self.api_version);
        w.int32(self.correlation_id);
        w.in_old_form(|w| w.nullable_string(self.client_id.as_deref()))?;
        w.set_flexible(self.api_key.is_flexible(self.api_version));
        w.unknown_tags(&self.unknown_tags)
    }
}

/// What comes before a response.
///
/// ```
/// use milena_wire::frame::ResponseHeader;
/// use milena_wire::{ApiKey, Reader, UnknownTags, Writer};
///
/// let header = ResponseHeader { correlation_id: 7, unknown_tags: UnknownTags::default() };
/// let mut w = Writer::new();
/// header.write(&mut w, ApiKey::METADATA, 12)?;
/// let mut r = Reader::new(w.into_bytes().into());
/// assert_eq!(ResponseHeader::read(&mut r, ApiKey::METADATA, 12)?, header);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The correlation id of the request.
    pub correlation_id: i32,
    /// Tagged fields that the definitions lack.
    pub unknown_tags: UnknownTags,
}

impl ResponseHeader {
    /// Reads the header of an answer to this API and version, and leaves the reader at the message.
    pub fn read(r: &mut Reader, api_key: ApiKey, version: i16) -> Result<Self, DecodeError> {
        let correlation_id = r.int32()?;
        r.set_flexible(has_flexible_response_header(api_key, version));
        Ok(Self { correlation_id, unknown_tags: r.unknown_tags()? })
    }

    /// Appends the header of an answer to this API and version.
    pub fn write(&self, w: &mut Writer, api_key: ApiKey, version: i16) -> Result<(), EncodeError> {
        w.int32(self.correlation_id);
        w.set_flexible(has_flexible_response_header(api_key, version));
        w.unknown_tags(&self.unknown_tags)
    }
}

fn has_flexible_response_header(api_key: ApiKey, version: i16) -> bool {
    api_key != ApiKey::API_VERSIONS && api_key.is_flexible(version)
}

/// A request as a frame, its length included.
///
/// ```
/// use milena_wire::frame;
/// use milena_wire::messages::metadata::request::MetadataRequest;
///
/// let all_topics = MetadataRequest { topics: None, ..MetadataRequest::default() };
/// let frame = frame::encode_request("shop", 7, 12, &all_topics)?;
/// assert_eq!(frame[..4], (frame.len() as i32 - 4).to_be_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode_request<R: Request>(
    client_id: &str,
    correlation_id: i32,
    version: i16,
    request: &R,
) -> Result<Vec<u8>, EncodeError> {
    let header = RequestHeader {
        api_key: R::KEY,
        api_version: version,
        correlation_id,
        client_id: Some(client_id.into()),
        unknown_tags: UnknownTags::default(),
    };
    let mut w = begin_frame();
    header.write(&mut w)?;
    request.write(&mut w, version)?;
    end_frame(w, 0)
}

/// A response as a frame, its length included.
///
/// ```
/// use milena_wire::frame;
/// use milena_wire::messages::metadata::request::MetadataRequest;
/// use milena_wire::messages::metadata::response::MetadataResponse;
///
/// let answer = MetadataResponse { controller_id: 1, ..MetadataResponse::default() };
/// let frame = frame::encode_response(7, 12, &answer)?;
/// // Whoever reads it has taken off the length.
/// let (header, read) = frame::decode_response::<MetadataRequest>(frame[4..].to_vec().into(), 12)?;
/// assert_eq!((header.correlation_id, read), (7, answer));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode_response<R: Response>(correlation_id: i32, version: i16, response: &R) -> Result<Vec<u8>, EncodeError> {
    let header = ResponseHeader { correlation_id, unknown_tags: UnknownTags::default() };
    let mut w = begin_frame();
    header.write(&mut w, R::KEY, version)?;
    response.write(&mut w, version)?;
    end_frame(w, 0)
}

/// A writer that holds the place of the frame's length.
///
/// ```
/// use milena_wire::frame;
///
/// let mut w = frame::begin_frame();
/// w.int16(18);
/// assert_eq!(frame::end_frame(w, 0)?, [0, 0, 0, 2, 0, 18]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn begin_frame() -> Writer {
    let mut w = Writer::with_capacity(FRAME_BYTES_USUAL);
    w.int32(0);
    w
}

/// Puts the length in its place. `bytes_to_follow` counts what the caller sends after these bytes as the rest of the
/// frame, such as records that are not copied.
///
/// ```
/// use milena_wire::frame;
///
/// let records = b"many of them";
/// let mut w = frame::begin_frame();
/// w.bytes_length(records.len())?;
/// let before = frame::end_frame(w, records.len())?;
/// assert_eq!(before, [0, 0, 0, 16, 0, 0, 0, 12], "the records go to the socket from where they are");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn end_frame(mut w: Writer, bytes_to_follow: usize) -> Result<Vec<u8>, EncodeError> {
    let length = w.position() - LENGTH_BYTES + bytes_to_follow;
    let limit = i32::MAX as usize;
    let stated = i32::try_from(length).map_err(|_| EncodeError::TooLong { length, limit })?;
    w.replace_int32(0, stated);
    Ok(w.into_bytes())
}

/// Reads the request that follows a header, to the end of the frame.
///
/// ```
/// use milena_wire::frame::{self, RequestHeader};
/// use milena_wire::messages::api_versions::request::ApiVersionsRequest;
/// use milena_wire::{ApiKey, Reader};
///
/// let sent = ApiVersionsRequest { client_software_name: "shop".into(), ..ApiVersionsRequest::default() };
/// let frame = frame::encode_request("shop", 7, 3, &sent)?;
/// let mut r = Reader::new(frame[4..].to_vec().into());
/// let header = RequestHeader::read(&mut r)?;
/// assert_eq!(header.api_key, ApiKey::API_VERSIONS);
/// let request: ApiVersionsRequest = frame::decode_request(r, header.api_version)?;
/// assert_eq!(request, sent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decode_request<R: Request>(mut r: Reader, version: i16) -> Result<R, DecodeError> {
    let request = R::read(&mut r, version)?;
    r.finish()?;
    Ok(request)
}

/// The correlation id of a response frame, by which the caller finds the request and with it the version.
///
/// ```
/// use milena_wire::frame;
/// use milena_wire::messages::metadata::response::MetadataResponse;
///
/// let frame = frame::encode_response(7, 12, &MetadataResponse::default())?;
/// assert_eq!(frame::correlation_id(&frame[4..].to_vec().into())?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn correlation_id(frame: &Bytes) -> Result<i32, DecodeError> {
    Reader::new(frame.clone()).int32()
}

/// Reads a response frame, which comes without its length, to its end.
///
/// ```
/// use milena_wire::frame;
/// use milena_wire::messages::api_versions::request::ApiVersionsRequest;
/// use milena_wire::messages::api_versions::response::ApiVersionsResponse;
/// use milena_wire::ErrorCode;
///
/// // A broker that lacks version 4 says so in version 0.
/// let error_code = ErrorCode::UNSUPPORTED_VERSION.0;
/// let answer = ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() };
/// let frame = frame::encode_response(7, 0, &answer)?;
/// let (_, read) = frame::decode_response::<ApiVersionsRequest>(frame[4..].to_vec().into(), 4)?;
/// assert_eq!(read.error_code, error_code);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<(ResponseHeader, R::Response), DecodeError> {
    let mut r = Reader::new(frame);
    let header = ResponseHeader::read(&mut r, R::KEY, version)?;
    let version = match R::KEY == ApiKey::API_VERSIONS && r.peek_int16() == Some(ErrorCode::UNSUPPORTED_VERSION.0) {
        true => 0,
        false => version,
    };
    let response = <R::Response as crate::Message>::read(&mut r, version)?;
    r.finish()?;
    Ok((header, response))
}

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// Most requests without records fit.
const FRAME_BYTES_USUAL: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;
    use crate::messages::api_versions::request::ApiVersionsRequest;
    use crate::messages::api_versions::response::{ApiVersion, ApiVersionsResponse};
    use crate::messages::metadata::request::MetadataRequest;
    use crate::messages::metadata::response::MetadataResponse;

    fn body(frame: &[u8]) -> Bytes {
        let (length, body) = frame.split_first_chunk::<4>().unwrap();
        assert_eq!(i32::from_be_bytes(*length) as usize, body.len());
        Bytes::copy_from_slice(body)
    }

    #[test]
    fn a_request_frame_has_length_header_and_message() {
        let request = MetadataRequest { topics: None, ..Default::default() };
        let frame = encode_request("me", 7, 4, &request).unwrap();
        let expected = [0, 0, 0, 17, 0, 3, 0, 4, 0, 0, 0, 7, 0, 2, b'm', b'e', 255, 255, 255, 255, 1];
        assert_eq!(frame, expected);

        let mut r = Reader::new(body(&frame));
        let header = RequestHeader::read(&mut r).unwrap();
        assert_eq!((header.api_key, header.api_version, header.correlation_id), (ApiKey::METADATA, 4, 7));
        assert_eq!(header.client_id.as_deref(), Some("me"));
        assert_eq!(decode_request::<MetadataRequest>(r, 4).unwrap(), request);
    }

    #[test]
    fn a_flexible_request_header_has_tags_but_an_old_style_client_id() {
        let request = MetadataRequest { topics: None, ..Default::default() };
        let frame = encode_request("me", 7, 12, &request).unwrap();
        assert_eq!(frame[12..], [0, 2, b'm', b'e', 0, 0, 1, 0, 0]);
    }

    #[test]
    fn only_the_answer_to_api_versions_keeps_the_oldest_header() {
        let versions = encode_response(1, 3, &ApiVersionsResponse::default()).unwrap();
        let metadata = encode_response(1, 9, &MetadataResponse::default()).unwrap();
        let bare = |message: &dyn Fn(&mut Writer)| {
            let mut w = Writer::new();
            message(&mut w);
            w.position()
        };
        let versions_body = bare(&|w| ApiVersionsResponse::default().write(w, 3).unwrap());
        let metadata_body = bare(&|w| MetadataResponse::default().write(w, 9).unwrap());
        assert_eq!(versions.len(), 4 + 4 + versions_body);
        assert_eq!(metadata.len(), 4 + 5 + metadata_body);
    }

    #[test]
    fn a_broker_that_lacks_the_version_answers_in_version_0_and_is_understood() {
        let answer = ApiVersionsResponse {
            error_code: ErrorCode::UNSUPPORTED_VERSION.0,
            api_keys: vec![ApiVersion { api_key: 18, max_version: 2, ..Default::default() }],
            ..Default::default()
        };
        let frame = body(&encode_response(5, 0, &answer).unwrap());
        assert_eq!(correlation_id(&frame).unwrap(), 5);
        let (header, read) = decode_response::<ApiVersionsRequest>(frame, 4).unwrap();
        assert_eq!(header.correlation_id, 5);
        assert_eq!(read, answer);
    }

    #[test]
    fn a_header_of_an_unknown_version_is_read_so_that_the_broker_can_answer_it() {
        let mut w = Writer::new();
        let header = RequestHeader {
            api_key: ApiKey::API_VERSIONS,
            api_version: 99,
            correlation_id: 3,
            client_id: None,
            unknown_tags: UnknownTags::default(),
        };
        header.write(&mut w).unwrap();
        let mut r = Reader::new(w.into_bytes().into());
        assert_eq!(RequestHeader::read(&mut r).unwrap(), header);
        let refused = decode_request::<ApiVersionsRequest>(r, 99).unwrap_err();
        assert_eq!(refused, DecodeError::UnsupportedVersion { api: ApiKey::API_VERSIONS, version: 99 });
    }

    #[test]
    fn bytes_after_the_message_are_refused() {
        let mut frame = encode_response(1, 9, &MetadataResponse::default()).unwrap();
        frame.push(0);
        let refused = decode_response::<MetadataRequest>(Bytes::copy_from_slice(&frame[4..]), 9).unwrap_err();
        assert!(matches!(refused, DecodeError::TrailingBytes { left: 1, .. }), "{refused}");
    }
}
