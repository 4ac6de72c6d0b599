// SPDX-License-Identifier: GPL-2.0
// Names, the tree of directories, lost+found.
#include "round.hpp"

#include <algorithm>
#include <sys/stat.h>

namespace rzcfs {

// Block of the directory and block of the medium, in order; the map is sound.
std::vector<std::pair<std::uint64_t, std::uint64_t>>
check_round::dir_blocks(std::uint32_t dir) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> r;

    walk_tree(img_, inode_offset(layout_, dir), [&r](const slot &s) {
        if (!s.height)
            r.emplace_back(s.fblk, s.target);
        return true;
    });
    return r;
}

// The name that hashes to what the entry says, if one bit of it is wrong.
bool check_round::correct_name(dir_entry &e) const {
    for (char &c : e.name) {
        for (int bit = 0; bit < 8; bit++) {
            c = static_cast<char>(c ^ 1 << bit);
            if (name_hash(key_, e.name) == e.hash && valid_name(e.name))
                return true;
            c = static_cast<char>(c ^ 1 << bit);
        }
    }
    return false;
}

check_round::fate check_round::check_entry(std::uint32_t dir, std::uint64_t fblk, dir_entry &e,
                                           std::set<std::string> &names) {
    auto here = [fblk, at = e.offset](std::uint32_t hash) { return in_its_bucket(hash, fblk, at); };
    fate result = fate::keep;

    if (e.ino >= layout_.inodes || !info_[e.ino].used) {
        loss("directory {}: \"{}\" leads to inode {}, which is not in use: removed", dir,
             printable(e.name), e.ino);
        return fate::drop;
    }
    std::uint32_t hash = name_hash(key_, e.name);
    if (hash != e.hash) {
        std::string was = e.name;

        if (here(e.hash) && correct_name(e)) {
            problem("directory {}: \"{}\" should be \"{}\": one bit is wrong", dir, printable(was),
                    printable(e.name));
        } else {
            problem("directory {}: \"{}\" has hash {:#x}, not {:#x}", dir, printable(e.name), hash,
                    e.hash);
            e.hash = hash;
        }
        result = fate::changed;
    }
    if (!valid_name(e.name)) {
        loss("directory {}: \"{}\" is no name: removed", dir, printable(e.name));
        return fate::drop;
    }
    if (!names.insert(e.name).second) {
        loss("directory {}: \"{}\" is there twice: removed", dir, printable(e.name));
        return fate::drop;
    }
    if (e.ino == RZCFS_ROOT_INO) {
        loss("directory {}: \"{}\" leads to the root: removed", dir, printable(e.name));
        return fate::drop;
    }
    if (e.type != dirent_type(info_[e.ino].mode)) {
        problem("directory {}: \"{}\" is a {}, type {} is wrong", dir, printable(e.name),
                type_name(info_[e.ino].mode), e.type);
        e.type = static_cast<std::uint8_t>(dirent_type(info_[e.ino].mode));
        result = fate::changed;
    }
    if (!here(e.hash)) {
        problem("directory {}: \"{}\" lies in block {}, where it cannot be found: moved", dir,
                printable(e.name), fblk);
        return fate::move;
    }
    return result;
}

void check_round::count_name(std::uint32_t dir, const dir_entry &e) {
    inode_info &info = info_[e.ino];

    if (!S_ISDIR(info.mode)) {
        info.names++;
        return;
    }
    // a directory has one name: that in its parent, else any
    if (info.reached || get(load_inode(e.ino).i_parent) != dir) {
        second_names_.push_back({dir, e.ino, e.name});
        return;
    }
    info.names = 1;
    info.reached = true;
    info.parent = dir;
    info_[dir].subdirs++;
    queue_.push_back(e.ino);
}

void check_round::visit(std::uint32_t dir) {
    std::vector<dir_entry> moved;
    std::set<std::string> names;

    poll();
    for (auto [fblk, blk] : dir_blocks(dir)) {
        dir_block b = parse_dir_block(img_.read(blk));
        std::vector<dir_entry> kept;
        bool changed = b.broken;

        if (b.broken) {
            // both ways: what the chain has, and what else can be found
            std::size_t n = b.entries.size();
            for (dir_entry &e : salvage_dir_block(img_.read(blk), key_).entries)
                if (std::none_of(b.entries.begin(), b.entries.end(), [&e](const dir_entry &o) {
                        return o.offset < e.end() && e.offset < o.end();
                    }))
                    b.entries.push_back(std::move(e));
            loss("directory {}: block {} is broken, {} entries are left", dir, fblk,
                 std::max(n, b.entries.size()));
        }
        for (dir_entry &e : b.entries) {
            fate f = check_entry(dir, fblk, e, names);

            changed |= f != fate::keep;
            if (f == fate::drop)
                continue;
            count_name(dir, e);
            (f == fate::move ? moved : kept).push_back(std::move(e));
        }
        if (changed)
            img_.write(blk, compose_dir_block(std::move(kept)));
    }
    for (dir_entry &e : moved)
        insert(dir, std::move(e));
}

void check_round::visit_queue() {
    while (!queue_.empty()) {
        std::uint32_t dir = queue_.front();

        queue_.pop_front();
        visit(dir);
    }
}

void check_round::remove_name(std::uint32_t dir, std::uint32_t ino, const std::string &name) {
    for (auto [fblk, blk] : dir_blocks(dir)) {
        dir_block b = parse_dir_block(img_.read(blk));

        if (std::erase_if(b.entries,
                          [&](const dir_entry &e) { return e.ino == ino && e.name == name; })) {
            img_.write(blk, compose_dir_block(std::move(b.entries)));
            return;
        }
    }
}

