// Packages validated by a child that has no rights (threats 22, 23). The child is this program
// itself: see main() at the end.
#include <csignal>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "adapters/packed_file.hpp"
#include "adapters/sandbox/child_process.hpp"
#include "adapters/sandbox/validation_child.hpp"
#include "adapters/sandbox/validation_sandbox.hpp"
#include "storage/json.hpp"
#include "tests/adapters/archive_builder.hpp"
#include "tests/adapters/test_package.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;

constexpr char kListDescriptors[] = "--list-descriptors";

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

PackageContext context_of(const BaseModel& base) {
  const auto check = [](const CarriedFile& file) -> std::optional<std::string> {
    if (file.content == "{}") return std::nullopt;
    return "it is not {}";
  };
  return {.base = base, .tokenizer = check, .chat_template = "base", .page_type = PageType::kF32};
}

// A sandbox over test_base(), and the files of uploads.
class Sandbox : public testing::Test {
 protected:
  Sandbox() {
    std::ofstream(folder_ / "model") << "a model";
    staging_ = StagingFolder::open(folder_ / "staging").value();
  }
  ~Sandbox() override { ::close(packed_); }

  ValidationSandbox::Config config() {
    return {.program = "/proc/self/exe",
            .model = folder_ / "model",
            .context = context_of(base_),
            .base_aliases = base_.aliases,
            .deadline = 60s,
            .staging = staging_.get(),
            .scratch = folder_ / "staging"};
  }
  std::unique_ptr<ValidationSandbox> open(ValidationSandbox::Config config) {
    auto sandbox = ValidationSandbox::open(std::move(config));
    EXPECT_TRUE(sandbox) << sandbox.error().message;
    return std::move(sandbox).value();
  }
  std::unique_ptr<ValidationSandbox> misbehaving(Misbehaviour kind,
                                                 std::chrono::milliseconds deadline = 60s) {
    auto bad = config();
    bad.misbehaviour = kind;
    bad.deadline = deadline;
    return open(std::move(bad));
  }

  StagedPackage::File stage(std::string_view bytes) {
    auto writer = staging_->create(std::uint64_t{1} << 30).value();
    EXPECT_TRUE(writer->append(bytes));
    return writer->finish().value();
  }
  StagedPackage good_package() {
    const TestPackage package;
    return {.config = stage(package.config_text()),
            .tensors = stage(text_of(package.tensor_bytes()))};
  }
  std::string good_tar(const std::vector<TarMember>& more = {}) {
    const TestPackage package;
    std::vector<TarMember> members = {
        {.name = "a/adapter_config.json", .content = package.config_text()},
        {.name = "a/adapter_model.safetensors", .content = text_of(package.tensor_bytes())}};
    members.insert(members.end(), more.begin(), more.end());
    return tar_of(members);
  }

  Result<ValidatedPackage> validate(const ValidationSandbox& sandbox,
                                    const StagedPackage& package) {
    EXPECT_EQ(::ftruncate(packed_, 0), 0);
    EXPECT_EQ(::lseek(packed_, 0, SEEK_SET), 0);
    return sandbox.validate(package, packed_, "tenant");
  }
  // Of a package that is refused.
  Finding finding_of(const ValidationSandbox& sandbox, const StagedPackage& package) {
    const auto validated = validate(sandbox, package);
    EXPECT_TRUE(validated) << validated.error().message;
    EXPECT_FALSE(validated->facts);
    EXPECT_EQ(validated->report.findings.size(), 1U);
    return validated->report.findings.at(0);
  }

