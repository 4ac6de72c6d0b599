// SPDX-License-Identifier: GPL-2.0
#include "bucket.hpp"

#include <algorithm>

namespace rzcfs {

namespace {

constexpr std::uint32_t smallest = sizeof(rzcfs_dirent);

// An entry whose head and name lie in the block.
dir_entry entry_at(const block &b, std::uint32_t offset) {
    auto head = object_at<rzcfs_dirent>(b, offset);
    const auto *name = reinterpret_cast<const char *>(b.data()) + offset + RZCFS_DIRENT_HEAD;

    return {offset, get(head.d_ino), get(head.d_hash), head.d_type, {name, head.d_name_len}};
}

// Puts an entry where there is room; false if there is none.
bool add_entry(std::vector<dir_entry> &entries, dir_entry e) {
    std::uint32_t at = 0, need = entry_size(e.name.size());
    auto it = entries.begin();

    for (; it != entries.end() && it->offset - at < need; ++it)
        at = it->end();
    if (block_size - at < need)
        return false;
    e.offset = at;
    entries.insert(it, std::move(e));
    return true;
}

} // namespace

bucket parse_bucket(const block &b) {
    bucket r;
    std::uint32_t length = 0;

    for (std::uint32_t at = 0; at < block_size; at += length) {
        auto head = object_at<rzcfs_dirent>(b, at);

        length = get(head.d_rec_len);
        if (length < smallest || length % 8 || length > block_size - at ||
            (get(head.d_ino) && (!head.d_name_len || entry_size(head.d_name_len) > length))) {
            r.broken = true;
            break;
        }
        if (get(head.d_ino))
            r.entries.push_back(entry_at(b, at));
    }
    return r;
}

bucket salvage_bucket(const block &b, const hash_key &key) {
    bucket r;

    for (std::uint32_t at = 0; at + smallest <= block_size; at += 8) {
        auto head = object_at<rzcfs_dirent>(b, at);

        if (!get(head.d_ino) || !head.d_name_len || at + entry_size(head.d_name_len) > block_size)
            continue;
        dir_entry e = entry_at(b, at);
        if (e.hash != name_hash(key, e.name))
            continue;
        at = e.end() - 8;
        r.entries.push_back(std::move(e));
    }
    return r;
}

block compose_bucket(std::vector<dir_entry> entries) {
    block b{};
    auto put_head = [&b](std::uint32_t at, std::uint32_t ino, std::uint32_t length) {
        rzcfs_dirent head{};

        put(head.d_ino, ino);
        put(head.d_rec_len, length);
        set_object_at(b, at, head);
    };

    std::sort(entries.begin(), entries.end(),
              [](const auto &x, const auto &y) { return x.offset < y.offset; });
    if (entries.empty() || entries.front().offset >= smallest)
        put_head(0, 0, entries.empty() ? block_size : entries.front().offset);
    else
        entries.front().offset = 0; // no room for a free entry before it
    for (std::size_t i = 0; i < entries.size(); i++) {
        const dir_entry &e = entries[i];
        std::uint32_t next =
            i + 1 < entries.size() ? entries[i + 1].offset : static_cast<std::uint32_t>(block_size);
        std::uint32_t end = next - e.end() < smallest ? next : e.end();
        rzcfs_dirent head{};

        put(head.d_ino, e.ino);
        put(head.d_rec_len, end - e.offset);
        head.d_name_len = static_cast<std::uint8_t>(e.name.size());
        head.d_type = e.type;
        put(head.d_hash, e.hash);
        set_object_at(b, e.offset, head);
        std::memcpy(b.data() + e.offset + RZCFS_DIRENT_HEAD, e.name.data(), e.name.size());
        if (end < next)
            put_head(end, 0, next - end);
    }
    return b;
}

std::uint64_t insert_entry(image &img, std::uint64_t &map, dir_entry e, const allocator &allocate) {
    for (unsigned level = 0; level < RZCFS_DIR_MAX_DEPTH; level++) {
        std::uint64_t fblk = bucket_of(e.hash, level), blk = map_lookup(img, map, fblk);
        bucket b;

        if (blk) {
            b = parse_bucket(img.read(blk));
        } else {
            blk = allocate(false);
            map = map_set(img, map, fblk, blk, allocate);
        }
        if (add_entry(b.entries, e)) {
            img.write(blk, compose_bucket(std::move(b.entries)));
            return fblk;
        }
    }
    throw error("a directory is full");
}

} // namespace rzcfs
