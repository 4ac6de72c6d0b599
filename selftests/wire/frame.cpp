// SPDX-License-Identifier: GPL-2.0
#include "frame.h"

#include <algorithm>

namespace wire {

uint16_t ethertype(const Frame &frame) {
    return frame.size() < 14 ? 0 : frame[12] << 8 | frame[13];
}

std::optional<Mac> destination(const Frame &frame) {
    Mac mac;
    if (frame.size() < mac.size())
        return {};
    std::copy_n(frame.begin(), mac.size(), mac.begin());
    return mac;
}

std::optional<Mac> parse_mac(const std::string &text) {
    unsigned int b[6];
    int end = 0;
    if (sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
               &end) != 6 ||
        text.size() != static_cast<size_t>(end))
        return {};
    Mac mac;
    std::copy_n(b, 6, mac.begin());
    return mac;
}

std::optional<Frame> Deframer::next() {
    if (bad || buffer.size() - start < 4)
        return {};
    const uint8_t *p = buffer.data() + start;
    const size_t length = size_t(p[0]) << 24 | p[1] << 16 | p[2] << 8 | p[3];
    if (length > max_frame) {
        bad = true;
        return {};
    }
    if (buffer.size() - start - 4 < length)
        return {};
    Frame frame(p + 4, p + 4 + length);
    start += 4 + length;
    if (start == buffer.size() || start > 65536) {
        buffer.erase(buffer.begin(), buffer.begin() + start);
        start = 0;
    }
    return frame;
}

std::vector<uint8_t> enframe(const Frame &frame) {
    std::vector<uint8_t> bytes(4 + frame.size());
    for (int i = 0; i < 4; i++)
        bytes[i] = frame.size() >> (24 - 8 * i);
    std::copy(frame.begin(), frame.end(), bytes.begin() + 4);
    return bytes;
}

void Counters::add(const Frame &frame) {
    Count &count = counts[ethertype(frame)];
    count.frames++;
    count.bytes += frame.size();
    count.shortest += frame.size() <= 60;
}

Pcap::Pcap(const std::string &path) : file(fopen(path.c_str(), "wb")) {
    const uint32_t magic_to_snaplen[] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, max_frame, 1};
    if (file)
        fwrite(magic_to_snaplen, sizeof(magic_to_snaplen), 1, file);
}

Pcap::~Pcap() {
    if (file)
        fclose(file);
}

void Pcap::write(const Frame &frame, uint64_t microseconds) {
    const uint32_t n = frame.size();
    const uint32_t record[] = {uint32_t(microseconds / 1000000), uint32_t(microseconds % 1000000),
                               n, n};
    if (!file)
        return;
    fwrite(record, sizeof(record), 1, file);
    fwrite(frame.data(), n, 1, file);
}

} // namespace wire
