// SPDX-License-Identifier: GPL-2.0
// dumpfs.rzcfs: show what is on an rzcfs, as text or as JSON
#include "dirblock.hpp"
#include "image.hpp"
#include "structures.hpp"
#include "uuid.hpp"
#include "xattr.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

namespace {

using json = nlohmann::ordered_json;
using namespace rzcfs;

struct arguments {
    std::string path;
    bool as_json = false, inodes = false, usage = false;
    std::vector<std::uint64_t> inode;
    std::vector<std::string> file;
    std::uint64_t super_at = 0;
};

// Everything is shown as it is; what is wrong with it is said beside it.
class dumper {
  public:
    dumper(const image &img, std::uint64_t super_at)
        : img_(img), super_(img.load<rzcfs_super_block>(super_at * block_size)),
          layout_(layout_of(super_)), key_(key_of(super_)) {
        super_verdict v = judge(super_, img.blocks());

        if (v.state != super_state::good)
            throw error(fmt::format("the superblock in block {} {}", super_at, v.what));
    }

    json super() const {
        json j = {{"label", label_of(super_)},
                  {"uuid", to_string(uuid(std::to_array(super_.s_uuid)))},
                  {"version", get(super_.s_version)},
                  {"block_size", get(super_.s_block_size)},
                  {"blocks", layout_.blocks},
                  {"inodes", layout_.inodes},
                  {"feature_compat", get(super_.s_feature_compat)},
                  {"feature_incompat", get(super_.s_feature_incompat)},
                  {"feature_ro_compat", get(super_.s_feature_ro_compat)},
                  {"mkfs_time", get(super_.s_mkfs_time)},
                  {"regions", json::object()}};

        for (const named_region &r : regions(layout_))
            j["regions"][r.name] = {{"start", r.where.start}, {"blocks", r.where.blocks}};
        auto copy = img_.load<rzcfs_super_block>((layout_.blocks - 1) * block_size);
        j["copy"] = !std::memcmp(&copy, &super_, sizeof(copy)) ? "same" : "different";
        return j;
    }

    json state() const {
        static const char *const names[] = {"flags", "journal_generation", "first_orphan", "mounts",
                                            "mount_time"};
        json j;

        for (unsigned i = 0; i < std::size(names); i++) {
            auto value = state_value(i, le(img_.load<std::uint64_t>(state_offset(i))));

            j[names[i]] = value ? json(*value) : json("damaged");
        }
        std::uint64_t flags =
            state_value(RZCFS_STATE_FLAGS, le(img_.load<std::uint64_t>(RZCFS_STATE_OFFSET)))
                .value_or(0);
        j["clean"] = (flags & RZCFS_STATE_CLEAN) != 0;
        j["error"] = (flags & RZCFS_STATE_ERROR) != 0;
        return j;
    }

    json usage() const {
        std::uint64_t used_inodes = count(layout_.ibitmap, 1, layout_.inodes);
        std::uint64_t used = count(layout_.bbitmap, layout_.data.start, layout_.data.end());
        json runs = json::array();

        for (std::uint64_t at = layout_.data.start; at < layout_.data.end();) {
            std::uint64_t from = at;
            bool is = bit(layout_.bbitmap, at);

            while (at < layout_.data.end() && bit(layout_.bbitmap, at) == is)
                at++;
            if (is)
                runs.push_back({{"start", from}, {"blocks", at - from}});
        }
        return {{"data_blocks", layout_.data.blocks},
                {"used_blocks", used},
                {"free_blocks", layout_.data.blocks - used},
                {"used_inodes", used_inodes},
                {"free_inodes", layout_.inodes - 1 - used_inodes},
                {"used_runs", runs}};
    }

