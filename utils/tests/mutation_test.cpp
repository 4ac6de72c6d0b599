// SPDX-License-Identifier: GPL-2.0
// Random damage with fixed seeds: fsck ends, with a sound image or a refusal.
#include "check.hpp"
#include "crc.hpp"
#include "sample.hpp"

#include <gtest/gtest.h>
#include <random>

using namespace rzcfs;

namespace {

constexpr unsigned images_per_seed = 100;

class Mutation : public testing::TestWithParam<unsigned> {
  protected:
    static void SetUpTestSuite() {
        dir = std::make_unique<scratch>();
        base = std::make_unique<sample>(*dir / "image");
    }
    static void TearDownTestSuite() {
        base.reset();
        dir.reset();
    }
    static std::unique_ptr<scratch> dir;
    static std::unique_ptr<sample> base;
};

std::unique_ptr<scratch> Mutation::dir;
std::unique_ptr<sample> Mutation::base;

struct mutator {
    std::mt19937_64 random;
    const sample &base;
    image &img;

    std::uint64_t below(std::uint64_t n) { return random() % n; }

    std::uint64_t number() {
        const std::uint64_t interesting[] = {0,
                                             1,
                                             below(320),
                                             base.l.data.start + below(60),
                                             base.l.blocks - 1,
                                             below(200),
                                             1ull << below(64),
                                             ~0ull,
                                             random()};
        return interesting[below(std::size(interesting))];
    }
    void damage(std::uint64_t at, std::uint64_t length) {
        at = at / 8 * 8 + (below(2) ? 0 : below(8));
        switch (below(5)) {
        case 0:
            img.store(at, img.load<std::byte>(at) ^ std::byte(1u << below(8)));
            break;
        case 1:
            img.store(at, static_cast<std::uint8_t>(random()));
            break;
        case 2:
            img.store(at / 8 * 8, number());
            break;
        case 3:
            img.store(at / 4 * 4, static_cast<std::uint32_t>(number()));
            break;
        default:
            for (std::uint64_t i = 0; i < length && at + i < base.l.blocks * block_size; i++)
                img.store(at + i, static_cast<std::uint8_t>(random()));
        }
    }
    void step() {
        std::uint32_t ino = static_cast<std::uint32_t>(1 + below(112));
        std::uint64_t in_inode = inode_offset(base.l, ino);

        switch (below(8)) {
        case 0: // superblock, state, journal, bitmaps, table
            damage(below(base.l.data.start * block_size - 8), below(300));
            break;
        case 1:
            damage(below(base.l.blocks * block_size - 8), below(300));
            break;
        case 2:
        case 3: { // an inode that looks right
            damage(in_inode + below(RZCFS_INODE_SIZE - 8), below(20));
            auto raw = img.load<rzcfs_inode>(in_inode);
            if (below(4))
                seal(raw);
            img.store(in_inode, raw);
            break;
        }
        case 4: { // a state word that looks right
            unsigned i = static_cast<unsigned>(below(RZCFS_STATE_WORDS));
            img.store(state_offset(i), le(state_word(i, number() & RZCFS_STATE_VALUE_MASK)));
            break;
        }
        case 5: { // a block moves, or is there twice
            const block b = img.read(base.l.data.start + below(60));
            img.write(base.l.data.start + below(60), b);
            break;
        }
        case 6: { // a superblock that looks right
            auto sb = img.load<rzcfs_super_block>(0);
            if (below(4))
                break;
            img.store(8 * below(60), number());
            sb = img.load<rzcfs_super_block>(0);
            seal(sb);
            img.store(0, sb);
            break;
        }
        default: // directories, nodes and attributes lie here
            damage((base.l.data.start + below(60)) * block_size + below(block_size - 8), below(64));
        }
    }
};

TEST_P(Mutation, EndsSoundOrRefused) {
    unsigned repaired = 0, refused = 0;

    for (unsigned i = 0; i < images_per_seed; i++) {
        medium m(*dir / "image", medium::access::read);
        image img(m);
        mutator mut{std::mt19937_64(GetParam() * 1000 + i), *base, img};
        check_options o;

        SCOPED_TRACE(i);
        for (std::uint64_t n = 1 + mut.below(6); n; n--)
            mut.step();
        o.force = true;
        try {
            check(img, o);
        } catch (const refusal &e) {
            EXPECT_EQ(std::string(e.what()).find("do not come to an end"), std::string::npos)
                << e.what();
            refused++;
            continue;
        }
        repaired++;
        findings again = check(img, o);
        EXPECT_TRUE(again.problems.empty()) << again.problems[0].text;
        EXPECT_NO_THROW(snapshot(img));
    }
    EXPECT_GT(repaired, images_per_seed / 2) << refused;
}

INSTANTIATE_TEST_SUITE_P(Seeds, Mutation, testing::Range(1u, 21u));

} // namespace
