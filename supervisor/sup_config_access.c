/* The rules of the key "access", and what its file must be. */
#include <stdio.h>
#include <stdlib.h>

#include "core_access.h"
#include "sup_config_rules.h"
#include "tls_text_file.h"

typedef struct {
    const char *path;
    lm_sup_problems_t *problems;
} check_t;

static void on_fault(void *arg, unsigned line, const char *text)
{
    const check_t *check = arg;
    char at[LM_SUP_WHERE_MAX];
    snprintf(at, sizeof at, "%s:%u", check->path, line);
    lm_sup_problems_add(check->problems, at, "%s", text);
}

static void check_text(const lm_sup_config_t *config, const char *where,
                       lm_sup_problems_t *problems)
{
    check_t check = {config->access, problems};
    char why[120];
    size_t size;
    char *text = lm_tls_text_file_read(config->access, LM_ACCESS_TEXT_BYTES_MAX, &size, why);
    if (!text) {
        lm_sup_problems_add(problems, where, "access: %s %s", config->access, why);
        return;
    }
    lm_access_t *access = lm_access_parse(lm_bytes(text, size), on_fault, &check);
    lm_access_destroy(&access);
    free(text);
}

void lm_sup_config_check_access(const lm_sup_config_t *config, lm_sup_where_t *where,
                                const void *arg, lm_sup_problems_t *problems)
{
    const char *at = where(arg, "access");
    if (!*at) return;
    if (!*where(arg, "tls.cert"))
        lm_sup_problems_add(problems, at, "access needs tls: without it nobody can prove a name");
    if (*config->access) check_text(config, at, problems);
}
