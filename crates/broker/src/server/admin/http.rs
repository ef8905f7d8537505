//! HTTP/1.1 as far as the admin port needs it: one request from bytes, one answer into bytes.
//!
//! The head is parsed by `httparse`. A body has a Content-Length; encodings are refused. Nothing is allocated for a length
//! that was only announced.

use std::net::IpAddr;

use serde::Serialize;

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// Between the slashes; empty for the page.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    host: Option<String>,
    origin: Option<String>,
    fetch_site: Option<String>,
}

/// What the bytes so far are.
#[derive(Debug)]
pub(super) enum Parsed {
    Request(Request),
    Incomplete,
    Refused(Reply),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    /// The methods that a path has, for 405.
    allow: Option<String>,
}

pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let body_at = match head.parse(bytes) {
        Ok(httparse::Status::Complete(at)) => at,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Parsed::Incomplete,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Parsed::Refused(Reply::error(431, "the head of the request is too long"));
        }
        Err(error) => return Parsed::Refused(Reply::error(400, format!("this is no HTTP request: {error}"))),
    };
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
    };
    if header("transfer-encoding").is_some() {
        return Parsed::Refused(Reply::error(411, "send the body whole, with a Content-Length"));
    }
    let length = match header("content-length").map(|length| length.parse::<usize>()) {
        None => 0,
        Some(Ok(length)) if length <= BODY_BYTES_MAX => length,
        Some(Ok(_)) => {
            return Parsed::Refused(Reply::error(413, format!("a body has at most {BODY_BYTES_MAX} bytes")));
        }
        Some(Err(_)) => return Parsed::Refused(Reply::error(400, "the Content-Length is no number")),
    };
    let Some(body) = bytes[body_at..].get(..length) else { return Parsed::Incomplete };
    let target = head.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.to_owned(), value.to_owned())
    };
    Parsed::Request(Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        query: query.split('&').filter(|part| !part.is_empty()).map(pair).collect(),
        body: body.to_vec(),
        host: header("host"),
        origin: header("origin"),
        fetch_site: header("sec-fetch-site"),
    })
}

impl Request {
    /// Why a request may come from a foreign page in somebody's browser, if it may. A page reaches this port by a name of its own
    /// that it lets point here (then the `Host` is that name), or from its own place (then browsers send its `Origin`).
    pub(super) fn is_foreign(&self, own_host: &str) -> Option<String> {
        let Some(host) = &self.host else {
            return Some("the request has no Host header; send the address of this port".to_owned());
        };
        let name = without_port(host);
        let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        if !is_address && !name.eq_ignore_ascii_case("localhost") && !name.eq_ignore_ascii_case(own_host) {
            return Some(format!(
                "{name:?} is no name of this port; ask it by its IP address, as localhost, or by the name that it was started with"
            ));
        }
        let is_own = |origin: &String| origin.strip_prefix("http://").is_some_and(|of| of.eq_ignore_ascii_case(host));
        if let Some(origin) = self.origin.as_ref().filter(|origin| !is_own(origin)) {
            return Some(format!("a page of {origin:?} may not steer this broker"));
        }
        match self.fetch_site.as_deref() {
            None | Some("same-origin" | "none") => None,
            Some(_) => Some("a page from another place may not steer this broker".to_owned()),
        }
    }

    /// A parameter of the query, as a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Reply> {
        let Some((_, value)) = self.query.iter().find(|(known, _)| known == name) else { return Ok(None) };
        let number = value.parse();
        number.map(Some).map_err(|_| Reply::error(400, format!("{name} is {value:?}; it must be a number from 0 on")))
    }

    /// Refuses parameters that mean nothing here.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), Reply> {
        match self.query.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) if names.is_empty() => {
                Err(Reply::error(400, format!("{name:?}: nothing is taken behind ?")))
            }
            Some((name, _)) => {
                Err(Reply::error(400, format!("{name:?} is no parameter here; there are: {}", names.join(", "))))
            }
        }
    }
}

fn without_port(host: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    }
}

impl Reply {
    pub(super) fn json(status: u16, value: &impl Serialize) -> Reply {
        let mut body = serde_json::to_vec(value).expect("text, numbers and lists go into memory");
        body.push(b'\n');
        Reply { status, content_type: "application/json", body, allow: None }
    }

