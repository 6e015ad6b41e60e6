/* Frames: their messages packed and unpacked, and carried over TLS by one loop that is both ends.
 */
#include "link.h"
#include "micro.h"
#include "ring.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT (20 * IO_S)

struct linking {
    struct micro *m;
    struct err *e;
    int rc;
    struct key_secret *keys[2];
    struct tls *tls[2];
    struct link *ends[2];
    int plain[2];
    uint8_t *payload, *into;
    uint64_t to_send, sum;
    struct message message;
    uint8_t digest[32];
};

static Relais__Part part_of(struct linking *l, char *group)
{
    Relais__Part part;
    relais__part__init(&part);
    part.group = group;
    part.digest = (ProtobufCBinaryData){sizeof l->digest, l->digest};
    part.part = 7;
    part.offset = PAYLOAD_MAX;
    return part;
}

static void frame_ours(void *arg, uint64_t n)
{
    struct linking *l = arg;
    char group[] = "records";
    uint8_t packed[256], head[FRAME_HEADER_LEN];
    struct frame_header h = {.type = FRAME_Part, .id = 1, .payload_len = PAYLOAD_MAX}, back;
    for (uint64_t i = 0; i < n; i++) {
        Relais__Part part = part_of(l, group);
        h.message_len = (uint32_t)message_packed_size(&part.base);
        ASSERT(h.message_len <= sizeof packed);
        message_pack(packed, &part.base);
        frame_header_encode(head, &h);
        ASSERT(frame_header_decode(&back, head, l->e) == 0);
        ASSERT(message_unpack(&l->message, back.type, packed, back.message_len, l->e) == 0);
        l->sum += l->message.part->part;
    }
}

static void frame_bare(void *arg, uint64_t n)
{
    struct linking *l = arg;
    char group[] = "records";
    uint8_t packed[256];
    for (uint64_t i = 0; i < n; i++) {
        Relais__Part part = part_of(l, group), *back;
        size_t len = relais__part__pack(&part, packed);
        back = relais__part__unpack(NULL, len, packed);
        ASSERT(back);
        l->sum += back->part;
        relais__part__free_unpacked(back, NULL);
    }
}

static void sender(void *arg)
{
    struct linking *l = arg;
    char group[] = "records";
    Relais__Part part = part_of(l, group);
    struct err e = ERR_INIT;
    for (uint64_t i = 0; i < l->to_send; i++)
        ASSERT(link_send(l->ends[0], FRAME_Part, 0, &part.base, l->payload, PAYLOAD_MAX, &e) == 0);
}

static void carry_ours(void *arg, uint64_t n)
{
    struct linking *l = arg;
    struct frame_header h;
    struct fiber *f;
    l->to_send = n;
    f = fiber_spawn(fiber_io(), "sender", sender, l);
    for (uint64_t i = 0; i < n; i++) {
        ASSERT(link_recv(l->ends[1], &h, &l->message, TIMEOUT, l->e) == 0);
        ASSERT(link_recv_payload(l->ends[1], l->into, h.payload_len, l->e) == 0);
    }
    fiber_join(f);
}

/* The same bytes through TCP by one thread, without TLS, loop or frames. */
static void carry_plain(void *arg, uint64_t n)
{
    struct linking *l = arg;
    uint64_t all = n * PAYLOAD_MAX, sent = 0, got = 0;
    while (got < all) {
        size_t at = sent % PAYLOAD_MAX,
               room = all - sent < PAYLOAD_MAX - at ? all - sent : PAYLOAD_MAX - at;
        ssize_t k = room ? send(l->plain[0], l->payload + at, room, MSG_DONTWAIT) : 0;
        sent += k > 0 ? (uint64_t)k : 0;
        k = recv(l->plain[1], l->into, PAYLOAD_MAX, MSG_DONTWAIT);
        ASSERT(k > 0 || (k < 0 && errno == EAGAIN));
        got += k > 0 ? (uint64_t)k : 0;
    }
}

/* Two ends of a TCP connection over loopback. */
static int tcp_pair(int fds[2], struct err *e)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int rc = 0, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[1] = -1;
    if (listener < 0 || fds[0] < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) < 0 ||
        listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&at, &len) < 0 ||
        connect(fds[0], (struct sockaddr *)&at, sizeof at) < 0 ||
        (fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
        rc = err_os(e, errno, "a TCP connection over loopback");
    if (listener >= 0)
        (void)close(listener);
    if (rc < 0 && fds[0] >= 0)
        (void)close(fds[0]);
    return rc;
}

struct accepting {
    struct linking *l;
    int fd, rc;
    struct err e;
};

static void accept_main(void *arg)
{
    struct accepting *a = arg;
    a->rc = link_tls_accept(&a->l->ends[1], a->fd, a->l->tls[1], TIMEOUT, &a->e);
}

static int connect_ends(struct linking *l)
{
    struct accepting a = {.l = l, .e = ERR_INIT};
    int fds[2], rc = tcp_pair(fds, l->e);
    struct fiber *f;
    if (rc < 0)
        return rc;
    a.fd = fds[1];
    f = fiber_spawn(fiber_io(), "accept", accept_main, &a);
    rc = link_tls_connect(&l->ends[0], fds[0], l->tls[0], "hub", TIMEOUT, l->e);
    fiber_join(f);
    if (rc == 0 && a.rc < 0) {
        *l->e = a.e;
        rc = a.rc;
    }
    return rc;
}

static int keys_open(struct linking *l)
{
    static const char *const names[] = {"site", "hub"};
    int rc = 0;
    for (int i = 0; i < 2; i++)
        l->keys[i] = key_generate(KEY_LINK, NULL);
    for (int i = 0; i < 2 && rc == 0; i++) {
        struct tls_peer peer = {.key = *key_public(l->keys[!i])};
        (void)snprintf(peer.name, sizeof peer.name, "%s", names[!i]);
        rc = tls_new(&l->tls[i], l->keys[i], &peer, 1, l->e);
    }
    return rc;
}

static void cases(struct linking *l)
{
    struct micro_case frame = {.area = "link",
                               .what = "a Part frame, packed and unpacked",
                               .beside = "protobuf-c alone",
                               .ours = frame_ours,
                               .bare = frame_bare,
                               .arg = l};
    struct micro_case carry = {.area = "link",
                               .what = "frames of 256 KiB over TLS, both ends",
                               .beside = "TCP alone, both ends",
                               .bytes = PAYLOAD_MAX,
                               .ours = carry_ours,
                               .bare = carry_plain,
                               .arg = l};
    micro_run(l->m, &frame);
    micro_run(l->m, &carry);
}

static void link_main(void *arg)
{
    struct linking *l = arg;
    l->rc = keys_open(l);
    if (l->rc == 0)
        l->rc = connect_ends(l);
    if (l->rc == 0 && (l->rc = tcp_pair(l->plain, l->e)) == 0) {
        cases(l);
        (void)close(l->plain[0]);
        (void)close(l->plain[1]);
    }
    for (int i = 0; i < 2; i++) {
        link_close(l->ends[i]);
        if (l->tls[i])
            tls_free(l->tls[i]);
        key_free(l->keys[i]);
    }
}

int micro_link(struct micro *m, struct err *e)
{
    struct linking l = {.m = m, .e = e};
    int rc;
    message_init(&l.message);
    l.payload = err_calloc(1, PAYLOAD_MAX);
    l.into = err_malloc(PAYLOAD_MAX);
    rc = ring_run(link_main, &l, e);
    message_free(&l.message);
    free(l.payload);
    free(l.into);
    return rc < 0 ? rc : l.rc;
}
