/* reads.c: what a connection reads of whom, for the audit log: told when it opens a group's
 * history, and summed up when it ends. */
#include "session.h"
#include "units.h"

#include <stdio.h>
#include <string.h>

static void subject_of(char dst[TRAIL_SUBJECT_MAX + 1], const char *site, const char *group)
{
    (void)snprintf(dst, TRAIL_SUBJECT_MAX + 1, "%s/%s", site, group);
}

/* This connection's line for the group; the last one is for all that come later. */
static struct read_tally *tally_of(struct session *s, const char *site, const char *group)
{
    char subject[TRAIL_SUBJECT_MAX + 1];
    struct read_tally *t;
    for (unsigned i = 0; i < s->read_count; i++)
        if (strcmp(s->reads[i].site, site) == 0 && strcmp(s->reads[i].group, group) == 0)
            return &s->reads[i];
    subject_of(subject, site, group);
    audit_note(s->hub->audit, TRAIL_READ, s->peer, subject, ERR_OK, "history opened");
    if (s->read_count == HUB_READS)
        return &s->reads[HUB_READS - 1];
    t = &s->reads[s->read_count++];
    (void)snprintf(t->site, sizeof t->site, "%s", site);
    (void)snprintf(t->group, sizeof t->group, "%s", group);
    return t;
}

void reads_open(struct session *s, const char *site, const char *group)
{
    (void)tally_of(s, site, group);
}

void reads_fetched(struct session *s, const char *site, const char *group, uint64_t rp,
                   uint64_t bytes)
{
    struct read_tally *t = tally_of(s, site, group);
    t->bytes += bytes;
    if (t->first == 0 || rp < t->first)
        t->first = rp;
    if (rp > t->last)
        t->last = rp;
}

void reads_tell(struct session *s)
{
    char subject[TRAIL_SUBJECT_MAX + 1], size[UNITS_TEXT];
    for (unsigned i = 0; i < s->read_count; i++) {
        const struct read_tally *t = &s->reads[i];
        if (t->bytes == 0)
            continue;
        subject_of(subject, t->site, t->group);
        audit_note(s->hub->audit, TRAIL_FETCH, s->peer, subject, ERR_OK,
                   "%s (%" PRIu64 " bytes) of the deltas of RP %" PRIu64 " to %" PRIu64,
                   units_size(size, t->bytes), t->bytes, t->first, t->last);
    }
}
