#include "retention.h"

#include <stdio.h>
#include <time.h>

#define NS INT64_C(1000000000)

static const char *const words[RETENTION_WHYS] = {
    [RETENTION_PINNED] = "pinned",   [RETENTION_NEWEST] = "newest",
    [RETENTION_LOCKED] = "locked",   [RETENTION_LABELLED] = "labelled",
    [RETENTION_ALL] = "all",         [RETENTION_HOURLY] = "hourly",
    [RETENTION_DAILY] = "daily",     [RETENTION_WEEKLY] = "weekly",
    [RETENTION_MONTHLY] = "monthly", [RETENTION_YEARLY] = "yearly",
};

/* ---- time ---- */

/* How far the group's clock goes from one commit to the next. */
static int64_t step(int64_t from, int64_t to)
{
    int64_t gone;
    if (__builtin_sub_overflow(to, from, &gone))
        return to < from ? -RETENTION_STEP : RETENTION_STEP;
    return gone > RETENTION_STEP ? RETENTION_STEP : gone < -RETENTION_STEP ? -RETENTION_STEP : gone;
}

int64_t retention_clock(int64_t head_clock, int64_t head_committed, int64_t now)
{
    return head_clock == 0 && head_committed == 0 ? now : head_clock + step(head_committed, now);
}

uint64_t retention_age(int64_t clock, int64_t head_clock, int64_t head_committed, int64_t now)
{
    int64_t age = head_clock - clock + step(head_committed, now);
    return age > 0 ? (uint64_t)age : 0;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* The number of the bucket that a time is in. */
static int64_t bucket(enum keep_kind kind, int64_t ns)
{
    int64_t seconds = floor_div(ns, NS), days = floor_div(seconds, 86400);
    time_t t = (time_t)seconds;
    struct tm tm = {0};
    if (kind == KEEP_HOURLY)
        return floor_div(seconds, 3600);
    if (kind == KEEP_DAILY)
        return days;
    if (kind == KEEP_WEEKLY)
        return floor_div(days + 3, 7); /* 1970 began on a Thursday */
    ASSERT(gmtime_r(&t, &tm));         /* 64 bits of nanoseconds end in 2262 */
    return kind == KEEP_MONTHLY ? (int64_t)tm.tm_year * 12 + tm.tm_mon : tm.tm_year;
}

/* ---- the verdict ---- */

static const struct {
    enum keep_kind kind;
    enum retention_why why;
} buckets[] = {{KEEP_HOURLY, RETENTION_HOURLY},
               {KEEP_DAILY, RETENTION_DAILY},
               {KEEP_WEEKLY, RETENTION_WEEKLY},
               {KEEP_MONTHLY, RETENTION_MONTHLY},
               {KEEP_YEARLY, RETENTION_YEARLY}};

static bool within(uint64_t age, uint64_t span)
{
    return span == KEEP_EVER || age < span;
}

static uint16_t bit(enum retention_why why)
{
    return (uint16_t)(1u << why);
}

/* Rules that look at the RP alone. */
static uint16_t judge_alone(const struct retention_policy *policy, const struct retention_point *p,
                            uint64_t age)
{
    uint16_t why = 0;
    if (p->pinned)
        why |= bit(RETENTION_PINNED);
    if (age < policy->lock_ns)
        why |= bit(RETENTION_LOCKED);
    if (p->labelled && p->complete && within(age, policy->keep.span[KEEP_LABELLED]))
        why |= bit(RETENTION_LABELLED);
    if (within(age, policy->keep.span[KEEP_ALL]))
        why |= bit(RETENTION_ALL);
    return why;
}

/* next: the next complete one; NULL when there is none. */
static uint16_t judge_buckets(const struct keep *keep, const struct retention_point *p,
                              const struct retention_point *next, uint64_t age)
{
    uint16_t why = 0;
    for (size_t i = 0; i < sizeof buckets / sizeof buckets[0]; i++) {
        enum keep_kind kind = buckets[i].kind;
        if (within(age, keep->span[kind]) &&
            (!next || bucket(kind, p->committed_time) != bucket(kind, next->committed_time)))
            why |= bit(buckets[i].why);
    }
    return why;
}

void retention_judge(const struct retention_policy *policy, const struct retention_point *points,
                     size_t n, int64_t now, uint16_t *why)
{
    const struct retention_point *next = NULL;
    for (size_t i = n; i-- > 0;) {
        const struct retention_point *p = &points[i], *head = &points[n - 1];
        uint64_t age = retention_age(p->clock, head->clock, head->committed_time, now);
        ASSERT(i + 1 == n || p->rp < points[i + 1].rp);
        why[i] = judge_alone(policy, p, age);
        if (!next)
            why[i] |= bit(RETENTION_NEWEST);
        if (p->complete) {
            why[i] |= judge_buckets(&policy->keep, p, next, age);
            next = p;
        }
    }
}

char *retention_text(char *dst, uint16_t why)
{
    int n = snprintf(dst, RETENTION_TEXT, "%s", why ? "" : "goes");
    for (unsigned i = 0; i < RETENTION_WHYS; i++)
        if (why >> i & 1)
            n += snprintf(dst + n, (size_t)(RETENTION_TEXT - n), "%s%s", n ? ", " : "", words[i]);
    return dst;
}
