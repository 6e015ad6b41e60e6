/* Runs a fuzzer over the files of the directories (or the files) that it is given, and over each of
 * them cut off and with one bit changed, at every byte of a short one and every STEP bytes of a
 * longer: without a fuzzing compiler, what was once found stays found, and then some. */
#include "err.h"
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (4u << 20)
#define STEP      7u /* prime, so that all bytes of regular structures are met */
#define MUTATED   (64u << 10)

static void run(const uint8_t *p, size_t len)
{
    /* An exact copy, so that a sanitizer sees a read past the end. */
    uint8_t *copy = err_malloc(len);
    if (len)
        memcpy(copy, p, len);
    (void)LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *p;
    size_t len;
    if (!f) {
        perror(path);
        return -1;
    }
    p = err_malloc(INPUT_MAX);
    len = fread(p, 1, INPUT_MAX, f);
    (void)fclose(f);
    run(p, len);
    for (size_t i = 0; len <= MUTATED && i < len; i += len < 4096 ? 1 : STEP) {
        run(p, i);
        p[i] ^= (uint8_t)(1u << i % 8);
        run(p, len);
        p[i] ^= (uint8_t)(1u << i % 8);
    }
    free(p);
    return 1;
}

static int replay_dir(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *it;
    int files = 0;
    if (!d) {
        perror(path);
        return -1;
    }
    while ((it = readdir(d)) && files >= 0) {
        char name[4096];
        int rc;
        if (it->d_name[0] == '.')
            continue;
        (void)snprintf(name, sizeof name, "%s/%s", path, it->d_name);
        rc = replay_file(name);
        files = rc < 0 ? rc : files + rc;
    }
    (void)closedir(d);
    return files;
}

int main(int argc, char **argv)
{
    int files = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        int rc = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? replay_dir(argv[i])
                                                                : replay_file(argv[i]);
        if (rc < 0)
            return 1;
        files += rc;
    }
    printf("%d inputs\n", files);
    return files > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