// Names of directories whose parent is another one by their own account.
void check_round::settle_second_names() {
    while (!second_names_.empty()) {
        std::vector<pending_name> pending = std::move(second_names_);

        second_names_.clear();
        for (const pending_name &p : pending) {
            inode_info &info = info_[p.ino];

            if (info.reached) {
                loss("directory {}: \"{}\" is a second name of directory {}: removed", p.dir,
                     printable(p.name), p.ino);
                remove_name(p.dir, p.ino, p.name);
                continue;
            }
            info.names = 1;
            info.reached = true;
            info.parent = p.dir; // finish_inode() reports it
            info_[p.dir].subdirs++;
            queue_.push_back(p.ino);
            visit_queue();
        }
    }
}

void check_round::check_dirs() {
    info_[RZCFS_ROOT_INO].reached = true;
    info_[RZCFS_ROOT_INO].parent = RZCFS_ROOT_INO;
    queue_.push_back(RZCFS_ROOT_INO);
    visit_queue();
    settle_second_names();
}

// Puts a name that is not there into a directory.
void check_round::insert(std::uint32_t dir, dir_entry e) {
    std::uint64_t map = get(load_inode(dir).i_map);
    inode_info &info = info_[dir];

    e.hash = name_hash(key_, e.name);
    std::uint64_t fblk =
        insert_entry(img_, map, std::move(e), [&](bool node) { return allocate(dir, node); });
    // what finish_inode() would report as wrong is right now
    rzcfs_inode raw = load_inode(dir);
    put(raw.i_map, map);
    if (fblk >= info.end) {
        info.end = fblk + 1;
        raw.i_dir_depth = static_cast<std::uint8_t>(level_of(fblk) + 1);
        put(raw.i_size, info.end * block_size);
    }
    put(raw.i_blocks, info.blocks);
    store_inode(dir, raw);
}

std::uint32_t check_round::lost_and_found() {
    constexpr std::uint32_t root = RZCFS_ROOT_INO;
    std::set<std::string> names;
    std::string name = "lost+found";

    if (lost_)
        return lost_;
    for (auto [fblk, blk] : dir_blocks(root)) {
        for (const dir_entry &e : parse_dir_block(img_.read(blk)).entries) {
            names.insert(e.name);
            if (e.name == name && S_ISDIR(info_[e.ino].mode))
                return lost_ = e.ino;
        }
    }
    for (int i = 1; names.count(name); i++)
        name = fmt::format("lost+found-{}", i);

    std::uint32_t ino = allocate_inode();
    store_directory(ino, 0700, root);
    info_[ino] = {};
    info_[ino].mode = S_IFDIR;
    info_[ino].used = true;
    info_[ino].reached = true;
    info_[ino].names = 1;
    info_[ino].parent = root;
    info_[root].subdirs++;
    adopted_[ino] = true;
    insert(root, {0, ino, 0, static_cast<std::uint8_t>(dirent_type(S_IFDIR)), name});
    note("made /{} (inode {})", name, ino);
    return lost_ = ino;
}

void check_round::attach(std::uint32_t ino) {
    std::uint32_t dir = lost_and_found();
    inode_info &info = info_[ino];
    std::string name = fmt::format("#{}", ino);
    std::set<std::string> names;

    for (auto [fblk, blk] : dir_blocks(dir))
        for (const dir_entry &e : parse_dir_block(img_.read(blk)).entries)
            names.insert(e.name);
    for (int i = 1; names.count(name); i++)
        name = fmt::format("#{}-{}", ino, i);
    loss("inode {}: a {} without a name, now /lost+found/{}", ino, type_name(info.mode), name);
    insert(dir, {0, ino, 0, static_cast<std::uint8_t>(dirent_type(info.mode)), name});
    info.names = 1;
    if (!S_ISDIR(info.mode))
        return;
    info.reached = true;
    info.parent = dir;
    info_[dir].subdirs++;
    queue_.push_back(ino);
    visit_queue();
    settle_second_names();
}

void check_round::attach_lost() {
    std::vector<bool> named(layout_.inodes);
    auto lost = [&](std::uint32_t ino) {
        return info_[ino].used && !info_[ino].names && ino != RZCFS_ROOT_INO;
    };
    // what has no links is not lost but deleted
    auto deleted = [&](std::uint32_t ino) {
        if (get(load_inode(ino).i_nlink) || doubtful_[ino])
            return false;
        if (!info_[ino].orphan)
            problem("inode {}: has no name and no links, and is not on the list of orphans", ino);
        release(ino);
        return true;
    };

    // of the directories outside of the tree, those first that no other one names
    for (std::uint32_t ino = 1; ino < layout_.inodes; ino++)
        if (lost(ino) && S_ISDIR(info_[ino].mode))
            for (auto [fblk, blk] : dir_blocks(ino))
                for (const dir_entry &e : parse_dir_block(img_.read(blk)).entries)
                    if (e.ino < layout_.inodes && e.ino != ino)
                        named[e.ino] = true;
    for (bool tops : {true, false})
        for (std::uint32_t ino = 1; ino < layout_.inodes; ino++)
            if (lost(ino) && S_ISDIR(info_[ino].mode) && !(tops && named[ino]) && !deleted(ino))
                attach(ino);
    for (std::uint32_t ino = 1; ino < layout_.inodes; ino++)
        if (lost(ino) && !deleted(ino))
            attach(ino);
}

} // namespace rzcfs
