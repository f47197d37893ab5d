//! The two HTTP requests that the engine's owner makes, over a plain socket.
//!
//! Not a client: one request a connection, and only the status is read. SQL goes
//! through `plaudit-store`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The longest that one of these small requests may take to connect, or to be answered.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the server answers `/ping` with 200.
pub(crate) fn ping(address: SocketAddr) -> bool {
    exchange(address, "GET /ping", "").is_ok_and(|status| status == 200)
}

/// Sends one statement and returns the status of the answer.
pub(crate) fn execute(address: SocketAddr, statement: &str) -> io::Result<u16> {
    exchange(address, "POST /", statement)
}

fn exchange(address: SocketAddr, target: &str, body: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = body.len();
    let request = format!(
        "{target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    // In one write: `write!` would send it in pieces.
    stream.write_all(request.as_bytes())?;
    // "HTTP/1.1 200 OK": the status line is all that matters, and 12 bytes carry it.
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    status(&head).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn status(head: &[u8; 12]) -> Option<u16> {
    let head = std::str::from_utf8(head).ok()?;
    let code = head
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| head.strip_prefix("HTTP/1.0 "))?;
    code.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A server that gives `answer` to one request, and what it was asked.
    fn serve(answer: &'static str) -> (SocketAddr, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        (address, server)
    }

    #[test]
    fn a_ping_is_a_200_and_nothing_else() {
        let (address, server) = serve("HTTP/1.1 200 OK\r\n\r\nOk.\n");
        assert!(ping(address));
        assert!(server.join().unwrap().starts_with("GET /ping HTTP/1.1\r\n"));

        let (address, server) = serve("HTTP/1.1 503 No\r\n\r\n");
        assert!(!ping(address));
        server.join().unwrap();
    }

    #[test]
    fn nobody_there_is_no_ping() {
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap();
        assert!(!ping(address));
    }

    #[test]
    fn what_is_not_http_has_no_status() {
        assert_eq!(status(b"HTTP/1.1 404"), Some(404));
        assert_eq!(status(b"SSH-2.0-Open"), None);
        assert_eq!(status(b"HTTP/1.1 \xff\xff\xff"), None);
    }
}
