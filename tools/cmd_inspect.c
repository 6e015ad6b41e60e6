/* relais inspect: one delta file, found anywhere, checked with nothing but a public key. */
#include "command.h"
#include "inspect.h"

int cmd_inspect(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"signer", required_argument, NULL, 's'},
                                            {"extents", no_argument, NULL, 'x'},
                                            {"json", no_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    const char *word = NULL;
    struct key_public signer;
    bool json = false, extents = false;
    int c;
    while ((c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            return -(int)e->code;
        if (c == 's')
            word = optarg;
        else if (c == 'x')
            extents = true;
        else
            json = true;
    }
    if (argc - optind != 1)
        return command_misuse("inspect", e, "one FILE is needed");
    if (word && key_public_parse(&signer, KEY_SIGN, word, e) != 0)
        return err_prefix(e, "--signer");
    return inspect_file(argv[optind], word ? &signer : NULL, json, extents, stdout, e);
}
