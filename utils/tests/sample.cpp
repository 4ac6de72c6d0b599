// SPDX-License-Identifier: GPL-2.0
#include "sample.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

namespace rzcfs {

namespace {

std::string text(char seed, std::size_t length) {
    std::string r;

    for (std::size_t i = 0; i < length; i++)
        r += static_cast<char>(seed + static_cast<char>(i * 7 % 61));
    return r;
}

const std::string sound_acl("\2\0\0\0"
                            "\1\0\6\0\xff\xff\xff\xff"
                            "\2\0\7\0\xe8\3\0\0"
                            "\4\0\4\0\xff\xff\xff\xff"
                            "\x10\0\7\0\xff\xff\xff\xff"
                            "\x20\0\4\0\xff\xff\xff\xff",
                            44);

} // namespace

sample::sample(const std::filesystem::path &path)
    : builder(path, 320, {.inodes = 160, .journal_blocks = 16, .pool_blocks = 4}) {
    constexpr std::uint32_t root = RZCFS_ROOT_INO;

    file = make(root, "file", S_IFREG | 0644);
    write(file, 0, text('a', 3 * block_size + 1000));
    big = make(root, "big", S_IFREG | 0600);
    write(big, 0, text('b', 100));
    write(big, 511, text('c', 2 * block_size));
    write(big, 300000, text('d', 5000));
    tail = make(root, "tail", S_IFREG | 0600);
    write(tail, 0, text('e', 2000));
    preallocate(tail, 1);
    preallocate(tail, 2);
    dir = make(root, "dir", S_IFDIR | 0755);
    xattrs(dir, {{RZCFS_XATTR_ACL_DEFAULT, "", sound_acl}});
    for (int i = 0; i < 90; i++) {
        many.push_back(make(dir, fmt::format("{:0{}}", i, i % 3 ? 40 : 200), S_IFREG | 0644));
        if (i % 8 == 0)
            write(many.back(), 0, text('f', 50));
    }
    sub = make(dir, "sub", S_IFDIR | 0700);
    deep = make(sub, "deep", S_IFREG | 0400);
    write(deep, 0, text('g', 9000));
    hard = make(root, "hard", S_IFREG | 0644);
    write(hard, 0, text('h', 500));
    name(sub, "hard too", hard);
    link = symlink(root, "link", "dir/sub/deep");
    longlink = symlink(root, "longlink", text('A', 300));
    fifo = make(root, "fifo", S_IFIFO | 0600);
    device = make(root, "device", S_IFCHR | 0600);
    make(root, "socket", S_IFSOCK | 0600);
    rich = make(root, "rich", S_IFREG | 0644);
    write(rich, 0, text('i', 10));
    xattrs(rich, {{RZCFS_XATTR_USER, "colour", "green"},
                  {RZCFS_XATTR_USER, "shape", std::string("round\0ish", 9)},
                  {RZCFS_XATTR_ACL_ACCESS, "", sound_acl},
                  {RZCFS_XATTR_SECURITY, "capability", "x"}});
    other = make(root, "other", S_IFREG | 0644);
    write(other, 0, text('j', 6 * block_size));
    make(root, "empty", S_IFREG | 0644);
    make(root, "empty dir", S_IFDIR | 0755);
    finish();
}

void sample::edit(std::uint32_t ino, const std::function<void(rzcfs_inode &)> &fn, bool reseal) {
    rzcfs_inode raw = inode(ino);

    fn(raw);
    if (reseal)
        seal(raw);
    img.store(inode_offset(l, ino), raw);
}

std::uint64_t sample::slot_at(std::uint32_t ino, std::uint64_t fblk) const {
    std::uint64_t found = 0;

    walk_tree(img, inode_offset(l, ino), [&](const slot &s) {
        if (!s.height && s.fblk == fblk)
            found = s.at;
        return true;
    });
    if (!found)
        throw error("no such block");
    return found;
}

std::uint64_t sample::block_at(std::uint32_t ino, std::uint64_t fblk) const {
    return map_lookup(img, get(inode(ino).i_map), fblk);
}

std::uint64_t sample::entry_at(std::uint32_t d, const std::string &n) const {
    std::uint64_t found = 0;

    walk_tree(img, inode_offset(l, d), [&](const slot &s) {
        if (!s.height)
            for (const dir_entry &e : parse_dir_block(img.read(s.target)).entries)
                if (e.name == n)
                    found = s.target * block_size + e.offset;
        return true;
    });
    if (!found)
        throw error("no such name");
    return found;
}

namespace {

void look(const image &img, const layout &l, std::uint32_t ino, const std::string &path,
          std::map<std::string, std::string> &out) {
    auto raw = img.load<rzcfs_inode>(inode_offset(l, ino));
    std::uint64_t size = get(raw.i_size);
    std::string what = fmt::format("{:o} {} {} {}\n", get(raw.i_mode), get(raw.i_uid),
                                   get(raw.i_gid), S_ISDIR(get(raw.i_mode)) ? 0 : size);

    if (out.size() > 10000)
        throw error("no end of names");
    if (get(raw.i_xattr))
        for (const xattr &x :
             parse_xattrs(img.read(get(raw.i_xattr)), raw, S_ISDIR(get(raw.i_mode))).entries)
            what += full_name(x) + "=" + x.value + "\n";
    if (S_ISLNK(get(raw.i_mode)) && size <= RZCFS_INLINE_BYTES)
        what.append(reinterpret_cast<const char *>(raw.i_inline), size);
    walk_tree(img, inode_offset(l, ino), [&](const slot &s) {
        if (s.height)
            return true;
        const block b = img.read(s.target);
        if (S_ISDIR(get(raw.i_mode))) {
            for (const dir_entry &e : parse_dir_block(b).entries)
                look(img, l, e.ino, path + "/" + e.name, out);
        } else if (s.fblk * block_size < size) {
            std::size_t n = std::min<std::size_t>(block_size, size - s.fblk * block_size);

            what += fmt::format("{}:", s.fblk);
            what.append(reinterpret_cast<const char *>(b.data()), n);
        }
        return true;
    });
    out[path] = what;
}

} // namespace

std::map<std::string, std::string> snapshot(const image &img) {
    std::map<std::string, std::string> out;

    look(img, layout_of(img.load<rzcfs_super_block>(0)), RZCFS_ROOT_INO, "", out);
    return out;
}

} // namespace rzcfs
