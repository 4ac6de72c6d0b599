// SPDX-License-Identifier: GPL-2.0
// What fsck.rzcfs does beside repairs: recovery, options, exit codes.
#include "check.hpp"
#include "run.hpp"
#include "sample.hpp"

#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>

using namespace rzcfs;

namespace {

class Fsck : public testing::Test {
  protected:
    std::filesystem::path path() { return dir / "image"; }
    void build(const std::function<void(sample &)> &fn = [](sample &) {}) {
        sample s(path());

        before = snapshot(s.img);
        fn(s);
        s.img.write_back();
    }
    std::map<std::string, std::string> now() {
        medium m(path(), medium::access::read);

        return snapshot(image(m));
    }
    result fsck(const std::string &options) { return ::run(FSCK, options + " " + path().string()); }
    static void in_use(sample &s) {
        s.img.store(state_offset(RZCFS_STATE_FLAGS), le(state_word(RZCFS_STATE_FLAGS, 0)));
    }
    template <class T> T load(std::uint64_t at) {
        medium m(path(), medium::access::read);

        return image(m).load<T>(at);
    }

    scratch dir;
    std::map<std::string, std::string> before;
};

TEST_F(Fsck, FindsNothingInASoundImage) {
    build();
    EXPECT_EQ(fsck("-n -f").status, 0) << fsck("-n -f").output;
    EXPECT_EQ(fsck("-y -f").status, 0);
    EXPECT_EQ(now(), before);
    result r = fsck("-p");
    EXPECT_EQ(r.status, 0);
    EXPECT_NE(r.output.find("clean"), r.output.npos) << r.output;
}

// What a write into preallocated blocks had stored when the power went.
TEST_F(Fsck, DoesNotMindBytesBeyondTheEnd) {
    build([](sample &s) {
        ASSERT_NE(s.block_at(s.tail, 1), 0);
        s.img.store(s.block_at(s.tail, 1) * block_size + 9, std::byte(1));
    });
    result r = fsck("-n -f");
    EXPECT_EQ(r.status, 0) << r.output;
    EXPECT_EQ(now(), before);
}

TEST_F(Fsck, FindsNothingInAnEmptyImage) {
    EXPECT_EQ(::run(MKFS, path().string() + " -q --size 8M").status, 0);
    result r = fsck("-n -f");
    EXPECT_EQ(r.status, 0) << r.output;
}

TEST_F(Fsck, TakesBackAnInterruptedOperation) {
    std::uint64_t at = 0;
    build([&](sample &s) {
        // a name is gone already, its inode is not: both are in the journal
        block journal{};
        std::size_t to = 0;
        auto log = [&](std::uint64_t offset, std::size_t length) {
            rzcfs_undo u{};
            const block b = s.img.read(offset / block_size);
            auto bytes = std::span(b).subspan(offset % block_size, length);

            put(u.u_offset, offset);
            put(u.u_len, length);
            put(u.u_checksum, undo_checksum(1, u, bytes));
            set_object_at(journal, to, u);
            std::memcpy(journal.data() + to + sizeof(u), bytes.data(), length);
            to += sizeof(u) + length;
        };

        in_use(s);
        at = s.entry_at(RZCFS_ROOT_INO, "file");
        log(at, 8);
        log(inode_offset(s.l, s.file), RZCFS_INODE_SIZE);
        s.img.store(at, std::uint32_t(0));
        s.edit(
            s.file, [](rzcfs_inode &r) { r = {}; }, false);
        s.journal(journal);
    });
    EXPECT_NE(now(), before);
    result r = fsck("-n");
    EXPECT_EQ(r.status, 0) << r.output;
    EXPECT_NE(r.output.find("taken back (2 records)"), r.output.npos) << r.output;
    EXPECT_NE(now(), before);
    r = fsck("-p");
    EXPECT_EQ(r.status, 0) << r.output;
    EXPECT_EQ(now(), before);
    EXPECT_EQ(state_value(1, load<std::uint64_t>(state_offset(RZCFS_STATE_JOURNAL_GEN))), 2u);
    EXPECT_EQ(state_value(0, load<std::uint64_t>(state_offset(RZCFS_STATE_FLAGS))),
              std::uint64_t(RZCFS_STATE_CLEAN));
}

TEST_F(Fsck, IgnoresATornRecord) {
    build([&](sample &s) {
        rzcfs_undo u{};
        block b{};

        in_use(s);
        put(u.u_offset, inode_offset(s.l, s.file));
        put(u.u_len, RZCFS_INODE_SIZE);
        put(u.u_checksum, 12345);
        set_object_at(b, 0, u);
        s.journal(b);
    });
    EXPECT_EQ(fsck("-p").status, 0);
    EXPECT_EQ(now(), before);
    // nor is it the start of anything later on
    EXPECT_EQ(state_value(1, load<std::uint64_t>(state_offset(RZCFS_STATE_JOURNAL_GEN))), 2u);
}

// Contents that a user wrote, with everything right but the pad: as he knows it, and as an older
// transaction saved them.
TEST_F(Fsck, IgnoresForgedRecords) {
    for (bool saved : {false, true}) {
        build([&](sample &s) {
            rzcfs_undo u{};
            block b{};

            in_use(s);
            put(u.u_offset, inode_offset(s.l, s.file));
            put(u.u_len, 8);
            put(u.u_checksum, undo_checksum(1, u, std::span(b).subspan(sizeof(u), 8)));
            set_object_at(b, 0, u);
            if (saved)
                s.journal(b, 0);
            else
                s.img.write(s.l.journal.start, b);
        });
        result r = fsck("-p");
        EXPECT_EQ(r.status, 0) << r.output;
        EXPECT_EQ(r.output.find("taken back"), r.output.npos) << r.output;
        EXPECT_EQ(now(), before);
    }
}

// The last blocks of the medium take the place of the first n of a file; what of it reached the
// medium when the power went?
struct swapped {
    sample &s;
    std::uint64_t slot, before, after, n;

