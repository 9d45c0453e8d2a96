//! hyper on the engine's sockets, through the traits that tokio's users know: no unsafe code, no buffer in between and
//! no byte copied by the adapter.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ambidex::net::{TcpListener, TcpStream};
use ambidex_tests::loops::{ANY_PORT, pattern, run};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream as tokio's traits have it: each call is one of the stream's own, on the caller's buffer.
struct Adapter {
    stream: TcpStream,
    moved: Rc<Cell<usize>>,
}

impl Adapter {
    fn count(&self, moved: usize) -> usize {
        self.moved.set(self.moved.get() + moved);
        moved
    }
}

impl AsyncRead for Adapter {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = ready!(self.stream.poll_read(cx, buffer.initialize_unfilled()))?;
        buffer.advance(self.count(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Adapter {
    // The engine keeps who waits beside the socket, not in the future: one made for each poll will do.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(pin!(self.stream.write(buffer)).poll(cx))?;
        Poll::Ready(Ok(self.count(sent)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(pin!(self.stream.write_vectored(buffers)).poll(cx))?;
        Poll::Ready(Ok(self.count(sent)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, hyper::Error> {
    Ok(Response::new(request.into_body()))
}

/// Sends `body` and gives what comes back.
async fn exchange(stream: &TcpStream, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let sending = async {
        stream.write_all(head.as_bytes()).await.expect("the head");
        stream.write_all(body).await.expect("the body");
    };
    let receiving = async {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 65_536]);
        loop {
            if let Some(at) = all.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(all[..at].to_vec()).expect("text");
                assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                let length = format!("content-length: {}", body.len());
                assert!(head.to_lowercase().contains(&length), "{head}");
                let mut received = all.split_off(at + 4);
                while received.len() < body.len() {
                    let length = stream.read(&mut buffer).await.expect("read");
                    assert_ne!(length, 0, "cut short");
                    received.extend_from_slice(&buffer[..length]);
                }
                return received;
            }
            let length = stream.read(&mut buffer).await.expect("read");
            assert_ne!(length, 0, "no answer");
            all.extend_from_slice(&buffer[..length]);
        }
    };
    futures_util::join!(sending, receiving).1
}

#[test]
fn hyper_http1_echo_no_copy_shim() {
    run(async |io| {
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
        let address = listener.local_addr().expect("bound");
        let moved = Rc::new(Cell::new(0));
        let (acceptor, counted) = (io.clone(), moved.clone());
        let serving = io.spawn(async move {
            let (stream, _) = acceptor.accept(&listener).await.expect("accept");
            // So little that writes are short.
            let set = stream.options().set_send_buffer_size(4096);
            set.expect("a socket option");
            let moved = counted;
            let adapter = TokioIo::new(Adapter { stream, moved });
            let connection = http1::Builder::new().serve_connection(adapter, service_fn(echo));
            connection.await.expect("the connection");
        });
        let client = TcpStream::connect(io.net(), address)
            .await
            .expect("connect");
        let mut expected = 0;
        for length in [0, 1, 1_000, 1_000_000] {
            let body = pattern(length);
            assert!(exchange(&client, &body).await == body, "{length} bytes");
            expected += 2 * length;
        }
        drop(client);
        serving.await.expect("it ends with the client");
        assert!(moved.get() > expected, "all went through the adapter");
    });
}
