/* progress.h: how far a long job is: a bar that redraws itself on a terminal, else a line on stderr
 * every few seconds. Calls are cheap: most draw nothing. For fibers (the loop's clock). */
#ifndef RELAIS_PROGRESS_H
#define RELAIS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    char title[64];
    bool tty, drawn;
    uint64_t started, drawn_at, next;
    uint64_t sample_at, sample_done;
    double rate; /* smoothed, units per second */
};

void progress_start(struct progress *p, const char *title);
/* bytes: done and total are bytes and a rate is shown; else they count things. */
void progress_update(struct progress *p, uint64_t done, uint64_t total, bool bytes);
/* A free text instead of a measure ("waiting for the hub"). */
void progress_say(struct progress *p, const char *text);
/* Clears the bar. */
void progress_end(struct progress *p);

#endif
