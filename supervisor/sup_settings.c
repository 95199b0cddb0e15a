/* Where every setting has its value from, as START tells the health actor. */
#include <stdarg.h>
#include <stdio.h>

#include "base_check.h"
#include "sup_node_config.h"

__attribute__((format(printf, 2, 3))) static lm_bytes_t print(lm_sup_settings_t *s,
                                                              const char *format, ...)
{
    LM_CHECK(s->n_texts < 2 * LM_SUP_SETTINGS_MAX, "%zu texts of settings", s->n_texts);
    char *text = s->texts[s->n_texts++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, LM_SUP_SETTING_TEXT_MAX, format, arguments);
    va_end(arguments);
    return lm_bytes_of(text);
}

static void add(lm_sup_settings_t *s, int32_t source, lm_bytes_t name, lm_bytes_t value,
                lm_bytes_t origin)
{
    LM_CHECK(s->n < LM_SUP_SETTINGS_MAX, "%zu settings", s->n);
    s->items[s->n++] =
        (lm_bus_setting_t){.name = name, .value = value, .source = source, .origin = origin};
}

/** The value in a row's field of a struct that stays where it is. */
static lm_bytes_t value_of(lm_sup_settings_t *s, const lm_sup_row_t *row, const void *target)
{
    if (row->type != LM_SUP_NUMBER) return lm_bytes_of((const char *)target + row->offset);
    char number[16];
    lm_sup_rows_print(row, target, number, sizeof number);
    return print(s, "%s", number);
}

static void add_default(lm_sup_settings_t *s, const lm_sup_row_t *row)
{
    bool number = row->type == LM_SUP_NUMBER;
    if (number ? row->number == 0 : !row->text || !*row->text) return; /* there is none */
    add(s, LM_BUS_SETTING_SOURCE_DEFAULT, lm_bytes_of(row->path),
        number ? print(s, "%u", row->number) : lm_bytes_of(row->text), lm_bytes(NULL, 0));
}

static void add_row(lm_sup_settings_t *s, const lm_sup_config_t *config, size_t i)
{
    const lm_sup_row_t *row = &lm_sup_rows[i];
    const lm_sup_origin_t *origin = &config->origins[i];
    char variable[LM_SUP_ENV_NAME_MAX];
    add_default(s, row);
    if (*origin->file_where)
        add(s, LM_BUS_SETTING_SOURCE_FILE, lm_bytes_of(row->path), lm_bytes_of(origin->file_value),
            lm_bytes_of(origin->file_where));
    if (!origin->in_environment) return;
    lm_sup_rows_env_name(row, variable);
    add(s, LM_BUS_SETTING_SOURCE_ENVIRONMENT, lm_bytes_of(row->path), value_of(s, row, config),
        print(s, "%s", variable));
}

static void add_element(lm_sup_settings_t *s, const char *list, size_t i, const lm_sup_row_t *rows,
                        size_t n_rows, const void *element, const char *where)
{
    for (size_t k = 0; k < n_rows; k++)
        add(s, LM_BUS_SETTING_SOURCE_FILE, print(s, "%s[%zu].%s", list, i, rows[k].path),
            value_of(s, &rows[k], element), lm_bytes_of(where));
}

void lm_sup_settings_fill(lm_sup_settings_t *s, const lm_sup_config_t *config)
{
    for (size_t i = 0; i < lm_sup_n_rows; i++) add_row(s, config, i);
    for (size_t i = 0; i < config->n_peers; i++)
        add_element(s, "peers", i, lm_sup_peer_rows, LM_SUP_PEER_ROWS, &config->peers[i],
                    config->peers[i].where);
    for (size_t i = 0; i < config->n_region_peers; i++)
        add_element(s, "region.peers", i, lm_sup_region_peer_rows, LM_SUP_REGION_PEER_ROWS,
                    &config->region_peers[i], config->region_peers[i].where);
}
