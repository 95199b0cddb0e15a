#include "sup_node.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base_check.h"
#include "base_log.h"
#include "sup_notify.h"
#include "sup_options.h"
#include "sup_room.h"
#include "sup_rundir.h"
#include "sup_share.h"
#include "sup_status.h"
#include "sup_tally.h"

struct lm_sup_node {
    const lm_sup_ways_t *ways;
    lm_sup_config_t config;
    lm_sup_rundir_t rundir;
    lm_sup_tally_t tally;
    lm_sup_notify_t notify;
    lm_process_t self;
    lm_sup_hands_t hands;
    lm_sup_room_t *room;
    lm_host_t *host;
    int signal_fd;
};
typedef struct lm_sup_node node_t;

/* ---- hands ---- */

static bool hand_spawn(void *arg, size_t child, uint32_t counter)
{
    node_t *node = arg;
    /* Before the start: a counter that was used once must never be used again. */
    node->tally.counters[child] = counter;
    lm_sup_tally_save(&node->tally, &node->rundir);
    return node->ways->start(node->ways->arg, child, counter);
}

static void hand_kill(void *arg, size_t child, const char *why)
{
    node_t *node = arg;
    node->ways->kill(node->ways->arg, child, why);
}

static bool hand_is_blocking(void *arg, size_t child)
{
    node_t *node = arg;
    return node->ways->is_blocking(node->ways->arg, child);
}

static uint32_t hand_pid(void *arg, size_t child)
{
    const node_t *node = arg;
    return node->ways->pid(node->ways->arg, child);
}

static void hand_beat(void *arg, uint64_t now_us)
{
    node_t *node = arg;
    lm_sup_notify_beat(&node->notify, now_us);
}

static void hand_show(void *arg, const lm_sup_room_t *room, uint64_t now_us)
{
    node_t *node = arg;
    lm_sup_status_write(&node->rundir, &node->config, node->self.generation, room, now_us, true);
    lm_sup_notify_mode(&node->notify, lm_restart_mode(lm_sup_room_machine(room)));
}

/* ---- for the ways ---- */

const lm_process_t *lm_sup_node_self(const node_t *node) { return &node->self; }

bool lm_sup_node_is_stopping(const node_t *node)
{
    return lm_restart_is_stopping(lm_sup_room_machine(node->room));
}

static void tell(node_t *node, lm_sup_news_kind_t kind, const lm_sup_death_t *death)
{
    lm_inlet_put(lm_host_inlet(node->host), lm_sup_news_new(kind, death));
}

void lm_sup_node_tell_death(node_t *node, const lm_sup_death_t *death)
{
    tell(node, LM_SUP_DEATH, death);
}

static void show_end(const node_t *node, lm_exit_t code)
{
    lm_sup_status_write(&node->rundir, &node->config, node->self.generation, node->room,
                        lm_clock_us(), false);
    lm_info("the node has stopped, exit status %d", (int)code);
}

void lm_sup_node_leave(const node_t *node, lm_exit_t code)
{
    show_end(node, code);
    _exit(code);
}

/* ---- signals ---- */

static void on_signal(void *arg, uint64_t now_us, lm_outbox_t *out)
{
    (void)now_us, (void)out;
    node_t *node = arg;
    struct signalfd_siginfo info;
    while (read(node->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            lm_info("SIGHUP is ignored: the configuration is read at the start only");
        } else if (info.ssi_signo != SIGCHLD) {
            lm_info("%s: the node stops", strsignal((int)info.ssi_signo));
            tell(node, LM_SUP_STOP, NULL);
        }
    }
    if (node->ways->reap) node->ways->reap(node->ways->arg);
}

