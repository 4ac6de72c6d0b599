// SPDX-License-Identifier: GPL-2.0
#include "flood.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <unistd.h>

namespace wire {

static Frame frame_of(size_t length, uint16_t type, uint8_t tag = 0) {
    Frame frame(length, tag);
    frame[0] = 0x02;
    frame[12] = type >> 8;
    frame[13] = type;
    return frame;
}

struct Sent {
    std::vector<Frame> frames;
    Impairment::Send sender() {
        return [this](Frame f) { frames.push_back(std::move(f)); };
    }
};

TEST(Deframer, GivesFramesWhateverTheChunks) {
    std::vector<uint8_t> bytes;
    std::vector<Frame> frames;
    for (size_t n : {60, 1514, 61, 0, 300}) {
        frames.push_back(Frame(n, n));
        const auto more = enframe(frames.back());
        bytes.insert(bytes.end(), more.begin(), more.end());
    }
    for (size_t chunk : {1, 3, 7, 64, 5000}) {
        Deframer deframer;
        std::vector<Frame> got;
        for (size_t i = 0; i < bytes.size(); i += chunk) {
            deframer.feed(&bytes[i], std::min(chunk, bytes.size() - i));
            while (auto f = deframer.next())
                got.push_back(*f);
        }
        EXPECT_EQ(got, frames) << "in chunks of " << chunk;
    }
}

TEST(Deframer, EndsAtAnImpossibleLength) {
    Deframer deframer;
    const uint8_t bytes[] = {0xff, 0, 0, 0, 1, 2, 3};
    deframer.feed(bytes, sizeof(bytes));
    EXPECT_FALSE(deframer.next());
    EXPECT_TRUE(deframer.broken());
}

TEST(Frames, TypesAndAddresses) {
    EXPECT_EQ(ethertype(frame_of(60, 0x88b5)), 0x88b5);
    EXPECT_EQ(ethertype(Frame(13)), 0);
    EXPECT_EQ(parse_mac("02:00:00:00:00:fe"), (Mac{2, 0, 0, 0, 0, 0xfe}));
    for (const char *bad :
         {"", "02:00", "02:00:00:00:00:fe:1", "02:00:00:00:00:fex", "zz:0:0:0:0:0"})
        EXPECT_FALSE(parse_mac(bad)) << bad;
}

TEST(Counters, PerTypeWithNopsApart) {
    Counters counters;
    counters.add(frame_of(60, 0x88b5));
    counters.add(frame_of(1512, 0x88b5));
    counters.add(frame_of(256, 0x88b6));
    EXPECT_EQ(counters.by_type().at(0x88b5).frames, 2u);
    EXPECT_EQ(counters.by_type().at(0x88b5).shortest, 1u);
    EXPECT_EQ(counters.by_type().at(0x88b5).bytes, 1572u);
    EXPECT_EQ(counters.by_type().at(0x88b6).frames, 1u);
}

TEST(Impairment, NothingHappensUnasked) {
    Impairment cable(1);
    Sent sent;
    for (int i = 0; i < 1000; i++)
        cable.pass(frame_of(60, 0x800, i), i, sent.sender());
    ASSERT_EQ(sent.frames.size(), 1000u);
    for (int i = 0; i < 1000; i++)
        EXPECT_EQ(sent.frames[i], frame_of(60, 0x800, i));
}

TEST(Impairment, DropsAboutAsManyAsAskedAndTheSameOnesAgain) {
    std::vector<Frame> first;
    for (int run = 0; run < 2; run++) {
        Impairment cable(7);
        cable.configure({.drop = 0.1});
        Sent sent;
        for (int i = 0; i < 10000; i++)
            cable.pass(frame_of(60, 0x800, i), i, sent.sender());
        EXPECT_EQ(cable.done().dropped + sent.frames.size(), 10000u);
        EXPECT_NEAR(cable.done().dropped, 1000, 150);
        if (run) {
            EXPECT_EQ(first, sent.frames);
        }
        first = sent.frames;
    }
}

TEST(Impairment, OnlyTheNamedType) {
    Impairment cable(1);
    cable.configure({.drop = 1, .type = 0x88b5});
    Sent sent;
    cable.pass(frame_of(60, 0x800), 0, sent.sender());
    cable.pass(frame_of(60, 0x88b5), 0, sent.sender());
    ASSERT_EQ(sent.frames.size(), 1u);
    EXPECT_EQ(ethertype(sent.frames[0]), 0x800);
}

TEST(Impairment, ReorderLosesNothing) {
    Impairment cable(3);
    cable.configure({.reorder = 0.2});
    Sent sent;
    for (int i = 0; i < 200; i++)
        cable.pass(frame_of(60, 0x800, i), i, sent.sender());
    cable.due(1000000, sent.sender());
    ASSERT_EQ(sent.frames.size(), 200u);
    std::vector<int> tags;
    for (const auto &f : sent.frames)
        tags.push_back(f[20]);
    EXPECT_FALSE(std::is_sorted(tags.begin(), tags.end()));
    std::sort(tags.begin(), tags.end());
    for (int i = 0; i < 200; i++)
        EXPECT_EQ(tags[i], i);
}

TEST(Impairment, CorruptionChangesOneBitBehindTheAddresses) {
    Impairment cable(3);
    cable.configure({.corrupt = 1});
    Sent sent;
    const Frame whole = frame_of(200, 0x88b5, 0x55);
    for (int i = 0; i < 100; i++)
        cable.pass(whole, i, sent.sender());
    for (const auto &f : sent.frames) {
        int bits = 0;
        for (size_t i = 0; i < f.size(); i++) {
            bits += __builtin_popcount(f[i] ^ whole[i]);
            EXPECT_TRUE(i >= 12 || f[i] == whole[i]);
        }
        EXPECT_EQ(bits, 1);
    }
}

TEST(Impairment, DuplicatesDelaysAndCuts) {
    Impairment cable(3);
    Sent sent;
    cable.configure({.duplicate = 1});
    cable.pass(frame_of(60, 1), 0, sent.sender());
    EXPECT_EQ(sent.frames.size(), 2u);
    cable.configure({.delay_us = 500});
    cable.pass(frame_of(60, 1), 0, sent.sender());
    EXPECT_EQ(cable.due(499, sent.sender()), 500u);
    EXPECT_EQ(sent.frames.size(), 2u);
    EXPECT_FALSE(cable.due(500, sent.sender()));
    EXPECT_EQ(sent.frames.size(), 3u);
    cable.configure({.cut = true});
    cable.pass(frame_of(60, 1), 0, sent.sender());
    EXPECT_EQ(sent.frames.size(), 3u);
}

TEST(Flood, LengthsTypesAndStreamAddresses) {
    Flood flood(1);
    const Mac board{2, 0, 0, 0, 0, 1};
    flood.start({.per_second = 1000, .frames = 4000, .to = {board}}, 9, 0);
    Frame data = frame_of(1512, 0x88b5);
    data[5] = 0x77;
    flood.see(data);
    std::map<uint16_t, int> types;
    std::set<size_t> lengths;
    std::map<Mac, int> to;
    uint64_t now = 0;
    for (; flood.active(); now += 1000)
        while (const auto frame = flood.next(now)) {
            types[ethertype(*frame)]++;
            lengths.insert(frame->size());
            to[*destination(*frame)]++;
        }
    EXPECT_NEAR(now, 4000000, 10000);
    EXPECT_EQ(*lengths.begin(), 60u);
    EXPECT_EQ(*lengths.rbegin(), 1518u);
    for (int type : {0x0806, 0x0800, 0x8100, 0x88b5, 0x88b6, 0x8000, 0x8001})
        EXPECT_GT(types[type], 0) << type;
    EXPECT_GT(to[board], 0);
    EXPECT_GT(to[(Mac{2, 0, 0, 0, 0, 0x77})], 0);
    EXPECT_EQ(flood.sent(), 4000u);
    EXPECT_GT(flood.sent_to_streams(), 1500u);
}

TEST(Pcap, HasAHeaderAndTheFrames) {
    char path[] = "/tmp/wire-test-XXXXXX";
    close(mkstemp(path));
    {
        Pcap pcap(path);
        ASSERT_TRUE(pcap.ok());
        pcap.write(frame_of(100, 0x800), 1500000);
    }
    FILE *file = fopen(path, "rb");
    std::vector<uint8_t> bytes(1000);
    bytes.resize(fread(bytes.data(), 1, bytes.size(), file));
    fclose(file);
    unlink(path);
    ASSERT_EQ(bytes.size(), 24 + 16 + 100u);
    EXPECT_EQ(bytes[24], 1);
    EXPECT_EQ(bytes[32], 100);
}

} // namespace wire