    /// What was asked for is done, or is this.
    pub(super) fn ok(value: &impl Serialize) -> Reply {
        Reply::json(200, value)
    }

    pub(super) fn error(status: u16, text: impl Into<String>) -> Reply {
        #[derive(Serialize)]
        struct Error {
            error: String,
        }
        Reply::json(status, &Error { error: text.into() })
    }

    pub(super) fn page(html: &str) -> Reply {
        Reply { status: 200, content_type: "text/html; charset=utf-8", body: html.as_bytes().to_vec(), allow: None }
    }

    pub(super) fn wrong_method(allow: String) -> Reply {
        let told = Reply::error(405, format!("this path takes {allow}"));
        Reply { allow: Some(allow), ..told }
    }

    /// Whole, and the last of its connection; without its body for who asks with HEAD.
    pub(super) fn write(&self, is_head: bool) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            201 => "Created",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            409 => "Conflict",
            411 => "Length Required",
            413 => "Content Too Large",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ if self.status < 500 => "Bad Request",
            _ => "Internal Server Error",
        };
        let allow = self.allow.as_ref().map_or(String::new(), |allow| format!("Allow: {allow}\r\n"));
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}{FIXED_HEADERS}\r\n",
            self.status,
            self.content_type,
            self.body.len(),
        );
        let body: &[u8] = if is_head { &[] } else { &self.body };
        [head.as_bytes(), body].concat()
    }
}

/// Nothing is kept, nothing is guessed, nothing from elsewhere is loaded, and no other page shows this one within itself.
const FIXED_HEADERS: &str = "Connection: close\r\n\
    Cache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\n\
    X-Frame-Options: DENY\r\n\
    Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n";

/// Browsers send about twenty.
const HEADERS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The largest that means anything is a topic with all its settings.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        match parse(text.as_bytes()) {
            Parsed::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn refused(text: &str) -> u16 {
        match parse(text.as_bytes()) {
            Parsed::Refused(reply) => reply.status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn request_is_read_once_it_is_whole() {
        let text = "POST /faults/7?hits=2&x HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Length: 4\r\n\r\n{\"a\"";
        for cut in 0..text.len() {
            assert!(matches!(parse(&text.as_bytes()[..cut]), Parsed::Incomplete), "{cut}");
        }
        let request = request(text);
        assert_eq!((request.method.as_str(), request.body.as_slice()), ("POST", &b"{\"a\""[..]));
        assert_eq!(request.path, ["faults", "7"]);
        assert_eq!(request.query, [("hits".to_owned(), "2".to_owned()), ("x".to_owned(), String::new())]);
    }

    #[test]
    fn what_is_too_long_or_no_request_is_refused_before_it_is_kept() {
        assert_eq!(refused("\u{1}\u{2} nonsense\r\n\r\n"), 400);
        assert_eq!(refused("POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n"), 413);
        assert_eq!(refused("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n"), 400);
        assert_eq!(refused("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400);
        assert_eq!(refused("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 411);
        assert_eq!(refused(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_BYTES_MAX))), 431);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1))), 431);
    }

    #[test]
    fn foreign_pages_are_known_by_host_origin_and_site() {
        let foreign =
            |headers: &str| request(&format!("POST /faults HTTP/1.1\r\n{headers}\r\n")).is_foreign("kafka").is_some();
        for own in [
            "Host: 127.0.0.1:9644\r\n",
            "Host: [::1]:9644\r\n",
            "Host: 10.0.0.7\r\n",
            "Host: LocalHost:1\r\nOrigin: http://localhost:1\r\n",
            "Host: kafka:9644\r\n",
            "Host: 127.0.0.1:1\r\nSec-Fetch-Site: same-origin\r\n",
        ] {
            assert!(!foreign(own), "{own}");
        }
        for other in [
            "",
            "Host: evil.example:9644\r\n",
            "Host: 127.0.0.1.evil.example\r\n",
            "Host: localhost.evil.example:1\r\n",
            "Host: 127.0.0.1:1\r\nOrigin: http://evil.example\r\n",
            "Host: 127.0.0.1:1\r\nOrigin: http://127.0.0.1:2\r\n",
            "Host: 127.0.0.1:1\r\nOrigin: null\r\n",
            "Host: 127.0.0.1:1\r\nSec-Fetch-Site: cross-site\r\n",
        ] {
            assert!(foreign(other), "{other}");
        }
    }
}
