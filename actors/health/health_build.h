/* Which build this is. */
#ifndef LM_HEALTH_BUILD_H
#define LM_HEALTH_BUILD_H

/** All static; "unknown" where the sources were not in a git repository. */
typedef struct {
    const char *version, *commit, *commit_time, *branch;
} health_build_t;

const health_build_t *health_build(void);

#endif
