// waiting_model: explores one setting of the rules for waiting, cancelling and repeating.
// README.md in this folder says what is modelled and how to read a schedule.
#include "model_explore.h"
#include "model_settings.h"

#include <cstdio>
#include <cstring>

int main(int argc, char **argv)
{
    if (argc == 2 && !std::strcmp(argv[1], "--help")) {
        std::fputs(wm::describe_settings().c_str(), stdout);
        return 0;
    }
    const std::string wrong = wm::read_setting(argc - 1, argv + 1, wm::setting);
    if (!wrong.empty()) {
        std::fprintf(stderr, "%s\n", wrong.c_str());
        return 2;
    }
    return wm::explore();
}
