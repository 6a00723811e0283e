// The official JSON Schema test suite against the front end alone: every required schema compiles,
// and the graph says what the suite says (read by GraphValidator, not by the document machine).

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/guided/schema_compiler.hpp"
#include "tests/engine/guided/graph_validator.hpp"
#include "tests/engine/guided/schema_data.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera::guided {
namespace {

namespace fs = std::filesystem;

struct DraftFolder {
  std::string name;
  Draft draft;
};

// Groups of `folder` that do not come out right, as "file: group: what".
class SuiteRun {
 public:
  SuiteRun(const fs::path& suite, const DraftFolder& folder) : folder_(folder) {
    options_.default_draft = folder.draft;
    options_.assert_formats = false;  // what the required part expects: an annotation
    const fs::path remotes = suite / "remotes";
    for (const auto& entry : fs::recursive_directory_iterator(remotes)) {
      if (!entry.is_regular_file()) continue;
      const std::string path = fs::relative(entry.path(), remotes).generic_string();
      options_.documents.emplace_back("http://localhost:1234/" + path, read_text(entry.path()));
    }
    for (const auto& entry : fs::directory_iterator(suite / "tests" / folder.name)) {
      if (entry.is_regular_file()) run_file(entry.path());
    }
  }

  int num_tests = 0;
  std::vector<std::string> wrong;

 private:
  void run_file(const fs::path& path) {
    const std::string text = read_text(path);
    JsonTree tree;
    GuidedFindings findings;
    const auto root = tree.append(text, 1000, 1, findings);
    ASSERT_TRUE(root) << path << " " << findings[0].reason;
    for (JsonIndex group = *root + 1; group != tree[*root].next; group = tree[group].next) {
      run_group(path.filename().string(), tree, group);
    }
  }

  void run_group(const std::string& file, const JsonTree& tree, JsonIndex group) {
    const std::string name = file + ": " + std::string(tree[tree.find(group, "description")].text);
    Fuel fuel(100'000'000);
    const GuidedLimits limits;
    RegexPool pool(fuel, limits);
    const std::string schema = json_text(tree, tree.find(group, "schema"));
    auto compiled = compile_schema(schema, pool, options_, limits);
    const JsonIndex tests = tree.find(group, "tests");
    num_tests += static_cast<int>(tree[tests].count);
    if (const auto* findings = std::get_if<GuidedFindings>(&compiled)) {
      wrong.push_back(name + ": refused: " + findings->at(0).pointer + " " +
                      findings->at(0).reason);
      return;
    }
    GraphValidator validator(std::get<SchemaGraph>(compiled), pool);
    for (JsonIndex test = tests + 1; test != tree[tests].next; test = tree[test].next) {
      const bool expected = tree[tree.find(test, "valid")].boolean;
      if (validator.valid(tree, tree.find(test, "data")) == expected) continue;
      wrong.push_back(name + ": " + std::string(tree[tree.find(test, "description")].text) +
                      (expected ? " (refused)" : " (accepted)"));
    }
  }

  DraftFolder folder_;
  SchemaOptions options_;
};

class SchemaSuite : public testing::TestWithParam<DraftFolder> {};

TEST_P(SchemaSuite, EveryRequiredTestComesOutRight) {
  const fs::path suite = schema_archive("json-schema-test-suite.tar.xz");
  if (!fs::exists(suite)) GTEST_SKIP() << "no test suite at " << suite;
  const TempDir directory;
  ASSERT_TRUE(unpack(suite, directory.path()));
  const fs::path root =
      fs::exists(directory / "tests") ? directory.path() : directory / "json-schema-test-suite";
  const SuiteRun run(root, GetParam());
  EXPECT_GT(run.num_tests, 600);
  for (const std::string& what : run.wrong) ADD_FAILURE() << what;
  std::printf("%s: %d tests, %zu wrong\n", GetParam().name.c_str(), run.num_tests,
              run.wrong.size());
}

INSTANTIATE_TEST_SUITE_P(Drafts, SchemaSuite,
                         testing::Values(DraftFolder{"draft4", Draft::k4},
                                         DraftFolder{"draft6", Draft::k6},
                                         DraftFolder{"draft7", Draft::k7},
                                         DraftFolder{"draft2019-09", Draft::k2019_09},
                                         DraftFolder{"draft2020-12", Draft::k2020_12}),
                         [](const auto& param) {
                           std::string name = param.param.name;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace tessera::guided
