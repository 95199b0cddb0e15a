/* A file of access: refused with at least one mistake, or grants that can be asked. */
#include "core_access.h"
#include "fuzz_target.h"

static void on_fault(void *arg, unsigned line, const char *text)
{
    (void)line;
    LM_CHECK(*text, "a mistake without words");
    ++*(unsigned *)arg;
}

/* Whatever covers a name covers all that begin with it (AC3), and nobody has an unsaid right. */
static void check_judge(const lm_access_t *access, lm_bytes_t identity, lm_bytes_t name)
{
    lm_bytes_t shorter = lm_bytes(name.data, name.size / 2);
    for (int right = LM_RIGHT_ANY; right <= LM_RIGHT_LOCK; right++) {
        lm_access_verdict_t of_name = lm_access_judge(access, identity, (lm_right_t)right, &name);
        lm_access_verdict_t of_shorter =
            lm_access_judge(access, identity, (lm_right_t)right, &shorter);
        lm_access_verdict_t of_none = lm_access_judge(access, identity, (lm_right_t)right, NULL);
        LM_CHECK(of_shorter != LM_ACCESS_ALLOWED || of_name == LM_ACCESS_ALLOWED, "a prefix");
        LM_CHECK((of_name == LM_ACCESS_NO_RIGHT) == (of_none == LM_ACCESS_NO_RIGHT), "a right");
        LM_CHECK((of_name == LM_ACCESS_NO_ROLE) == (of_none == LM_ACCESS_NO_ROLE), "a role");
    }
    LM_CHECK(lm_access_judge(access, identity, LM_RIGHT_UNSAID, &name) != LM_ACCESS_ALLOWED,
             "an unsaid right");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned n_faults = 0;
    void *own = fuzz_own(lm_bytes(data, size));
    lm_access_t *access = lm_access_parse(lm_bytes(own, size), on_fault, &n_faults);
    LM_CHECK((access != NULL) == (n_faults == 0), "%u mistakes", n_faults);
    /* The words of the text itself are the best names to ask with. */
    for (size_t at = 0; access && at < size && at < 4096; at += 1 + size / 64) {
        size_t left = size - at;
        lm_bytes_t identity = lm_bytes(data + at, left < 5 ? left : 1 + at % 5);
        check_judge(access, identity, lm_bytes(data + at, left < 9 ? left : at % 9));
        if (left >= LM_ACCESS_DIGEST_BYTES) lm_access_name_of(access, data + at);
    }
    lm_access_destroy(&access);
    free(own);
    return 0;
}
