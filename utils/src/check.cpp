// SPDX-License-Identifier: GPL-2.0
#include "check.hpp"

#include "round.hpp"

#include <algorithm>

namespace rzcfs {

namespace {

constexpr int max_rounds = 6;

} // namespace

bool findings::loss() const {
    return std::any_of(problems.begin(), problems.end(), [](const problem &p) { return p.loss; });
}

void check_round::poll() const {
    if (options_.cancel())
        throw cancelled();
}

void check_round::run() {
    load_bitmaps();
    load_orphans();
    adopt_named();
    check_inodes();
    copy_shared();
    check_dirs();
    attach_lost();
    finish_inodes();
    check_bitmaps();
    finish_state();
}

findings check(image &img, const check_options &options) {
    check_options again = options;
    findings all;

    again.force = true;
    for (int i = 0; i < max_rounds; i++) {
        findings found;
        check_round round(img, i ? again : options, found);

        if (round.open())
            round.run();
        else
            found.skipped = true;
        std::size_t n = found.problems.size();
        found.problems.insert(found.problems.begin(), all.problems.begin(), all.problems.end());
        found.notes.insert(found.notes.begin(), all.notes.begin(), all.notes.end());
        all = std::move(found);
        // a repair may uncover more, and is to be proven anyway
        if (!n)
            return all;
    }
    throw refusal(fmt::format("the repairs do not come to an end ({} so far, the last: {})",
                              all.problems.size(), all.problems.back().text));
}

} // namespace rzcfs
