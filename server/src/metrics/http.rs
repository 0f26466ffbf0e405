//! As much of HTTP/1.1 as a scraper and a health check need: a GET without a body, one answer, the end.

/// What a request may have in bytes, headers included.
pub const REQUEST_BYTES_MAX: usize = 8 << 10;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub wants: Wants,
    /// Without what follows a `?`.
    pub path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    Everything,
    /// HEAD.
    HeadOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    TooLarge,
    Unavailable,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::TooLarge => "431 Request Header Fields Too Large",
            Status::Unavailable => "503 Service Unavailable",
        }
    }
}

/// Reads a request; none if the end of its headers has not come yet.
pub fn parse(received: &[u8]) -> Option<Result<Request, Status>> {
    if !received.windows(4).any(|window| window == b"\r\n\r\n") {
        return (received.len() >= REQUEST_BYTES_MAX).then_some(Err(Status::TooLarge));
    }
    let line = received.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<&str> = std::str::from_utf8(line).unwrap_or_default().split(' ').collect();
    Some(match words.as_slice() {
        [method, target, version] if version.starts_with("HTTP/1.") && target.starts_with('/') => {
            let path = target.split('?').next().unwrap_or_default().to_owned();
            match *method {
                "GET" => Ok(Request { wants: Wants::Everything, path }),
                "HEAD" => Ok(Request { wants: Wants::HeadOnly, path }),
                _ => Err(Status::MethodNotAllowed),
            }
        }
        _ => Err(Status::BadRequest),
    })
}

/// A whole answer, after which the connection ends.
pub fn answer(status: Status, content_type: &str, body: &str, wants: Wants) -> Vec<u8> {
    let mut text = format!(
        "HTTP/1.1 {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        status.line(),
        body.len()
    );
    if wants == Wants::Everything {
        text.push_str(body);
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_when_they_are_whole() {
        let request = |wants, path: &str| Some(Ok(Request { wants, path: path.to_owned() }));
        assert_eq!(parse(b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"), request(Wants::Everything, "/metrics"));
        assert_eq!(parse(b"HEAD / HTTP/1.0\r\n\r\n"), request(Wants::HeadOnly, "/"));
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn what_is_no_such_request_is_refused() {
        assert_eq!(parse(b"POST / HTTP/1.1\r\n\r\n"), Some(Err(Status::MethodNotAllowed)));
        for bad in
            [&b"\r\n\r\n"[..], b"*1\r\n$4\r\nPING\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n", b"\xff / HTTP/1.1\r\n\r\n"]
        {
            assert_eq!(parse(bad), Some(Err(Status::BadRequest)), "{}", bad.escape_ascii());
        }
        assert_eq!(parse(&[b'a'; REQUEST_BYTES_MAX]), Some(Err(Status::TooLarge)));
    }

    #[test]
    fn answers_say_how_long_they_are() {
        let text = |wants| String::from_utf8(answer(Status::Unavailable, "text/plain", "no\n", wants)).expect("text");
        let whole = text(Wants::Everything);
        assert!(whole.starts_with("HTTP/1.1 503 ") && whole.contains("\r\nContent-Length: 3\r\n"), "{whole}");
        assert!(whole.ends_with("\r\n\r\nno\n") && text(Wants::HeadOnly).ends_with("\r\n\r\n"), "{whole}");
    }
}