    swapped(sample &to, std::uint64_t blocks)
        : s(to), slot(s.slot_at(s.file, 0)), before(s.block_at(s.file, 0)),
          after(s.l.data.end() - blocks), n(blocks) {}
    void record(std::uint64_t seq, std::uint64_t generation = 1) const {
        rzcfs_swap w{};

        put(w.w_gen, generation);
        put(w.w_seq, seq);
        put(w.w_slot, slot);
        put(w.w_old, before);
        put(w.w_new, after);
        put(w.w_n, n);
        put(w.w_checksum, swap_checksum(w));
        s.img.store(s.l.journal.end() * block_size - RZCFS_SWAP_BYTES +
                        seq % RZCFS_SWAPS * RZCFS_SWAP_STRIDE,
                    w);
    }
    void contents() const {
        for (std::uint64_t i = 0; i < n; i++)
            s.img.write(after + i, block(s.img.read(before + i)));
    }
    void pointer(std::uint64_t i) const { s.img.store(slot + i * 8, le(after + i)); }
    void bit(std::uint64_t b, bool used) const {
        std::uint64_t at = s.l.bbitmap.start * block_size + b / 64 * 8;
        auto word = le(s.img.load<std::uint64_t>(at)), mask = std::uint64_t(1) << b % 64;

        s.img.store(at, le(used ? word | mask : word & ~mask));
    }
};

TEST_F(Fsck, LearnsOfBlocksThatWereOverwritten) {
    std::map<std::string, std::string> after;
    build([&](sample &s) {
        swapped w(s, 2);

        in_use(s);
        w.contents();
        w.record(7);
        w.pointer(0); // the other one is as it was
        w.bit(w.after + 1, true);
        after = snapshot(s.img);
    });
    result r = fsck("-n");
    EXPECT_EQ(r.status, 0) << r.output;
    EXPECT_NE(r.output.find("overwritten"), r.output.npos) << r.output;
    r = fsck("-p");
    EXPECT_EQ(r.status, 0) << r.output;
    EXPECT_EQ(now(), after);
    r = fsck("-n -f");
    EXPECT_EQ(r.status, 0) << r.output;
    EXPECT_EQ(r.output.find("overwritten"), r.output.npos) << r.output;
}

TEST_F(Fsck, IgnoresSwapRecordsThatAreVoid) {
    build([&](sample &s) {
        swapped w(s, 1);

        in_use(s);
        w.record(3, 0); // of an older generation
        w.record(2);
        w.bit(w.after, true); // as if it had been allocated since: nobody may free it
        s.img.store(s.l.journal.end() * block_size - RZCFS_SWAP_BYTES + 9, std::byte(1)); // torn
    });
    result r = fsck("-n");
    EXPECT_EQ(r.status, 4) << r.output;
    EXPECT_EQ(r.output.find("overwritten"), r.output.npos) << r.output;
}

TEST_F(Fsck, DropsASwapOfImpossibleBlocks) {
    build([&](sample &s) {
        swapped w(s, 1);

        in_use(s);
        w.after = s.l.journal.start;
        w.record(1);
    });
    result r = fsck("-n");
    EXPECT_EQ(r.status, 4) << r.output;
    EXPECT_NE(r.output.find("swap record"), r.output.npos) << r.output;
    EXPECT_EQ(fsck("-y").status & ~1, 0);
    EXPECT_EQ(fsck("-n -f").status, 0);
}

TEST_F(Fsck, PutsPreStoredBytesBack) {
    build([&](sample &s) {
        rzcfs_prestore p{};
        std::uint64_t to = s.block_at(s.file, 1) * block_size + block_size - 16;

        in_use(s);
        put(p.p_offset, to);
        put(p.p_len, 16);
        for (std::size_t i = 0; i < 16; i++)
            p.p_data[i] = s.img.load<std::uint8_t>(to + i);
        put(p.p_checksum, prestore_checksum(p));
        s.img.store(s.l.prestore.start * block_size + 5 * sizeof(p), p);
        s.img.store(to, block{}[0]);
        s.img.store(to + 8, std::uint64_t(~0ull));
        // not whole: was not in force yet
        put(p.p_offset, 0);
        s.img.store(s.l.prestore.start * block_size + 6 * sizeof(p), p);
    });
    EXPECT_NE(now(), before);
    result r = fsck("-p");
    EXPECT_EQ(r.status, 0) << r.output;
    EXPECT_EQ(now(), before);
    EXPECT_EQ(fsck("-n -f").status, 0);
}

TEST_F(Fsck, FinishesOrphans) {
    std::uint32_t gone = 0, cut = 0;
    build([&](sample &s) {
        in_use(s);
        gone = s.make(0, "", S_IFREG | 0600);
        s.write(gone, 0, std::string(9000, 'x'));
        cut = s.file; // 4 blocks; was cut to 1.5
        s.edit(cut, [](rzcfs_inode &r) { put(r.i_size, 6000); });
        s.orphan(gone);
        s.orphan(cut);
    });
    result r = fsck("-n -f");
    EXPECT_EQ(r.status, 0) << r.output;
    r = fsck("-p");
    // the counts of blocks are what mount would set right, too
    EXPECT_LE(r.status, 1) << r.output;
    EXPECT_EQ(fsck("-n -f").status, 0);
    medium m(path(), medium::access::read);
    image img(m);
    layout l = layout_of(img.load<rzcfs_super_block>(0));
    auto raw = img.load<rzcfs_inode>(inode_offset(l, cut));
    EXPECT_EQ(map_lookup(img, get(raw.i_map), 2), 0u);
    const block last = img.read(map_lookup(img, get(raw.i_map), 1));
    EXPECT_EQ(last[6000 - 4096 - 1] == std::byte(0), false);
    EXPECT_EQ(last[6000 - 4096], std::byte(0));
    const block bits = img.read(l.ibitmap.start);
    EXPECT_EQ((bits[gone / 8] >> gone % 8) & std::byte(1), std::byte(0));
    EXPECT_EQ(get(raw.i_next_orphan), 0u);
}

TEST_F(Fsck, PreenDoesNotLose) {
    build([](sample &s) { s.img.store(s.entry_at(RZCFS_ROOT_INO, "file"), std::uint32_t(0)); });
    auto was = now();
    result r = fsck("-p -f");
    EXPECT_EQ(r.status, 4) << r.output;
    EXPECT_EQ(now(), was);
    r = fsck("-y -f");
    EXPECT_EQ(r.status, 1) << r.output;
    auto after = now();
    EXPECT_EQ(after["/lost+found/#2"], before["/file"]);
}

TEST_F(Fsck, PreenRepairsWhatIsHarmless) {
    build([](sample &s) {
        s.img.store(s.l.bbitmap.start * block_size + 30, std::uint8_t(0xff)); // leaked blocks
    });
    EXPECT_EQ(fsck("-p -f").status, 1);
    EXPECT_EQ(fsck("-n -f").status, 0);
    EXPECT_EQ(now(), before);
}

TEST_F(Fsck, SkipsWhatIsCleanButNotWhatIsDamaged) {
    build([](sample &s) { s.edit(s.file, [](rzcfs_inode &r) { put(r.i_nlink, 5); }); });
    EXPECT_EQ(fsck("-n").status, 0);
    EXPECT_EQ(fsck("-n -f").status, 4);
    build([](sample &s) {
        s.img.store(state_offset(RZCFS_STATE_FLAGS),
                    le(state_word(RZCFS_STATE_FLAGS, std::uint64_t(RZCFS_STATE_ERROR))));
    });
    EXPECT_EQ(fsck("-n").status, 4);
    EXPECT_EQ(fsck("-p").status, 1);
    EXPECT_EQ(fsck("-n").status, 0);
}

TEST_F(Fsck, TakesTheSuperblockItIsTold) {
    build([](sample &s) {
        auto sb = s.img.load<rzcfs_super_block>(0);

        sb.s_hash_key[1] ^= 1;
        seal(sb);
        s.img.store(0, sb);
    });
    EXPECT_EQ(fsck("-n -f").status, 4);
    EXPECT_EQ(fsck("-y -b 77").status, 4);
    result r = fsck("-y -b 319");
    EXPECT_EQ(r.status, 1) << r.output;
    EXPECT_EQ(now(), before);
    EXPECT_EQ(fsck("-n -f").status, 0);
}

TEST_F(Fsck, NeedsSomebodyToAsk) {
    build();
    EXPECT_EQ(fsck("-f").status, 8);
}

TEST_F(Fsck, ExitCodes) {
    EXPECT_EQ(fsck("-n").status, 8); // no such file
    EXPECT_EQ(::run(FSCK, "").status, 16);
    EXPECT_EQ(::run(FSCK, "-n -y x").status, 16);
    EXPECT_EQ(::run(FSCK, "--nonsense x").status, 16);
    EXPECT_EQ(::run(FSCK, "--help").status, 0);
    std::ofstream(path()) << "short";
    EXPECT_EQ(fsck("-n").status, 8);
}

TEST_F(Fsck, CanBeCancelled) {
    build();
    medium m(path(), medium::access::read);
    image img(m);
    check_options o;
    int left = 40;

    o.force = true;
    o.cancel = [&left] { return !left--; };
    EXPECT_THROW(check(img, o), cancelled);
}

TEST_F(Fsck, RefusesWithoutRoomForRepairs) {
    build([](sample &s) {
        std::uint64_t n = s.l.data.end() - s.allocate(s.other) - 1;

        // one claimed twice, and not one free
        s.write(s.make(RZCFS_ROOT_INO, "all", S_IFREG), 0, std::string((n - 1) * block_size, 'x'));
        s.img.store(s.slot_at(s.other, 1), s.img.load<std::uint64_t>(s.slot_at(s.file, 1)));
        s.img.store(s.slot_at(s.other, 2), s.img.load<std::uint64_t>(s.slot_at(s.file, 1)));
        s.img.store(s.slot_at(s.other, 3), s.img.load<std::uint64_t>(s.slot_at(s.file, 1)));
    });
    // those three blocks that are free now are enough
    result r = fsck("-y -f");
    EXPECT_EQ(r.status, 1) << r.output;
    EXPECT_EQ(fsck("-n -f").status, 0);
}

TEST_F(Fsck, RefusesWithoutAFreeBlock) {
    build([](sample &s) {
        std::uint64_t first = s.allocate(s.other);
        std::uint32_t all = s.make(RZCFS_ROOT_INO, "all", S_IFREG);
        std::uint64_t n = s.l.data.end() - first - 1;

        s.write(all, 0, std::string((n - 1) * block_size, 'x'));
        // the last block, which nobody has, stands for one more copy
        s.img.store(s.slot_at(all, 0), s.img.load<std::uint64_t>(s.slot_at(s.file, 1)));
        s.img.store(s.slot_at(all, 1), s.img.load<std::uint64_t>(s.slot_at(s.file, 1)));
        s.img.store(s.slot_at(all, 2), first);
    });
    result r = fsck("-y -f");
    EXPECT_EQ(r.status == 1 || r.status == 4, true) << r.output;
    if (r.status == 1) {
        EXPECT_EQ(fsck("-n -f").status, 0);
    }
}

} // namespace
