// SPDX-License-Identifier: GPL-2.0
// mkfs.rzcfs: make an empty rzcfs on a block device or in an image file
#include "format.hpp"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace {

struct arguments {
    std::string path, label, uuid_text;
    rzcfs::layout_options layout;
    std::optional<std::uint64_t> size;
    bool force = false, json = false, quiet = false, dry_run = false;
    std::uint32_t uid = 0, gid = 0;
    std::string mode = "755";
};

void report(const arguments &a, const rzcfs::layout &l, const rzcfs::format_options &o) {
    if (a.json) {
        nlohmann::ordered_json j = {{"path", a.path},
                                    {"label", o.label},
                                    {"uuid", rzcfs::to_string(o.id)},
                                    {"version", RZCFS_VERSION},
                                    {"block_size", rzcfs::block_size},
                                    {"blocks", l.blocks},
                                    {"inodes", l.inodes}};

        for (const rzcfs::named_region &r : regions(l))
            j["regions"][r.name] = {{"start", r.where.start}, {"blocks", r.where.blocks}};
        j["written"] = !a.dry_run;
        fmt::print("{}\n",
                   j.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
        return;
    }
    fmt::print("{}: {} blocks of {} bytes, {} inodes, UUID {}\n", a.path, l.blocks,
               rzcfs::block_size, l.inodes, rzcfs::to_string(o.id));
    for (const rzcfs::named_region &r : regions(l))
        fmt::print("  {:<9}{:>12} blocks at {}\n", r.name, r.where.blocks, r.where.start);
}

void refuse_what_is_there(const arguments &a, const rzcfs::medium &m) {
    if (auto where = m.in_use()) {
        if (!a.force)
            throw rzcfs::error(
                fmt::format("{} is {}, not touched without --force", a.path, *where));
        fmt::print(stderr, "mkfs.rzcfs: {} is {}, going on because of --force\n", a.path, *where);
    }
    if (!a.force && look(m) == rzcfs::contents::other)
        throw rzcfs::error(
            fmt::format("{} holds {}, not overwritten without --force", a.path, foreign_name(m)));
}

void run(const arguments &a) {
    rzcfs::format_options o;
    rzcfs::medium m(a.path, a.dry_run ? rzcfs::medium::access::read : rzcfs::medium::access::write,
                    a.size);

    if (a.size && m.is_device() && *a.size > m.bytes())
        throw rzcfs::error(fmt::format("{} has {} bytes only", a.path, m.bytes()));
    o.label = a.label;
    if (!a.uuid_text.empty()) {
        auto u = rzcfs::parse_uuid(a.uuid_text);

        if (!u)
            throw rzcfs::error(fmt::format("{} is not a UUID", a.uuid_text));
        o.id = *u;
    }
    o.uid = a.uid;
    o.gid = a.gid;
    o.mode = static_cast<std::uint16_t>(std::stoul(a.mode, nullptr, 8));
    rzcfs::random_bytes(o.hash_key.data(), o.hash_key.size());
    rzcfs::random_bytes(&o.root_generation, sizeof(o.root_generation));
    o.time_ns = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                               std::chrono::system_clock::now().time_since_epoch())
                                               .count());

    auto l = rzcfs::plan(a.size.value_or(m.bytes()) / rzcfs::block_size, a.layout);
    refuse_what_is_there(a, m);
    if (!a.dry_run)
        rzcfs::format(m, l, o);
    if (!a.quiet)
        report(a, l, o);
}

} // namespace

int main(int argc, char **argv) {
    CLI::App app{"Make an empty rzcfs on a block device or in an image file."};
    arguments a;

    app.add_option("device", a.path, "block device or image file")->required();
    app.add_option("-L,--label", a.label, "label, up to 64 bytes");
    app.add_option("-U,--uuid", a.uuid_text, "UUID (default: random)");
    app.add_option("-N,--inodes", a.layout.inodes, "number of inodes (default: one per 16 KiB)");
    app.add_option("-J,--journal", a.layout.journal_blocks, "blocks of the journal");
    app.add_option("-P,--pool", a.layout.pool_blocks, "blocks of the landing pool, 0 for none");
    app.add_option("-s,--size", a.size, "size of the file system; an image file is created")
        ->transform(CLI::AsSizeValue(false));
    app.add_option("--uid", a.uid, "owner of the root directory");
    app.add_option("--gid", a.gid, "group of the root directory");
    app.add_option("--mode", a.mode, "permissions of the root directory, octal")
        ->check([](const std::string &s) {
            return !s.empty() && s.size() <= 4 &&
                           s.find_first_not_of("01234567") == std::string::npos
                       ? std::string()
                       : "not an octal number: " + s;
        });
    app.add_flag("-f,--force", a.force, "overwrite whatever is there");
    app.add_flag("-n,--dry-run", a.dry_run, "write nothing");
    app.add_flag("--json", a.json, "report as JSON");
    app.add_flag("-q,--quiet", a.quiet, "report nothing");
    CLI11_PARSE(app, argc, argv);

    try {
        run(a);
    } catch (const std::exception &e) {
        fmt::print(stderr, "mkfs.rzcfs: {}\n", e.what());
        return 1;
    }
    return 0;
}
