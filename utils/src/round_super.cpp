// SPDX-License-Identifier: GPL-2.0
// Superblock, state, journal, pre-store records, list of orphans.
#include "round.hpp"

#include <algorithm>
#include <bit>
#include <sys/stat.h>

namespace rzcfs {

namespace {

bool same(const rzcfs_super_block &a, const rzcfs_super_block &b) {
    return !std::memcmp(&a, &b, sizeof(a));
}

// What an older or newer superblock of the same file system may differ in.
bool same_but_names(rzcfs_super_block a, const rzcfs_super_block &b) {
    a.s_feature_compat = b.s_feature_compat;
    std::copy(std::begin(b.s_uuid), std::end(b.s_uuid), a.s_uuid);
    std::copy(std::begin(b.s_label), std::end(b.s_label), a.s_label);
    a.s_mkfs_time = b.s_mkfs_time;
    std::copy(std::begin(b.s_reserved), std::end(b.s_reserved), a.s_reserved);
    a.s_checksum = b.s_checksum;
    return same(a, b);
}

// The value of a damaged word, if all but one of its bits are right.
std::optional<std::uint64_t> correct_word(unsigned index, std::uint64_t word) {
    std::optional<std::uint64_t> found;

    for (unsigned bit = 0; bit < 64; bit++) {
        if (auto value = state_value(index, word ^ 1ull << bit)) {
            if (found)
                return std::nullopt;
            found = value;
        }
    }
    return found;
}

const char *const state_names[] = {"flags", "generation of the journal", "list of orphans",
                                   "number of mounts", "time of the last mount"};

} // namespace

void check_round::find_super() {
    auto primary = img_.load<rzcfs_super_block>(0);
    super_verdict found = judge(primary, img_.blocks());
    std::vector<std::uint64_t> places;

    if (options_.super_at) {
        places = {*options_.super_at};
    } else {
        if (found.state == super_state::good) {
            super_ = primary;
            return;
        }
        if (found.state == super_state::unknown)
            throw refusal("the superblock " + found.what);
        places = {get(primary.s_block_count) - 1, img_.blocks() - 1};
    }
    for (std::uint64_t at : places) {
        if (at >= img_.blocks())
            continue;
        super_ = img_.load<rzcfs_super_block>(at * block_size);
        if (judge(super_, img_.blocks()).state != super_state::good ||
            (at && get(super_.s_block_count) - 1 != at))
            continue;
        if (same(primary, super_))
            return;
        if (found.state == super_state::foreign && !options_.super_at) {
            // a leftover copy at the end of something else?
            auto head = object_at<rzcfs_super_block>(img_.read(0), 0);
            unsigned whole = 0;

            for (unsigned i = 0; i < RZCFS_STATE_WORDS; i++)
                whole += state_value(i, le(img_.load<std::uint64_t>(state_offset(i)))).has_value();
            if (whole < RZCFS_STATE_WORDS / 2 && !same(head, rzcfs_super_block{}))
                throw refusal(fmt::format("block 0 holds something else; there is a superblock in "
                                          "block {}, which -b {} would put there",
                                          at, at));
        }
        loss("the superblock {}; that of block {} is put in its place",
             found.what.empty() ? "is another one" : found.what, at);
        img_.store(0, super_);
        return;
    }
    if (options_.super_at)
        throw refusal(fmt::format("block {} holds no superblock", *options_.super_at));
    throw refusal(fmt::format("the superblock {}, and no copy of it was found", found.what));
}

void check_round::check_copy() {
    std::uint64_t at = layout_.blocks - 1;
    auto copy = img_.load<rzcfs_super_block>(at * block_size);

    if (same(copy, super_))
        return;
    super_verdict found = judge(copy, img_.blocks());
    if (!options_.super_at) {
        if (found.state == super_state::unknown)
            throw refusal("the copy of the superblock " + found.what +
                          " (-b 0 would overwrite it)");
        if (found.state == super_state::good && !same_but_names(copy, super_))
            throw refusal(fmt::format("superblock and copy are both whole but describe different "
                                      "file systems; -b 0 or -b {} takes one of them",
                                      at));
    }
    problem("the copy of the superblock {}", found.what.empty() ? "is another one" : found.what);
    img_.store(at * block_size, super_);
}

std::uint64_t check_round::get_state(unsigned index) const {
    return state_value(index, le(img_.load<std::uint64_t>(state_offset(index)))).value_or(0);
}

void check_round::set_state(unsigned index, std::uint64_t value) {
    img_.store(state_offset(index), le(state_word(index, value)));
}

void check_round::drop_journal(const char *why) {
    loss("{}: the journal is dropped, what an interrupted operation left is checked below", why);
    for (std::uint64_t b = layout_.journal.start; b < layout_.journal.end(); b++)
        img_.write(b, block{});
}

void check_round::check_state() {
    bool lost_generation = false, lost_flags = false;

    for (unsigned i = 0; i < RZCFS_STATE_WORDS; i++) {
        auto word = le(img_.load<std::uint64_t>(state_offset(i)));
        std::string name = i < std::size(state_names) ? state_names[i] : fmt::format("word {}", i);

        if (state_value(i, word))
            continue;
        if (auto value = correct_word(i, word)) {
            problem("state: {}: one bit is wrong", name);
            set_state(i, *value);
            continue;
        }
        lost_flags |= i == RZCFS_STATE_FLAGS;
        lost_generation |= i == RZCFS_STATE_JOURNAL_GEN;
        problem("state: {}: damaged", name);
        set_state(i, i == RZCFS_STATE_JOURNAL_GEN ? 1 : 0);
    }
    if (lost_generation)
        drop_journal("the generation of the journal is lost");
    std::uint64_t flags = get_state(RZCFS_STATE_FLAGS);
    if (flags & RZCFS_STATE_ERROR)
        problem("the kernel has seen damage");
    else if (flags & ~RZCFS_STATE_CLEAN)
        problem("state: unknown flags {:#x}", flags);
    else if (!flags && !lost_flags)
        note("was not unmounted in order");
}

bool check_round::replay_journal() {
    std::uint64_t start = layout_.journal.start * block_size;
    std::uint64_t bytes = layout_.journal.blocks * block_size - RZCFS_SWAP_BYTES;
    std::uint64_t generation = get_state(RZCFS_STATE_JOURNAL_GEN);
    std::vector<std::byte> journal(layout_.journal.blocks * block_size);
    std::vector<std::uint64_t> records;

    for (std::uint64_t b = 0; b < layout_.journal.blocks; b++) {
        const block &from = img_.read(layout_.journal.start + b);
        std::copy(from.begin(), from.end(), journal.begin() + std::ptrdiff_t(b * block_size));
    }
    apply_pad(journal, key_, generation);
    auto head_at = [&journal](std::uint64_t at) {
        rzcfs_undo u;

        std::memcpy(&u, journal.data() + at, sizeof(u));
        return u;
    };
    for (std::uint64_t at = 0; bytes - at >= sizeof(rzcfs_undo);) {
        rzcfs_undo u = head_at(at);
        std::uint64_t to = get(u.u_offset), length = get(u.u_len);

        if (!length || length % 8 || length > block_size || length > bytes - at - sizeof(u) ||
            undo_checksum(generation, u, std::span(journal).subspan(at + sizeof(u), length)) !=
                get(u.u_checksum))
            break;
        if (to % 8 || to >= layout_.blocks * block_size || to % block_size + length > block_size ||
            (to < start + journal.size() && to + length > start) || to < RZCFS_STATE_OFFSET) {
            drop_journal("the journal holds bytes for an impossible place");
            set_state(RZCFS_STATE_JOURNAL_GEN, generation + 1);
            return false;
        }
        records.push_back(at);
        at += sizeof(u) + length;
    }
    for (auto it = records.rbegin(); it != records.rend(); ++it) {
        rzcfs_undo u = head_at(*it);
        std::uint64_t to = get(u.u_offset);
        block b = img_.read(to / block_size);

        std::memcpy(b.data() + to % block_size, journal.data() + *it + sizeof(u), get(u.u_len));
        img_.write(to / block_size, b);
    }
    bool redone = redo_swaps(generation);

    if (!records.empty())
        note("an interrupted operation was taken back ({} records)", records.size());
    // without the first record, others may nevertheless be there
    if (!records.empty() || !(get_state(RZCFS_STATE_FLAGS) & RZCFS_STATE_CLEAN))
        set_state(RZCFS_STATE_JOURNAL_GEN, generation + 1);
    return !records.empty() || redone;
}

// One bit of the bitmap of blocks; was it another?
bool check_round::put_block_bit(std::uint64_t b, bool used) {
    std::uint64_t at = layout_.bbitmap.start * block_size + b / 64 * 8;
    auto word = le(img_.load<std::uint64_t>(at)), bit = std::uint64_t(1) << b % 64;

    if (!!(word & bit) == used)
        return false;
    img_.store(at, le(word ^ bit));
    return true;
}

// Blocks that were overwritten: the pointers know which ones a file has, the bitmap may not.
bool check_round::redo_swaps(std::uint64_t generation) {
    std::uint64_t area = layout_.journal.end() * block_size - RZCFS_SWAP_BYTES;
    std::vector<rzcfs_swap> swaps;
    bool any = false;

    if (get_state(RZCFS_STATE_FLAGS) & RZCFS_STATE_CLEAN)
        return false;
    for (unsigned i = 0; i < RZCFS_SWAPS; i++) {
        auto w = img_.load<rzcfs_swap>(area + i * RZCFS_SWAP_STRIDE);

        if (get(w.w_gen) == generation && get(w.w_seq) % RZCFS_SWAPS == i &&
            swap_checksum(w) == get(w.w_checksum))
            swaps.push_back(w);
    }
    std::sort(swaps.begin(), swaps.end(),
              [](const rzcfs_swap &a, const rzcfs_swap &b) { return get(a.w_seq) < get(b.w_seq); });
    for (const rzcfs_swap &w : swaps) {
        std::uint64_t slot = get(w.w_slot), before = get(w.w_old), after = get(w.w_new);
        std::uint64_t n = get(w.w_n);
        auto data = [&](std::uint64_t b) {
            return layout_.data.has(b) && n <= layout_.data.end() - b;
        };

        if (!n || n > RZCFS_MAP_FANOUT || slot % 8 || slot % block_size + n * 8 > block_size ||
            !layout_.data.has(slot / block_size) || !data(before) || !data(after) ||
            (before < after + n && after < before + n)) {
            loss("a swap record names impossible blocks: dropped");
            img_.store(area + get(w.w_seq) % RZCFS_SWAPS * RZCFS_SWAP_STRIDE, rzcfs_swap{});
            continue;
        }
        for (std::uint64_t i = 0; i < n; i++) {
            auto now = le(img_.load<std::uint64_t>(slot + i * 8));

            if (now != before + i && now != after + i)
                continue;
            any |= put_block_bit(before + i, now == before + i);
            any |= put_block_bit(after + i, now == after + i);
        }
    }
    if (any)
        note("the bitmap did not know yet of blocks that were overwritten");
    return any;
}

bool check_round::restore_prestore() {
    bool any = false;

    for (std::uint64_t at = layout_.prestore.start * block_size;
         at < layout_.prestore.end() * block_size; at += sizeof(rzcfs_prestore)) {
        auto p = img_.load<rzcfs_prestore>(at);
        std::uint64_t to = get(p.p_offset), length = get(p.p_len);

        if (!length)
            continue;
        // one that is not whole was not yet in force when the power went
        if (prestore_checksum(p) == get(p.p_checksum)) {
            if (length > RZCFS_PRESTORE_BYTES || length % 8 || to % 8 ||
                !layout_.data.has(to / block_size) || to % block_size + length > block_size) {
                loss("a pre-store record holds bytes for an impossible place: dropped");
            } else {
                block b = img_.read(to / block_size);

                std::memcpy(b.data() + to % block_size, p.p_data, length);
                img_.write(to / block_size, b);
                note("{} bytes of block {} were put back (pre-store record)", length,
                     to / block_size);
            }
        }
        put(p.p_len, 0);
        img_.store(at, p);
        any = true;
    }
    return any;
}

bool check_round::open() {
    find_super();
    layout_ = layout_of(super_);
    key_ = key_of(super_);
    check_copy();
    check_state();
    if (!options_.force && out_.problems.empty() &&
        get_state(RZCFS_STATE_FLAGS) == RZCFS_STATE_CLEAN)
        return false;
    bool recovered = replay_journal();
    recovered |= restore_prestore();
    if (recovered && out_.problems.empty())
        options_.recovered();
    return true;
}

void check_round::load_orphans() {
    std::uint64_t ino = get_state(RZCFS_STATE_ORPHANS);
    std::size_t count = 0;

    for (first_orphan_ = ino; ino; count++) {
        if (ino >= layout_.inodes || info_[ino].orphan || !was_used_[ino]) {
            problem("the list of orphans is damaged: it names inode {}", ino);
            break;
        }
        info_[ino].orphan = true;
        ino = get(load_inode(static_cast<std::uint32_t>(ino)).i_next_orphan);
    }
    if (count)
        note("{} inodes were left for mount to finish", count);
}

void check_round::finish_state() {
    if (first_orphan_)
        set_state(RZCFS_STATE_ORPHANS, 0);
    if (get_state(RZCFS_STATE_FLAGS) != RZCFS_STATE_CLEAN)
        set_state(RZCFS_STATE_FLAGS, RZCFS_STATE_CLEAN);
}

} // namespace rzcfs
