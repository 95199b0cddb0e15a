/* Rules between keys, and between the configuration and the machine it is on. */
#ifndef LM_SUP_CONFIG_RULES_H
#define LM_SUP_CONFIG_RULES_H

#include "sup_config.h"

/** Tells where the value of a key came from: "file:line", a variable's name, or "" for a default.
 */
typedef const char *lm_sup_where_t(const void *arg, const char *path);

/** Checks everything that concerns more than one key. Fields that could not be read have their
 *  defaults, so that a mistake is told once. */
void lm_sup_config_check_rules(const lm_sup_config_t *config, lm_sup_where_t *where,
                               const void *arg, lm_sup_problems_t *problems,
                               lm_sup_problems_t *warnings);

/** Checks that the data directory and the run directory exist or can be made, and can be used. */
void lm_sup_config_check_dirs(const lm_sup_config_t *config, lm_sup_where_t *where, const void *arg,
                              lm_sup_problems_t *problems);

/** Checks the group "tls" and its files, and that nodes prove themselves in one way or another.
 *  file: where to point when nothing is written at all. */
void lm_sup_config_check_tls(const lm_sup_config_t *config, const char *file, lm_sup_where_t *where,
                             const void *arg, lm_sup_problems_t *problems);

/** Checks the file of tokens and grants, each of whose mistakes is told with its line. */
void lm_sup_config_check_access(const lm_sup_config_t *config, lm_sup_where_t *where,
                                const void *arg, lm_sup_problems_t *problems);

#endif
