// SPDX-License-Identifier: GPL-2.0
// A table of corruptions: each is seen, and repaired or refused.
#include "check.hpp"
#include "crc.hpp"
#include "run.hpp"
#include "sample.hpp"

#include <algorithm>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>

using namespace rzcfs;

namespace {

enum class outcome { repaired, refused };

struct corruption {
    std::string name;
    std::function<void(sample &)> make;
    std::vector<std::string> damaged{}; // paths that may differ afterwards, with all below
    outcome expected = outcome::repaired;
};

std::vector<corruption> table;

void add(corruption c) { table.push_back(std::move(c)); }

void poke(sample &s, std::uint64_t at, const std::string &bytes) {
    for (std::size_t i = 0; i < bytes.size(); i++)
        s.img.store(at + i, bytes[i]);
}

// A pattern that no number of the sample has.
void garble(sample &s, std::uint64_t at, std::size_t length) {
    for (std::size_t i = 0; i < length; i++)
        s.img.store(at + i, s.img.load<std::byte>(at + i) ^ std::byte(0xa5 + 7 * i));
}

template <class T> void store(sample &s, std::uint64_t at, T value) { s.img.store(at, le(value)); }

template <class F> void edit_super(sample &s, F fn, bool reseal = true) {
    auto sb = s.img.load<rzcfs_super_block>(0);

    fn(sb);
    if (reseal)
        seal(sb);
    s.img.store(0, sb);
}

struct field {
    const char *name;
    std::size_t offset, size;
};

#define FIELD(type, member)                                                                        \
    { #member, offsetof(type, member), sizeof(type::member) }

const field super_fields[] = {
    FIELD(rzcfs_super_block, s_magic),
    FIELD(rzcfs_super_block, s_version),
    FIELD(rzcfs_super_block, s_block_size),
    FIELD(rzcfs_super_block, s_inode_size),
    FIELD(rzcfs_super_block, s_feature_compat),
    FIELD(rzcfs_super_block, s_feature_incompat),
    FIELD(rzcfs_super_block, s_feature_ro_compat),
    FIELD(rzcfs_super_block, s_uuid),
    FIELD(rzcfs_super_block, s_label),
    FIELD(rzcfs_super_block, s_hash_key),
    FIELD(rzcfs_super_block, s_mkfs_time),
    FIELD(rzcfs_super_block, s_block_count),
    FIELD(rzcfs_super_block, s_inode_count),
    FIELD(rzcfs_super_block, s_journal_start),
    FIELD(rzcfs_super_block, s_journal_blocks),
    FIELD(rzcfs_super_block, s_prestore_start),
    FIELD(rzcfs_super_block, s_prestore_blocks),
    FIELD(rzcfs_super_block, s_ibitmap_start),
    FIELD(rzcfs_super_block, s_ibitmap_blocks),
    FIELD(rzcfs_super_block, s_itable_start),
    FIELD(rzcfs_super_block, s_itable_blocks),
    FIELD(rzcfs_super_block, s_bbitmap_start),
    FIELD(rzcfs_super_block, s_bbitmap_blocks),
    FIELD(rzcfs_super_block, s_pool_start),
    FIELD(rzcfs_super_block, s_pool_blocks),
    FIELD(rzcfs_super_block, s_data_start),
    FIELD(rzcfs_super_block, s_data_blocks),
    FIELD(rzcfs_super_block, s_reserved),
    FIELD(rzcfs_super_block, s_checksum),
};

const field inode_fields[] = {
    FIELD(rzcfs_inode, i_ino),      FIELD(rzcfs_inode, i_generation),
    FIELD(rzcfs_inode, i_mode),     FIELD(rzcfs_inode, i_dir_depth),
    FIELD(rzcfs_inode, i_pad),      FIELD(rzcfs_inode, i_flags),
    FIELD(rzcfs_inode, i_uid),      FIELD(rzcfs_inode, i_gid),
    FIELD(rzcfs_inode, i_nlink),    FIELD(rzcfs_inode, i_rdev),
    FIELD(rzcfs_inode, i_size),     FIELD(rzcfs_inode, i_blocks),
    FIELD(rzcfs_inode, i_map),      FIELD(rzcfs_inode, i_version),
    FIELD(rzcfs_inode, i_atime),    FIELD(rzcfs_inode, i_mtime),
    FIELD(rzcfs_inode, i_ctime),    FIELD(rzcfs_inode, i_btime),
    FIELD(rzcfs_inode, i_parent),   FIELD(rzcfs_inode, i_next_orphan),
    FIELD(rzcfs_inode, i_xattr),    FIELD(rzcfs_inode, i_inline),
    FIELD(rzcfs_inode, i_reserved), FIELD(rzcfs_inode, i_checksum),
};

const field xattr_fields[] = {
    FIELD(rzcfs_xattr_block, x_magic),      FIELD(rzcfs_xattr_block, x_ino),
    FIELD(rzcfs_xattr_block, x_generation), FIELD(rzcfs_xattr_block, x_count),
    FIELD(rzcfs_xattr_block, x_used),       FIELD(rzcfs_xattr_block, x_reserved),
    FIELD(rzcfs_xattr_block, x_checksum),
};

const field dirent_fields[] = {
    FIELD(rzcfs_dirent, d_ino),  FIELD(rzcfs_dirent, d_rec_len), FIELD(rzcfs_dirent, d_name_len),
    FIELD(rzcfs_dirent, d_type), FIELD(rzcfs_dirent, d_hash),    FIELD(rzcfs_dirent, d_name),
};

void super_cases() {
    for (const field &f : super_fields) {
        add({std::string("super ") + f.name, [f](sample &s) { garble(s, f.offset, f.size); }});
        add({std::string("copy ") + f.name,
             [f](sample &s) { garble(s, (s.l.blocks - 1) * block_size + f.offset, f.size); }});
    }
    // whole, but wrong
    add({"super sealed version",
         [](sample &s) { edit_super(s, [](auto &sb) { put(sb.s_version, RZCFS_VERSION + 1); }); },
         {},
         outcome::refused});
    add({"super sealed incompat",
         [](sample &s) { edit_super(s, [](auto &sb) { put(sb.s_feature_incompat, 4); }); },
         {},
         outcome::refused});
    add({"super sealed ro_compat",
         [](sample &s) { edit_super(s, [](auto &sb) { put(sb.s_feature_ro_compat, 1); }); },
         {},
         outcome::refused});
    add({"super sealed block size",
         [](sample &s) { edit_super(s, [](auto &sb) { put(sb.s_block_size, 8192); }); },
         {},
         outcome::refused});
    add({"super sealed larger than the medium",
         [](sample &s) { edit_super(s, [](auto &sb) { put(sb.s_block_count, 1000); }); },
         {},
         outcome::refused});
    add({"super sealed hash key",
         [](sample &s) { edit_super(s, [](auto &sb) { sb.s_hash_key[3] ^= 1; }); },
         {},
         outcome::refused});
    add({"super sealed label",
         [](sample &s) { edit_super(s, [](auto &sb) { sb.s_label[0] = 'T'; }); }});
    for (std::size_t i = 13; i < 27; i++)
        add({std::string("super sealed ") + super_fields[i].name, [i](sample &s) {
                 store(s, super_fields[i].offset, std::uint64_t(5000));
                 edit_super(s, [](auto &) {});
             }});
    add({"both superblocks",
         [](sample &s) {
             garble(s, 8, 4);
             garble(s, (s.l.blocks - 1) * block_size + 8, 4);
         },
         {},
         outcome::refused});
    add({"block 0 zeroed", [](sample &s) { s.img.write(0, block{}); }});
    add({"block 0 is something else",
         [](sample &s) {
             block b;
             b.fill(std::byte('j'));
             s.img.write(0, b);
         },
         {},
         outcome::refused});
    add({"nothing at all",
         [](sample &s) {
             s.img.write(0, block{});
             s.img.write(s.l.blocks - 1, block{});
         },
         {},
         outcome::refused});
}

void state_cases() {
    for (unsigned i = 0; i < RZCFS_STATE_WORDS; i++) {
        add({"state bit of word " + std::to_string(i),
             [i](sample &s) { poke(s, state_offset(i) + 2, "\x10"); }});
        add({"state word " + std::to_string(i), [i](sample &s) { garble(s, state_offset(i), 8); }});
    }
    auto word = [](sample &s, unsigned i, std::uint64_t value) {
        store(s, state_offset(i), state_word(i, value));
    };
    add({"state error", [=](sample &s) { word(s, RZCFS_STATE_FLAGS, RZCFS_STATE_ERROR); }});
    add({"state unknown flag", [=](sample &s) { word(s, RZCFS_STATE_FLAGS, 0x41); }});
    add({"orphans not in use", [=](sample &s) { word(s, RZCFS_STATE_ORPHANS, 150); }});
    add({"orphans out of range", [=](sample &s) { word(s, RZCFS_STATE_ORPHANS, 1u << 30); }});
    add({"orphans in a loop", [=](sample &s) {
             word(s, RZCFS_STATE_ORPHANS, s.file);
             s.edit(s.file, [&](auto &raw) { put(raw.i_next_orphan, s.other); });
             s.edit(s.other, [&](auto &raw) { put(raw.i_next_orphan, s.file); });
         }});
    add({"orphan on no list", [](sample &s) { s.make(0, "", S_IFREG); }});
    add({"journal for an impossible place", [](sample &s) {
             rzcfs_undo u{};
             block b{};

             put(u.u_offset, s.l.journal.start * block_size + 64);
             put(u.u_len, 8);
             put(u.u_checksum, undo_checksum(1, u, std::span(b).subspan(16, 8)));
             set_object_at(b, 0, u);
             s.journal(b);
         }});
    add({"pre-store for an impossible place", [](sample &s) {
             rzcfs_prestore p{};

             put(p.p_offset, 4096);
             put(p.p_len, 16);
             put(p.p_checksum, prestore_checksum(p));
             s.img.store(s.l.prestore.start * block_size + sizeof(p), p);
         }});
}

void bitmap_cases() {
    auto flip = [](sample &s, const region &r, std::uint64_t bit) {
        std::uint64_t at = r.start * block_size + bit / 8;

        s.img.store(at, s.img.load<std::byte>(at) ^ std::byte(1u << bit % 8));
    };
    add({"ibitmap: none", [=](sample &s) { flip(s, s.l.ibitmap, 0); }});
    add({"ibitmap: root", [=](sample &s) { flip(s, s.l.ibitmap, RZCFS_ROOT_INO); }});
    add({"ibitmap: a file", [=](sample &s) { flip(s, s.l.ibitmap, s.file); }});
    add({"ibitmap: a directory", [=](sample &s) { flip(s, s.l.ibitmap, s.dir); }});
    add({"ibitmap: a free one", [=](sample &s) { flip(s, s.l.ibitmap, 155); }});
    add({"ibitmap: all of it", [](sample &s) { s.img.write(s.l.ibitmap.start, block{}); }});
    add({"bbitmap: contents", [=](sample &s) { flip(s, s.l.bbitmap, s.block_at(s.file, 1)); }});
    add({"bbitmap: a free one", [=](sample &s) { flip(s, s.l.bbitmap, s.l.blocks - 2); }});
    add({"bbitmap: the superblock", [=](sample &s) { flip(s, s.l.bbitmap, 0); }});
    add({"bbitmap: the inode table", [=](sample &s) { flip(s, s.l.bbitmap, s.l.itable.start); }});
    add({"bbitmap: the copy", [=](sample &s) { flip(s, s.l.bbitmap, s.l.blocks - 1); }});
    add({"bbitmap: all of it", [](sample &s) { s.img.write(s.l.bbitmap.start, block{}); }});
}

void inode_cases() {
    using inode = rzcfs_inode;

    for (const field &f : inode_fields) {
        add({std::string("inode bit of ") + f.name, [f](sample &s) {
                 std::uint64_t at = inode_offset(s.l, s.rich) + f.offset;

                 s.img.store(at, s.img.load<std::byte>(at) ^ std::byte(4));
             }});
        add({std::string("inode ") + f.name,
             [f](sample &s) { garble(s, inode_offset(s.l, s.rich) + f.offset, f.size); },
             {"/rich"}});
        add({std::string("directory ") + f.name,
             [f](sample &s) { garble(s, inode_offset(s.l, s.sub) + f.offset, f.size); },
             {"/dir/sub"}});
        add({std::string("root ") + f.name,
             [f](sample &s) { garble(s, inode_offset(s.l, RZCFS_ROOT_INO) + f.offset, f.size); },
             {""}});
    }
    struct sealed_case {
        const char *name;
        std::uint32_t sample::*ino;
        void (*fn)(inode &);
        std::vector<std::string> damaged;
    };
    const sealed_case cases[] = {
        {"number", &sample::file, [](inode &r) { put(r.i_ino, 77); }, {}},
        {"type of a file", &sample::file, [](inode &r) { put(r.i_mode, 0644); }, {}},
        {"type of a directory", &sample::sub, [](inode &r) { put(r.i_mode, 0700); }, {}},
        {"type of a link", &sample::link, [](inode &r) { put(r.i_mode, 0777); }, {}},
        {"directory as a file",
         &sample::sub,
         [](inode &r) { put(r.i_mode, S_IFREG); },
         {"/dir/sub"}},
        {"file as a directory",
         &sample::file,
         [](inode &r) { put(r.i_mode, S_IFDIR | 0755), put(r.i_parent, 1); },
         {"/file"}},
        {"file as a FIFO", &sample::file, [](inode &r) { put(r.i_mode, S_IFIFO); }, {"/file"}},
        {"levels", &sample::dir, [](inode &r) { r.i_dir_depth = 1; }, {}},
        {"impossible levels", &sample::dir, [](inode &r) { r.i_dir_depth = 200; }, {}},
        {"flags", &sample::file, [](inode &r) { put(r.i_flags, 0x80000000); }, {}},
        {"no links", &sample::file, [](inode &r) { put(r.i_nlink, 0); }, {}},
        {"too many links", &sample::hard, [](inode &r) { put(r.i_nlink, 7); }, {}},
        {"links of a directory", &sample::dir, [](inode &r) { put(r.i_nlink, 9); }, {}},
        {"impossible size", &sample::file, [](inode &r) { put(r.i_size, 1ull << 60); }, {"/file"}},
        {"size of a directory", &sample::dir, [](inode &r) { put(r.i_size, 4096); }, {}},
        {"size of a link", &sample::link, [](inode &r) { put(r.i_size, 5); }, {}},
        {"no size of a link", &sample::link, [](inode &r) { put(r.i_size, 0); }, {}},
        {"size of a long link", &sample::longlink, [](inode &r) { put(r.i_size, 40); }, {}},
        {"huge size of a link", &sample::link, [](inode &r) { put(r.i_size, 70000); }, {}},
        {"blocks", &sample::big, [](inode &r) { put(r.i_blocks, 3); }, {}},
        {"impossible blocks", &sample::big, [](inode &r) { put(r.i_blocks, 1 << 30); }, {}},
        {"map height",
         &sample::file,
         [](inode &r) { put(r.i_map, get(r.i_map) | 9ull << 56); },
         {"/file"}},
        {"map outside", &sample::file, [](inode &r) { put(r.i_map, 7); }, {"/file"}},
        {"map lost", &sample::file, [](inode &r) { put(r.i_map, 0); }, {"/file"}},
        {"map one too low",
         &sample::file,
         [](inode &r) { put(r.i_map, map_block(get(r.i_map))); },
         {"/file"}},
        {"map one too high",
         &sample::file,
         [](inode &r) { put(r.i_map, map_block(get(r.i_map)) | 2ull << 56); },
         {"/file"}},
        {"map of a FIFO", &sample::fifo, [](inode &r) { put(r.i_map, 300); }, {}},
        {"parent", &sample::sub, [](inode &r) { put(r.i_parent, 1); }, {}},
        {"impossible parent", &sample::sub, [](inode &r) { put(r.i_parent, 1 << 20); }, {}},
        {"orphan that is none", &sample::file, [](inode &r) { put(r.i_next_orphan, 9); }, {}},
        {"attributes outside", &sample::rich, [](inode &r) { put(r.i_xattr, 3); }, {"/rich"}},
        {"attributes lost", &sample::rich, [](inode &r) { put(r.i_xattr, 0); }, {"/rich"}},
        {"empty link", &sample::link, [](inode &r) { r.i_inline[0] = 0; }, {"/link"}},
        {"all zero", &sample::file, [](inode &r) { r = {}; }, {"/file"}},
    };
    for (const sealed_case &c : cases)
        add({std::string("sealed inode: ") + c.name, [c](sample &s) { s.edit(s.*c.ino, c.fn); },
             c.damaged});
    add({"inode unsealed zeroes",
         [](sample &s) {
             s.edit(
                 s.file, [](inode &r) { r = {}; }, false);
         },
         {"/file"}});
    add({"inode of garbage",
         [](sample &s) { garble(s, inode_offset(s.l, s.sub), 256); },
         {"/dir/sub"}});
    add({"root zeroed",
         [](sample &s) {
             s.edit(
                 RZCFS_ROOT_INO, [](inode &r) { r = {}; }, false);
         },
         {""}});
    add({"root is a file",
         [](sample &s) { s.edit(RZCFS_ROOT_INO, [](inode &r) { put(r.i_mode, S_IFREG); }); },
         {""}});
    add({"a block of the inode table",
         [](sample &s) { s.img.write(s.l.itable.start, block{}); },
         {""}});
    add({"inode twice",
         [](sample &s) { s.edit(s.other, [&](inode &r) { r = s.inode(s.file); }); },
         {"/other", "/file"}});
    add({"attributes of another inode", [](sample &s) {
             s.edit(s.other, [&](inode &r) { r.i_xattr = s.inode(s.rich).i_xattr; });
         }});
    add({"attributes are contents of another file",
         [](sample &s) { store(s, s.slot_at(s.other, 2), get(s.inode(s.rich).i_xattr)); },
         {"/other"}});
}

void map_cases() {
    auto pointer = [](sample &s, std::uint64_t fblk) { return s.slot_at(s.other, fblk); };

    add({"pointer outside",
         [=](sample &s) { store(s, pointer(s, 2), std::uint64_t(1) << 40); },
         {"/other"}});
    add({"pointer to metadata",
         [=](sample &s) { store(s, pointer(s, 2), s.l.itable.start); },
         {"/other"}});
    add({"pointer to the pool",
         [=](sample &s) { store(s, pointer(s, 2), s.l.pool.start); },
         {"/other"}});
    add({"pointer to its node",
         [=](sample &s) { store(s, pointer(s, 2), pointer(s, 2) / block_size); },
         {"/other"}});
    add({"pointer to a block of its own",
         [=](sample &s) { store(s, pointer(s, 2), s.block_at(s.other, 3)); },
         {"/other"}});
    add({"pointer to a block of another file",
         [=](sample &s) { store(s, pointer(s, 2), s.block_at(s.file, 1)); },
         {"/other"}});
    add({"pointer to a node of another file",
         [=](sample &s) { store(s, pointer(s, 2), s.slot_at(s.file, 0) / block_size); },
         {"/other"}});
    add({"pointer to a block of a directory",
         [=](sample &s) { store(s, pointer(s, 2), s.block_at(s.sub, 0)); },
         {"/other"}});
    add({"pointer of a low inode to a node of a high one",
         [](sample &s) { store(s, s.slot_at(s.file, 1), s.slot_at(s.other, 0) / block_size); },
         {"/file"}});
    add({"map is that of another inode",
         [](sample &s) { s.edit(s.file, [&](auto &r) { r.i_map = s.inode(s.other).i_map; }); },
         {"/file"}});
    add({"map of a tree that contains itself",
         [](sample &s) {
             std::uint64_t node = map_block(get(s.inode(s.big).i_map));
             for (std::uint64_t i = 0; i < 512; i++)
                 store(s, node * block_size + i * 8, node);
         },
         {"/big"}});
    add({"block of a directory is that of another",
         [](sample &s) { store(s, s.slot_at(s.dir, 1), s.block_at(s.sub, 0)); },
         {"/dir"}});
    add({"contents of a long link",
         [](sample &s) { s.img.write(s.block_at(s.longlink, 0), block{}); },
         {"/longlink"}});
    add({"end of a long link",
         [](sample &s) { s.img.store(s.block_at(s.longlink, 0) * block_size + 200, std::byte(0)); },
         {"/longlink"}});
}

void directory_cases() {
    for (const field &f : dirent_fields)
        add({std::string("entry ") + f.name,
             [f](sample &s) {
                 garble(s, s.entry_at(s.dir, "sub") + f.offset, std::min<std::size_t>(f.size, 3));
             },
             {"/dir"}});
    auto at = [](sample &s, std::size_t member) {
        return s.entry_at(RZCFS_ROOT_INO, "file") + member;
    };
    constexpr std::size_t ino = offsetof(rzcfs_dirent, d_ino);
    constexpr std::size_t length = offsetof(rzcfs_dirent, d_rec_len);
    constexpr std::size_t name_length = offsetof(rzcfs_dirent, d_name_len);
    constexpr std::size_t name = offsetof(rzcfs_dirent, d_name);

    add({"entry leads nowhere", [=](sample &s) { store(s, at(s, ino), 0u); }, {"/file"}});
    add({"entry out of range", [=](sample &s) { store(s, at(s, ino), 1u << 30); }, {"/file"}});
    add({"entry to a free inode", [=](sample &s) { store(s, at(s, ino), 158u); }, {"/file"}});
    add({"entry to the root", [=](sample &s) { store(s, at(s, ino), 1u); }, {"/file"}});
    add({"entry to another file", [=](sample &s) { store(s, at(s, ino), s.other); }, {"/file"}});
    add({"entry to a directory", [=](sample &s) { store(s, at(s, ino), s.sub); }, {"/file"}});
    for (unsigned v : {0u, 8u, 12u, 4096u, 65535u})
        add({"entry length " + std::to_string(v),
             [=](sample &s) { store(s, at(s, length), static_cast<std::uint16_t>(v)); },
             {""}});
    for (unsigned v : {0u, 3u, 255u})
        add({"name length " + std::to_string(v),
             [=](sample &s) { store(s, at(s, name_length), static_cast<std::uint8_t>(v)); },
             {""}});
    add({"bit of a name", [=](sample &s) { poke(s, at(s, name), "g"); }});
    add({"other name", [=](sample &s) { poke(s, at(s, name), "xyz"); }, {"/file", "/xyze"}});
    add({"name with a slash",
         [=](sample &s) {
             store(s, at(s, offsetof(rzcfs_dirent, d_hash)), name_hash(s.key, "a/b/"));
             poke(s, at(s, name), "a/b/");
         },
         {"/file"}});
    add({"name with a zero byte",
         [=](sample &s) {
             store(s, at(s, offsetof(rzcfs_dirent, d_hash)),
                   name_hash(s.key, std::string("\0\0xe", 4)));
             poke(s, at(s, name), std::string("\0\0x", 3));
         },
         {"/file"}});
    add({"name twice",
         [](sample &s) {
             s.name(s.sub, "again", s.file);
             std::uint64_t e = s.entry_at(s.sub, "again");
             poke(s, e + offsetof(rzcfs_dirent, d_name), "deep");
             s.img.store(e + offsetof(rzcfs_dirent, d_name_len), std::uint8_t(4));
             store(s, e + offsetof(rzcfs_dirent, d_hash), name_hash(s.key, "deep"));
         },
         {"/dir/sub"}});
    add({"name in a wrong bucket", [](sample &s) {
             // any two of one block
             constexpr std::size_t size = RZCFS_BUCKET_SIZE;
             std::uint64_t blk = s.block_at(s.dir, 0);
             block b = s.img.read(blk);
             std::swap_ranges(b.begin() + size, b.begin() + 2 * size, b.begin() + 5 * size);
             s.img.write(blk, b);
         }});
    add({"name in a wrong block", [](sample &s) {
             // the two of the second level
             std::uint64_t a = s.slot_at(s.dir, 1), b = s.slot_at(s.dir, 2);
             auto x = s.img.load<std::uint64_t>(a), y = s.img.load<std::uint64_t>(b);
             s.img.store(a, y);
             s.img.store(b, x);
         }});
    add({"second name of a directory",
         [](sample &s) { s.name(RZCFS_ROOT_INO, "sub too", s.sub); },
         {"/sub too"}});
    add({"directory below itself",
         [](sample &s) {
             poke(s, s.entry_at(s.dir, "sub"), std::string(4, '\0'));
             s.name(s.sub, "myself", s.sub);
         },
         {"/dir/sub", "/lost+found"}});
    add({"directory without a name",
         [](sample &s) { poke(s, s.entry_at(RZCFS_ROOT_INO, "dir"), std::string(4, '\0')); },
         {"/dir"}});
    add({"file without a name",
         [](sample &s) {
             std::uint32_t lost = s.make(RZCFS_ROOT_INO, "lost", S_IFREG | 0600);
             s.write(lost, 0, "important");
             poke(s, s.entry_at(RZCFS_ROOT_INO, "lost"), std::string(4, '\0'));
         },
         {"/lost"}});
    add({"lost+found is a file",
         [](sample &s) {
             s.make(RZCFS_ROOT_INO, "lost+found", S_IFREG | 0600);
             poke(s, s.entry_at(RZCFS_ROOT_INO, "file"), std::string(4, '\0'));
         },
         {"/file"}});
    add({"block of a directory zeroed",
         [](sample &s) { s.img.write(s.block_at(s.dir, 2), block{}); },
         {"/dir"}});
    add({"block of a directory of garbage",
         [](sample &s) { garble(s, s.block_at(s.dir, 0) * block_size, block_size); },
         {"/dir"}});
    add({"hole in a directory",
         [](sample &s) { store(s, s.slot_at(s.dir, 1), std::uint64_t(0)); },
         {"/dir"}});
    add({"block of a directory beyond all levels", [](sample &s) {
             std::uint64_t word =
                 map_set(s.img, get(s.inode(s.sub).i_map), 1u << 25, s.allocate(s.sub),
                         [&](bool) { return s.allocate(s.sub); });
             s.edit(s.sub, [&](auto &r) { put(r.i_map, word); });
         }});
}

void xattr_cases() {
    auto at = [](sample &s) { return get(s.inode(s.rich).i_xattr) * block_size; };
    auto reseal = [=](sample &s) {
        block b = s.img.read(at(s) / block_size);
        auto head = object_at<rzcfs_xattr_block>(b, 0);
        std::vector<std::byte> bytes(b.begin(), b.begin() + 28);
        bytes.insert(bytes.end(), b.begin() + 32, b.begin() + get(head.x_used));
        put(head.x_checksum, crc32c(bytes));
        s.img.store(at(s), head);
    };
    for (const field &f : xattr_fields) {
        add({std::string("xattr bit of ") + f.name,
             [=](sample &s) {
                 std::uint64_t p = at(s) + f.offset;
                 s.img.store(p, s.img.load<std::byte>(p) ^ std::byte(8));
             },
             f.name == std::string("x_used") ? std::vector<std::string>{"/rich"}
                                             : std::vector<std::string>{}});
        add({std::string("xattr ") + f.name,
             [=](sample &s) { garble(s, at(s) + f.offset, f.size); },
             {"/rich"}});
        if (f.name != std::string("x_checksum") && f.name != std::string("x_used"))
            add({std::string("xattr sealed ") + f.name,
                 [=](sample &s) {
                     garble(s, at(s) + f.offset, f.size);
                     reseal(s);
                 },
                 {"/rich"}});
    }
    struct entry_case {
        const char *name;
        std::size_t offset;
        const char *bytes;
    };
    // the first entry: shape, 24 bytes; the second: colour=green, 16; then the ACL
    const entry_case cases[] = {
        {"index", 32, "\x09"},       {"order", 32, "\x05"},
        {"name length", 33, "\x40"}, {"value length", 34, "\xff"},
        {"value", 66, "rad"},        {"name", 36, "z"},
        {"padding", 71, "x"},        {"version of an ACL", 76, "\x07"},
    };
    for (const entry_case &c : cases) {
        add({std::string("xattr entry ") + c.name,
             [=](sample &s) { poke(s, at(s) + c.offset, c.bytes); },
             {"/rich"}});
        if (c.name != std::string("value") && c.name != std::string("name"))
            add({std::string("xattr sealed entry ") + c.name,
                 [=](sample &s) {
                     poke(s, at(s) + c.offset, c.bytes);
                     reseal(s);
                 },
                 {"/rich"}});
    }
    add({"xattr tail", [=](sample &s) { poke(s, at(s) + 4000, "x"); }});
    add({"xattr bit of a value", [=](sample &s) { poke(s, at(s) + 66, "f"); }});
    add({"xattr zeroed", [=](sample &s) { s.img.write(at(s) / block_size, block{}); }, {"/rich"}});
}

const std::vector<corruption> &all_cases() {
    if (table.empty()) {
        super_cases();
        state_cases();
        bitmap_cases();
        inode_cases();
        map_cases();
        directory_cases();
        xattr_cases();
    }
    return table;
}

std::string slurp(const std::filesystem::path &path) {
    std::ifstream in(path, std::ios::binary);

    return {std::istreambuf_iterator<char>(in), {}};
}

bool below(const std::string &path, const std::vector<std::string> &roots) {
    for (const std::string &r : roots)
        if (path == r || path.starts_with(r + "/"))
            return true;
    return false;
}

class Corruption : public testing::TestWithParam<std::size_t> {};

TEST_P(Corruption, IsSeenAndMended) {
    const corruption &c = all_cases()[GetParam()];
    scratch dir;
    std::filesystem::path path = dir / "image";
    std::map<std::string, std::string> before;

    SCOPED_TRACE(c.name);
    {
        sample s(path);
        before = snapshot(s.img);
        c.make(s);
        s.img.write_back();
    }
    std::string was = slurp(path);
    result r = run(FSCK, "-f -n " + path.string());
    EXPECT_EQ(r.status, 4) << r.output;
    EXPECT_TRUE(slurp(path) == was) << "-n has written";
    r = run(FSCK, "-f -y -v " + path.string());
    if (c.expected == outcome::refused) {
        EXPECT_EQ(r.status, 4) << r.output;
        EXPECT_TRUE(slurp(path) == was) << "written though it was refused";
        return;
    }
    EXPECT_EQ(r.status, 1) << r.output;
    result again = run(FSCK, "-f -n " + path.string());
    EXPECT_EQ(again.status, 0) << again.output;

    medium m(path, medium::access::read);
    auto after = snapshot(image(m));
    for (const auto &[name, what] : before) {
        if (!below(name, c.damaged)) {
            EXPECT_TRUE(after.count(name) && after[name] == what) << name << '\n' << r.output;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Table, Corruption, testing::Range(std::size_t(0), all_cases().size()),
                         [](const auto &c) {
                             std::string n = all_cases()[c.param].name;
                             for (char &ch : n)
                                 if (!isalnum(static_cast<unsigned char>(ch)))
                                     ch = '_';
                             return n;
                         });

} // namespace
