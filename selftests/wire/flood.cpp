// SPDX-License-Identifier: GPL-2.0
#include "flood.h"

#include <algorithm>

namespace wire {

constexpr size_t addresses_kept = 12;
constexpr uint8_t foreign_byte = 0xf7; // tells a spill from file data in a dump

void Flood::start(const FloodSettings &s, uint64_t seed, uint64_t now_us) {
    settings = s;
    random = Random(seed);
    at_us = now_us;
}

void Flood::see(const Frame &frame) {
    const auto mac = destination(frame);
    if (!mac || ethertype(frame) != settings.data_type || (*mac)[0] & 1 ||
        std::find(streams.begin(), streams.end(), *mac) != streams.end())
        return;
    streams.push_back(*mac);
    if (streams.size() > addresses_kept)
        streams.pop_front();
}

std::optional<Frame> Flood::next(uint64_t now_us) {
    if (!active() || now_us < at_us)
        return {};
    at_us =
        std::max<uint64_t>(at_us + 1e6 / settings.per_second, now_us > 20000 ? now_us - 20000 : 0);
    settings.frames--;
    count++;
    return make();
}

Frame Flood::make() {
    // Half of the frames have lengths at which something changes.
    static constexpr size_t edges[] = {60,   61,   64,   255,  256,  257,  1103, 1104, 1105,
                                       1111, 1112, 1119, 1120, 1121, 1487, 1488, 1495, 1496,
                                       1497, 1511, 1512, 1513, 1514, 1515, 1516, 1517, 1518};
    const size_t length =
        random.chance(0.5) ? edges[random.below(std::size(edges))] : 60 + random.below(1459);
    Frame frame(length, foreign_byte);
    Mac to;
    to.fill(0xff);
    const bool stream = settings.streams && !streams.empty() && random.chance(0.5);
    if (stream) {
        to = streams[random.below(streams.size())];
        stream_count++;
    } else if (!settings.to.empty() && random.chance(0.8)) {
        to = settings.to[random.below(settings.to.size())];
    }
    std::copy(to.begin(), to.end(), frame.begin());
    const Mac from{0x02, 0xf0, 0x0d, uint8_t(random.next()), uint8_t(random.next()), 1};
    std::copy(from.begin(), from.end(), frame.begin() + 6);
    const uint16_t types[] = {0x0806,
                              0x0800,
                              0x8100,
                              settings.data_type,
                              settings.data_type,
                              settings.data_type,
                              settings.command_type,
                              0x8000,
                              0x8001};
    const uint16_t type = types[random.below(std::size(types))];
    frame[12] = type >> 8;
    frame[13] = type;
    if (type == 0x8100) { // a tagged frame of our own type, which must not pass for one
        frame[14] = 0;
        frame[15] = 1;
        frame[16] = settings.data_type >> 8;
        frame[17] = settings.data_type & 0xff;
    } else if (type == 0x0800) { // an IPv4 header that ends in the dustbin
        frame[14] = 0x45;
        frame[22] = 64;
    } else if (random.chance(0.3)) {
        for (size_t i = 14; i < length; i++)
            frame[i] = random.next();
    }
    return frame;
}

} // namespace wire
