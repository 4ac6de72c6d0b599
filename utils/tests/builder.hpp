// SPDX-License-Identifier: GPL-2.0
// Makes images with contents, as the kernel would.
#pragma once

#include "dirblock.hpp"
#include "format.hpp"
#include "xattr.hpp"

#include <filesystem>
#include <map>
#include <memory>

namespace rzcfs {

// A directory of its own that goes away.
class scratch {
  public:
    scratch();
    ~scratch() { std::filesystem::remove_all(dir_); }
    scratch(const scratch &) = delete;
    scratch &operator=(const scratch &) = delete;
    std::filesystem::path operator/(const char *name) const { return dir_ / name; }

  private:
    std::filesystem::path dir_;
};

class builder {
  public:
    builder(const std::filesystem::path &path, std::uint64_t blocks,
            const layout_options &options = {});

    // An inode with a name, or without one if the name is empty.
    std::uint32_t make(std::uint32_t dir, const std::string &name, unsigned mode);
    void name(std::uint32_t dir, const std::string &name, std::uint32_t ino);
    void write(std::uint32_t ino, std::uint64_t fblk, const std::string &contents);
    std::uint32_t symlink(std::uint32_t dir, const std::string &name, const std::string &target);
    void xattrs(std::uint32_t ino, std::vector<xattr> entries);
    void orphan(std::uint32_t ino);
    // Undo records at the start of the journal, of a transaction of a generation.
    void journal(block records, std::uint64_t generation = 1);
    // Fills blocks of a file beyond its end with zeroes, as fallocate(2) does.
    void preallocate(std::uint32_t ino, std::uint64_t fblk);
    void finish();

    rzcfs_inode inode(std::uint32_t ino) const;
    void set_inode(std::uint32_t ino, rzcfs_inode raw); // with its checksum
    std::uint64_t allocate(std::uint32_t ino);

    medium m;
    image img;
    layout l;
    hash_key key{};

  private:
    void map(std::uint32_t ino, std::uint64_t fblk, std::uint64_t blk);
    void set_bit(const region &bitmap, std::uint64_t bit);

    std::uint32_t next_ino_ = RZCFS_ROOT_INO + 1;
    std::uint64_t next_block_;
};

} // namespace rzcfs
