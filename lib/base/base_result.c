#include "base_result.h"

#include <stddef.h>

typedef struct {
    lm_rc_t code;
    const char *name;
    int grpc_status;
    bool not_applied;
    const char *text;
} row_t;

enum { APPLIED_N = true, APPLIED_U = false };

static const row_t rows[] = {
#define LM_RESULT(name, number, grpc_status, applied, text) \
    {LM_RC_##name, #name, grpc_status, APPLIED_##applied, text},
#include "base_result.def"
#undef LM_RESULT
};

static const row_t unknown = {LM_RC_INTERNAL, "UNKNOWN_CODE", 2, false, "an unknown result code"};

static const row_t *row_of(lm_rc_t code)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].code == code) return &rows[i];
    return &unknown;
}

const char *lm_rc_name(lm_rc_t code) { return row_of(code)->name; }

bool lm_rc_parse(lm_bytes_t name, lm_rc_t *code)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!lm_bytes_equal(name, lm_bytes_of(rows[i].name))) continue;
        *code = rows[i].code;
        return true;
    }
    return false;
}

const char *lm_rc_text(lm_rc_t code) { return row_of(code)->text; }

int lm_rc_grpc_status(lm_rc_t code) { return row_of(code)->grpc_status; }

bool lm_rc_not_applied(lm_rc_t code) { return row_of(code)->not_applied; }
