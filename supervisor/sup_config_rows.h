/* The keys of the configuration as a table, and the three things done with a row. */
#ifndef LM_SUP_CONFIG_ROWS_H
#define LM_SUP_CONFIG_ROWS_H

#include "sup_config.h"

/** NAMES: a list of texts, each of which fits; its field has them with commas between them. */
typedef enum { LM_SUP_NUMBER, LM_SUP_TEXT, LM_SUP_NAMES } lm_sup_type_t;

typedef struct {
    const char *path; /* of a top level key: with dots; of a key in a list: its name */
    lm_sup_type_t type;
    size_t offset; /* of the field in its struct */
    size_t size;   /* of a text field, its NUL included */
    uint32_t min, max;
    uint32_t number;  /* default */
    const char *text; /* default; NULL: the key must be given */
    bool (*fits)(const char *text);
    const char *rule; /* what a text must be, or a list of names, as the end of a sentence */
} lm_sup_row_t;

extern const lm_sup_row_t lm_sup_rows[];
extern const size_t lm_sup_n_rows;

enum {
    LM_SUP_PEER_ROWS = 4,
    LM_SUP_REGION_PEER_ROWS = 3,
    LM_SUP_ENV_NAME_MAX = 64,
};

extern const lm_sup_row_t lm_sup_peer_rows[LM_SUP_PEER_ROWS];
extern const lm_sup_row_t lm_sup_region_peer_rows[LM_SUP_REGION_PEER_ROWS];

/** Row of that name among rows; NULL if there is none. */
const lm_sup_row_t *lm_sup_rows_find(const lm_sup_row_t *rows, size_t n, const char *path,
                                     size_t path_size);

/** Name of the environment variable of a row: raft.election_timeout_ms is
 *  LOCKMGR_RAFT_ELECTION_TIMEOUT_MS. */
void lm_sup_rows_env_name(const lm_sup_row_t *row, char name[LM_SUP_ENV_NAME_MAX]);

/** Puts the row's default into its field of target; texts without a default become empty. */
void lm_sup_rows_default(const lm_sup_row_t *row, void *target);
/** Puts a value into its field of target if it keeps the row's rule, else adds a problem.
 *  path is what people call the key. */
void lm_sup_rows_set_number(const lm_sup_row_t *row, void *target, long long value,
                            const char *path, const char *where, lm_sup_problems_t *problems);
void lm_sup_rows_set_text(const lm_sup_row_t *row, void *target, const char *value,
                          const char *path, const char *where, lm_sup_problems_t *problems);
/** The value in the row's field of target as text, at most size bytes with its NUL. */
void lm_sup_rows_print(const lm_sup_row_t *row, const void *target, char *text, size_t size);
/** Empties a list of names. */
void lm_sup_rows_clear_names(const lm_sup_row_t *row, void *target);
/** Adds a name of name_size bytes to a list; one that is there already changes nothing. */
void lm_sup_rows_add_name(const lm_sup_row_t *row, void *target, const char *name, size_t name_size,
                          const char *path, const char *where, lm_sup_problems_t *problems);

#endif
