/* Logging: one line to standard error per event, as text or as a JSON object.
 *
 * Settings belong to the calling thread's voice (base_voice.h), which is the process's unless it
 * took another; lines of several threads do not mix. A line is cut at 4096 bytes. */
#ifndef LM_BASE_LOG_H
#define LM_BASE_LOG_H

#include <stdbool.h>

typedef enum {
    LM_LOG_ERROR,
    LM_LOG_WARN,
    LM_LOG_INFO,
    LM_LOG_DEBUG,
    LM_LOG_TRACE,
} lm_log_level_t;

/** Sets what every line of the calling thread's voice carries. node and actor are copied (at
 *  most 63 bytes each). */
void lm_log_setup(const char *node, const char *actor, lm_log_level_t level, bool json);

/** Level of that name (error, warn, info, debug, trace); false if there is none. */
bool lm_log_level_parse(const char *name, lm_log_level_t *level);

/** True if the calling thread's voice writes lines of that level. */
bool lm_log_enabled(lm_log_level_t level);

/** Writes one line, if its level is enabled. Never fails: a log that cannot be written is lost. */
__attribute__((format(printf, 2, 3))) void lm_log(lm_log_level_t level, const char *format, ...);

#define lm_error(...) lm_log(LM_LOG_ERROR, __VA_ARGS__)
#define lm_warn(...) lm_log(LM_LOG_WARN, __VA_ARGS__)
#define lm_info(...) lm_log(LM_LOG_INFO, __VA_ARGS__)
#define lm_debug(...) lm_log(LM_LOG_DEBUG, __VA_ARGS__)

#endif
