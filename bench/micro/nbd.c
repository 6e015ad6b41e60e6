/* Requests of a guest: the protocol alone, and all the way to the backing file and back in this
 * process, beside the bare pread and pwrite of the file. */
#include "export.h"
#include "handshake.h"
#include "micro.h"
#include "reply.h"
#include "request.h"
#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VOLUME   (64 * MIB)
#define BLOCK    4096u
#define DEPTH    16u
#define TIMEOUT  (20 * IO_S)
#define WROTE    (NBD_REQUEST_LEN + BLOCK)
#define ANSWERED (NBD_REPLY_SIMPLE_LEN + BLOCK)

struct serving {
    struct micro *m;
    struct err *e;
    int rc;
    char root[64];
    struct config config;
    struct config_volume volume;
    struct capture *capture;
    struct exports *exports;
    int client, file;
    unsigned depth;
    bool writes;
    uint64_t at, sum;
    uint8_t out[DEPTH * WROTE], in[DEPTH * ANSWERED], block[BLOCK];
};

static void be(uint8_t *p, unsigned bytes, uint64_t v)
{
    while (bytes-- > 0) {
        p[bytes] = (uint8_t)v;
        v >>= 8;
    }
}

static void put_request(uint8_t *p, unsigned command, uint64_t cookie, uint64_t off)
{
    be(p, 4, 0x25609513);
    be(p + 4, 2, 0);
    be(p + 6, 2, command);
    be(p + 8, 8, cookie);
    be(p + 16, 8, off);
    be(p + 24, 4, BLOCK);
}

/* Scattered, and the same for both sides. */
static uint64_t place(struct serving *s)
{
    s->at = s->at * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (s->at >> 40) % (VOLUME / BLOCK) * BLOCK;
}

/* ---- the protocol alone ---- */

static void protocol_ours(void *arg, uint64_t n)
{
    struct serving *s = arg;
    struct nbd_export export = {.name = "x", .size = VOLUME, .block_min = 1};
    struct nbd_session session = {.export = &export};
    struct nbd_request r;
    uint8_t reply[NBD_REPLY_END_MAX];
    for (uint64_t i = 0; i < n; i++) {
        put_request(s->out, NBD_CMD_WRITE, i, place(s));
        ASSERT(nbd_request_decode(&r, s->out, &session) == NBD_RUN);
        s->sum += nbd_reply_end(reply, &session, &r, NBD_OK, "") + reply[15];
    }
}

static void protocol_copied(void *arg, uint64_t n)
{
    struct serving *s = arg;
    uint8_t back[NBD_REQUEST_LEN + NBD_REPLY_SIMPLE_LEN];
    for (uint64_t i = 0; i < n; i++) {
        put_request(s->out, NBD_CMD_WRITE, i, place(s));
        memcpy(back, s->out, sizeof back);
        __asm__ volatile("" : : "r"(back) : "memory");
        s->sum += back[15];
    }
}

/* ---- all the way ---- */

static void receive(int fd, void *p, size_t len)
{
    for (size_t got = 0; got < len;) {
        int n = fio_recv(fd, (uint8_t *)p + got, len - got, TIMEOUT);
        ASSERT(n > 0);
        got += (size_t)n;
    }
}

static void served(void *arg, uint64_t n)
{
    struct serving *s = arg;
    size_t each = s->writes ? WROTE : NBD_REQUEST_LEN,
           back = s->writes ? NBD_REPLY_SIMPLE_LEN : ANSWERED;
    for (uint64_t done = 0; done < n;) {
        unsigned k = n - done < s->depth ? (unsigned)(n - done) : s->depth;
        for (unsigned i = 0; i < k; i++) {
            put_request(s->out + i * each, s->writes ? NBD_CMD_WRITE : NBD_CMD_READ, i, place(s));
            if (s->writes)
                memcpy(s->out + i * each + NBD_REQUEST_LEN, s->block, BLOCK);
        }
        ASSERT(fio_send_all(s->client, s->out, k * each, TIMEOUT) == 0);
        receive(s->client, s->in, k * back);
        for (unsigned i = 0; i < k; i++) /* the error of a simple reply, wherever it stands */
            ASSERT(memcmp(s->in + i * back + 4, "\0\0\0\0", 4) == 0);
        done += k;
    }
}

