// SPDX-License-Identifier: GPL-2.0
// A program as people run it.
#pragma once

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/wait.h>

struct result {
    int status; // -1: killed by a signal
    std::string output;
};

inline result run(const std::string &program, const std::string &arguments) {
    std::string command = "exec " + program + " " + arguments + " 2>&1 </dev/null";
    std::array<char, 512> buf;
    result r;

    FILE *p = popen(command.c_str(), "r");
    while (fgets(buf.data(), buf.size(), p))
        r.output += buf.data();
    int status = pclose(p);
    r.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return r;
}
