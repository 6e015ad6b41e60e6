/* relais-bench report: one HTML file of what link measured. */
#include "command.h"
#include "report.h"

#include <string.h>

int cmd_report(int argc, char **argv, struct err *e)
{
    json_error_t why;
    json_t *result;
    int rc;
    if (argc != 2 || (argv[1][0] == '-' && argv[1][1] != '\0'))
        return bench_misuse("report", e, "one RESULT.json is needed");
    result =
        strcmp(argv[1], "-") == 0 ? json_loadf(stdin, 0, &why) : json_load_file(argv[1], 0, &why);
    if (!result)
        return err_set(e, ERR_INPUT, "%s:%d: %s", argv[1], why.line, why.text);
    rc = report_write(result, "-", e);
    json_decref(result);
    return rc;
}
