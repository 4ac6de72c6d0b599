// SPDX-License-Identifier: GPL-2.0
// The program as people run it.
#include "endian.hpp"
#include "layout.hpp"
#include "run.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <vector>

namespace fs = std::filesystem;

class Mkfs : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "mkfs-XXXXXX").string();

        ASSERT_TRUE(mkdtemp(name.data()));
        dir = name;
        image = dir / "image";
    }
    void TearDown() override { fs::remove_all(dir); }

    int run(const std::string &args) {
        result r = ::run(MKFS, args);

        output = r.output;
        return r.status;
    }
    rzcfs_super_block super(std::uint64_t offset = 0) {
        rzcfs_super_block sb;
        std::ifstream in(image, std::ios::binary);

        in.seekg(static_cast<std::streamoff>(offset));
        in.read(reinterpret_cast<char *>(&sb), sizeof(sb));
        EXPECT_TRUE(in);
        return sb;
    }

    fs::path dir, image;
    std::string output;
};

TEST_F(Mkfs, MakesAnImage) {
    ASSERT_EQ(run(image.string() + " --size 8M -L hello -U 01234567-0123-0123-0123-0123456789ab"),
              0)
        << output;
    EXPECT_EQ(fs::file_size(image), 8u << 20);
    rzcfs_super_block sb = super();
    EXPECT_EQ(rzcfs::le(std::uint32_t(sb.s_magic)), unsigned(RZCFS_MAGIC));
    EXPECT_STREQ(reinterpret_cast<char *>(sb.s_label), "hello");
    EXPECT_EQ(sb.s_uuid[0], 0x01);
    rzcfs_super_block copy = super((8u << 20) - 4096);
    EXPECT_EQ(std::memcmp(&sb, &copy, sizeof(sb)), 0);
    EXPECT_NE(output.find("2048 blocks"), std::string::npos) << output;
}

TEST_F(Mkfs, RefusesForeignContents) {
    std::vector<char> junk(1 << 20, 'j');
    std::ofstream(image, std::ios::binary).write(junk.data(), std::streamsize(junk.size()));
    EXPECT_EQ(run(image.string()), 1);
    EXPECT_NE(output.find("--force"), std::string::npos) << output;
    EXPECT_EQ(run(image.string() + " --force"), 0) << output;
    // its own kind may be made anew
    EXPECT_EQ(run(image.string()), 0) << output;
}

TEST_F(Mkfs, NamesWhatItRefuses) {
    std::vector<char> ext(1 << 20);
    ext[1080] = 0x53;
    ext[1081] = char(0xef);
    std::ofstream(image, std::ios::binary).write(ext.data(), std::streamsize(ext.size()));
    EXPECT_EQ(run(image.string()), 1);
    EXPECT_NE(output.find("ext4"), std::string::npos) << output;
}

TEST_F(Mkfs, RefusesSmallMedia) {
    EXPECT_EQ(run(image.string() + " --size 100K"), 1);
    EXPECT_EQ(run(image.string() + " --size 256K"), 0) << output;
    EXPECT_EQ(run(image.string() + " --inodes 100000"), 1);
}

TEST_F(Mkfs, DryRunWritesNothing) {
    fs::resize_file((std::ofstream(image), image), 1 << 20);
    EXPECT_EQ(run(image.string() + " -n --json"), 0) << output;
    EXPECT_NE(output.find("\"written\":false"), std::string::npos) << output;
    EXPECT_EQ(std::uint32_t(super().s_magic), 0u);
}

TEST_F(Mkfs, BadArguments) {
    EXPECT_EQ(run((dir / "missing").string()), 1);
    EXPECT_EQ(run(image.string() + " --size 1M -U nonsense"), 1);
    EXPECT_EQ(run(dir.string()), 1);
    EXPECT_NE(run(image.string() + " --size 1M --mode 9"), 0);
}
