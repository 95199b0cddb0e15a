/* What the files of lockctl share: options, verbs, exit codes. */
#ifndef LM_CTL_H
#define LM_CTL_H

#include <jansson.h>

#include "client.h"

/** How lockctl ends; with run, the child's own code otherwise. */
typedef enum {
    CTL_OK = 0,
    CTL_NOT_ACQUIRED = 1,
    CTL_USAGE = 2,
    CTL_UNAVAILABLE = 3,
    CTL_LOST = 4,
    CTL_DENIED = 5,
    CTL_TIMEOUT = 124,
    CTL_CANNOT_RUN = 126,
    CTL_NOT_FOUND = 127,
    CTL_SIGNAL = 128, /* + number of the signal */
} ctl_exit_t;

typedef enum { CTL_TABLE, CTL_JSON, CTL_YAML, CTL_SIMPLE } ctl_form_t;

/** Everything the command line can say. Times are milliseconds; -1: not given. */
typedef struct {
    const char *endpoints;
    lm_client_tls_t tls;
    int64_t timeout_ms;
    ctl_form_t form;
    bool quiet;
    const char *owner;
    const char *hold_id;
    const char *request_id;
    const char *session_id;
    const char *secret, *secret_file;
    bool once;
    int64_t ttl_ms;
    int64_t wait_ms;
    bool no_wait;
    bool shared, exclusive;
    int64_t conflict_code;
    int64_t kill_after_ms;
    int64_t limit;
    int64_t interval_ms, count;
    char **words; /* what is left: the verb's own arguments */
    int n_words;
    char **command; /* behind "--" */
} ctl_options_t;

/** Reads everything behind the verb and before it. Returns false after it has said what is wrong.
 */
bool ctl_options_read(int argc, char **argv, ctl_options_t *options);
/** "30s", "500ms", "2m", "1h", "1.5s"; a bare number means seconds. False if it is none of these.
 */
bool ctl_duration_parse(const char *text, int64_t *ms);
/** The time a call may take: what was asked for, or five seconds, plus what it waits. */
uint64_t ctl_timeout_ms(const ctl_options_t *options, int64_t wait_ms);
/** What the options say about waiting: 0 not at all, -1 as long as the deadline allows. */
int64_t ctl_wait_ms(const ctl_options_t *options, int64_t otherwise);

/** A verb: returns an exit code. */
typedef int ctl_verb_t(lm_client_t *client, const ctl_options_t *options);
ctl_verb_t ctl_acquire, ctl_release, ctl_renew, ctl_get, ctl_list, ctl_status, ctl_health,
    ctl_regions, ctl_run, ctl_session, ctl_ping;

/** Blocks the signals that run, ping and session keepalive watch; before the client is opened,
 *  whose threads would take them. */
void ctl_block_signals(void);
/** Readable when one of those signals is there. */
int ctl_signals_fd(void);
/** True if the number of words behind the verb is in that range; says what it takes otherwise. */
bool ctl_has_words(const ctl_options_t *options, int least, int most, const char *what);
/** Makes a call, shows its answer, and gives the exit code. */
int ctl_call_and_show(lm_client_t *client, const ctl_options_t *options, lm_client_method_t method,
                      const void *request, const char *simple);
/** The secret of a session: of --secret, --secret-file or LOCKCTL_SECRET. NULL: there is none,
 * which has been said. Valid until the next call. */
const char *ctl_secret(const ctl_options_t *options);

/** The wanted mode. */
lm_api_lock_mode_t ctl_mode(const ctl_options_t *options);
/** An owner nobody else has: lockctl, host, pid, chance. */
const char *ctl_make_owner(void);
/** Says what went wrong and returns the exit code that goes with it. */
int ctl_fail(const ctl_options_t *options, const lm_client_result_t *result);

/* ---- output ---------------------------------------------------------------------------------- */

/** A message as JSON, with all its fields and the names of proto JSON. The caller owns it. */
json_t *ctl_json_of(const lm_wire_type_t *type, const void *message);

/** A column of a table: title, and the member it shows, or the first of several that is not empty
 *  ("a.b|a.c"); NULL ends the list. */
typedef struct {
    const char *title;
    const char *member;
} ctl_column_t;

/** Prints an object or a list of objects in the wanted form. columns: for tables of a list; NULL
 *  prints the members of an object line by line. simple: the member that the simple form shows. */
void ctl_print(const ctl_options_t *options, json_t *value, const ctl_column_t *columns,
               const char *simple);

#endif
