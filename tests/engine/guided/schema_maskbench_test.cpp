// MaskBench's schemas from the wild against the front end alone: what is compiled judges every
// instance as it is marked. Only with TESSERA_LONG=1: unpacking them takes longer than judging
// them.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "tests/engine/guided/compiled_schema.hpp"
#include "tests/engine/guided/schema_data.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera::guided {
namespace {

namespace fs = std::filesystem;

struct Tally {
  int schemas = 0;
  int instances = 0;
  int refused = 0;
};

void judge(const fs::path& path, Tally& tally) {
  const std::string text = read_text(path);
  JsonTree tree;
  GuidedFindings findings;
  const auto file = tree.append(text, 10'000, 1, findings);
  ASSERT_TRUE(file) << path;
  ++tally.schemas;
  CompiledSchema schema(json_text(tree, tree.find(*file, "schema")));
  if (!schema.ok()) {
    ++tally.refused;
    EXPECT_FALSE(schema.findings[0].pointer.empty()) << path;
    EXPECT_FALSE(schema.findings[0].keyword.empty()) << path;
    return;
  }
  const JsonIndex tests = tree.find(*file, "tests");
  for (JsonIndex test = tests + 1; test != tree[tests].next; test = tree[test].next) {
    ++tally.instances;
    schema.refill();
    EXPECT_EQ(schema.accepts(tree, tree.find(test, "data")), tree[tree.find(test, "valid")].boolean)
        << path << " " << tree[tree.find(test, "description")].text;
  }
}

TEST(SchemaMaskBench, EveryInstanceIsJudgedAsItIsMarked) {
  const fs::path archive = schema_archive("maskbench.tar.xz");
  if (!fs::exists(archive)) GTEST_SKIP() << "no MaskBench at " << archive;
  if (std::getenv("TESSERA_LONG") == nullptr) GTEST_SKIP() << "set TESSERA_LONG to run it";
  const TempDir directory;
  ASSERT_TRUE(unpack(archive, directory.path()));
  Tally tally;
  for (const auto& entry : fs::recursive_directory_iterator(directory.path())) {
    if (entry.path().extension() == ".json") judge(entry.path(), tally);
  }
  std::printf("%d schemas, %d refused, %d instances\n", tally.schemas, tally.refused,
              tally.instances);
  EXPECT_GT(tally.schemas, 7000);
  EXPECT_LE(tally.refused, 3);
}

}  // namespace
}  // namespace tessera::guided
