// SPDX-License-Identifier: GPL-2.0
#include "image.hpp"

#include <fmt/format.h>

namespace rzcfs {

const block &image::read(std::uint64_t n) const {
    if (auto it = changed_.find(n); it != changed_.end())
        return it->second;
    if (seen_at_ != n) {
        if (n >= blocks())
            throw error(fmt::format("block {} lies beyond the end of the medium", n));
        seen_at_ = ~0ull; // for the case that the next line throws
        medium_.read(n * block_size, seen_);
        seen_at_ = n;
    }
    return seen_;
}

void image::write(std::uint64_t n, const block &b) {
    if (read(n) != b)
        changed_.insert_or_assign(n, b);
}

void image::write_back() {
    for (const auto &[n, b] : changed_)
        if (n)
            medium_.write(n * block_size, b);
    medium_.sync();
    if (auto it = changed_.find(0); it != changed_.end()) {
        medium_.write(0, it->second);
        medium_.sync();
    }
    changed_.clear();
    seen_at_ = ~0ull;
}

} // namespace rzcfs
