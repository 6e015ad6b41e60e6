/* log.h: the daemon's log, one line per event on stderr, with the priority prefix (<3>..<7>) that
 * journald reads when stderr is the journal, and a timestamp when it is a terminal or a file.
 *
 * Never logs secrets: nothing of key.h has a formatter. Callable from any thread. */
#ifndef RELAIS_LOG_H
#define RELAIS_LOG_H

enum log_level {
    LOG_L_ERROR = 3,
    LOG_L_WARN = 4,
    LOG_L_NOTICE = 5,
    LOG_L_INFO = 6,
    LOG_L_DEBUG = 7
};

/* Lines above `level` are dropped. Call before threads start. Default: LOG_L_INFO. */
void log_set_level(enum log_level level);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)  log_line(LOG_L_ERROR, __VA_ARGS__)
#define log_warn(...)   log_line(LOG_L_WARN, __VA_ARGS__)
#define log_notice(...) log_line(LOG_L_NOTICE, __VA_ARGS__)
#define log_info(...)   log_line(LOG_L_INFO, __VA_ARGS__)
#define log_debug(...)  log_line(LOG_L_DEBUG, __VA_ARGS__)

#endif
