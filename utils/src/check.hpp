// SPDX-License-Identifier: GPL-2.0
// Checks an image and repairs it, in memory: nothing is written here but, if
// wanted, what mount would write too before it does anything else (recovery).
#pragma once

#include "image.hpp"
#include "structures.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace rzcfs {

// What cannot be repaired with what is known here; nothing was written.
struct refusal : error {
    using error::error;
};

struct cancelled : std::exception {};

struct problem {
    std::string text;
    bool loss; // the repair drops something: not without being asked
};

struct check_options {
    std::optional<std::uint64_t> super_at; // use the superblock in this block
    bool force = false;                    // look even if it was unmounted in order
    std::function<bool()> cancel = [] { return false; };
    // the image holds what mount would write, and nothing else
    std::function<void()> recovered = [] {};
    std::uint64_t now_ns = 0; // times of a new lost+found
};

struct findings {
    bool skipped = false; // unmounted in order, not looked at
    std::vector<problem> problems;
    std::vector<std::string> notes;
    std::uint64_t inodes = 0, used_inodes = 0, blocks = 0, used_blocks = 0;

    bool loss() const;
};

// Throws refusal, cancelled, or error if the medium cannot be read. After it,
// the image has all repairs in it, and a check of it would find nothing.
findings check(image &img, const check_options &options);

} // namespace rzcfs
