#include "model_tell.h"

#include "model_settings.h"

namespace wm {

namespace {

const char *name_of(Command command)
{
    static const char *const names[] = {
        "nothing", "Acquire", "Release",     "Renew",  "Expire",   "Leave",
        "Abandon", "WaitTimeout", "Cancel", "Takeover", "Close",
    };
    return names[static_cast<int>(command)];
}

const char *tell_hold(HoldRef ref)
{
    static const char *const texts[] = {
        "no hold", "a former hold", "the hold, old claim", "the present hold",
    };
    return texts[static_cast<int>(ref)];
}

bool is_about_client(Command command)
{
    return command == Command::Release || command == Command::Renew || command == Command::Close;
}

std::string tell_subject(const Entry &e)
{
    if (e.command == Command::Takeover)
        return " of pair " + std::to_string(e.pair);
    if (e.command == Command::Acquire || e.command == Command::Cancel)
        return " of " + tell_client(client_of(e.subject)) + " (" + tell_request(e.subject) + ")";
    if (is_about_client(e.command))
        return " of " + tell_client(e.subject);
    return " of " + tell_request(e.subject);
}

std::string tell_queue(const State &s)
{
    std::string out;
    for (int i = 0; i < s.queue_count; i++)
        out += (i ? " " : "") + tell_request(s.queue[i]);
    return out;
}

std::string tell_believers(const State &s)
{
    std::string out;
    for (int i = 0; i < kClients; i++)
        if (s.clients[i].belief)
            out += (out.empty() ? "" : " ") + tell_client(i);
    return out;
}

} // namespace

std::string tell_client(int client) { return "client " + std::to_string(client); }

std::string tell_request(int request)
{
    return "c" + std::to_string(client_of(request)) + "/r" + std::to_string(number_of(request));
}

std::string tell_node(int node) { return "n" + std::to_string(node); }

std::string tell_entry(const State &s, const Entry &e)
{
    std::string out = name_of(e.command) + tell_subject(e);
    if (e.hold != HoldRef::None)
        out += std::string(", naming ") + tell_hold(e.hold);
    if (e.command == Command::Expire && names_hold(e.hold) && !e.basis_current)
        out += " before its renewal";
    if (e.command != Command::Takeover && e.pair != s.leading_pair)
        out += ", proposed by pair " + std::to_string(e.pair);
    return out;
}

std::string tell_answer(const Attempt &a)
{
    switch (a.answer) {
    case Answer::Granted:
        return std::string("granted (") + tell_hold(a.answer_hold) + ", "
            + std::to_string(a.remaining) + " ticks left, attempt sent "
            + std::to_string(a.age) + " ticks ago)";
    case Answer::Ended: return "ended";
    case Answer::CannotTell: return "cannot tell";
    case Answer::TimedOut: return "wait time over";
    default: return "nothing";
    }
}

std::string tell_state(const State &s)
{
    std::string out = "holder " + (s.holder ? tell_request(holder_of(s)) : std::string("none"));
    if (s.queue_count)
        out += "; waiting " + tell_queue(s);
    const std::string believers = tell_believers(s);
    if (!believers.empty())
        out += "; believing " + believers;
    for (int i = 0; i < s.pipe_count; i++)
        out += (i ? ", " : "; pipe: ") + tell_entry(s, s.pipe[i]);
    return out;
}

} // namespace wm
