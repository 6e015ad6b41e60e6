/* units.h: sizes, durations and times as people write them. Pure. */
#ifndef RELAIS_UNITS_H
#define RELAIS_UNITS_H

#include <stddef.h>
#include <stdint.h>

/* "0", "512", "64KiB", "64k", "10GiB", "1.5T": powers of 1024. 0, or -1 when malformed or over
 * UINT64_MAX. */
int units_parse_size(uint64_t *out, const char *text);
/* "5s", "90s", "15min", "1h", "2d", "250ms", "1h 30min"; a bare number is refused. ns. */
int units_parse_duration(uint64_t *out_ns, const char *text);
/* "512kbit", "20mbit", "1.5gbit", "800bit", also with /s and spaces: powers of 1000, as lines are
 * sold. Bits a second. */
int units_parse_bitrate(uint64_t *out, const char *text);
/* RFC 3339 ("2026-11-22T12:00:00Z", also with a space and with an offset), or local time without an
 * offset ("2026-11-22 12:00"), or "-90min" (before now_ns). ns UTC. */
int units_parse_time(int64_t *out_ns, const char *text, int64_t now_ns);

#define UNITS_TEXT 48
/* "812 B", "1.4 MiB"; "3.2 s", "4 min 10 s", "5 h 12 min", "2 d 3 h"; "12.5 Mbit/s" from bytes/s;
 * "2026-11-22T12:00:00.123Z". dst of UNITS_TEXT; returns dst. */
char *units_size(char *dst, uint64_t bytes);
char *units_duration(char *dst, uint64_t ns);
char *units_bitrate(char *dst, double bytes_per_s);
char *units_time(char *dst, int64_t ns);

#endif
