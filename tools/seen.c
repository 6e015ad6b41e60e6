#include "seen.h"

#include "fio.h"
#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LINE "relais seen 1\n"
#define TEXT_MAX   256u

int seen_dir(char dst[SEEN_PATH_MAX], struct err *e)
{
    const char *home = getenv("HOME"), *state_home = getenv("XDG_STATE_HOME");
    int n;
    if (state_home && state_home[0] == '/')
        n = snprintf(dst, SEEN_PATH_MAX, "%s/relais", state_home);
    else
        n = snprintf(dst, SEEN_PATH_MAX, "%s/.local/state/relais",
                     home && home[0] ? home : "/root");
    if (n < 0 || (size_t)n >= SEEN_PATH_MAX - 300)
        return err_set(e, ERR_USAGE, "the path of the state directory is too long: %.100s...", dst);
    return 0;
}

static int file_of(char dst[SEEN_PATH_MAX], const char *site, const char *group,
                   const struct key_public *signer, struct err *e)
{
    char dir[SEEN_PATH_MAX], hex[2 * KEY_FP_LEN + 1];
    uint8_t fp[KEY_FP_LEN];
    int res = seen_dir(dir, e);
    if (res != 0)
        return res;
    key_fingerprint(fp, signer);
    bytes_hex(hex, fp, KEY_FP_LEN);
    (void)snprintf(dst, SEEN_PATH_MAX, "%.3700s/%s.%s.%s.seen", dir, site, group, hex);
    return 0;
}

/* rp 0: nothing is remembered. */
static int load(const char *path, uint64_t *rp, struct digest *link, struct err *e)
{
    char hex[2 * DIGEST_LEN + 1] = "", again[TEXT_MAX];
    void *text = NULL;
    size_t len;
    struct err why = ERR_INIT;
    int res = fio_load_file(path, TEXT_MAX, &text, &len, &why);
    *rp = 0;
    if (res == -ERR_NOENT)
        return 0;
    if (res < 0) {
        *e = why;
        return res;
    }
    if (sscanf(text, FIRST_LINE "rp %" SCNu64 "\nlink %64[0-9a-f]\n", rp, hex) != 2 ||
        bytes_unhex(link->b, DIGEST_LEN, hex) != 0 ||
        snprintf(again, sizeof again, FIRST_LINE "rp %" PRIu64 "\nlink %s\n", *rp, hex) < 0 ||
        strcmp(again, text) != 0)
        res =
            err_set(e, ERR_INPUT,
                    "%s, which remembers the newest recovery point seen, is damaged: remove it to "
                    "begin anew",
                    path);
    free(text);
    return res;
}

int seen_check(const struct reader *r, const char *site, const char *group,
               const struct key_public *signer, struct err *e)
{
    char path[SEEN_PATH_MAX], hex[DIGEST_HEX], now[DIGEST_HEX];
    struct digest link, found;
    uint64_t rp = 0;
    size_t count;
    const struct reader_point *points = reader_points(r, &count);
    int res = file_of(path, site, group, signer, e);
    if (res == 0)
        res = load(path, &rp, &link, e);
    if (res < 0 || rp == 0)
        return res;
    digest_hex(hex, &link);
    if (points[count - 1].rp < rp)
        return err_set(e, ERR_CHAIN,
                       "%s/%s: the hub's history ends with RP %" PRIu64 ", but RP %" PRIu64
                       " (%.16s) was verified from here before: it was rolled back or cut off. "
                       "--rolled-back goes on with what there is (%.120s)",
                       site, group, points[count - 1].rp, rp, hex, path);
    if (reader_folded(r, rp) || (reader_link(r, rp, &found) && digest_equal(&found, &link)))
        return 0;
    if (reader_link(r, rp, &found))
        digest_hex(now, &found);
    else
        (void)snprintf(now, sizeof now, "missing");
    return err_set(e, ERR_CHAIN,
                   "%s/%s: RP %" PRIu64 " is %.20s at the hub, but %.16s was verified from here "
                   "before: there are two histories, signed by the same key. --rolled-back goes on "
                   "with this one (%.120s)",
                   site, group, rp, now, hex, path);
}

void seen_keep(const struct reader *r, const char *site, const char *group,
               const struct key_public *signer)
{
    char dir[SEEN_PATH_MAX], path[SEEN_PATH_MAX], hex[DIGEST_HEX], text[TEXT_MAX];
    struct err e = ERR_INIT;
    struct digest link;
    size_t count;
    const struct reader_point *points = reader_points(r, &count);
    int n, res = seen_dir(dir, &e);
    if (res == 0)
        res = file_of(path, site, group, signer, &e);
    if (res == 0 && (res = fio_mkdirs(dir, 0700)) < 0)
        res = err_os(&e, res, "%s", dir);
    if (res == 0 && reader_link(r, points[count - 1].rp, &link)) {
        digest_hex(hex, &link);
        n = snprintf(text, sizeof text, FIRST_LINE "rp %" PRIu64 "\nlink %s\n",
                     points[count - 1].rp, hex);
        res = fio_replace_file(path, text, (size_t)n, 0600, &e);
    }
    if (res < 0)
        log_warn("the newest recovery point seen cannot be remembered: %s", e.text);
}
