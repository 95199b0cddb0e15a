#include "health_build.h"

#include "health_stamp.h"

const health_build_t *health_build(void)
{
    static const health_build_t build = {.version = LM_VERSION,
                                         .commit = LM_COMMIT,
                                         .commit_time = LM_COMMIT_TIME,
                                         .branch = LM_BRANCH};
    return &build;
}