  const TempDir folder_;
  const BaseModel base_ = test_base();
  std::unique_ptr<StagingFolder> staging_;
  const int packed_ = ::open(folder_.path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
};

// Pages that were lost are made again where a parser's bug costs nothing, from the stored bytes.
TEST_F(Sandbox, MakesLostPagesAnewFromTheStoredFiles) {
  const auto sandbox = open(config());
  const TestPackage package;
  const AdapterFiles stored{.config = package.config_text(), .tensors = package.tensor_bytes()};
  const Validation here = package.validate();
  const AdapterDigest digest = adapter_digest(*here.adapter, base_.digest);
  const PackedFormat format(base_, PageType::kF32);
  const auto pages = sandbox->repack(stored, digest, format);
  ASSERT_TRUE(pages) << pages.error().message;
  EXPECT_TRUE(
      std::ranges::equal((*pages)->data(), pack_adapter(*here.adapter, PageType::kF32)->data()));

  const AdapterDigest another{sha256(std::as_bytes(std::span(stored.config)))};
  EXPECT_EQ(sandbox->repack(stored, another, format).error().code, Code::kCorrupt);
  const AdapterFiles damaged{.config = stored.config, .tensors = std::vector<std::byte>(64)};
  EXPECT_EQ(sandbox->repack(damaged, digest, format).error().code, Code::kCorrupt);
  EXPECT_EQ(misbehaving(Misbehaviour::kSegfault)->repack(stored, digest, format).error().code,
            Code::kCorrupt);
}

TEST_F(Sandbox, TellsWhatPagesOfEightBitsLose) {
  auto eight_bits = config();
  eight_bits.context.page_type = PageType::kInt8;
  const auto apart = validate(*open(config()), good_package());
  EXPECT_FALSE(apart->report.page_error) << "nothing is lost in fp32";
  eight_bits.program.clear();  // the child of these tests packs in fp32
  const auto validated = validate(*open(std::move(eight_bits)), good_package());
  ASSERT_TRUE(validated) << validated.error().message;
  ASSERT_TRUE(validated->report.page_error);
  PageError error;
  pack_adapter(*TestPackage().validate().adapter, PageType::kInt8, &error);
  EXPECT_EQ(*validated->report.page_error, error.relative());
  EXPECT_GT(error.relative(), 0.0);
  EXPECT_LT(error.relative(), 0.01);
  const auto json = to_json(validated->report);
  EXPECT_EQ(json.at("pages").at("relative_error"), error.relative());
  PackageVerdict sent{.report = validated->report, .facts = validated->facts};
  EXPECT_EQ(parse_verdict(to_text(sent))->report.page_error, error.relative());
}

TEST_F(Sandbox, AcceptsAPackageAndHandsBackItsPages) {
  const auto sandbox = open(config());
  const auto validated = validate(*sandbox, good_package());
  ASSERT_TRUE(validated) << validated.error().message;
  ASSERT_TRUE(validated->facts) << to_json(validated->report).dump(1);
  const Validation here = TestPackage().validate();
  EXPECT_EQ(validated->facts->digest, adapter_digest(*here.adapter, base_.digest));
  EXPECT_EQ(validated->facts->rank_max, 4);
  EXPECT_EQ(validated->facts->num_tensors, 8);
  EXPECT_EQ(validated->facts->target_modules, (std::vector<std::string>{"q_proj", "v_proj"}));
  const auto pages =
      read_packed_file(packed_, validated->facts->digest, PackedFormat(base_, PageType::kF32));
  ASSERT_TRUE(pages) << pages.error().message;
  const auto expected = pack_adapter(*here.adapter, PageType::kF32);
  ASSERT_EQ((*pages)->bytes(), expected->bytes());
  EXPECT_EQ(std::memcmp((*pages)->data().data(), expected->data().data(), expected->bytes()), 0);
}

TEST_F(Sandbox, ReportsWhatValidationInThisProcessReports) {
  auto in_process = config();
  in_process.program.clear();
  const auto here = open(std::move(in_process));
  const auto apart = open(config());
  TestPackage package;
  package.config["r"] = 5;
  package.config["unknown"] = {1, 2};
  package.config["use_qalora"] = true;
  package.tensors.erase(package.tensors.begin());
  const StagedPackage staged{.config = stage(package.config_text()),
                             .tensors = stage(text_of(package.tensor_bytes()))};
  const auto first = validate(*here, staged);
  const auto second = validate(*apart, staged);
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(first->report.ok());
  EXPECT_EQ(to_json(first->report).dump(1), to_json(second->report).dump(1));
}

TEST_F(Sandbox, TakesThePackageOutOfAnArchive) {
  const auto sandbox = open(config());
  const TestPackage package;
  const std::string tar = good_tar({{.name = "a/tokenizer.json", .content = "{}"},
                                    {.name = "a/chat_template.jinja", .content = "base"},
                                    {.name = "a/README.md", .content = "mine"}});
  for (const std::string& archive :
       {tar, compressed(tar, Compression::kGzip), compressed(tar, Compression::kZstd)}) {
    const auto validated = validate(*sandbox, {.archive = stage(archive)});
    ASSERT_TRUE(validated) << validated.error().message;
    ASSERT_TRUE(validated->facts) << to_json(validated->report).dump(1);
    EXPECT_EQ(validated->config->read(0, 1 << 20).value(), package.config_text());
    EXPECT_EQ(validated->tensors->read(0, 1 << 20).value(), text_of(package.tensor_bytes()));
    ASSERT_EQ(validated->report.findings.size(), 1U);
    EXPECT_EQ(validated->report.findings[0].code, FindingCode::kIgnoredFile);
  }
}

TEST_F(Sandbox, RefusesArchivesAndWhatTheyBring) {
  const auto sandbox = open(config());
  EXPECT_EQ(finding_of(*sandbox, {.archive = stage("no archive")}).code,
            FindingCode::kArchiveUnreadable);
  EXPECT_EQ(finding_of(
                *sandbox,
                {.archive = stage(good_tar({{.name = "a/x", .type = '2', .link = "/etc/passwd"}}))})
                .code,
            FindingCode::kArchiveBadEntry);
  EXPECT_EQ(finding_of(*sandbox, {.archive = stage(good_tar(
                                      {{.name = "a/chat_template.jinja", .content = "another"}}))})
                .code,
            FindingCode::kFileNotAccepted);
  EXPECT_EQ(
      finding_of(*sandbox,
                 {.archive = stage(good_tar({{.name = "a/tokenizer.json", .content = "[]"}}))})
          .code,
      FindingCode::kTokenizerMismatch);
}

TEST_F(Sandbox, ComparesTokenizerFilesThatWereUploadedAsSuch) {
  const auto sandbox = open(config());
  auto package = good_package();
  package.tokenizer.push_back({"tokenizer.json", stage("{}")});
  EXPECT_TRUE(validate(*sandbox, package)->facts);
  package.tokenizer.push_back({"added_tokens.json", stage("[]")});
  EXPECT_EQ(finding_of(*sandbox, package).code, FindingCode::kTokenizerMismatch);
}

TEST_F(Sandbox, AnAdapterLargerThanMemoryAllowsIsAQuotaError) {
  auto small = config();
  small.limits.max_packed_bytes = 100;
  const auto validated = validate(*open(std::move(small)), good_package());
  ASSERT_FALSE(validated);
  EXPECT_EQ(validated.error().code, Code::kStorageQuotaExceeded);
}

// ---- what stops a parser that was taken over

// AddressSanitizer wants to tell of a crash first, and is stopped at that.
#if defined(__SANITIZE_ADDRESS__)
constexpr char kByASegfault[] = "it ";
constexpr char kByABusError[] = "it ";
#else
constexpr char kByASegfault[] = "signal 11";
constexpr char kByABusError[] = "signal 7";
#endif

struct Attempt {
  Misbehaviour kind;
  const char* stopped_by;  // in the finding's message
};

class TakenOver : public Sandbox, public testing::WithParamInterface<Attempt> {};

TEST_P(TakenOver, CostsItsOwnUploadAndNoOther) {
  const auto [kind, stopped_by] = GetParam();
  const bool is_slow = kind == Misbehaviour::kEndlessLoop || kind == Misbehaviour::kSilence;
  const auto sandbox = misbehaving(kind, is_slow ? 1500ms : 60s);
  const Finding finding = finding_of(*sandbox, good_package());
  EXPECT_EQ(finding.code, FindingCode::kValidationFailed);
  EXPECT_NE(finding.message.find(stopped_by), std::string::npos) << finding.message;
  EXPECT_TRUE(validate(*open(config()), good_package())->facts);
}

INSTANTIATE_TEST_SUITE_P(Each, TakenOver,
                         testing::Values(Attempt{Misbehaviour::kSegfault, kByASegfault},
                                         Attempt{Misbehaviour::kTruncatedFile, kByABusError},
                                         Attempt{Misbehaviour::kEndlessLoop, "too long"},
                                         Attempt{Misbehaviour::kOpenFile, "signal 31"},
                                         Attempt{Misbehaviour::kOpenSocket, "signal 31"},
                                         Attempt{Misbehaviour::kExec, "signal 31"},
                                         Attempt{Misbehaviour::kFork, "signal 31"},
                                         Attempt{Misbehaviour::kLongAnswer, "too great length"},
                                         Attempt{Misbehaviour::kWrongAnswer, "cannot be read"},
                                         Attempt{Misbehaviour::kSilence, "too long"}));

#if !defined(__SANITIZE_ADDRESS__)  // which has an address space of its own
TEST_F(Sandbox, MemoryWithoutEndIsRefused) {
  const Finding finding = finding_of(*misbehaving(Misbehaviour::kEatMemory), good_package());
  EXPECT_EQ(finding.code, FindingCode::kValidationFailed);
  EXPECT_NE(finding.message.find("memory"), std::string::npos) << finding.message;
}
#endif

TEST_F(Sandbox, ProcessorTimeIsLimitedByTheSystemToo) {
  auto bad = config();
  bad.misbehaviour = Misbehaviour::kEndlessLoop;
  bad.cpu_seconds = 1;
  const Finding finding = finding_of(*open(std::move(bad)), good_package());
  EXPECT_NE(finding.message.find("signal"), std::string::npos) << finding.message;  // XCPU or KILL
}

TEST_F(Sandbox, DoesNotOpenWhereNoChildCanBeConfined) {
  auto broken = config();
  broken.program = "/bin/false";
  const auto opened = ValidationSandbox::open(std::move(broken));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kIo);
}

