// SPDX-License-Identifier: GPL-2.0
// An image with something of everything in it, and what a reader sees of one.
#pragma once

#include "builder.hpp"

#include <functional>
#include <map>

namespace rzcfs {

struct sample : builder {
    explicit sample(const std::filesystem::path &path);

    std::uint32_t file, big, tail, dir, sub, deep, hard, link, longlink, fifo, device, rich, other;
    std::vector<std::uint32_t> many;

    void edit(std::uint32_t ino, const std::function<void(rzcfs_inode &)> &fn, bool reseal = true);
    // pointer to a block of a file, in its leaf
    std::uint64_t slot_at(std::uint32_t ino, std::uint64_t fblk) const;
    std::uint64_t block_at(std::uint32_t ino, std::uint64_t fblk) const;
    // where an entry of a directory lies
    std::uint64_t entry_at(std::uint32_t dir, const std::string &name) const;
};

// By path: type, owner, contents, attributes.
std::map<std::string, std::string> snapshot(const image &img);

} // namespace rzcfs
