// SPDX-License-Identifier: GPL-2.0
// Runs on an emulated board as process 1 and does what the host says over a
// serial port of its own, several commands at a time:
//
//   host  -> board   RUN id length \n script      KILL id signal \n
//   board -> host    READY \n    OUT id length \n bytes    END id status \n
//
// Lengths are exact, so that output may hold anything. A script that was
// killed ends with 128 + signal, as in a shell.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

namespace {

struct Command {
    pid_t pid;
    int out;
};

void send(int tty, const std::string &bytes) {
    for (size_t done = 0; done < bytes.size();) {
        const ssize_t n = write(tty, bytes.data() + done, bytes.size() - done);
        if (n < 0 && errno != EINTR)
            _exit(1);
        done += n > 0 ? n : 0;
    }
}

Command start(const std::string &script) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return {-1, -1};
    const pid_t pid = fork();
    if (pid == 0) {
        setsid();
        dup2(open("/dev/null", O_RDONLY), 0);
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        signal(SIGPIPE, SIG_DFL);
        execl("/bin/bash", "bash", "-c", script.c_str(), nullptr);
        _exit(127);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return {-1, -1};
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return {pid, ends[0]};
}

// Passes on what a command has written; false at its end of file.
bool drain(int tty, int id, int out) {
    char buffer[4096];
    for (;;) {
        const ssize_t n = read(out, buffer, sizeof(buffer));
        if (n > 0)
            send(tty, "OUT " + std::to_string(id) + " " + std::to_string(n) + "\n" +
                          std::string(buffer, n));
        else
            return n < 0;
    }
}

class Agent {
  public:
    explicit Agent(int port) : tty(port) {}

    void run() {
        send(tty, "READY\n");
        for (;;) {
            std::vector<pollfd> fds{{tty, POLLIN, 0}};
            for (const auto &[id, command] : commands)
                if (command.out >= 0)
                    fds.push_back({command.out, POLLIN, 0});
            poll(fds.data(), fds.size(), 50);
            if (fds[0].revents)
                receive();
            for (auto &[id, command] : commands)
                if (command.out >= 0 && !drain(tty, id, command.out)) {
                    close(command.out);
                    command.out = -1;
                }
            reap();
        }
    }

  private:
    void receive() {
        char buffer[4096];
        const ssize_t n = read(tty, buffer, sizeof(buffer));
        if (n <= 0)
            return;
        input.append(buffer, n);
        for (size_t end; (end = input.find('\n')) != std::string::npos;) {
            char verb[8];
            int id;
            size_t value;
            if (sscanf(input.c_str(), "%7s %d %zu", verb, &id, &value) != 3) {
                input.erase(0, end + 1);
                continue;
            }
            if (std::string(verb) == "KILL") {
                input.erase(0, end + 1);
                if (commands.count(id))
                    kill(-commands[id].pid, value);
            } else {
                if (input.size() < end + 1 + value)
                    return;
                commands[id] = start(input.substr(end + 1, value));
                if (commands[id].pid < 0) {
                    send(tty, "END " + std::to_string(id) + " 126\n");
                    commands.erase(id);
                }
                input.erase(0, end + 1 + value);
            }
        }
    }

    void reap() {
        int status;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            for (auto it = commands.begin(); it != commands.end(); ++it) {
                if (it->second.pid != pid)
                    continue;
                if (it->second.out >= 0) {
                    drain(tty, it->first, it->second.out);
                    close(it->second.out);
                }
                status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
                send(tty, "END " + std::to_string(it->first) + " " + std::to_string(status) + "\n");
                commands.erase(it);
                break;
            }
    }

    int tty;
    std::string input;
    std::map<int, Command> commands;
};

} // namespace

int main(int, char **argv) {
    const int tty = open(argv[1], O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (tty < 0) {
        perror(argv[1]);
        return 1;
    }
    termios settings;
    tcgetattr(tty, &settings);
    cfmakeraw(&settings);
    cfsetspeed(&settings, B115200);
    tcsetattr(tty, TCSANOW, &settings);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, [](int) {}); // ends poll() early
    Agent(tty).run();
}
