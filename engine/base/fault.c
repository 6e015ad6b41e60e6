#include "fault.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const words[] = {
#define X(name, word) word,
    FAULT_STEPS(X)
#undef X
};

static int armed = -1;
static unsigned long left;

const char *fault_word(unsigned number)
{
    return number < FAULT_STEP_COUNT ? words[number] : NULL;
}

int fault_arm(const char *spec)
{
    for (int i = 0; i < FAULT_STEP_COUNT; i++) {
        size_t len = strlen(words[i]);
        char *end = NULL;
        if (strncmp(spec, words[i], len) != 0 || (spec[len] != '\0' && spec[len] != ':'))
            continue;
        left = spec[len] == ':' ? strtoul(spec + len + 1, &end, 10) : 1;
        if (left == 0 || (end && *end != '\0'))
            return -1;
        armed = i;
        return 0;
    }
    return -1;
}

void fault_reached(enum fault_step step)
{
    if ((int)step == armed && --left == 0)
        _exit(128 + SIGKILL); /* as killed: nothing is flushed, no other system call is needed */
}
