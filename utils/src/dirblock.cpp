// SPDX-License-Identifier: GPL-2.0
#include "dirblock.hpp"

#include <algorithm>

namespace rzcfs {

namespace {

constexpr std::uint32_t smallest = sizeof(rzcfs_dirent), bucket_size = RZCFS_BUCKET_SIZE;

// An entry whose head and name lie in the block.
dir_entry entry_at(const block &b, std::uint32_t offset) {
    auto head = object_at<rzcfs_dirent>(b, offset);
    const auto *name = reinterpret_cast<const char *>(b.data()) + offset + RZCFS_DIRENT_HEAD;

    return {offset, get(head.d_ino), get(head.d_hash), head.d_type, {name, head.d_name_len}};
}

// Puts an entry into its bucket; false if there is no room.
bool add_entry(std::vector<dir_entry> &entries, dir_entry e) {
    std::uint32_t at = bucket_of(e.hash), end = at + bucket_size, need = entry_size(e.name.size());
    auto it = entries.begin();

    while (it != entries.end() && it->offset < at)
        ++it;
    for (; it != entries.end() && it->offset < end && it->offset - at < need; ++it)
        at = it->end();
    if (end - at < need)
        return false;
    e.offset = at;
    entries.insert(it, std::move(e));
    return true;
}

void put_head(block &b, std::uint32_t at, std::uint32_t length) {
    rzcfs_dirent head{};

    put(head.d_rec_len, length);
    set_object_at(b, at, head);
}

void put_entry(block &b, const dir_entry &e, std::uint32_t length) {
    rzcfs_dirent head{};

    put(head.d_ino, e.ino);
    put(head.d_rec_len, length);
    head.d_name_len = static_cast<std::uint8_t>(e.name.size());
    head.d_type = e.type;
    put(head.d_hash, e.hash);
    set_object_at(b, e.offset, head);
    std::memcpy(b.data() + e.offset + RZCFS_DIRENT_HEAD, e.name.data(), e.name.size());
}

} // namespace

dir_block parse_dir_block(const block &b) {
    dir_block r;

    for (std::uint32_t start = 0; start < block_size; start += bucket_size) {
        std::uint32_t length = 0;

        for (std::uint32_t at = start; at < start + bucket_size; at += length) {
            auto head = object_at<rzcfs_dirent>(b, at);

            length = get(head.d_rec_len);
            if (length < smallest || length % 8 || length > start + bucket_size - at ||
                (get(head.d_ino) && (!head.d_name_len || entry_size(head.d_name_len) > length))) {
                r.broken = true;
                break;
            }
            if (get(head.d_ino))
                r.entries.push_back(entry_at(b, at));
        }
    }
    return r;
}

dir_block salvage_dir_block(const block &b, const hash_key &key) {
    dir_block r;

    for (std::uint32_t at = 0; at < block_size; at += 8) {
        std::uint32_t room = bucket_size - at % bucket_size;

        if (room < smallest)
            continue;
        auto head = object_at<rzcfs_dirent>(b, at);
        if (!get(head.d_ino) || !head.d_name_len || entry_size(head.d_name_len) > room)
            continue;
        dir_entry e = entry_at(b, at);
        if (e.hash != name_hash(key, e.name))
            continue;
        at = e.end() - 8;
        r.entries.push_back(std::move(e));
    }
    return r;
}

block compose_dir_block(std::vector<dir_entry> entries) {
    block b{};
    auto e = entries.begin();

    std::sort(entries.begin(), entries.end(),
              [](const auto &x, const auto &y) { return x.offset < y.offset; });
    for (std::uint32_t start = 0; start < block_size; start += bucket_size) {
        const std::uint32_t end = start + bucket_size;
        std::uint32_t at = start; // the chain is complete up to here

        if (e != entries.end() && e->offset < start + smallest)
            e->offset = start; // no room for a free entry before it
        while (at < end) {
            const bool last = e == entries.end() || e->offset >= end;
            std::uint32_t next = last ? end : e->offset;

            if (at < next) {
                put_head(b, at, next - at);
                at = next;
            }
            if (last)
                continue;
            next = std::next(e) == entries.end() ? end : std::min(end, std::next(e)->offset);
            at = next - e->end() < smallest ? next : e->end();
            put_entry(b, *e, at - e->offset);
            ++e;
        }
    }
    return b;
}

std::uint64_t insert_entry(image &img, std::uint64_t &map, dir_entry e, const allocator &allocate) {
    for (unsigned level = 0; level < RZCFS_DIR_MAX_DEPTH; level++) {
        std::uint64_t fblk = dir_block_of(e.hash, level), blk = map_lookup(img, map, fblk);
        dir_block b;

        if (blk) {
            b = parse_dir_block(img.read(blk));
        } else {
            blk = allocate(false);
            map = map_set(img, map, fblk, blk, allocate);
        }
        if (add_entry(b.entries, e)) {
            img.write(blk, compose_dir_block(std::move(b.entries)));
            return fblk;
        }
    }
    throw error("a directory is full");
}

} // namespace rzcfs
