/* oracle-clients: clients of an NBD server, and the judge of what it holds.
 *
 *   oracle-clients SEED CONNECTIONS URI ...      one URI for each volume, in the order of images
 *
 * Writes, trims and flushes at random, through that many connections, until it is told to stop, and
 * comes again whenever the server died. Commands are lines on stdin, each answered by one on stdout
 * that begins with "ok" or "bad":
 *
 *   check FROM TO IMAGE ...   whether the images are one crash-consistent cut of all volumes that
 * was made between these two instants (ns since 1970) stats                     how much has been
 * done stop                      no more requests; those under way end
 *
 * What a server did wrong (an error where there is no reason) makes every answer "bad". */
#include "clients.h"

#include "err.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct clients all = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct client clients[CLIENTS_MAX];
static unsigned client_count, volume_count;

static uint64_t wall(void)
{
    struct timespec ts;
    ASSERT(clock_gettime(CLOCK_REALTIME, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* What has been done so far, for a check that holds nobody up. */
static struct oracle snapshot(void)
{
    struct oracle o;
    pthread_mutex_lock(&all.lock);
    o = all.oracle;
    o.ops = err_malloc((o.count + 1) * sizeof *o.ops);
    memcpy(o.ops, all.oracle.ops, o.count * sizeof *o.ops);
    pthread_mutex_unlock(&all.lock);
    return o;
}

static bool map(struct oracle_image *image, const char *path, char text[ORACLE_TEXT])
{
    struct stat st;
    void *p = MAP_FAILED;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0)
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        (void)snprintf(text, ORACLE_TEXT, "%s: %s", path, strerror(errno));
    else
        *image = (struct oracle_image){p, (uint64_t)st.st_size};
    if (fd >= 0)
        (void)close(fd);
    return p != MAP_FAILED;
}

static bool check(char *args, char text[ORACLE_TEXT])
{
    struct oracle_image images[CLIENTS_MAX] = {{NULL, 0}};
    struct oracle o = snapshot();
    char *save = NULL, *from = strtok_r(args, " ", &save), *to = strtok_r(NULL, " ", &save), *path;
    unsigned n = 0;
    bool good = from && to;
    (void)snprintf(text, ORACLE_TEXT, "check FROM TO IMAGE ...");
    while (good && n < volume_count && (path = strtok_r(NULL, " ", &save)))
        good = map(&images[n++], path, text);
    good = good && n == volume_count &&
           oracle_check(&o, images, volume_count, strtoull(from, NULL, 10), strtoull(to, NULL, 10),
                        text);
    for (unsigned i = 0; i < n; i++)
        if (images[i].bytes)
            (void)munmap((void *)(uintptr_t)images[i].bytes, (size_t)images[i].size);
    oracle_free(&o);
    return good;
}

static void stop(void)
{
    pthread_mutex_lock(&all.lock);
    all.stop = true;
    pthread_mutex_unlock(&all.lock);
    for (unsigned i = 0; i < client_count; i++)
        (void)pthread_join(clients[i].thread, NULL);
    client_count = 0;
}

static void stats(char text[ORACLE_TEXT])
{
    pthread_mutex_lock(&all.lock);
    (void)snprintf(text, ORACLE_TEXT,
                   "%zu writes and zeroes, %" PRIu64 " flushes, %" PRIu64 " connections, %" PRIu64
                   " requests without an answer",
                   all.oracle.count, all.flushes, all.connects, all.lost);
    pthread_mutex_unlock(&all.lock);
}

static void obey(char *line)
{
    char text[ORACLE_TEXT] = "";
    bool good = true;
    if (strncmp(line, "check ", 6) == 0)
        good = check(line + 6, text);
    else if (strcmp(line, "stats") == 0)
        stats(text);
    else if (strcmp(line, "stop") == 0)
        stop();
    else
        good = false;
    pthread_mutex_lock(&all.lock);
    if (good && all.failure[0]) {
        good = false;
        (void)snprintf(text, sizeof text, "%s", all.failure);
    }
    pthread_mutex_unlock(&all.lock);
    (void)printf("%s %s\n", good ? "ok" : "bad",
                 good && strncmp(line, "check", 5) == 0 ? "" : text);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    unsigned seed = argc > 3 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    client_count = argc > 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if (client_count == 0 || client_count > CLIENTS_MAX) {
        (void)fprintf(stderr, "usage: oracle-clients SEED CONNECTIONS URI ...; at most %u\n",
                      CLIENTS_MAX);
        return 64;
    }
    all.oracle.clock = wall;
    volume_count = (unsigned)argc - 3;
    for (unsigned i = 0; i < client_count; i++) {
        clients[i] = (struct client){.all = &all,
                                     .uri = argv[3 + i % volume_count],
                                     .volume = i % volume_count,
                                     .seed = seed + i};
        ASSERT(pthread_create(&clients[i].thread, NULL, client_run, &clients[i]) == 0);
    }
    while ((n = getline(&line, &cap, stdin)) > 0) {
        if (line[n - 1] == '\n')
            line[n - 1] = '\0';
        obey(line);
    }
    stop();
    free(line);
    oracle_free(&all.oracle);
    return 0;
}
