// SPDX-License-Identifier: GPL-2.0
// fsck.rzcfs: check and repair an rzcfs
#include "check.hpp"

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fmt/format.h>
#include <iostream>
#include <unistd.h>

namespace {

// as in fsck(8)
enum status {
    all_good = 0,
    corrected = 1,
    left_uncorrected = 4,
    operational_error = 8,
    usage_error = 16,
    by_request = 32,
};

struct arguments {
    std::string path;
    bool no = false, yes = false, preen = false, force = false, verbose = false;
    std::optional<std::uint64_t> super_at;
};

constexpr std::size_t shown_at_once = 50;

volatile std::sig_atomic_t interrupted;

void interrupt(int) { interrupted = 1; }

void report(const arguments &a, const rzcfs::findings &f) {
    std::size_t shown = a.verbose ? f.problems.size() : std::min(f.problems.size(), shown_at_once);

    for (const std::string &n : f.notes)
        fmt::print("{}: {}\n", a.path, n);
    for (std::size_t i = 0; i < shown; i++)
        fmt::print("{}: {}\n", a.path, f.problems[i].text);
    if (shown < f.problems.size())
        fmt::print("{}: and {} more (-v shows them)\n", a.path, f.problems.size() - shown);
}

bool may_write(const arguments &a, const rzcfs::findings &f) {
    if (a.yes)
        return true;
    if (a.preen) {
        if (!f.loss())
            return true;
        fmt::print("{}: some of this cannot be repaired without a loss: run fsck.rzcfs by hand\n",
                   a.path);
        return false;
    }
    fmt::print("{}: repair all of this? (y/n) ", a.path);
    std::fflush(stdout);
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "yes";
}

bool recovered; // what a power cut interrupted was taken back, as mount would have done

const char *unchanged() {
    return recovered ? "nothing was changed, but that the journal was replayed"
                     : "nothing was changed";
}

// The image has the repairs in it already; this makes them last.
void make_good(rzcfs::medium &m, rzcfs::image &img) {
    std::uint64_t word =
        rzcfs::le(rzcfs::state_word(RZCFS_STATE_FLAGS, std::uint64_t(RZCFS_STATE_ERROR)));

    // an interrupted run must not leave one that looks clean
    img.touch(0);
    m.write(rzcfs::state_offset(RZCFS_STATE_FLAGS), std::as_bytes(std::span(&word, 1)));
    m.sync();
    img.write_back();
}

status run(const arguments &a) {
    rzcfs::medium m(a.path, a.no ? rzcfs::medium::access::read : rzcfs::medium::access::write);
    rzcfs::check_options o;

    if (auto where = m.in_use()) {
        if (!a.no)
            throw rzcfs::error(fmt::format("{} is {}: not touched", a.path, *where));
        fmt::print("{}: is {}: what is found may be in the making\n", a.path, *where);
    }
    if (!a.no && !a.yes && !a.preen && !isatty(STDIN_FILENO))
        throw rzcfs::error("there is nobody to ask: use -n, -p or -y");
    rzcfs::image img(m);
    o.super_at = a.super_at;
    o.force = a.force || a.super_at;
    o.cancel = [] { return interrupted != 0; };
    if (!a.no)
        o.recovered = [&img] {
            img.write_back();
            recovered = true;
        };
    o.now_ns = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                              std::chrono::system_clock::now().time_since_epoch())
                                              .count());
    rzcfs::findings f = check(img, o);

    report(a, f);
    if (f.skipped) {
        fmt::print("{}: clean (-f looks nevertheless)\n", a.path);
        return all_good;
    }
    fmt::print("{}: {}/{} inodes, {}/{} blocks, {}\n", a.path, f.used_inodes, f.inodes,
               f.used_blocks, f.blocks,
               f.problems.empty() ? std::string("no problems")
                                  : fmt::format("{} problems", f.problems.size()));
    if (a.no)
        return f.problems.empty() ? all_good : left_uncorrected;
    if (f.problems.empty()) {
        img.write_back(); // what mount would have done
        return all_good;
    }
    if (!may_write(a, f)) {
        fmt::print("{}: {}\n", a.path, unchanged());
        return left_uncorrected;
    }
    make_good(m, img);
    fmt::print("{}: repaired\n", a.path);
    return corrected;
}

} // namespace

int main(int argc, char **argv) {
    CLI::App app{"Check an rzcfs, and repair it."};
    arguments a;

    app.add_option("device", a.path, "block device or image file")->required();
    auto *n = app.add_flag("-n", a.no, "change nothing");
    auto *y = app.add_flag("-y", a.yes, "repair without asking")->excludes(n);
    app.add_flag("-p,-a", a.preen, "repair without asking what can be without a loss")
        ->excludes(n)
        ->excludes(y);
    app.add_flag("-f,--force", a.force, "look even if it was unmounted in order");
    app.add_flag("-v,--verbose", a.verbose, "show all that is found");
    app.add_option("-b,--superblock", a.super_at, "take the superblock in this block");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError &e) {
        return app.exit(e) ? usage_error : all_good;
    }
    struct sigaction action {};
    action.sa_handler = interrupt;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);

    try {
        return run(a);
    } catch (const rzcfs::cancelled &) {
        fmt::print("{}: interrupted, {}\n", a.path, unchanged());
        return by_request;
    } catch (const rzcfs::refusal &e) {
        fmt::print("{}: {}\n{}: not repaired, {}\n", a.path, e.what(), a.path, unchanged());
        return left_uncorrected;
    } catch (const std::exception &e) {
        fmt::print(stderr, "fsck.rzcfs: {}\n", e.what());
        return operational_error;
    }
}
