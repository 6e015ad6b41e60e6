#include "request.h"

#include "nbd_wire.h"

#define REQUEST_MAGIC 0x25609513u

/* What a command may be sent with, and what it does. */
struct command {
    const char *name;
    uint16_t flags; /* besides FUA, which all may have */
    uint16_t needs; /* the transmission flag without which it is unknown */
    bool writes;    /* changes the export */
    bool ranged;    /* offset and length are those of a range of the export */
};

static const struct command commands[] = {
    [NBD_CMD_READ] = {"READ", NBD_CMD_FLAG_DF, 0, false, true},
    [NBD_CMD_WRITE] = {"WRITE", 0, 0, true, true},
    [NBD_CMD_DISC] = {"DISC", 0, 0, false, false},
    [NBD_CMD_FLUSH] = {"FLUSH", 0, NBD_FLAG_SEND_FLUSH, false, false},
    [NBD_CMD_TRIM] = {"TRIM", 0, NBD_FLAG_SEND_TRIM, true, true},
    [NBD_CMD_CACHE] = {"CACHE", 0, NBD_FLAG_SEND_CACHE, false, true},
    [NBD_CMD_WRITE_ZEROES] = {"WRITE_ZEROES", NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
                              NBD_FLAG_SEND_WRITE_ZEROES, true, true},
    [NBD_CMD_BLOCK_STATUS] = {"BLOCK_STATUS", NBD_CMD_FLAG_REQ_ONE, 0, false, true},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

const char *nbd_command_name(uint16_t command)
{
    return command < COMMANDS ? commands[command].name : "?";
}

static enum nbd_fate refuse(struct nbd_request *r, enum nbd_errno error, const char *text)
{
    r->error = error;
    r->text = text;
    return NBD_REFUSE;
}

/* The flags that the client may set with this command: what was not negotiated is unknown. */
static uint16_t flags_allowed(const struct command *c, const struct nbd_session *s)
{
    unsigned flags = c->flags;
    if (s->export->flags & NBD_FLAG_SEND_FUA)
        flags |= NBD_CMD_FLAG_FUA;
    if (!s->structured)
        flags &= ~(unsigned)NBD_CMD_FLAG_DF;
    if (!(s->export->flags & NBD_FLAG_SEND_FAST_ZERO))
        flags &= ~(unsigned)NBD_CMD_FLAG_FAST_ZERO;
    return (uint16_t)flags;
}

static enum nbd_fate check_range(struct nbd_request *r, const struct nbd_export *x)
{
    if (r->offset > x->size || r->length > x->size - r->offset) {
        bool grows = r->command == NBD_CMD_WRITE || r->command == NBD_CMD_WRITE_ZEROES;
        return refuse(r, grows ? NBD_ENOSPC : NBD_EINVAL, "the range ends behind the volume's end");
    }
    if ((r->offset | r->length) & (x->block_min - 1))
        return refuse(r, NBD_EINVAL, "the range is not a multiple of the minimum block size");
    if (r->command == NBD_CMD_READ && r->length > NBD_PAYLOAD_MAX)
        return refuse(r, NBD_EINVAL, "more than the maximum payload of 32 MiB is asked for");
    if (r->command == NBD_CMD_BLOCK_STATUS && r->length == 0)
        return refuse(r, NBD_EINVAL, "the status of no bytes is asked for");
    return NBD_RUN;
}

static enum nbd_fate check(struct nbd_request *r, const struct nbd_session *s)
{
    const struct command *c = r->command < COMMANDS ? &commands[r->command] : NULL;
    if (!c || (c->needs && !(s->export->flags & c->needs)))
        return refuse(r, NBD_EINVAL, "no such command");
    if (r->flags & ~flags_allowed(c, s))
        return refuse(r, NBD_EINVAL, "a flag that the command does not have");
    if (r->command == NBD_CMD_BLOCK_STATUS && !s->allocation)
        return refuse(r, NBD_EINVAL, "no metadata context was selected in the handshake");
    if (c->writes && s->export->flags & NBD_FLAG_READ_ONLY)
        return refuse(r, NBD_EPERM, "the export is read-only");
    if (c->ranged)
        return check_range(r, s->export);
    if (r->offset || r->length)
        return refuse(r, NBD_EINVAL, "offset and length of a FLUSH are 0");
    return NBD_RUN;
}

enum nbd_fate nbd_request_decode(struct nbd_request *out, const uint8_t p[NBD_REQUEST_LEN],
                                 const struct nbd_session *session)
{
    *out = (struct nbd_request){
        .flags = wire_get16(p + 4),
        .command = wire_get16(p + 6),
        .cookie = wire_get64(p + 8),
        .offset = wire_get64(p + 16),
        .length = wire_get32(p + 24),
    };
    if (wire_get32(p) != REQUEST_MAGIC) {
        out->text = "a request does not begin with the magic number";
        return NBD_DROP;
    }
    if (out->command == NBD_CMD_DISC)
        return NBD_DISCONNECT;
    if (out->command == NBD_CMD_WRITE) {
        if (out->length > NBD_PAYLOAD_MAX) {
            out->text = "a write of more than the maximum payload of 32 MiB";
            return NBD_DROP;
        }
        out->payload = out->length;
    }
    return check(out, session);
}