    json inode(std::uint64_t ino) const {
        if (!ino || ino >= layout_.inodes)
            throw error(fmt::format("there is no inode {}", ino));
        auto raw = img_.load<rzcfs_inode>(inode_offset(layout_, ino));
        unsigned mode = get(raw.i_mode);
        const char *fault = inode_fault(layout_, raw, ino);
        json j = {{"inode", ino},
                  {"in_use", bit(layout_.ibitmap, ino)},
                  {"type", type_name(mode)},
                  {"mode", fmt::format("{:o}", mode)},
                  {"uid", get(raw.i_uid)},
                  {"gid", get(raw.i_gid)},
                  {"links", get(raw.i_nlink)},
                  {"size", get(raw.i_size)},
                  {"blocks", get(raw.i_blocks)},
                  {"flags", get(raw.i_flags)},
                  {"generation", get(raw.i_generation)},
                  {"version", get(raw.i_version)},
                  {"atime_ns", static_cast<std::int64_t>(get(raw.i_atime))},
                  {"mtime_ns", static_cast<std::int64_t>(get(raw.i_mtime))},
                  {"ctime_ns", static_cast<std::int64_t>(get(raw.i_ctime))},
                  {"btime_ns", static_cast<std::int64_t>(get(raw.i_btime))}};

        if (!sealed(raw))
            j["fault"] = "bad checksum";
        else if (fault)
            j["fault"] = fault;
        if (S_ISCHR(mode) || S_ISBLK(mode))
            j["rdev"] = get(raw.i_rdev);
        if (get(raw.i_next_orphan))
            j["next_orphan"] = get(raw.i_next_orphan);
        if (get(raw.i_map)) {
            j["map_block"] = map_block(get(raw.i_map));
            j["map_height"] = map_height(get(raw.i_map));
            j["extents"] = extents(ino);
        }
        if (S_ISLNK(mode))
            j["target"] = target(raw);
        if (get(raw.i_xattr))
            j["xattrs"] = xattrs(raw);
        if (S_ISDIR(mode)) {
            j["parent"] = get(raw.i_parent);
            j["levels"] = raw.i_dir_depth;
            j["entries"] = entries(ino);
        }
        return j;
    }

    json inodes() const {
        json all = json::array();

        for (std::uint64_t ino = RZCFS_ROOT_INO; ino < layout_.inodes; ino++)
            if (bit(layout_.ibitmap, ino))
                all.push_back(inode(ino));
        return all;
    }

    // as from the root of the file system; links are not followed
    std::uint64_t find(const std::string &path) const {
        std::uint64_t at = RZCFS_ROOT_INO;

        for (std::size_t from = 0; from < path.size();) {
            std::size_t end = std::min(path.find('/', from), path.size());
            std::string name = path.substr(from, end - from);
            std::uint64_t next = name.empty() ? at : 0;

            from = end + 1;
            if (!name.empty() && at < layout_.inodes)
                for_each_dir_block(at, [&](std::uint64_t, const dir_block &b) {
                    for (const dir_entry &e : b.entries)
                        if (e.name == name)
                            next = e.ino;
                });
            if (!next)
                throw error(fmt::format("there is no {}", path));
            at = next;
        }
        return at;
    }

  private:
    bool bit(const region &r, std::uint64_t n) const {
        const block &b = img_.read(r.start + n / RZCFS_BITS_PER_BLOCK);

        return (std::to_integer<unsigned>(b[n % RZCFS_BITS_PER_BLOCK / 8]) >> n % 8) & 1;
    }

    std::uint64_t count(const region &r, std::uint64_t from, std::uint64_t to) const {
        std::uint64_t n = 0;

        for (; from < to; from++)
            n += bit(r, from);
        return n;
    }

    // A damaged map may have loops: no block is visited twice.
    void walk(std::uint64_t ino, const slot_visitor &fn) const {
        std::vector<bool> seen(layout_.data.blocks);

        walk_tree(img_, inode_offset(layout_, ino), [&](const slot &s) {
            if (!layout_.data.has(s.target) || seen[s.target - layout_.data.start])
                return false;
            seen[s.target - layout_.data.start] = true;
            return fn(s);
        });
    }

    void for_each_dir_block(std::uint64_t ino,
                            const std::function<void(std::uint64_t, const dir_block &)> &fn) const {
        if (!S_ISDIR(get(img_.load<rzcfs_inode>(inode_offset(layout_, ino)).i_mode)))
            return;
        walk(ino, [&](const slot &s) {
            if (!s.height)
                fn(s.fblk, parse_dir_block(img_.read(s.target)));
            return true;
        });
    }

    json extents(std::uint64_t ino) const {
        std::vector<std::array<std::uint64_t, 3>> runs; // of the file, of the medium, length
        json j = json::array();

        walk(ino, [&](const slot &s) {
            if (s.height)
                return true;
            if (!runs.empty() && runs.back()[0] + runs.back()[2] == s.fblk &&
                runs.back()[1] + runs.back()[2] == s.target)
                runs.back()[2]++;
            else
                runs.push_back({s.fblk, s.target, 1});
            return true;
        });
        for (const auto &r : runs)
            j.push_back({{"file_block", r[0]}, {"block", r[1]}, {"blocks", r[2]}});
        return j;
    }

