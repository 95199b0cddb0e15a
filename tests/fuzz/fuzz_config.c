/* A configuration file and the environment: a configuration that keeps its rules, or problems.
 *
 * The input is the text of the file up to the first byte 1, then variables, each up to the next. A
 * file that includes others is left out: what the other holds is not part of the input. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz_target.h"
#include "sup_config.h"

enum { VARIABLES_MAX = 16 };

/* The parser forgets a text that is not closed; the process that reads one ends. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libconfig.so\n"; }

static char directory[] = "/tmp/lm-fuzz-config-XXXXXX";
static char file[64];

static void remove_directory(void)
{
    unlink(file);
    rmdir(directory);
}

static void make_directory(void)
{
    if (*file) return;
    LM_CHECK(mkdtemp(directory), "no directory");
    snprintf(file, sizeof file, "%s/c", directory);
    atexit(remove_directory);
}

static lm_bytes_t part(fuzz_input_t *in)
{
    size_t n = 0;
    while (n < in->left.size && in->left.data[n] != 1) n++;
    lm_bytes_t taken = fuzz_take(in, n);
    fuzz_u8(in);
    return taken;
}

static void write_file(lm_bytes_t text)
{
    FILE *stream = fopen(file, "wb");
    LM_CHECK(stream, "%s cannot be written", file);
    if (text.size) fwrite(text.data, 1, text.size, stream);
    fclose(stream);
}

static void check_promises(const lm_sup_config_t *c)
{
    LM_CHECK(*c->node && memchr(c->node, 0, sizeof c->node), "no node");
    LM_CHECK(c->n_peers >= 1 && c->n_peers <= LM_SUP_PEERS_MAX, "%zu peers", c->n_peers);
    LM_CHECK(c->n_region_peers <= LM_SUP_REGION_PEERS_MAX, "%zu regions", c->n_region_peers);
    LM_CHECK(c->heartbeat_interval_ms && c->heartbeat_interval_ms < c->election_timeout_ms,
             "heartbeat %u, election %u", c->heartbeat_interval_ms, c->election_timeout_ms);
    LM_CHECK(c->lock_min_timeout_ms <= c->lock_max_timeout_ms, "limits of the timeout");
    LM_CHECK(c->grpc_port && c->grpc_port < 65536, "port %u", c->grpc_port);
    LM_CHECK(c->record_ring_size && c->locks_max && c->waiters_per_lock_max, "a limit of 0");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lm_sup_config_t config;
    fuzz_input_t in = {lm_bytes(data, size)};
    lm_sup_problems_t problems = {0}, warnings = {0};
    const char *environment[VARIABLES_MAX + 1] = {0};
    lm_arena_t *arena = lm_arena_new();
    lm_bytes_t text = part(&in);
    for (int i = 0; i < VARIABLES_MAX && in.left.size; i++)
        environment[i] = lm_arena_text(arena, part(&in));
    bool includes = memmem(text.data, text.size, "@", 1) != NULL;
    if (!includes || text.size == 0) {
        make_directory();
        write_file(text);
        lm_sup_config_load(file, environment, &config, &problems, &warnings);
        if (problems.n == 0) check_promises(&config);
    }
    lm_sup_problems_clear(&problems);
    lm_sup_problems_clear(&warnings);
    lm_arena_destroy(&arena);
    return 0;
}
