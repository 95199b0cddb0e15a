/* The rules of the group "tls", and what its files must be. */
#include <string.h>
#include <time.h>

#include "sup_config_rules.h"
#include "tls_files.h"
#include "tls_key_file.h"

static const char *const file_keys[LM_TLS_FILES] = {"tls.ca", "tls.peer_ca", "tls.cert", "tls.key"};

typedef struct {
    const lm_tls_paths_t *paths;
    lm_sup_where_t *where;
    const void *arg;
    lm_sup_problems_t *problems;
} check_t;

static void on_fault(void *self, lm_tls_file_t file, const char *text)
{
    const check_t *check = self;
    lm_sup_problems_add(check->problems, check->where(check->arg, file_keys[file]), "%s: %s %s",
                        file_keys[file], check->paths->path[file], text);
}

/* What a peer or region asks this node's certificate for. */
static void check_names(const check_t *check, const lm_sup_config_t *c, const lm_tls_files_t *files)
{
    const struct {
        const char *name, *what;
        bool needed;
    } names[] = {{c->node, "node", true}, {c->region_id, "region.id", c->n_region_peers > 0}};
    for (size_t i = 0; i < 2; i++) {
        if (!names[i].needed || !*names[i].name || lm_tls_files_has_name(files, names[i].name))
            continue;
        lm_sup_problems_add(check->problems, check->where(check->arg, "tls.cert"),
                            "tls.cert: %s must bear the name of %s, \"%s\", as a DNS name",
                            c->tls_cert, names[i].what, names[i].name);
    }
}

static void check_files(const check_t *check, const lm_sup_config_t *c)
{
    lm_tls_files_t files;
    bool good = lm_tls_files_read(&files, check->paths, (int64_t)time(NULL), on_fault,
                                  (void *)(uintptr_t)check);
    if (good) check_names(check, c, &files);
    lm_tls_files_clear(&files);
}

static bool is_given(const check_t *check, const char *key)
{
    return *check->where(check->arg, key) != '\0';
}

static void check_key(const check_t *check, const char *key, const char *path)
{
    lm_tls_keys_t keys;
    char why[120];
    if (!lm_tls_key_file_read(path, &keys, why))
        lm_sup_problems_add(check->problems, check->where(check->arg, key), "%s: %s %s", key, path,
                            why);
    lm_tls_keys_clear(&keys);
}

/* How regions prove themselves where that differs from how nodes do: nodes then have a peer_key. */
static void check_regions(const check_t *check, const lm_sup_config_t *c)
{
    static const char *const keys[] = {"region.peer_key", "region.peer_auth"};
    for (size_t i = 0; i < 2; i++) {
        if (!is_given(check, keys[i]) || is_given(check, "peer_key")) continue;
        lm_sup_problems_add(check->problems, check->where(check->arg, keys[i]),
                            "%s needs a peer_key, by which nodes prove themselves", keys[i]);
    }
    if (is_given(check, keys[0]) && is_given(check, keys[1]))
        lm_sup_problems_add(check->problems, check->where(check->arg, keys[1]),
                            "region.peer_auth must not be there with region.peer_key: regions "
                            "prove themselves by that key");
    if (*c->region_peer_key) check_key(check, keys[0], c->region_peer_key);
}

static void check_without(const check_t *check, const lm_sup_config_t *c, const char *file)
{
    bool keyed = is_given(check, "peer_key"), trusted = is_given(check, "peer_auth");
    if (!trusted && !keyed)
        lm_sup_problems_add(check->problems, file,
                            "peer_auth is missing; it must be \"trusted\" unless there is tls or a "
                            "peer_key: whoever reaches the ports may act as a node of this region");
    if (trusted && keyed)
        lm_sup_problems_add(check->problems, check->where(check->arg, "peer_auth"),
                            "peer_auth must not be there with peer_key: nodes and regions prove "
                            "themselves by that key");
    if (*c->peer_key) check_key(check, "peer_key", c->peer_key);
    check_regions(check, c);
    if (is_given(check, "tls.client_auth"))
        lm_sup_problems_add(check->problems, check->where(check->arg, "tls.client_auth"),
                            "tls.client_auth needs tls.ca, tls.cert and tls.key");
}

/* given: one of the keys that are there. */
static void check_with(const check_t *check, const lm_sup_config_t *c, const char *given)
{
    bool readable = true;
    for (size_t i = 0; i < LM_TLS_FILES; i++) {
        bool there = is_given(check, file_keys[i]);
        if (*check->paths->path[i] || (i == LM_TLS_PEER_CA && !there)) continue;
        readable = false;
        if (there) continue; /* but not as it must be: told already */
        lm_sup_problems_add(check->problems, check->where(check->arg, given),
                            "%s is missing; tls needs a ca, a cert and a key", file_keys[i]);
    }
    static const char *const others[] = {"peer_key", "peer_auth", "region.peer_key",
                                         "region.peer_auth"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (!is_given(check, others[i])) continue;
        lm_sup_problems_add(check->problems, check->where(check->arg, others[i]),
                            "%s must not be there with tls: nodes and regions prove their "
                            "names by certificates",
                            others[i]);
    }
    if (readable) check_files(check, c);
}

void lm_sup_config_check_tls(const lm_sup_config_t *config, const char *file, lm_sup_where_t *where,
                             const void *arg, lm_sup_problems_t *problems)
{
    const lm_tls_paths_t paths = {
        .path = {config->tls_ca, config->tls_peer_ca, config->tls_cert, config->tls_key}};
    const check_t check = {&paths, where, arg, problems};
    const char *given = NULL;
    for (size_t i = 0; i < LM_TLS_FILES; i++)
        if (is_given(&check, file_keys[i])) given = file_keys[i];
    if (given)
        check_with(&check, config, given);
    else
        check_without(&check, config, file);
    if (*config->actuator_token) check_key(&check, "actuator.token", config->actuator_token);
}
