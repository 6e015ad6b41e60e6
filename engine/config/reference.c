/* The manual's list of options, from the table. */
#include "option.h"

#include "units.h"

#include <stdio.h>

/* What a value looks like, for the manual. */
static const char *type_text(const struct option *o)
{
    switch (o->type) {
    case OPTION_NAME:
        return "NAME";
    case OPTION_WORD:
        return "WORD";
    case OPTION_PATH:
        return "PATH";
    case OPTION_COMMAND:
        return "COMMAND";
    case OPTION_SIZE:
        return "SIZE";
    case OPTION_SIZE_NONE:
        return "SIZE | none";
    case OPTION_DURATION:
        return "DURATION";
    case OPTION_DURATION_NEVER:
        return "DURATION | never";
    case OPTION_NUMBER:
        return "NUMBER";
    case OPTION_LISTEN:
        return "[HOST]:PORT";
    case OPTION_ADDRS:
        return "HOST:PORT, ...";
    case OPTION_KEY:
        return "KEY";
    case OPTION_KEYS:
        return "KEY, ...";
    case OPTION_READS:
        return "SITE/GROUP, ...";
    case OPTION_STORE:
        return "STORE";
    case OPTION_SOURCE:
        return "scan | nbd";
    case OPTION_PRIORITY:
        return "high | normal | low";
    case OPTION_EXPORT:
        return "unix:PATH | tcp:[HOST]:PORT";
    case OPTION_OWNER:
        return "USER[:GROUP] | :GROUP";
    case OPTION_CLIENTS:
        return "NAME, ...";
    case OPTION_RATES:
        return "[DAYS] [HH:MM-HH:MM] RATE, ...";
    case OPTION_KEEP:
        return "RULE, ...";
    case OPTION_KEEPS:
        return "[GROUP:] RULE, ...";
    case OPTION_LEVEL:
        return "auto | NUMBER";
    case OPTION_MODE:
        return "MODE";
    }
    err_panic(__FILE__, __LINE__, "unknown option type");
}

static void print_bounds(const struct option *o)
{
    char lo[UNITS_TEXT], hi[UNITS_TEXT];
    if (o->type == OPTION_SIZE || o->type == OPTION_SIZE_NONE)
        (void)printf(" %s to %s.", units_size(lo, o->min), units_size(hi, o->max));
    else if (o->type == OPTION_DURATION || o->type == OPTION_DURATION_NEVER)
        (void)printf(" %s to %s.", units_duration(lo, o->min), units_duration(hi, o->max));
    else if (o->type == OPTION_NUMBER)
        (void)printf(" %llu to %llu.", (unsigned long long)o->min, (unsigned long long)o->max);
}

void config_print_reference(void)
{
    for (int k = 0; k < SECTION_KINDS; k++) {
        const struct section_info *s = &section_infos[k];
        (void)printf("# SECTION \\[%s%s%s\\]\n\n%s\n\n", s->word, s->argument ? " " : "",
                     s->argument ? s->argument : "", s->help);
        for (size_t i = 0; i < option_count; i++) {
            const struct option *o = &options[i];
            if ((int)o->section != k)
                continue;
            (void)printf("*%s* = %s%s\n\t%s", o->name, type_text(o),
                         option_has_auto(o) ? " | auto" : "", o->help);
            print_bounds(o);
            if (o->required)
                (void)printf(" Required.\n\n");
            else if (o->value)
                (void)printf(" Default: %s.\n\n", o->value);
            else
                (void)printf("\n\n");
        }
    }
}
