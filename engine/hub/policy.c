#include "policy.h"

#include "bytes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_VERSION 1u

/* ---- entries ---- */

void policy_encode(struct store_head *out, const struct policy_entry *in)
{
    struct bytes_out o = bytes_out(STORE_ENTRY_MAX);
    bytes_put_u8(&o, ENTRY_VERSION);
    bytes_put_u8(&o, (uint8_t)in->kind);
    bytes_put_u64(&o, (uint64_t)in->time);
    bytes_put_u64(&o, (uint64_t)in->clock);
    bytes_put_str(&o, in->by);
    if (in->kind == POLICY_RULES) {
        bytes_put_u64(&o, in->to.lock_ns);
        bytes_put_u8(&o, KEEP_KINDS);
        for (unsigned i = 0; i < KEEP_KINDS; i++)
            bytes_put_u64(&o, in->to.keep.span[i]);
    } else {
        bytes_put_u64(&o, in->rp);
    }
    ASSERT(!o.bad);
    memset(out, 0, sizeof *out);
    out->rp = in->number;
    out->len = (uint16_t)o.len;
    memcpy(out->value, o.p, o.len);
    bytes_free(&o);
}

static void get_rules(struct bytes_in *b, struct retention_policy *to)
{
    to->lock_ns = bytes_get_u64(b);
    if (bytes_get_u8(b) != KEEP_KINDS)
        b->bad = true;
    for (unsigned i = 0; i < KEEP_KINDS; i++)
        to->keep.span[i] = bytes_get_u64(b);
}

int policy_decode(struct policy_entry *out, const struct store_head *in, struct err *e)
{
    struct bytes_in b = bytes_in(in->value, in->len <= STORE_ENTRY_MAX ? in->len : 0);
    uint8_t version = bytes_get_u8(&b), kind = bytes_get_u8(&b);
    memset(out, 0, sizeof *out);
    out->number = in->rp;
    out->kind = (enum policy_kind)kind;
    out->time = (int64_t)bytes_get_u64(&b);
    out->clock = (int64_t)bytes_get_u64(&b);
    bytes_get_str(&b, out->by, sizeof out->by);
    if (kind == POLICY_RULES)
        get_rules(&b, &out->to);
    else
        out->rp = bytes_get_u64(&b);
    if (bytes_bad(&b) || bytes_left(&b) != 0 || version != ENTRY_VERSION || kind < POLICY_RULES ||
        kind > POLICY_UNPIN)
        return err_set(e, ERR_CORRUPT,
                       "entry %" PRIu64 " of the log of pins and rules is not one that this "
                       "version of relais wrote",
                       in->rp);
    return 0;
}

/* ---- what holds ---- */

bool policy_same(const struct retention_policy *a, const struct retention_policy *b)
{
    return a->lock_ns == b->lock_ns && keep_equal(&a->keep, &b->keep);
}

/* Rules that were said, and until when they hold. */
struct said {
    struct retention_policy rules;
    int64_t until;
};

static uint64_t lock_at(const struct said *said, size_t n, int64_t clock)
{
    uint64_t lock = 0;
    for (size_t i = 0; i < n; i++)
        if (said[i].until > clock && said[i].rules.lock_ns > lock)
            lock = said[i].rules.lock_ns;
    return lock;
}

static int64_t later(int64_t clock, uint64_t ns)
{
    int64_t at;
    return ns > INT64_MAX || __builtin_add_overflow(clock, (int64_t)ns, &at) ? INT64_MAX - 1 : at;
}

/* Forgets rules that hold no longer, so that a long log takes no more time than its length. */
static size_t trim(struct said *said, size_t n, int64_t clock)
{
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (said[i].until > clock)
            said[left++] = said[i];
    return left;
}

static struct policy_pin *pin_at(struct policy *p, uint64_t rp)
{
    for (size_t i = 0; i < p->pin_count; i++)
        if (p->pins[i].rp == rp)
            return &p->pins[i];
    return NULL;
}

static void pin(struct policy *p, const struct policy_entry *x)
{
    struct policy_pin *at = pin_at(p, x->rp);
    if (!at) {
        p->pins = err_realloc(p->pins, (p->pin_count + 1) * sizeof *p->pins);
        at = &p->pins[p->pin_count++];
    }
    *at = (struct policy_pin){.rp = x->rp, .until = INT64_MAX, .time = x->time};
    memcpy(at->by, x->by, sizeof at->by);
}

static int by_rp(const void *a, const void *b)
{
    const struct policy_pin *x = a, *y = b;
    return x->rp < y->rp ? -1 : x->rp > y->rp;
}

static void settle_pins(struct policy *p, int64_t clock)
{
    size_t left = 0;
    for (size_t i = 0; i < p->pin_count; i++) {
        if (p->pins[i].until <= clock)
            continue;
        if (p->pins[i].until < p->until)
            p->until = p->pins[i].until;
        p->pins[left++] = p->pins[i];
    }
    p->pin_count = left;
    if (left > 1)
        qsort(p->pins, left, sizeof *p->pins, by_rp);
}

void policy_of(struct policy *out, const struct policy_entry *entries, size_t n, int64_t clock)
{
    struct said *said = err_calloc(n + 1, sizeof *said);
    size_t count = 0;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        const struct policy_entry *x = &entries[i];
        count = trim(said, count, x->clock);
        int64_t end = later(x->clock, lock_at(said, count, x->clock));
        if (x->kind == POLICY_PIN) {
            pin(out, x);
        } else if (x->kind == POLICY_UNPIN) {
            struct policy_pin *p = pin_at(out, x->rp);
            if (p && p->until > end)
                p->until = end;
        } else {
            for (size_t k = 0; k < count; k++)
                if (said[k].until == INT64_MAX)
                    said[k].until = end;
            said[count++] = (struct said){x->to, INT64_MAX};
            out->said = x->to;
            out->known = true;
        }
    }
    out->in_force = out->said;
    out->until = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        if (said[i].until <= clock)
            continue;
        out->in_force.keep = keep_join(&out->in_force.keep, &said[i].rules.keep);
        if (said[i].rules.lock_ns > out->in_force.lock_ns)
            out->in_force.lock_ns = said[i].rules.lock_ns;
        if (said[i].until < out->until)
            out->until = said[i].until;
    }
    settle_pins(out, clock);
    free(said);
}

void policy_free(struct policy *p)
{
    free(p->pins);
    memset(p, 0, sizeof *p);
}

const struct policy_pin *policy_pin(const struct policy *p, uint64_t rp)
{
    struct policy_pin key = {.rp = rp};
    return p->pin_count ? bsearch(&key, p->pins, p->pin_count, sizeof key, by_rp) : NULL;
}
