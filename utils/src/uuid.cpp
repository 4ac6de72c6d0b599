// SPDX-License-Identifier: GPL-2.0
#include "uuid.hpp"

#include "layout.hpp"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <sys/random.h>

namespace rzcfs {

void random_bytes(void *to, std::size_t length) {
    auto *p = static_cast<char *>(to);

    while (length) {
        ssize_t n = getrandom(p, length, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            throw error(fmt::format("no random numbers: {}", std::strerror(errno)));
        p += n;
        length -= static_cast<std::size_t>(n);
    }
}

uuid random_uuid() {
    uuid u;

    random_bytes(u.data(), u.size());
    u[6] = static_cast<std::uint8_t>((u[6] & 0x0f) | 0x40); // version 4
    u[8] = static_cast<std::uint8_t>((u[8] & 0x3f) | 0x80);
    return u;
}

std::optional<uuid> parse_uuid(std::string_view text) {
    constexpr std::string_view shape = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    uuid u{};
    unsigned digits = 0;

    if (text.size() != shape.size())
        return std::nullopt;
    for (std::size_t i = 0; i < shape.size(); i++) {
        char c = text[i];
        int v;

        if (shape[i] == '-') {
            if (c != '-')
                return std::nullopt;
            continue;
        }
        if (c >= '0' && c <= '9')
            v = c - '0';
        else if (c >= 'a' && c <= 'f')
            v = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            v = c - 'A' + 10;
        else
            return std::nullopt;
        u[digits / 2] = static_cast<std::uint8_t>(u[digits / 2] << 4 | v);
        digits++;
    }
    return u;
}

std::string to_string(const uuid &u) {
    std::string s;

    for (std::size_t i = 0; i < u.size(); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            s += '-';
        s += fmt::format("{:02x}", u[i]);
    }
    return s;
}

} // namespace rzcfs
