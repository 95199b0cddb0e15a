/* Checks of what cannot happen. They stay on in release builds: going on with a broken invariant
 * would be worse than stopping the actor. */
#ifndef LM_BASE_CHECK_H
#define LM_BASE_CHECK_H

#include <stdnoreturn.h>

/** Logs the last words and ends the process with LM_EXIT_ASSERTION. */
__attribute__((format(printf, 4, 5))) noreturn void lm_check_failed(const char *file, int line,
                                                                    const char *condition,
                                                                    const char *format, ...);

/** Called with the last words before the process ends; one per process, may be NULL. */
void lm_check_on_last_words(void (*hook)(const char *words));

/** Stops the actor unless the condition holds; the rest, a printf format, shows the object. */
#define LM_CHECK(condition, ...)                                          \
    do {                                                                  \
        if (__builtin_expect(!(condition), 0))                            \
            lm_check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__); \
    } while (0)

#endif