    json entries(std::uint64_t ino) const {
        json j = json::array();

        for_each_dir_block(ino, [&](std::uint64_t fblk, const dir_block &b) {
            for (const dir_entry &e : b.entries) {
                json entry = {{"name", e.name},
                              {"inode", e.ino},
                              {"type", e.type},
                              {"hash", e.hash},
                              {"block", fblk}};
                if (e.hash != name_hash(key_, e.name) || !in_its_bucket(e.hash, fblk, e.offset))
                    entry["fault"] = "cannot be looked up";
                j.push_back(entry);
            }
            if (b.broken)
                j.push_back({{"block", fblk}, {"fault", "broken"}});
        });
        return j;
    }

    json target(const rzcfs_inode &raw) const {
        std::uint64_t size = get(raw.i_size);

        if (size <= RZCFS_INLINE_BYTES)
            return std::string(reinterpret_cast<const char *>(raw.i_inline), size);
        std::uint64_t at = map_block(get(raw.i_map));
        if (size >= block_size || map_height(get(raw.i_map)) || !layout_.data.has(at))
            return nullptr;
        const block &b = img_.read(at);
        return std::string(reinterpret_cast<const char *>(b.data()), size);
    }

    json xattrs(const rzcfs_inode &raw) const {
        std::uint64_t at = get(raw.i_xattr);
        json j = {{"block", at}, {"attributes", json::array()}};

        if (!layout_.data.has(at)) {
            j["fault"] = "no block of data";
            return j;
        }
        xattr_block b = parse_xattrs(img_.read(at), raw, S_ISDIR(get(raw.i_mode)));
        if (b.fault)
            j["fault"] = b.fault;
        for (const xattr &x : b.entries)
            j["attributes"].push_back({{"name", full_name(x)}, {"value", x.value}});
        return j;
    }

    const image &img_;
    rzcfs_super_block super_;
    layout layout_;
    hash_key key_;
};

std::string scalar(const json &j) {
    return j.is_string() ? printable(j.get<std::string>()) : j.dump();
}

bool flat(const json &j) {
    for (const json &v : j)
        if (v.is_structured())
            return false;
    return true;
}

// The same as the JSON, for people: objects of plain values in one line each.
void print(const json &j, int indent) {
    for (const auto &[key, value] : j.items()) {
        std::string margin(static_cast<std::size_t>(indent), ' ');
        std::string head = j.is_array() ? margin : margin + key + ":";

        if (!value.is_structured()) {
            fmt::print("{:<24} {}\n", head, scalar(value));
        } else if (flat(value) && value.is_object() && (j.is_array() || value.size() <= 2)) {
            std::string line;
            for (const auto &[k, v] : value.items())
                line += fmt::format("{}{} {}", line.empty() ? "" : ", ", k, scalar(v));
            fmt::print("{:<24} {}\n", head, line);
        } else {
            fmt::print("{}\n", head);
            print(value, indent + 2);
        }
    }
}

void run(const arguments &a) {
    medium m(a.path, medium::access::read);
    image img(m);
    dumper d(img, a.super_at);
    json j = {{"super", d.super()}, {"state", d.state()}};

    if (a.usage)
        j["usage"] = d.usage();
    if (a.inodes)
        j["inodes"] = d.inodes();
    else if (!a.inode.empty() || !a.file.empty())
        j["inodes"] = json::array();
    for (std::uint64_t ino : a.inode)
        j["inodes"].push_back(d.inode(ino));
    for (const std::string &path : a.file) {
        json one = d.inode(d.find(path));

        one["path"] = path;
        j["inodes"].push_back(one);
    }
    if (a.as_json)
        fmt::print("{}\n", j.dump(2, ' ', false, json::error_handler_t::replace));
    else
        print(j, 0);
}

} // namespace

int main(int argc, char **argv) {
    CLI::App app{"Show what is on an rzcfs."};
    arguments a;

    app.add_option("device", a.path, "block device or image file")->required();
    app.add_flag("--json", a.as_json, "as JSON");
    app.add_option("-i,--inode", a.inode, "show this inode; may be repeated")
        ->allow_extra_args(false);
    app.add_option("-d,--path", a.file, "show what lies at this path; may be repeated")
        ->allow_extra_args(false);
    app.add_flag("-a,--all", a.inodes, "show all inodes in use");
    app.add_flag("-u,--usage", a.usage, "show which blocks are in use");
    app.add_option("-b,--superblock", a.super_at, "take the superblock in this block");
    CLI11_PARSE(app, argc, argv);

    try {
        run(a);
    } catch (const std::exception &e) {
        fmt::print(stderr, "dumpfs.rzcfs: {}\n", e.what());
        return 1;
    }
    return 0;
}