TEST(ChildProcess, HasOnlyTheDescriptorsThatItWasGivenAndNothingOfTheEnvironment) {
  const int leaked = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  const int given = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  const auto end = run_child({.program = "/proc/self/exe",
                              .arguments = {kListDescriptors},
                              .descriptors = {given, given},
                              .deadline = 60s,
                              .max_answer_bytes = 4096});
  ::close(leaked);
  ::close(given);
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(end->how, ChildEnd::How::kExited);
  EXPECT_EQ(end->status, 0);
  EXPECT_EQ(end->answer, "0 1 2 3 4 5 env GLIBC_TUNABLES=glibc.malloc.hugetlb=1");
}

// ---- a verdict is a stranger's text

std::string sound_verdict() {
  PackageVerdict verdict;
  verdict.report.findings.push_back({.code = FindingCode::kIgnoredFile,
                                     .severity = Severity::kWarning,
                                     .subject = "README.md",
                                     .message = "The file is not used."});
  verdict.report.renamed.push_back({"a", "b"});
  verdict.report.coverage.modules_by_target["q_proj"] = 2;
  verdict.report.max_norm_a = 1.5;
  verdict.facts = AdapterFacts{.rank_max = 4, .target_modules = {"q_proj"}, .invocation = {5, 6}};
  return to_text(verdict);
}

