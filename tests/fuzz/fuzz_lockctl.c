/* The command line of lockctl: words, one per line. What is read keeps what the verbs rely on. */
#include "ctl.h"
#include "fuzz_target.h"

enum { WORDS_MAX = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t in = {lm_bytes(data, size)};
    lm_arena_t *arena = lm_arena_new();
    char *words[WORDS_MAX + 1] = {(char *)(uintptr_t) "lockctl"};
    int n = 1;
    while (in.left.size && n < WORDS_MAX) {
        size_t length = 0;
        while (length < in.left.size && in.left.data[length] != '\n') length++;
        words[n++] = lm_arena_text(arena, fuzz_take(&in, length));
        fuzz_u8(&in);
    }
    ctl_options_t options;
    int64_t ms = 0;
    if (ctl_options_read(n, words, &options)) {
        LM_CHECK(options.n_words < n, "%d words of %d", options.n_words, n);
        LM_CHECK(options.ttl_ms >= -1 && options.wait_ms >= -1 && options.limit >= -1, "a minus");
        LM_CHECK(ctl_timeout_ms(&options, ctl_wait_ms(&options, 0)) > 0, "no time at all");
    }
    free(options.words);
    if (n > 1 && ctl_duration_parse(words[1], &ms)) LM_CHECK(ms >= 0, "%lld ms", (long long)ms);
    lm_arena_destroy(&arena);
    return 0;
}
