//! HTTPS in front of the stand-in for Kanidm: as much of HTTP/1.1 as one well-behaved client needs.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use crate::kanidm::Kanidm;
use crate::server::Stream;

/// The sync token that is accepted.
pub const TOKEN: &str = "demo-token";

/// Answers `GET` and `POST /scim/v1/Sync`, request after request, until the client closes the
/// connection.
pub fn serve(kanidm: &Kanidm, stream: &mut Stream) -> Result<(), Box<dyn Error>> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream)? {
        let (status, body) = match (request.authorised, request.line.as_str()) {
            (false, _) => (401, "\"notauthenticated\"".to_owned()),
            (true, "GET /scim/v1/Sync HTTP/1.1") => (200, kanidm.state()),
            (true, "POST /scim/v1/Sync HTTP/1.1") => kanidm.apply(&request.body),
            _ => (404, "\"nomatchingentries\"".to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\nX-KANIDM-OPID: demo\r\n\r\n",
            body.len()
        );
        stream.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        stream.get_mut().flush()?;
    }
    Ok(())
}

#[derive(Default)]
struct Request {
    line: String,
    authorised: bool,
    body: Vec<u8>,
}

/// The next request; none at the end of the connection.
fn read(stream: &mut BufReader<&mut Stream>) -> Result<Option<Request>, Box<dyn Error>> {
    let mut request = Request::default();
    let mut length = 0;
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        let text = line.trim_end();
        if request.line.is_empty() {
            text.clone_into(&mut request.line);
        } else if let Some((name, value)) = text.split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "authorization" => {
                    request.authorised = value.strip_prefix("Bearer ") == Some(TOKEN)
                }
                "content-length" => length = value.parse()?,
                _ => {}
            }
        } else {
            stream.take(length).read_to_end(&mut request.body)?;
            return Ok(Some(request));
        }
        line.clear();
    }
    Ok(None)
}
