#include "model_settings.h"

#include "model_state.h"

#include <cstdlib>

namespace wm {

Settings setting;

namespace {

bool remove_rule(const std::string &name, Rules &rules)
{
#define WM_TRY(rule, number, text)                                                                 \
    if (name == #rule) {                                                                           \
        rules.rule = false;                                                                        \
        return true;                                                                               \
    }
    WM_RULES(WM_TRY)
#undef WM_TRY
    return false;
}

bool set_bound(const std::string &key, int value, Settings &into)
{
#define WM_TRY(bound, preset, text)                                                                \
    if (key == #bound) {                                                                           \
        into.bound = value;                                                                        \
        return true;                                                                               \
    }
    WM_BOUNDS(WM_TRY)
#undef WM_TRY
    return false;
}

std::string read_word(const std::string &word, Settings &into)
{
    if (word[0] == '-')
        return remove_rule(word.substr(1), into.rule) ? "" : "no such rule: " + word;
    const auto equals = word.find('=');
    if (equals == std::string::npos)
        return "neither -rule nor key=value: " + word;
    const int value = std::atoi(word.c_str() + equals + 1);
    return set_bound(word.substr(0, equals), value, into) ? "" : "no such key: " + word;
}

// The state has fixed room; a setting that does not fit would be checked wrongly, not slowly.
std::string check_room(const Settings &s)
{
    if (s.clients < 1 || s.clients > kClients)
        return "clients must be 1..3";
    if (s.operations < 1 || s.operations * s.attempts > kRequestsPerClient)
        return "operations * attempts must be 1..4";
    if (s.others_attempts > s.attempts)
        return "others_attempts must not exceed attempts";
    if (s.ring < 0 || s.ring > kRing)
        return "ring must be 0..3";
    if (s.late_copies < 0 || s.late_copies > 3)
        return "late_copies must be 0..3";
    if (s.ttl < 1 || s.ttl > 9)
        return "ttl must be 1..9";
    return "";
}

} // namespace

std::string read_setting(int count, char **words, Settings &into)
{
    for (int i = 0; i < count; i++) {
        const std::string wrong = read_word(words[i], into);
        if (!wrong.empty())
            return wrong;
    }
    return check_room(into);
}

std::string describe_settings()
{
    std::string out = "usage: waiting_model [key=value | -rule] ...\n\nkeys (with their presets)\n";
#define WM_LINE(bound, preset, text)                                                               \
    out += "  " #bound "=" + std::to_string(preset) + "  " + text + "\n";
    WM_BOUNDS(WM_LINE)
#undef WM_LINE
    out += "\nrules (-name takes one away)\n";
#define WM_LINE(rule, number, text) out += "  " number " " #rule ": " text "\n";
    WM_RULES(WM_LINE)
#undef WM_LINE
    return out;
}

} // namespace wm
