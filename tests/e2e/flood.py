"""flood: connects to 127.0.0.1:PORT from a dozen addresses for SECONDS, as fast as RATE a second.

Half of the connections say nothing, the others what is no TLS; all stay open until the other end
closes them. Prints how many there were, and how many were open at once at most.
"""
import resource
import select
import socket
import sys
import time

port, seconds, rate = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
poll, conns = select.epoll(), {}
made = most = 0
began = time.monotonic()


def reap():
    for fd, _ in poll.poll(0):
        try:
            gone = conns[fd].recv(4096) == b""
        except ConnectionError:
            gone = True
        if gone:
            poll.unregister(fd)
            conns.pop(fd).close()


while (now := time.monotonic() - began) < seconds:
    if made > now * rate:
        time.sleep(0.001)
    else:
        s = socket.socket()
        s.bind(("127.0.1.%d" % (1 + made % 12), 0))
        s.connect(("127.0.0.1", port))
        made += 1
        if made % 2:
            s.send(b"GET / HTTP/1.0\r\n\r\n"[: 1 + made % 18])
        conns[s.fileno()] = s
        poll.register(s.fileno(), select.EPOLLIN)
    reap()
    most = max(most, len(conns))
print(made, most)
