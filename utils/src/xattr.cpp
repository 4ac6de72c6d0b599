// SPDX-License-Identifier: GPL-2.0
#include "xattr.hpp"

#include "crc.hpp"

#include <algorithm>
#include <tuple>

namespace rzcfs {

namespace {

constexpr std::size_t head_bytes = sizeof(rzcfs_xattr_block);
constexpr std::size_t summed_head = offsetof(rzcfs_xattr_block, x_checksum);

auto order(const xattr &x) { return std::tuple(x.index, x.name.size(), std::string_view(x.name)); }

bool before(const xattr &x, const xattr &y) { return order(x) < order(y); }

std::size_t size_of(std::size_t name, std::size_t value) {
    return (RZCFS_XATTR_HEAD + name + value + 7) / 8 * 8;
}

// head without its checksum, and entries
std::vector<std::byte> summed(const block &b, std::size_t used) {
    std::vector<std::byte> r(b.begin(), b.begin() + summed_head);

    r.insert(r.end(), b.begin() + head_bytes, b.begin() + std::ptrdiff_t(used));
    return r;
}

bool sound_acl(std::string_view v) {
    auto number = [&v](std::size_t at, std::size_t bytes) {
        std::uint32_t n = 0;

        while (bytes--)
            n = n << 8 | static_cast<std::uint8_t>(v[at + bytes]);
        return n;
    };

    if (v.size() < 4 || (v.size() - 4) % 8 || number(0, 4) != 2)
        return false;
    for (std::size_t at = 4; at < v.size(); at += 8) {
        std::uint32_t tag = number(at, 2);

        if (!tag || tag > 0x20 || (tag & (tag - 1)) || number(at + 2, 2) > 7)
            return false;
    }
    return true;
}

bool sound(const xattr &x, bool directory) {
    bool acl = x.index == RZCFS_XATTR_ACL_ACCESS || x.index == RZCFS_XATTR_ACL_DEFAULT;

    return x.index >= RZCFS_XATTR_USER && x.index <= RZCFS_XATTR_SECURITY &&
           x.name.empty() == acl && x.name.find('\0') == x.name.npos &&
           (!acl || sound_acl(x.value)) && (x.index != RZCFS_XATTR_ACL_DEFAULT || directory);
}

bool zero(const block &b, std::size_t from, std::size_t to) {
    return std::all_of(b.begin() + std::ptrdiff_t(from), b.begin() + std::ptrdiff_t(to),
                       [](std::byte x) { return x == std::byte(0); });
}

} // namespace

xattr_block parse_xattrs(const block &b, const rzcfs_inode &owner, bool directory) {
    auto head = object_at<rzcfs_xattr_block>(b, 0);
    std::size_t used = get(head.x_used), count = get(head.x_count), at = head_bytes;
    xattr_block r{{}, nullptr};
    auto fault = [&r](const char *what) {
        if (!r.fault)
            r.fault = what;
    };

    if (get(head.x_magic) != RZCFS_XATTR_MAGIC)
        return {{}, "no attributes"};
    if (get(head.x_ino) != get(owner.i_ino) || get(head.x_generation) != get(owner.i_generation))
        fault("another inode's attributes");
    if (get(head.x_ino) != get(owner.i_ino) && get(head.x_generation) != get(owner.i_generation))
        return r;
    if (used < head_bytes || used % 8 || used > block_size) {
        fault("a bad length");
        used = block_size;
    } else if (get(head.x_checksum) != crc32c(summed(b, used))) {
        fault("a bad checksum");
    }
    if (!zero(b, offsetof(rzcfs_xattr_block, x_reserved), summed_head) ||
        !zero(b, used, block_size))
        fault("bytes that must be zero");
    while (at < used) {
        auto e = object_at<rzcfs_xattr_entry>(b, at);
        const auto *name = reinterpret_cast<const char *>(b.data()) + at + RZCFS_XATTR_HEAD;
        std::size_t data = std::size_t(e.e_name_len) + get(e.e_value_len);

        if (!e.e_index || size_of(data, 0) > used - at) {
            fault("a bad entry");
            break;
        }
        xattr x{e.e_index,
                {name, e.e_name_len},
                {name + e.e_name_len, static_cast<std::size_t>(get(e.e_value_len))}};
        if (!zero(b, at + RZCFS_XATTR_HEAD + data, at + size_of(data, 0)))
            fault("bytes that must be zero");
        if (!sound(x, directory))
            fault("a bad entry");
        else if (!r.entries.empty() && !before(r.entries.back(), x))
            fault("entries out of order");
        if (sound(x, directory) && std::none_of(r.entries.begin(), r.entries.end(),
                                                [&x](auto &y) { return order(x) == order(y); }))
            r.entries.push_back(std::move(x));
        at += size_of(data, 0);
    }
    if (r.entries.size() != count || r.entries.empty())
        fault("a bad number of entries");
    return r;
}

block compose_xattrs(std::vector<xattr> entries, const rzcfs_inode &owner) {
    block b{};
    rzcfs_xattr_block head{};
    std::size_t at = head_bytes;

    std::sort(entries.begin(), entries.end(), before);
    for (const xattr &x : entries) {
        std::size_t size = size_of(x.name.size(), x.value.size());
        rzcfs_xattr_entry e{};

        if (size > block_size - at)
            throw error("extended attributes do not fit into a block");
        e.e_index = x.index;
        e.e_name_len = static_cast<std::uint8_t>(x.name.size());
        put(e.e_value_len, x.value.size());
        std::memcpy(b.data() + at, &e, RZCFS_XATTR_HEAD);
        std::memcpy(b.data() + at + RZCFS_XATTR_HEAD, x.name.data(), x.name.size());
        std::memcpy(b.data() + at + RZCFS_XATTR_HEAD + x.name.size(), x.value.data(),
                    x.value.size());
        at += size;
    }
    put(head.x_magic, RZCFS_XATTR_MAGIC);
    head.x_ino = owner.i_ino;
    head.x_generation = owner.i_generation;
    put(head.x_count, entries.size());
    put(head.x_used, at);
    set_object_at(b, 0, head);
    put(head.x_checksum, crc32c(summed(b, at)));
    set_object_at(b, 0, head);
    return b;
}

bool correct_xattr_bit(block &b) {
    auto head = object_at<rzcfs_xattr_block>(b, 0);
    std::size_t used = get(head.x_used);

    if (used < head_bytes || used % 8 || used > block_size)
        return false;
    std::vector<std::byte> bytes = summed(b, used);
    std::uint32_t difference = crc32c(bytes) ^ get(head.x_checksum);
    if (auto bit = crc32c_bit_error(difference, bytes.size())) {
        std::size_t at = *bit / 8 < summed_head ? *bit / 8 : *bit / 8 + head_bytes - summed_head;

        b[at] ^= std::byte(1u << *bit % 8);
        return true;
    }
    if (difference && !(difference & (difference - 1))) { // a bit of the checksum itself
        put(head.x_checksum, crc32c(bytes));
        set_object_at(b, 0, head);
        return true;
    }
    return false;
}

std::string full_name(const xattr &x) {
    switch (x.index) {
    case RZCFS_XATTR_USER:
        return "user." + x.name;
    case RZCFS_XATTR_ACL_ACCESS:
        return "system.posix_acl_access";
    case RZCFS_XATTR_ACL_DEFAULT:
        return "system.posix_acl_default";
    case RZCFS_XATTR_TRUSTED:
        return "trusted." + x.name;
    default:
        return "security." + x.name;
    }
}

} // namespace rzcfs