/** Blocked before any thread exists, so that they arrive nowhere but at the descriptor. */
static int open_signals(void)
{
    sigset_t mine;
    sigemptyset(&mine);
    sigaddset(&mine, SIGTERM);
    sigaddset(&mine, SIGINT);
    sigaddset(&mine, SIGHUP);
    sigaddset(&mine, SIGCHLD);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* ignored ones, inherited from a careless parent, are never reaped */
    if (sigprocmask(SIG_BLOCK, &mine, NULL) != 0) return -1;
    return signalfd(-1, &mine, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- start ---- */

static void print_all(const lm_sup_problems_t *problems)
{
    for (size_t i = 0; i < problems->n; i++) fprintf(stderr, "%s\n", problems->items[i]);
}

static lm_exit_t load_config(lm_sup_config_t *config, const lm_sup_options_t *options, bool here)
{
    lm_sup_problems_t problems = {0}, warnings = {0};
    lm_sup_config_load(options->config, (const char *const *)environ, config, &problems, &warnings);
    lm_exit_t code = problems.n ? LM_EXIT_CONFIG : LM_EXIT_OK;
    print_all(&problems);
    if (options->check) print_all(&warnings);
    if (problems.n == 0 && !options->check && here) {
        lm_log_level_t level = LM_LOG_INFO;
        lm_log_level_parse(config->log_level, &level);
        lm_log_setup(config->node, "supervisor", level, strcmp(config->log_format, "json") == 0);
        for (size_t i = 0; i < warnings.n; i++) lm_warn("%s", warnings.items[i]);
    }
    lm_sup_problems_clear(&problems);
    lm_sup_problems_clear(&warnings);
    return code;
}

static void warn_of_openness(const lm_sup_config_t *config)
{
    if (*config->tls_cert) return;
    if (*config->peer_auth)
        lm_warn(
            "peer_auth is \"trusted\": whoever reaches ports %u and %u may act as a node or region",
            config->raft_port ? config->raft_port : config->grpc_port, config->region_port);
    if (*config->region_peer_auth)
        lm_warn("region.peer_auth is \"trusted\": whoever reaches port %u may act as a region",
                config->region_port);
    bool loopback = strncmp(config->listen, "127.", 4) == 0 || strcmp(config->listen, "::1") == 0;
    lm_warn("there is no tls: connections to %s are not encrypted%s", config->listen,
            loopback ? ", and no other machine can make any" : "");
}

/** Children inherit it; a frontend without descriptors can accept nobody. */
static void raise_fd_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        lm_warn("the limit of open files stays as it is: %s", strerror(errno));
}

static uint64_t boot_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static lm_exit_t make_data_dir(const lm_sup_config_t *config)
{
    if (lm_sup_rundir_make(config->data_dir, 0700)) return LM_EXIT_OK;
    lm_error("data_dir %s cannot be made: %s", config->data_dir, strerror(errno));
    return LM_EXIT_SYSTEM;
}

static void prepare_self(node_t *node)
{
    lm_process_t *self = &node->self;
    *self = (lm_process_t){.generation = {.boot_id = node->tally.boot_id, .counter = 1}};
    if (node->ways->threads)
        snprintf(self->supervisor, sizeof self->supervisor, "inproc://%s/%" PRIu64 "/supervisor",
                 node->rundir.path, node->tally.boot_id);
    else
        snprintf(self->supervisor, sizeof self->supervisor, "ipc://%s/supervisor.sock",
                 node->rundir.path);
    snprintf(self->run_dir, sizeof self->run_dir, "%s", node->rundir.path);
    snprintf(self->actor, sizeof self->actor, "supervisor");
}

static lm_exit_t prepare(node_t *node)
{
    node->signal_fd = open_signals();
    lm_sup_notify_open(&node->notify);
    umask(077);
    raise_fd_limit();
    lm_exit_t code = make_data_dir(&node->config);
    if (code == LM_EXIT_OK) code = lm_sup_rundir_open(&node->rundir, node->config.run_dir);
    if (code != LM_EXIT_OK) return code;
    lm_sup_tally_load(&node->tally, &node->rundir, boot_ns());
    prepare_self(node);
    lm_sup_share_take();
    code = node->ways->prepare(node->ways->arg, node);
    if (code != LM_EXIT_OK) return code;
    /* Orphans of our children come to us, wherever we run, and are reaped. */
    if (node->signal_fd < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
        lm_error("the supervision of processes was refused: %s", strerror(errno));
        return LM_EXIT_SYSTEM;
    }
    return LM_EXIT_OK;
}

/* ---- life ---- */

static lm_exit_t run(node_t *node)
{
    node->hands = (lm_sup_hands_t){.arg = node,
                                   .one_death_ends = node->ways->threads,
                                   .spawn = hand_spawn,
                                   .kill = hand_kill,
                                   .is_blocking = hand_is_blocking,
                                   .pid = hand_pid,
                                   .beat = hand_beat,
                                   .show = hand_show};
    node->room =
        lm_sup_room_new(&node->config, &node->hands, node->self.generation, node->tally.counters);
    node->host = lm_host_new(&node->self, &lm_sup_room_definition, node->room);
    lm_host_watch(node->host, node->signal_fd, on_signal, node);
    tell(node, LM_SUP_BEGIN, NULL);
    lm_info("lockmgr %s: node %s of region %s, boot %" PRIu64 ", run directory %s", LM_VERSION,
            node->config.node, node->config.region_id, node->self.generation.boot_id,
            node->rundir.path);
    warn_of_openness(&node->config);
    lm_exit_t code = lm_host_run(node->host);
    show_end(node, code);
    if (node->ways->finish) node->ways->finish(node->ways->arg, code);
    lm_host_destroy(&node->host);
    lm_sup_room_destroy(&node->room);
    return code;
}

lm_exit_t lm_sup_node_main(const lm_sup_ways_t *ways, int argc, char **argv)
{
    static node_t node = {.rundir = {.lock_fd = -1}, .notify = {.fd = -1}, .signal_fd = -1};
    lm_sup_options_t options;
    node.ways = ways;
    lm_log_setup("", "supervisor", LM_LOG_INFO, false);
    lm_exit_t code = lm_sup_options_read(&options, argc, argv);
    if (code != LM_EXIT_OK) return code;
    if (options.help || options.version) {
        fputs(options.help ? lm_sup_options_help : "lockmgrd " LM_VERSION "\n", stdout);
        return LM_EXIT_OK;
    }
    bool hand_over = options.threads && ways->hand_over;
    code = load_config(&node.config, &options, !hand_over);
    if (code == LM_EXIT_OK && options.check) {
        puts("configuration is valid");
        return LM_EXIT_OK;
    }
    if (code == LM_EXIT_OK && hand_over) return ways->hand_over(argv);
    if (code == LM_EXIT_OK) code = prepare(&node);
    if (code == LM_EXIT_OK) code = run(&node);
    lm_sup_rundir_close(&node.rundir);
    lm_sup_notify_close(&node.notify);
    if (node.signal_fd >= 0) close(node.signal_fd);
    return code;
}
