/* What a job's figures look like. */
#ifndef LM_FILL_REPORT_H
#define LM_FILL_REPORT_H

#include "fill_flow.h"

/** A line for people. */
void fill_report_text(const char *job, const fill_figures_t *figures);
/** One JSON object, with the calls answered in each second. */
void fill_report_json(const char *job, const fill_figures_t *figures);

#endif
