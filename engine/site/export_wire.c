/* A connection's bytes: on its socket as they are, or in TLS. */
#include "export_conn.h"

int conn_recv(struct conn *c, void *dst, size_t len, uint64_t timeout_ns)
{
    return c->tls ? stream_recv(c->tls, dst, len, timeout_ns)
                  : fio_recv(c->fd, dst, len, timeout_ns);
}

int conn_send_all(struct conn *c, const void *p, size_t len, uint64_t timeout_ns)
{
    return c->tls ? stream_send_all(c->tls, p, len, timeout_ns)
                  : fio_send_all(c->fd, p, len, timeout_ns);
}