static void bare(void *arg, uint64_t n)
{
    struct serving *s = arg;
    for (uint64_t i = 0; i < n; i++) {
        ssize_t k = s->writes ? pwrite(s->file, s->block, BLOCK, (off_t)place(s))
                              : pread(s->file, s->in, BLOCK, (off_t)place(s));
        ASSERT(k == (ssize_t)BLOCK);
    }
}

/* ---- a volume in service, and a client ---- */

static int make_volume(struct serving *s)
{
    struct config_volume *v = &s->volume;
    uint8_t *rows = err_malloc(VOLUME);
    int rc = 0;
    (void)snprintf(v->name, sizeof v->name, "data");
    (void)snprintf(v->path, sizeof v->path, "%s/data.img", s->root);
    (void)snprintf(v->export.path, sizeof v->export.path, "%s/socket", s->root);
    v->export_mode = 0600;
    v->source = CONFIG_NBD;
    micro_rows(rows, VOLUME, 1);
    micro_rows(s->block, BLOCK, 2);
    s->file = open(v->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->file < 0 || pwrite(s->file, rows, VOLUME, 0) != (ssize_t)VOLUME)
        rc = err_os(s->e, errno ? errno : ENOSPC, "%s", v->path);
    free(rows);
    return rc;
}

static int serve(struct serving *s)
{
    struct export_volume v = {"records", &s->volume, NULL};
    int rc = capture_open(&s->capture, &s->volume, s->root, "records", NULL, false, s->e);
    if (rc < 0)
        return rc;
    v.capture = s->capture;
    s->config.export_memory = 64 * MIB;
    return export_start(&s->exports, &v, 1, &s->config, NULL, s->e);
}

static int client_open(struct serving *s)
{
    static const uint8_t go[] = "IHAVEOPT\0\0\0\7\0\0\0\6\0\0\0\0\0\0";
    struct io_addr addr = {0};
    uint8_t p[64];
    (void)snprintf(addr.path, sizeof addr.path, "%s", s->volume.export.path);
    s->client = fio_connect(&addr, TIMEOUT);
    if (s->client < 0)
        return err_os(s->e, s->client, "%s", addr.path);
    receive(s->client, p, NBD_GREETING_LEN);
    ASSERT(fio_send_all(s->client, "\0\0\0\3", 4, TIMEOUT) == 0);
    ASSERT(fio_send_all(s->client, go, sizeof go - 1, TIMEOUT) == 0);
    receive(s->client, p, 20 + 12 + 20); /* NBD_INFO_EXPORT, then the acknowledgement */
    return 0;
}

static void one(struct serving *s, bool writes, unsigned depth)
{
    struct micro_case c = {.area = "nbd", .bytes = BLOCK, .ours = served, .bare = bare, .arg = s};
    s->writes = writes;
    s->depth = depth;
    (void)snprintf(c.what, sizeof c.what, "%s 4 KiB, %u at a time", writes ? "write" : "read",
                   depth);
    (void)snprintf(c.beside, sizeof c.beside, "%s of the file", writes ? "pwrite" : "pread");
    micro_run(s->m, &c);
}

static void serving_main(void *arg)
{
    struct serving *s = arg;
    struct micro_case protocol = {.area = "nbd",
                                  .what = "a request decoded and answered",
                                  .beside = "memcpy of its bytes",
                                  .ours = protocol_ours,
                                  .bare = protocol_copied,
                                  .arg = s};
    s->rc = make_volume(s);
    if (s->rc == 0)
        s->rc = serve(s);
    if (s->rc == 0)
        s->rc = client_open(s);
    if (s->rc == 0) {
        micro_run(s->m, &protocol);
        for (unsigned depth = 1; depth <= DEPTH; depth *= DEPTH) {
            one(s, true, depth);
            one(s, false, depth);
        }
    }
    fio_close_always(s->client);
    if (s->exports)
        export_stop(s->exports);
    capture_close(s->capture);
    fio_close_always(s->file);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

int micro_nbd(struct micro *m, struct err *e)
{
    struct serving *s = err_calloc(1, sizeof *s);
    int rc;
    s->m = m;
    s->e = e;
    s->client = s->file = -1;
    (void)snprintf(s->root, sizeof s->root, "/var/tmp/relais-micro-XXXXXX");
    if (!mkdtemp(s->root)) {
        rc = err_os(e, errno, "making a directory in /var/tmp");
    } else {
        rc = ring_run(serving_main, s, e);
        rc = rc < 0 ? rc : s->rc;
        (void)nftw(s->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    free(s);
    return rc;
}
