//! Metrics behind a plain HTTP address, as exporters serve them.
//!
//! One request on a connection of its own; no TLS, no redirects, no credentials.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::target::{BoxFuture, Metrics};

/// How long one look may take.
const LIMIT: Duration = Duration::from_secs(5);
/// More than this is no list of metrics, in bytes.
const MOST: u64 = 32 * 1024 * 1024;

/// `http://HOST:PORT/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpMetrics {
    authority: String,
    path: String,
}

impl HttpMetrics {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is no such address; the text says what one looks like.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong =
            || format!("{url:?} is no metrics address such as http://127.0.0.1:9090/metrics");
        let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
        let port = authority.rsplit_once(':').map(|(_, port)| port);
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if port.is_none_or(|port| port.parse::<u16>().is_err()) || !plain(rest) {
            return Err(wrong());
        }
        Ok(HttpMetrics {
            authority: authority.to_owned(),
            path: format!("/{path}"),
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a real plugin's metrics are behind a real address"
    )]
    async fn get(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.authority).await?;
        // In HTTP/1.0 the answer's end is the connection's.
        let request = format!(
            "GET {} HTTP/1.0\r\nHost: {}\r\n\r\n",
            self.path, self.authority
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MOST).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Metrics for HttpMetrics {
    fn scrape(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async {
            let answer = timeout(LIMIT, self.get())
                .await
                .map_err(|_| "its metrics did not come in time".to_owned())?
                .map_err(|error| format!("its metrics cannot be read: {error}"))?;
            let (head, body) = answer
                .split_once("\r\n\r\n")
                .ok_or("its metrics are no HTTP answer")?;
            let line = head.lines().next().unwrap_or_default();
            match line.split(' ').nth(1) {
                Some("200") => Ok(body.to_owned()),
                _ => Err(format!("its metrics are refused: {line}")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_are_read_strictly() {
        for (url, path) in [
            ("http://127.0.0.1:9090/metrics", "/metrics"),
            ("http://127.0.0.1:9090", "/metrics"),
            ("http://[::1]:80/a/b?c=d", "/a/b?c=d"),
        ] {
            assert_eq!(HttpMetrics::parse(url).unwrap().path, path, "{url}");
        }
        for url in [
            "",
            "127.0.0.1:9090",
            "https://127.0.0.1:9090/metrics",
            "http://127.0.0.1/metrics",
            "http://127.0.0.1:99999/",
            "http://127.0.0.1:9090/a b",
        ] {
            let error = HttpMetrics::parse(url).unwrap_err();
            assert!(error.contains("such as http://"), "{error}");
        }
    }

    #[tokio::test]
    async fn only_a_good_answer_is_taken() {
        for (answer, expected) in [
            ("HTTP/1.0 200 OK\r\nA: b\r\n\r\nup 1\n", Ok("up 1\n")),
            ("HTTP/1.1 404 Not Found\r\n\r\nup 1\n", Err("404")),
            ("up 1\n", Err("no HTTP answer")),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 512];
                let length = stream.read(&mut request).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8(request[..length].to_vec()).unwrap()
            });
            let scraped = HttpMetrics::parse(&url).unwrap().scrape().await;
            match expected {
                Ok(body) => assert_eq!(scraped.unwrap(), body),
                Err(words) => assert!(scraped.unwrap_err().contains(words)),
            }
            assert!(server.await.unwrap().starts_with("GET /metrics HTTP/1.0"));
        }
    }
}
