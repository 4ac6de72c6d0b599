// SPDX-License-Identifier: GPL-2.0
// One round of a check: all findings and their repairs, each phase in a file
// of its own.
#pragma once

#include "check.hpp"
#include "dirblock.hpp"
#include "tree.hpp"

#include <deque>
#include <fmt/format.h>
#include <map>
#include <set>

namespace rzcfs {

class check_round {
  public:
    check_round(image &img, const check_options &options, findings &out)
        : img_(img), options_(options), out_(out) {}

    // round_super.cpp: false if it was unmounted in order and need not be looked at
    bool open();
    // all that follows, after open()
    void run();

  private:
    struct inode_info {
        std::uint64_t blocks = 0; // counted
        std::uint64_t end = 0;    // block of the file after the last one that is mapped
        std::uint64_t filled = 0; // the same, beyond the end of the file: not all zero
        std::uint32_t names = 0, subdirs = 0, parent = 0;
        std::uint16_t mode = 0;
        bool used = false;
        bool orphan = false;    // on the list
        bool reached = false;   // directory: lies in the tree
        bool plausible = false; // blocks is what the inode says
    };
    struct pending_copy {
        slot where;
        std::uint32_t ino;
    };
    struct pending_name {
        std::uint32_t dir, ino;
        std::string name;
    };

    template <class... A> void problem(fmt::format_string<A...> text, A &&...args) {
        out_.problems.push_back({fmt::format(text, std::forward<A>(args)...), false});
    }
    // the repair loses something
    template <class... A> void loss(fmt::format_string<A...> text, A &&...args) {
        out_.problems.push_back({fmt::format(text, std::forward<A>(args)...), true});
    }
    template <class... A> void note(fmt::format_string<A...> text, A &&...args) {
        out_.notes.push_back(fmt::format(text, std::forward<A>(args)...));
    }
    void poll() const;

    // round_super.cpp: superblock, state, journal, pre-store records, orphans
    void find_super();
    void check_copy();
    std::uint64_t get_state(unsigned index) const;
    void set_state(unsigned index, std::uint64_t value);
    void check_state();
    bool put_block_bit(std::uint64_t b, bool used);
    bool redo_swaps(std::uint64_t generation);
    bool replay_journal();
    bool restore_prestore();
    void drop_journal(const char *why);
    void load_orphans();
    void finish_state();

    // round_inodes.cpp: inodes and what they own
    void load_bitmaps();
    void adopt_named();
    void check_inodes();
    void check_inode(std::uint32_t ino);
    bool repair_inode(std::uint32_t ino, rzcfs_inode &raw);
    bool correct_bit(rzcfs_inode &raw) const;
    void rebuild_root();
    void walk_map(std::uint32_t ino, const rzcfs_inode &raw);
    bool claim_slot(std::uint32_t ino, const rzcfs_inode &raw, const slot &s);
    bool check_symlink(std::uint32_t ino);
    void check_xattr(std::uint32_t ino);
    void drop_xattr(std::uint32_t ino);
    void copy_shared();
    void release(std::uint32_t ino);
    void finish_inodes();
    void finish_inode(std::uint32_t ino);
    void check_bitmaps();

    // round_dirs.cpp: names
    void check_dirs();
    void visit_queue();
    void visit(std::uint32_t dir);
    enum class fate { keep, changed, drop, move };
    fate check_entry(std::uint32_t dir, std::uint64_t fblk, dir_entry &e,
                     std::set<std::string> &names);
    bool correct_name(dir_entry &e) const;
    void count_name(std::uint32_t dir, const dir_entry &e);
    void settle_second_names();
    void remove_name(std::uint32_t dir, std::uint32_t ino, const std::string &name);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> dir_blocks(std::uint32_t dir) const;
    void attach_lost();
    void attach(std::uint32_t ino);
    std::uint32_t lost_and_found();
    void insert(std::uint32_t dir, dir_entry e);

    // round_alloc.cpp
    rzcfs_inode load_inode(std::uint32_t ino) const;
    void store_inode(std::uint32_t ino, rzcfs_inode raw);
    void store_directory(std::uint32_t ino, unsigned permissions, std::uint32_t parent);
    void set_slot(std::uint32_t ino, const slot &s, std::uint64_t target);
    std::uint32_t &owner(std::uint64_t blk) { return owner_[blk - layout_.data.start]; }
    std::uint64_t allocate(std::uint32_t ino, bool node);
    std::uint32_t allocate_inode();

    image &img_;
    const check_options &options_;
    findings &out_;

    rzcfs_super_block super_{};
    layout layout_{};
    hash_key key_{};
    std::uint64_t first_orphan_ = 0;
    std::vector<bool> was_used_, block_was_used_; // the bitmaps as they were
    std::vector<bool> adopted_;                   // inodes to be looked at
    std::vector<bool> doubtful_;                  // damaged: link count and size mean nothing
    std::vector<inode_info> info_;
    std::vector<std::uint32_t> owner_;  // per data block, 0: nobody
    std::vector<bool> node_;            // per data block: holds pointers
    std::set<std::uint64_t> exclusive_; // blocks that hold no contents of files
    std::map<std::uint64_t, std::uint32_t> node_owner_;
    std::vector<pending_copy> copies_;
    bool again_ = false;
    std::deque<std::uint32_t> queue_;
    std::vector<pending_name> second_names_;
    std::uint32_t lost_ = 0;
    std::uint64_t cursor_ = 0;
};

} // namespace rzcfs
