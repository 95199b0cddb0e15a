/* Where every setting of the configuration has its value from. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "health_json.h"

/* Which source comes first: the one above hides those below. */
static const struct {
    int32_t source;
    const char *name;
} sources[] = {
    {LM_BUS_SETTING_SOURCE_ENVIRONMENT, "environment"},
    {LM_BUS_SETTING_SOURCE_FILE, "file"},
    {LM_BUS_SETTING_SOURCE_DEFAULT, "defaults"},
};

enum { N_SOURCES = sizeof sources / sizeof *sources };

/* The configuration has paths of keys and tokens, never these themselves. Should that change, a
 * value is not shown unless it is a path. */
static bool is_secret(const char *name, lm_bytes_t value)
{
    static const char *const words[] = {"key", "password", "secret", "token"};
    bool named = false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        named = named || strstr(name, words[i]) != NULL;
    return named && value.size > 0 && value.data[0] != '/';
}

static char *text_of(lm_bytes_t bytes)
{
    return strndup(bytes.size ? (const char *)bytes.data : "", bytes.size);
}

static json_t *shown_value(const lm_bus_setting_t *setting)
{
    char *name = text_of(setting->name);
    json_t *value =
        is_secret(name, setting->value) ? json_string("******") : health_json_text(setting->value);
    free(name);
    return value;
}

static json_t *property_of(const lm_bus_setting_t *setting)
{
    json_t *json = json_object();
    json_object_set_new(json, "value", shown_value(setting));
    if (setting->origin.size)
        json_object_set_new(json, "origin", health_json_text(setting->origin));
    return json;
}

static json_t *properties_of(const lm_bus_node_config_t *config, int32_t source)
{
    json_t *json = json_object();
    for (size_t i = 0; i < config->n_settings; i++) {
        const lm_bus_setting_t *setting = &config->settings[i];
        if (setting->source != source) continue;
        char *name = text_of(setting->name);
        json_object_set_new(json, name, property_of(setting));
        free(name);
    }
    return json;
}

health_answer_t health_env_page(const health_t *health, const health_request_t *request)
{
    json_t *all = json_array();
    for (size_t i = 0; i < N_SOURCES; i++) {
        json_t *one = json_pack("{s:s}", "name", sources[i].name);
        json_object_set_new(one, "properties",
                            properties_of(health_config(health), sources[i].source));
        json_array_append_new(all, one);
    }
    return health_json_answer(request, 200,
                              json_pack("{s:[],s:o}", "activeProfiles", "propertySources", all));
}

static const lm_bus_setting_t *find(const lm_bus_node_config_t *config, int32_t source,
                                    const char *name)
{
    for (size_t i = 0; i < config->n_settings; i++)
        if (config->settings[i].source == source &&
            lm_bytes_equal(config->settings[i].name, lm_bytes_of(name)))
            return &config->settings[i];
    return NULL;
}

health_answer_t health_env_one(const health_t *health, const health_request_t *request,
                               const char *name)
{
    json_t *all = json_array(), *wins = NULL;
    for (size_t i = 0; i < N_SOURCES; i++) {
        const lm_bus_setting_t *setting = find(health_config(health), sources[i].source, name);
        json_t *one = json_pack("{s:s}", "name", sources[i].name);
        if (setting) json_object_set_new(one, "property", property_of(setting));
        if (setting && !wins) {
            wins = json_pack("{s:s}", "source", sources[i].name);
            json_object_set_new(wins, "value", shown_value(setting));
        }
        json_array_append_new(all, one);
    }
    if (!wins) {
        json_decref(all);
        return health_json_error(request, 404, "Not Found");
    }
    return health_json_answer(
        request, 200,
        json_pack("{s:o,s:[],s:o}", "property", wins, "activeProfiles", "propertySources", all));
}
