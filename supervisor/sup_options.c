#include "sup_options.h"

#include <getopt.h>
#include <stdio.h>

#define DEFAULT_CONFIG "/etc/lockmgr/lockmgr.cfg"

const char lm_sup_options_help[] =
    "usage: lockmgrd [--config FILE] [--check] [--threads]\n"
    "\n"
    "Runs a lockmgr node: starts and watches its five actors until SIGTERM or SIGINT.\n"
    "\n"
    "  --config FILE  configuration (default " DEFAULT_CONFIG
    ")\n"
    "  --check        check the configuration and exit\n"
    "  --threads      the actors are threads of one process, lockmgr-node, in whose place this\n"
    "                 program executes itself; the failure of one ends the node\n"
    "  --version      print the version and exit\n"
    "  --help         print this and exit\n"
    "\n"
    "Every single value of the configuration can be overridden by an environment variable:\n"
    "raft.election_timeout_ms by LOCKMGR_RAFT_ELECTION_TIMEOUT_MS, and so on.\n"
    "\n"
    "exit status: 0 stopped as asked, 64 wrong usage, 71 refused by the system, 75 another\n"
    "supervisor uses the run directory, 78 wrong configuration, 79 durable state is damaged;\n"
    "with --threads also that of the actor which failed, 75 if it did not answer any more\n";

lm_exit_t lm_sup_options_read(lm_sup_options_t *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'f'}, {"check", no_argument, NULL, 'c'},
        {"threads", no_argument, NULL, 't'},      {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    *options = (lm_sup_options_t){.config = DEFAULT_CONFIG};
    optind = 1;
    bool wrong = false;
    for (int c = getopt_long(argc, argv, "", known, NULL); c != -1 && !wrong;
         c = wrong ? -1 : getopt_long(argc, argv, "", known, NULL)) {
        if (c == 'f') options->config = optarg;
        options->check |= c == 'c';
        options->threads |= c == 't';
        options->version |= c == 'v';
        options->help |= c == 'h';
        wrong = c == '?';
    }
    if (!wrong && optind < argc) {
        fprintf(stderr, "lockmgrd: unexpected argument '%s'\n", argv[optind]);
        wrong = true;
    }
    if (!wrong) return LM_EXIT_OK;
    fprintf(stderr, "try 'lockmgrd --help'\n");
    return LM_EXIT_USAGE;
}
