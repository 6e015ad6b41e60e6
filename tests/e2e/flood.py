"""flood: connects to 127.0.0.1:PORT from a dozen addresses, as fast as RATE a second, COUNT times.

Of each five one says nothing, one what is no TLS, one half a ClientHello, one a whole one and then
nothing, and one shakes hands in TLS, with a certificate of KEY and CERT that nobody knows. All stay
open until the other end closes them. Prints how many there were, how many were open at once at
most, and how many handshakes were refused.
"""
import resource
import select
import socket
import ssl
import sys
import time

port, rate, count, key, cert = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.load_cert_chain(cert, key)
poll, conns, hands = select.epoll(), {}, {}
made = most = refused = 0
began = time.monotonic()


def hello():
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()


class Handshake:
    """A client's side, whose key the hub does not know: in TLS 1.3 it hears so after its Finished."""

    def __init__(self, s):
        self.socket, self.read, self.out = s, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.read, self.out)
        self.step()

    def step(self, data=b""):
        """Whether it was refused."""
        self.read.write(data)
        try:
            self.tls.do_handshake()
            self.tls.read(1)
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            return True
        finally:
            if self.out.pending:
                self.socket.send(self.out.read())
        return False


def reap():
    global refused
    for fd, _ in poll.poll(0):
        try:
            data = conns[fd].recv(4096)
            if fd in hands and data and hands[fd].step(data):
                refused += 1
                del hands[fd]
        except OSError:
            data = b""
        if not data:
            poll.unregister(fd)
            conns.pop(fd).close()
            hands.pop(fd, None)


first = hello()
while made < count or time.monotonic() - began < 6:
    if made >= count or made > (time.monotonic() - began) * rate:
        time.sleep(0.001)
    else:
        s = socket.socket()
        s.bind(("127.0.1.%d" % (1 + made % 12), 0))
        s.connect(("127.0.0.1", port))
        made += 1
        conns[s.fileno()] = s
        poll.register(s.fileno(), select.EPOLLIN)
        try:
            if made % 5 == 1:
                s.send(b"GET / HTTP/1.0\r\n\r\n"[: 1 + made % 18])
            elif made % 5 == 2:
                s.send(first[: len(first) // 2])
            elif made % 5 == 3:
                s.send(first)
            elif made % 5 == 4:
                hands[s.fileno()] = Handshake(s)
        except OSError:
            pass  # it was sent away before; its end is seen like others'
    reap()
    most = max(most, len(conns))
print(made, most, refused)
