// SPDX-License-Identifier: GPL-2.0
#include "tree.hpp"

namespace rzcfs {

namespace {

void walk(const image &img, const slot &s, const slot_visitor &fn) {
    if (!fn(s) || !s.height)
        return;
    const block node = img.read(s.target); // a copy: fn may change it

    for (std::uint64_t i = 0; i < RZCFS_MAP_FANOUT; i++) {
        auto target = le(object_at<std::uint64_t>(node, i * sizeof(std::uint64_t)));

        if (target)
            walk(img,
                 {s.target * block_size + i * sizeof(std::uint64_t), target,
                  s.fblk + i * map_span(s.height - 1), s.height - 1, false},
                 fn);
    }
}

} // namespace

void walk_tree(const image &img, std::uint64_t inode_at, const slot_visitor &fn) {
    std::uint64_t at = inode_at + offsetof(rzcfs_inode, i_map);
    auto map = le(img.load<std::uint64_t>(at));

    if (map_block(map) && map_height(map) <= RZCFS_MAP_MAX_HEIGHT)
        walk(img, {at, map_block(map), 0, map_height(map), true}, fn);
}

std::uint64_t map_lookup(const image &img, std::uint64_t map, std::uint64_t fblk) {
    unsigned height = map_height(map);
    std::uint64_t at = map_block(map);

    if (!at || fblk >= map_span(height))
        return 0;
    for (; at && height; height--)
        at = le(img.load<std::uint64_t>(at * block_size + (fblk / map_span(height - 1)) %
                                                              RZCFS_MAP_FANOUT *
                                                              sizeof(std::uint64_t)));
    return at;
}

std::uint64_t map_set(image &img, std::uint64_t map, std::uint64_t fblk, std::uint64_t blk,
                      const allocator &allocate) {
    std::uint64_t root = map_block(map);
    unsigned height = map_height(map);
    auto new_node = [&] {
        std::uint64_t n = allocate(true);

        img.write(n, block{});
        return n;
    };

    if (!root) {
        for (height = 0; fblk >= map_span(height); height++)
            ;
        root = height ? new_node() : blk;
    }
    for (; fblk >= map_span(height); height++) {
        std::uint64_t n = new_node();

        img.store(n * block_size, le(root));
        root = n;
    }
    std::uint64_t at = root;
    for (unsigned h = height; h; h--) {
        std::uint64_t where =
            at * block_size + fblk / map_span(h - 1) % RZCFS_MAP_FANOUT * sizeof(std::uint64_t);

        at = h == 1 ? blk : le(img.load<std::uint64_t>(where));
        if (!at)
            at = new_node();
        img.store(where, le(at));
    }
    if (!height)
        root = blk;
    return root | std::uint64_t(height) << RZCFS_MAP_HEIGHT_SHIFT;
}

} // namespace rzcfs
