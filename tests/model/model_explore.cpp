#include "model_explore.h"

#include "model_frontier.h"
#include "model_moves.h"
#include "model_runout.h"
#include "model_settings.h"
#include "model_tell.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace wm {

namespace {

// The states seen so far, each with the one it was reached from. Open addressing; only fingerprints
// are kept, which is what lets tens of millions of states fit.
class SeenTable {
public:
    SeenTable() : places_(1u << 16) {}

    bool insert(std::uint64_t print, std::uint64_t parent)
    {
        if (count_ * 10 > places_.size() * 7)
            grow();
        Place &place = find(print);
        if (place.print)
            return false;
        place = {print, parent};
        count_++;
        return true;
    }
    std::uint64_t parent_of(std::uint64_t print) { return find(print).parent; }
    std::uint64_t count() const { return count_; }

private:
    struct Place {
        std::uint64_t print = 0, parent = 0;
    };

    Place &find(std::uint64_t print)
    {
        const std::size_t mask = places_.size() - 1;
        std::size_t at = print & mask;
        while (places_[at].print && places_[at].print != print)
            at = (at + 1) & mask;
        return places_[at];
    }

    void grow()
    {
        std::vector<Place> old(places_.size() * 2);
        old.swap(places_);
        for (const Place &place : old)
            if (place.print)
                find(place.print) = place;
    }

    std::vector<Place> places_;
    std::uint64_t count_ = 0;
};

struct Finding {
    Violation what = Violation::None;
    std::uint64_t parent = 0; // the last state before it, or before the run-out that shows it
    bool in_run_out = false;
};

class Search {
public:
    int run()
    {
        State start = first_state();
        make_canonical(start);
        start_ = start;
        seen_.insert(fingerprint(start), 0);
        Frontier level;
        level.push(start);
        while (!level.empty() && going_on())
            level = explore_level(level);
        return report();
    }

private:
    bool full() const { return seen_.count() >= static_cast<std::uint64_t>(setting.max_states); }
    bool going_on() const { return found_.what == Violation::None && !full(); }

    Frontier explore_level(Frontier &level)
    {
        Frontier next;
        while (!level.empty() && going_on())
            visit(level.pop(), next);
        depth_++;
        return next;
    }

    void visit(const State &s, Frontier &next)
    {
        const std::uint64_t print = fingerprint(s);
        if (setting.run_out) {
            const Violation stuck = run_out(s, nullptr);
            if (stuck != Violation::None) {
                found_ = {stuck, print, true};
                return;
            }
        }
        for_each_successor(s, [&](const State &after, MoveId, int) {
            if (after.violation != Violation::None) {
                found_ = {after.violation, print, false};
                return false;
            }
            if (seen_.insert(fingerprint(after), print))
                next.push(after);
            return true;
        });
    }

    std::vector<std::uint64_t> path_to(std::uint64_t print)
    {
        std::vector<std::uint64_t> path;
        for (; print; print = seen_.parent_of(print))
            path.push_back(print);
        std::reverse(path.begin(), path.end());
        return path;
    }

    // Takes the first step that leads to a state that `is_it` accepts, and prints its sentence.
    template <class IsIt> void tell_step(State &s, int number, IsIt is_it)
    {
        const State before = s;
        for_each_successor(before, [&](const State &after, MoveId id, int choice) {
            if (!is_it(after))
                return true;
            std::printf("  %3d. %s\n         [%s]\n", number,
                        move(id).tell(before, choice).c_str(), tell_state(after).c_str());
            s = after;
            return false;
        });
    }

    void print_schedule()
    {
        State s = start_;
        const auto path = path_to(found_.parent);
        for (std::size_t i = 1; i < path.size(); i++)
            tell_step(s, static_cast<int>(i),
                      [&](const State &after) { return fingerprint(after) == path[i]; });
        if (!found_.in_run_out) {
            tell_step(s, static_cast<int>(path.size()),
                      [&](const State &after) { return after.violation == found_.what; });
            return;
        }
        std::vector<std::string> story;
        run_out(s, &story);
        print_story(story);
    }

    // How often the `period` lines from `at` on come again at once.
    static std::size_t count_repeats(const std::vector<std::string> &story, std::size_t at,
                                     std::size_t period)
    {
        std::size_t same = at;
        while (same + period < story.size() && story[same + period] == story[same])
            same++;
        return (same - at) / period;
    }

    // A run-out often ends in ticks without event, or in a circle of two steps.
    static void print_story(const std::vector<std::string> &story)
    {
        for (std::size_t at = 0; at < story.size();) {
            const std::size_t period = count_repeats(story, at, 1) ? 1 : 2;
            const std::size_t repeats = count_repeats(story, at, period);
            const std::size_t lines = repeats ? period : 1;
            for (std::size_t i = at; i < at + lines; i++)
                std::printf("       %s\n", story[i].c_str());
            if (repeats)
                std::printf("         (and so %zu times more)\n", repeats);
            at += lines * (repeats + 1);
        }
    }

    int report()
    {
        const auto states = static_cast<unsigned long long>(seen_.count());
        if (found_.what == Violation::None) {
            std::printf("%s: %llu states, depth %d\n", full() ? "clean up to the bound" : "clean",
                        states, depth_ - 1);
            return full() ? 4 : 0;
        }
        const int length = static_cast<int>(path_to(found_.parent).size()) - found_.in_run_out;
        if (setting.schedule)
            print_schedule();
        std::printf("caught at depth %d%s: %s (%llu states)\n", length,
                    found_.in_run_out ? " and a fair run-out" : "", describe(found_.what), states);
        return 1;
    }

    SeenTable seen_;
    State start_ = {};
    Finding found_;
    int depth_ = 0;
};

} // namespace

int explore() { return Search().run(); }

} // namespace wm
