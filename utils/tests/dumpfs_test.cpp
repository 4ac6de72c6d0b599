// SPDX-License-Identifier: GPL-2.0
#include "run.hpp"
#include "sample.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

using namespace rzcfs;
using nlohmann::json;

namespace {

class Dumpfs : public testing::Test {
  protected:
    std::filesystem::path path() { return dir / "image"; }
    json dump(const std::string &options) {
        result r = ::run(DUMPFS, "--json " + options + " " + path().string());

        EXPECT_EQ(r.status, 0) << r.output;
        return json::parse(r.output);
    }

    scratch dir;
};

TEST_F(Dumpfs, ShowsTheSuperblock) {
    sample s(path());
    json j = dump("-u");

    EXPECT_EQ(j["super"]["label"], "test");
    EXPECT_EQ(j["super"]["blocks"], 320);
    EXPECT_EQ(j["super"]["regions"]["data"]["start"], s.l.data.start);
    EXPECT_EQ(j["super"]["copy"], "same");
    EXPECT_EQ(j["state"]["clean"], true);
    EXPECT_EQ(j["state"]["journal_generation"], 1);
    EXPECT_EQ(j["usage"]["used_runs"].size(), 1u);
    EXPECT_EQ(j["usage"]["used_runs"][0]["start"], s.l.data.start);
    EXPECT_EQ(j["usage"]["used_blocks"], j["usage"]["used_runs"][0]["blocks"]);
}

TEST_F(Dumpfs, ShowsInodes) {
    sample s(path());
    json j = dump("-d /big -d dir/sub -d /rich -i 1 -d /link")["inodes"];

    ASSERT_EQ(j.size(), 5u);
    EXPECT_EQ(j[0]["inode"], 1);
    EXPECT_EQ(j[0]["parent"], 1);
    EXPECT_EQ(j[1]["type"], "file");
    EXPECT_EQ(j[1]["size"], 300000 * 4096ull + 5000);
    // a node of the map lies between the last two
    EXPECT_EQ(j[1]["extents"][0]["file_block"], 0);
    EXPECT_EQ(j[1]["extents"].back()["file_block"], 300001);
    EXPECT_EQ(j[1]["extents"].back()["blocks"], 1);
    EXPECT_EQ(j[2]["entries"].size(), 2u);
    EXPECT_EQ(j[2]["entries"][0]["name"], "deep");
    EXPECT_EQ(j[3]["xattrs"]["attributes"][1]["name"], "user.colour");
    EXPECT_EQ(j[3]["xattrs"]["attributes"][1]["value"], "green");
    EXPECT_EQ(j[4]["target"], "dir/sub/deep");
    EXPECT_EQ(dump("--all")["inodes"].size(), 107u);
}

TEST_F(Dumpfs, ShowsDamage) {
    {
        sample s(path());

        s.edit(
            s.file, [](rzcfs_inode &r) { put(r.i_size, 7); }, false);
        // a map without end
        std::uint64_t node = map_block(get(s.inode(s.big).i_map));
        for (std::uint64_t i = 0; i < 512; i++)
            s.img.store(node * block_size + i * 8, le(node));
        s.img.store(state_offset(RZCFS_STATE_MOUNTS), std::uint64_t(77));
        s.img.write_back();
    }
    json j = dump("-d /file -d /big");
    EXPECT_EQ(j["state"]["mounts"], "damaged");
    EXPECT_EQ(j["inodes"][0]["fault"], "bad checksum");
    EXPECT_EQ(j["inodes"][1]["extents"].size(), 0u);
}

TEST_F(Dumpfs, IsReadable) {
    sample s(path());
    result r = ::run(DUMPFS, "-a -u " + path().string());

    EXPECT_EQ(r.status, 0);
    EXPECT_NE(r.output.find("label:"), r.output.npos) << r.output;
    EXPECT_NE(r.output.find("hard too"), r.output.npos);
}

TEST_F(Dumpfs, Refuses) {
    EXPECT_EQ(::run(DUMPFS, path().string()).status, 1);
    sample s(path());
    EXPECT_EQ(::run(DUMPFS, "-d /nothing " + path().string()).status, 1);
    EXPECT_EQ(::run(DUMPFS, "-i 100000 " + path().string()).status, 1);
    EXPECT_EQ(::run(DUMPFS, "-b 5 " + path().string()).status, 1);
    EXPECT_EQ(::run(DUMPFS, "-b 319 " + path().string()).status, 0);
}

} // namespace
