#include "sup_tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_bytes.h"

static void read_line(lm_sup_tally_t *tally, const char *line)
{
    const char *equals = strchr(line, '=');
    if (!equals || equals[1] < '0' || equals[1] > '9') return;
    lm_bytes_t name = lm_bytes(line, (size_t)(equals - line));
    uint64_t value = strtoull(equals + 1, NULL, 10);
    if (lm_bytes_equal(name, lm_bytes_of("boot_id")) && value < INT64_MAX) tally->boot_id = value;
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++) {
        lm_bytes_t child = lm_bytes_of(lm_sup_children[i].name);
        if (lm_bytes_equal(name, child) && value < UINT32_MAX / 2)
            tally->counters[i] = (uint32_t)value;
    }
}

void lm_sup_tally_load(lm_sup_tally_t *tally, const lm_sup_rundir_t *rundir, uint64_t now_ns)
{
    char path[LM_SUP_RUN_DIR_MAX + 16], line[128];
    *tally = (lm_sup_tally_t){0};
    snprintf(path, sizeof path, "%s/tally", rundir->path);
    FILE *stream = fopen(path, "re");
    while (stream && fgets(line, sizeof line, stream)) read_line(tally, line);
    if (stream) fclose(stream);
    tally->boot_id = now_ns > tally->boot_id ? now_ns : tally->boot_id + 1;
}

bool lm_sup_tally_save(const lm_sup_tally_t *tally, const lm_sup_rundir_t *rundir)
{
    char text[512];
    int at = snprintf(text, sizeof text, "boot_id=%" PRIu64 "\n", tally->boot_id);
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s=%u\n", lm_sup_children[i].name,
                       tally->counters[i]);
    return lm_sup_rundir_write(rundir, "tally", text);
}
