#include "invitation.h"

#include "units.h"

#include <stdio.h>

int invitation_print(void *arg, const struct message *reply, struct err *e)
{
    const Relais__Invited *m = reply->invited;
    const Relais__Invite *asked = arg;
    char until[UNITS_TEXT];
    (void)e;
    (void)printf("%s\n", m->token);
    (void)fflush(stdout);
    (void)fprintf(
        stderr,
        "\nThe line above is the invitation of %s: it holds until %s, once. Whoever has "
        "it can take\n%s's place: give it to its admin by a way that you trust. There:\n\n"
        "  relais site enrol INVITATION\n\n",
        asked->site, units_time(until, m->until), asked->site);
    if (!asked->approved)
        (void)fprintf(stderr,
                      "Then have its fingerprint read to you, and approve it here:\n\n"
                      "  relais peers approve %s FINGERPRINT\n",
                      asked->site);
    return 0;
}
