/* lockctl: locks from the command line. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

typedef struct {
    const char *name;
    ctl_verb_t *verb;
    const char *help;
} verb_row_t;

static const verb_row_t verbs[] = {
    {"run", ctl_run, "NAME -- COMMAND...    hold a lock while a command runs (LOCK_TOKEN is set)"},
    {"acquire", ctl_acquire, "NAME                  take a lock and keep it for its TTL"},
    {"release", ctl_release, "NAME                  give it back (--owner, --hold-id)"},
    {"renew", ctl_renew, "NAME                  start its TTL again (--owner, --hold-id)"},
    {"get", ctl_get, "NAME                  show who holds it and who waits"},
    {"list", ctl_list, "[PREFIX]              show locks"},
    {"session", ctl_session, "open                  one lease for many locks; prints its secret"},
    {"", NULL, "keepalive|close|show [ID]  keep it until told to stop, end it, show it"},
    {"", NULL, "list                  show the sessions of the region"},
    {"ping", ctl_ping,
     "NAME                  take and give back a lock, again and again, and say how it goes"},
    {"status", ctl_status, "                      show every node of the region"},
    {"health", ctl_health, "                      0 if a lock could be taken now"},
    {"regions", ctl_regions, "                      show other regions"},
};

static const char options_help[] =
    "Options, before or behind the verb:\n"
    "  --endpoints A,B,...   host:port of nodes (LOCKCTL_ENDPOINTS; 127.0.0.1:9090)\n"
    "  --cacert FILE         authorities that sign the nodes: connects by TLS (LOCKCTL_CACERT)\n"
    "  --cert FILE, --key FILE  own certificate and its key (LOCKCTL_CERT, LOCKCTL_KEY)\n"
    "  --server-name NAME    in the nodes' certificates, if not the host (LOCKCTL_SERVER_NAME)\n"
    "  --token-file FILE     bearer token (LOCKCTL_TOKEN_FILE, or LOCKCTL_TOKEN itself)\n"
    "  --timeout TIME        for the whole call, besides waiting for a lock (5s)\n"
    "  -o, --output FORM     table, json, yaml or simple\n"
    "  -q, --quiet           print nothing\n"
    "  --ttl TIME            length of the lease (the region's default)\n"
    "  -w, --wait TIME       wait that long for the lock    -n, --no-wait   not at all\n"
    "  -s, --shared          shared mode                    -x, --exclusive (default)\n"
    "  --owner NAME          who wants it                   --hold-id ID    which hold\n"
    "  --session ID          in that session, which then is the owner: acquire, release, run\n"
    "  --secret S, --secret-file FILE   of that session (LOCKCTL_SECRET); session open writes "
    "FILE\n"
    "  --once                session keepalive: one keep-alive, and show its answer\n"
    "  --request-id ID       names the request for repeats  --limit N       of list\n"
    "  -i, --interval TIME   of ping, between two locks (100ms)  -c, --count N  at most so many\n"
    "  -E, --conflict-exit-code N   instead of 1 when the lock is not to be had\n"
    "  --kill-after TIME     between TERM and KILL when run loses its session (5s)\n"
    "Times: 30s, 500ms, 2m, 1h; a bare number means seconds.\n"
    "Exit codes: 0 ok, 1 not acquired, 2 usage, 3 unavailable, 4 lost, 5 denied, 124 timeout,\n"
    "128+n ended by signal n; run ends with the code of its command.\n";

static void print_help(FILE *out)
{
    fprintf(out, "usage: lockctl VERB [OPTIONS]\n\n");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        fprintf(out, "  %-8s %s\n", verbs[i].name, verbs[i].help);
    fprintf(out, "  version                        show the version\n\n%s", options_help);
}

/** Those that go on until they are told to stop see to the signals themselves. */
static bool watches_signals(const ctl_options_t *options)
{
    if (strcmp(options->words[0], "run") == 0 || strcmp(options->words[0], "ping") == 0)
        return true;
    return options->n_words > 1 && strcmp(options->words[0], "session") == 0 &&
           strcmp(options->words[1], "keepalive") == 0 && !options->once;
}

static int run_verb(const ctl_options_t *options)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (!verbs[i].verb || strcmp(options->words[0], verbs[i].name) != 0) continue;
        if (watches_signals(options)) ctl_block_signals();
        char problem[256];
        lm_client_t *client = lm_client_open_tls(options->endpoints, &options->tls, problem);
        if (!client) {
            fprintf(stderr, "lockctl: %s\n", problem);
            return CTL_USAGE;
        }
        int code = verbs[i].verb(client, options);
        lm_client_close(&client);
        return code;
    }
    fprintf(stderr, "lockctl: there is no verb %s (see lockctl --help)\n", options->words[0]);
    return CTL_USAGE;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0) continue;
        print_help(stdout);
        return CTL_OK;
    }
    signal(SIGPIPE, SIG_IGN);
    lm_client_silence();
    ctl_options_t options;
    int code = CTL_USAGE;
    if (!ctl_options_read(argc, argv, &options)) {
        /* has been said */
    } else if (options.n_words == 0) {
        print_help(stderr);
    } else if (strcmp(options.words[0], "version") == 0) {
        printf("lockctl %s\n", LM_VERSION);
        code = CTL_OK;
    } else {
        code = run_verb(&options);
    }
    free(options.words);
    return code;
}