TEST(Verdict, IsReadAsItWasWritten) {
  const auto verdict = parse_verdict(sound_verdict());
  ASSERT_TRUE(verdict) << verdict.error().message;
  EXPECT_EQ(to_text(*verdict), sound_verdict());
  EXPECT_EQ(verdict->facts->invocation, (std::vector<TokenId>{5, 6}));
}

TEST(Verdict, AnythingElseIsRefused) {
  const auto altered = [](std::string_view from, std::string_view to) {
    std::string text = sound_verdict();
    const auto at = text.find(from);
    EXPECT_NE(at, text.npos) << from;
    return text.replace(at, from.size(), to);
  };
  const std::string texts[] = {
      "",
      "{}",
      "[]",
      "null",
      sound_verdict() + "x",
      altered("\"ignored_file\"", "\"no_such_code\""),
      altered("\"ignored_file\",false", "\"ignored_file\",true"),  // an error, and facts
      altered("\"rank_max\":4", "\"rank_max\":-4"),
      altered("\"rank_max\":4", "\"rank_max\":4e9"),
      altered("\"rank_max\":4", "\"rank_max\":99999999999"),
      altered("\"digest\":\"00", "\"digest\":\"0g"),
      altered("\"targets\":[\"q_proj\"]", "\"targets\":[1]"),
      altered("\"too_large\":false", "\"too_large\":0"),
      altered("\"too_large\":false", "\"too_large\":false,\"more\":1"),
      altered("\"README.md\"", "\"" + std::string(5000, 'x') + "\""),
      altered("[\"a\",\"b\"]", "[\"a\"]"),
      altered("[5,6]", "[5,4294967296]"),
      altered("\"q_proj\":2", "\"q_proj\":-2"),
      std::string(kMaxVerdictBytes + 1, ' ')};
  for (const std::string& text : texts) {
    EXPECT_FALSE(parse_verdict(text)) << text.substr(0, 200);
  }
}

TEST(Verdict, FactsNeedASoundReportAndASoundReportFacts) {
  PackageVerdict verdict;
  EXPECT_FALSE(parse_verdict(to_text(verdict)));
  verdict.report.findings.push_back({.code = FindingCode::kNoTensors, .message = "none"});
  EXPECT_TRUE(parse_verdict(to_text(verdict)));
}

int list_descriptors() {
  std::string text;
  for (int descriptor = 0; descriptor < 1024; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) >= 0) text += std::to_string(descriptor) + " ";
  }
  text += "env";
  for (char** variable = environ; *variable != nullptr; ++variable) {
    text += std::string(" ") + *variable;
  }
  return ::write(kChildAnswerDescriptor, text.data(), text.size()) > 0 ? 0 : 1;
}

int be_the_child(std::string_view job) {
  static const BaseModel base = test_base();
  return run_validation_child(
      job, [](const ValidationJob&) -> Result<PackageContext> { return context_of(base); });
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  if (argc == 3 && argv[1] == tessera::kValidationChildArgument) {
    return tessera::be_the_child(argv[2]);
  }
  if (argc == 2 && std::string_view(argv[1]) == tessera::kListDescriptors) {
    return tessera::list_descriptors();
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
