#include "history.h"

#include <string.h>

#define IN_FLIGHT 8u /* calls of one range */

int fetch_one_start(struct reader *r, struct line_call *call, size_t point, uint64_t off, void *buf,
                    uint32_t len, struct err *e)
{
    Relais__Fetch m;
    relais__fetch__init(&m);
    m.site = r->site;
    m.group = r->group;
    m.rp = r->points[point].rp;
    m.digest = (ProtobufCBinaryData){DIGEST_LEN, r->links[point].digest.b};
    m.offset = off;
    m.length = len;
    memset(call, 0, sizeof *call);
    call->call.expect = FRAME_Fetched;
    call->call.payload = buf;
    call->call.payload_cap = len;
    return line_start(r->line, call, FRAME_Fetch, &m.base, NULL, 0, e);
}

int fetch_one_end(struct reader *r, struct line_call *call, size_t point, uint64_t off,
                  uint32_t len, struct err *e)
{
    uint32_t came = 0;
    int rc;
    for (bool again = true; again;) {
        void *buf = call->call.payload;
        rc = line_wait(r->line, call, e);
        came = call->call.payload_len;
        again = line_again(r->line, call, rc);
        line_end(r->line, call);
        if (again)
            rc = fetch_one_start(r, call, point, off, buf, len, e);
        if (again && rc < 0)
            break;
    }
    if (rc == 0 && came != len)
        rc = err_set(e, ERR_PROTO, "asked for %" PRIu32 " bytes, %" PRIu32 " came", len, came);
    if (rc < 0)
        return err_prefix(e, "%s/%s: RP %" PRIu64 ", delta bytes at %" PRIu64, r->site, r->group,
                          r->points[point].rp, off);
    return 0;
}

int fetch_range(struct reader *r, size_t point, uint64_t off, void *buf, uint32_t len,
                struct err *e)
{
    struct line_call calls[IN_FLIGHT];
    struct err later = ERR_INIT;
    uint8_t *at = buf;
    uint32_t sent = 0, done = 0, started = 0, ended = 0;
    int rc = 0;
    for (;;) {
        while (rc == 0 && sent < len && started - ended < IN_FLIGHT) {
            uint32_t n = len - sent < PAYLOAD_MAX ? len - sent : (uint32_t)PAYLOAD_MAX;
            rc =
                fetch_one_start(r, &calls[started % IN_FLIGHT], point, off + sent, at + sent, n, e);
            if (rc < 0)
                break;
            started++;
            sent += n;
        }
        if (started == ended)
            return rc;
        /* After an error those in flight still own their part of buf: they are waited for. */
        uint32_t n = len - done < PAYLOAD_MAX ? len - done : (uint32_t)PAYLOAD_MAX;
        int one =
            fetch_one_end(r, &calls[ended % IN_FLIGHT], point, off + done, n, rc < 0 ? &later : e);
        ended++;
        done += n;
        if (rc == 0)
            rc = one;
    }
}
