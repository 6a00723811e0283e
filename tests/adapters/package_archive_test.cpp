// Attacks by their numbers in the list of threats: 21 (pickle), 22 (archives), 29 (templates,
// code), 30 (paths). Those on safetensors (23) are safetensors_test.cpp's and
// malformed_upload_test.cpp's.
#include "adapters/archive/package_archive.hpp"

#include <random>

#include <gtest/gtest.h>

#include "tests/adapters/archive_builder.hpp"

namespace tessera {
namespace {

using enum FindingCode;

struct Extracted {
  Checked<ExtractedPackage> package;
  std::string config;
  std::string tensors;
};

Extracted extract(std::string_view bytes, const ArchiveLimits& limits = {}) {
  std::string config;
  std::string tensors;
  const auto into = [](std::string& text) {
    return [&text](std::string_view more) {
      text += more;
      return true;
    };
  };
  auto package =
      extract_package(std::as_bytes(std::span(bytes)), into(config), into(tensors), limits);
  return {std::move(package), std::move(config), std::move(tensors)};
}

// The code with which an archive is refused.
std::string refusal(std::string_view bytes, const ArchiveLimits& limits = {}) {
  const Extracted extracted = extract(bytes, limits);
  return extracted.package ? "accepted" : std::string(to_string(extracted.package.error().code));
}

// Bytes that do not compress.
std::string noise(std::size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string bytes;
  for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>(random() & 0xFF);
  return bytes;
}

const std::string kConfigText = R"({"r": 4})";
const std::string kTensorBytes = noise(3000);

std::vector<TarMember> good_members(const std::string& folder = "") {
  return {{.name = folder + "adapter_config.json", .content = kConfigText},
          {.name = folder + "adapter_model.safetensors", .content = kTensorBytes}};
}

std::vector<ZipMember> good_files(bool deflated = false) {
  return {{.name = "adapter_config.json", .content = kConfigText, .deflated = deflated},
          {.name = "adapter_model.safetensors", .content = kTensorBytes, .deflated = deflated}};
}

std::string tar_with(const TarMember& member) {
  auto members = good_members();
  members.push_back(member);
  return tar_of(members);
}

std::string zip_with(const ZipMember& member) {
  auto files = good_files();
  files.push_back(member);
  return zip_of(files);
}

void expect_extracted(std::string_view bytes) {
  const Extracted extracted = extract(bytes);
  ASSERT_TRUE(extracted.package) << extracted.package.error().message;
  EXPECT_EQ(extracted.config, kConfigText);
  EXPECT_TRUE(extracted.tensors == kTensorBytes);
  EXPECT_TRUE(extracted.package->warnings.empty());
}

TEST(PackageArchive, ReadsTarPlainAndCompressedAndZip) {
  expect_extracted(tar_of(good_members()));
  expect_extracted(compressed(tar_of(good_members()), Compression::kGzip));
  expect_extracted(compressed(tar_of(good_members()), Compression::kZstd));
  expect_extracted(zip_of(good_files()));
  expect_extracted(zip_of(good_files(/*deflated=*/true)));
}

TEST(PackageArchive, ReadsAPackageThatLiesInOneFolder) {
  expect_extracted(tar_of(good_members("my-adapter/")));
  expect_extracted(tar_of(good_members("./")));
  auto members = good_members("my-adapter/");
  members.insert(members.begin(), {.name = "my-adapter/", .type = '5'});
  expect_extracted(tar_of(members));
}

TEST(PackageArchive, ReadsATarWithPaddingOfZerosBehindIt) {
  expect_extracted(tar_of(good_members()) + std::string(8192, '\0'));
}

TEST(PackageArchive, ReadsAZipWithDescriptorsBehindItsFiles) {
  std::string zip;  // two files, both told of only afterwards
  auto files = good_files();
  for (auto& file : files) file.flags = 1 << 3;
  const ZipBuild plain = build_zip(files);
  // Insert each descriptor and move what lies behind it.
  const std::size_t second = 30 + files[0].name.size() + files[0].content.size();
  const auto descriptor = [&](std::size_t local) {
    return "PK\x07\x08" + plain.bytes.substr(local + 14, 12);
  };
  zip = plain.bytes.substr(0, second) + descriptor(0) +
        plain.bytes.substr(second, plain.directory - second) + descriptor(second) +
        plain.bytes.substr(plain.directory);
  const std::size_t directory = plain.directory + 32;
  const std::size_t entry = directory + 46 + files[0].name.size();
  put_le(zip, entry + 42, second + 16, 4);
  put_le(zip, zip.size() - 6, directory, 4);
  expect_extracted(zip);
}

TEST(PackageArchive, KeepsTokenizerFilesAndPassesOverOthersWithAWarning) {
  auto members = good_members();
  members.push_back({.name = "tokenizer.json", .content = "{}"});
  members.push_back({.name = "README.md", .content = "# mine"});
  members.push_back({.name = "vocab.json", .content = "{}"});
  const Extracted extracted = extract(tar_of(members));
  ASSERT_TRUE(extracted.package) << extracted.package.error().message;
  ASSERT_EQ(extracted.package->tokenizer.size(), 1U);
  EXPECT_EQ(extracted.package->tokenizer[0].name, "tokenizer.json");
  ASSERT_EQ(extracted.package->warnings.size(), 2U);
  EXPECT_EQ(extracted.package->warnings[0].code, kIgnoredFile);
  EXPECT_EQ(extracted.package->warnings[0].subject, "README.md");
}

TEST(PackageArchive, MissingFilesAreNamed) {
  EXPECT_EQ(refusal(tar_of({{.name = "adapter_config.json", .content = "{}"}})),
            "archive_missing_file");
  EXPECT_EQ(refusal(zip_of({})), "archive_unreadable");
}

// ---- 21: pickles, by magic and by name

TEST(PackageArchive21Pickle, EveryProtocolIsRefusedAsAnArchive) {
  for (const char protocol : {'\x02', '\x03', '\x04', '\x05'}) {
    EXPECT_EQ(refusal(std::string("\x80") + protocol + noise(600)), "pickle_not_accepted");
  }
}

TEST(PackageArchive21Pickle, ATorchZipIsRefused) {
  EXPECT_EQ(refusal(zip_of({{.name = "archive/data.pkl", .content = "\x80\x02}q"},
                            {.name = "archive/version", .content = "3"}})),
            "pickle_not_accepted");
}

TEST(PackageArchive21Pickle, ATorchTarIsRefused) {
  EXPECT_EQ(refusal(tar_of({{.name = "sys_info", .content = "\x80\x02}q"},
                            {.name = "pickle", .content = "\x80\x02}q"}})),
            "pickle_not_accepted");
}

TEST(PackageArchive21Pickle, IsRefusedByNameWhateverItHolds) {
  for (const char* name : {"adapter_model.bin", "training_args.bin", "optimizer.pt",
                           "rng_state.pth", "x.pkl", "x.pickle", "x.ckpt"}) {
    EXPECT_EQ(refusal(tar_with({.name = name, .content = "text"})), "pickle_not_accepted") << name;
  }
}

TEST(PackageArchive21Pickle, IsRefusedByMagicUnderAnyName) {
  for (const std::string magic : {"\x80\x02", "\x80\x03", "\x80\x04", "\x80\x05", "PK\x03\x04"}) {
    EXPECT_EQ(refusal(tar_with({.name = "notes.txt", .content = magic + "more"})),
              "pickle_not_accepted");
    EXPECT_EQ(refusal(zip_with({.name = "README.md", .content = magic + "more"})),
              "pickle_not_accepted");
  }
}

// ---- 22: archives

TEST(PackageArchive22, ABombIsStoppedByWhatIsReallyWritten) {
  auto members = good_members();
  members.push_back({.name = "zeros.txt", .content = std::string(std::size_t{8} << 20, 'a')});
  for (const auto compression : {Compression::kGzip, Compression::kZstd}) {
    EXPECT_EQ(refusal(compressed(tar_of(members), compression)), "archive_ratio_too_high");
  }
  EXPECT_EQ(refusal(zip_with({.name = "zeros.txt",
                              .content = std::string(std::size_t{8} << 20, 'a'),
                              .deflated = true})),
            "archive_ratio_too_high");
}

TEST(PackageArchive22, FilesHaveLimitsOfTheirOwn) {
  ArchiveLimits limits;
  limits.max_tensors_bytes = kTensorBytes.size() - 1;
  EXPECT_EQ(refusal(tar_of(good_members()), limits), "archive_too_large");
  EXPECT_EQ(refusal(zip_of(good_files()), limits), "archive_too_large");
  limits = {};
  limits.max_ignored_bytes = 10;
  EXPECT_EQ(refusal(tar_with({.name = "log.txt", .content = "eleven bytes"}), limits),
            "archive_too_large");
}

TEST(PackageArchive22, SixteenEntriesAreTheMost) {
  auto members = good_members();
  auto files = good_files();
  for (int i = 0; i < 14; ++i) {
    members.push_back({.name = "note" + std::to_string(i), .content = "x"});
    files.push_back({.name = "note" + std::to_string(i), .content = "x"});
  }
  EXPECT_EQ(refusal(tar_of(members)), "accepted");
  EXPECT_EQ(refusal(zip_of(files)), "accepted");
  members.push_back({.name = "one-more"});
  files.push_back({.name = "one-more"});
  EXPECT_EQ(refusal(tar_of(members)), "archive_too_many_entries");
  EXPECT_EQ(refusal(zip_of(files)), "archive_too_many_entries");
}

TEST(PackageArchive22, LinksAndDevicesAreRefused) {
  for (const char type : {'1', '2', '3', '4', '6'}) {
    EXPECT_EQ(refusal(tar_with({.name = "x", .type = type, .link = "/etc/passwd"})),
              "archive_bad_entry")
        << type;
  }
  EXPECT_EQ(refusal(tar_of({{.name = "adapter_config.json", .type = '2', .link = "/etc/passwd"}})),
            "archive_bad_entry");
  for (const std::uint32_t mode : {0120777U, 0020666U, 0060666U, 0010666U, 0140666U}) {
    EXPECT_EQ(refusal(zip_with({.name = "x", .content = "/etc/passwd", .unix_mode = mode})),
              "archive_bad_entry")
        << mode;
  }
}

TEST(PackageArchive22, FilesWithHolesAreRefused) {
  using Map = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
  const auto sparse = [](Map map, std::uint64_t size) {
    return refusal(tar_with({.name = "x",
                             .content = "abcdef",
                             .type = 'S',
                             .sparse_map = std::move(map),
                             .sparse_size = size}));
  };
  EXPECT_EQ(sparse({{0, 3}, {1'000'000, 3}}, 1'000'003), "archive_bad_entry");
  EXPECT_EQ(sparse({{4096, 6}}, 4102), "archive_bad_entry");
  EXPECT_EQ(sparse({{0, 6}, {std::uint64_t{1} << 32, 0}}, std::uint64_t{1} << 32),
            "archive_bad_entry");  // a hole at the end
}

TEST(PackageArchive22, APaxSizeMayNotReachBeyondTheArchive) {
  const std::string tar = pax_header("size", "99999999999") + tar_of(good_members());
  EXPECT_EQ(refusal(tar), "archive_unreadable");
  EXPECT_NE(refusal(pax_header("size", "-1") + tar_of(good_members())), "accepted");
}

TEST(PackageArchive22, ASizeThatIsANegativeOrHugeNumberIsRefused) {
  for (const std::string& size :
       {std::string("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 12),
        std::string("\x80\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 12),
        std::string("77777777777")}) {
    EXPECT_NE(refusal(tar_of({{.name = "adapter_config.json", .content = "{}", .size_field = size},
                              {.name = "adapter_model.safetensors", .content = "x"}})),
              "accepted");
  }
}

TEST(PackageArchive22, NamesOutsideOneFolderAreRefused) {
  for (const char* name :
       {"../adapter_config.json", "a/../adapter_config.json", "/adapter_config.json", "//x",
        "a/b/c", "a//b", "..", "a/..", "a\\b", "C:\\x", "a\nb"}) {
    EXPECT_EQ(refusal(tar_with({.name = name, .content = "x"})), "archive_bad_entry") << name;
    EXPECT_EQ(refusal(zip_with({.name = name, .content = "x"})), "archive_bad_entry") << name;
  }
  auto members = good_members("first/");
  members.push_back({.name = "second/README.md"});
  EXPECT_EQ(refusal(tar_of(members)), "archive_bad_entry");
}

TEST(PackageArchive22, ANulInANameEndsItOrIsRefused) {
  using namespace std::string_literals;
  EXPECT_EQ(refusal(zip_with({.name = "README.md\0.pkl"s, .content = "x"})), "archive_bad_entry");
  // In a tar a name ends at its NUL, for all readers; what is behind it names nothing.
  EXPECT_EQ(refusal(tar_with({.name = "training_args.bin\0.txt"s, .content = "x"})),
            "pickle_not_accepted");
  EXPECT_NE(refusal(pax_header("path", "../x\0adapter_config.json"s) + tar_of(good_members())),
            "accepted");
}

TEST(PackageArchive22, ANameTwiceIsRefused) {
  EXPECT_EQ(refusal(tar_with({.name = "adapter_config.json", .content = "{}"})),
            "archive_duplicate_entry");
  EXPECT_EQ(refusal(zip_with({.name = "adapter_config.json", .content = "{}"})),
            "archive_duplicate_entry");
  EXPECT_EQ(refusal(tar_with({.name = "./adapter_config.json", .content = "{}"})),
            "archive_duplicate_entry");
}

TEST(PackageArchive22, TrailingDataIsRefused) {
  EXPECT_EQ(refusal(tar_of(good_members()) + "more"), "archive_trailing_data");
  EXPECT_EQ(refusal(tar_of(good_members()) + tar_of(good_members())), "archive_trailing_data");
  for (const auto compression : {Compression::kGzip, Compression::kZstd}) {
    EXPECT_EQ(refusal(compressed(tar_of(good_members()) + "more", compression)),
              "archive_trailing_data");
    EXPECT_NE(refusal(compressed(tar_of(good_members()), compression) + "more"), "accepted");
  }
  EXPECT_EQ(refusal(zip_of(good_files()) + "more"), "archive_trailing_data");
  EXPECT_EQ(refusal("more" + zip_of(good_files())), "archive_unreadable");
}

TEST(PackageArchive22, CompressionWithinCompressionIsRefused) {
  const std::string once = compressed(tar_of(good_members()), Compression::kGzip);
  EXPECT_EQ(refusal(compressed(once, Compression::kGzip)), "archive_unreadable");
  EXPECT_EQ(refusal(compressed(once, Compression::kZstd)), "archive_unreadable");
  EXPECT_EQ(refusal(compressed(zip_of(good_files()), Compression::kGzip)), "archive_unreadable");
}

TEST(PackageArchive22, EncryptedZipsAreRefused) {
  for (const int flag : {0x0001, 0x0041, 0x2000}) {
    EXPECT_EQ(
        refusal(zip_with({.name = "x", .content = "x", .flags = static_cast<std::uint16_t>(flag)})),
        "archive_encrypted");
  }
}

TEST(PackageArchive22Zip, FilesThatOverlapAreRefused) {
  ZipBuild zip = build_zip(good_files());
  const std::size_t second = zip.directory + 46 + std::string("adapter_config.json").size();
  put_le(zip.bytes, second + 42, 0, 4);  // the second file is where the first is
  EXPECT_EQ(refusal(zip.bytes), "archive_bad_entry");
}

TEST(PackageArchive22Zip, AFileThatHoldsTheDirectoryIsRefused) {  // what a quine needs
  ZipBuild zip = build_zip(good_files());
  const std::size_t second = zip.directory + 46 + std::string("adapter_config.json").size();
  const std::size_t local = 30 + std::string("adapter_config.json").size() + kConfigText.size();
  const std::uint64_t longer = kTensorBytes.size() + 64;
  put_le(zip.bytes, second + 20, longer, 4);
  put_le(zip.bytes, second + 24, longer, 4);
  put_le(zip.bytes, local + 18, longer, 4);
  put_le(zip.bytes, local + 22, longer, 4);
  EXPECT_EQ(refusal(zip.bytes), "archive_bad_entry");
}

TEST(PackageArchive22Zip, TwoDescriptionsThatDifferAreRefused) {
  auto files = good_files();
  files[0].local_name = "adapter_conf1g.json";
  EXPECT_EQ(refusal(zip_of(files)), "archive_bad_entry");
  files = good_files();
  files[0].local_size = 1;
  EXPECT_EQ(refusal(zip_of(files)), "archive_bad_entry");
}

TEST(PackageArchive22Zip, Zip64IsRefusedWhereItCouldLie) {
  ZipBuild zip = build_zip(good_files());
  put_le(zip.bytes, zip.directory + 24, 0xFFFFFFFF, 4);
  EXPECT_EQ(refusal(zip.bytes), "archive_bad_entry");
  zip = build_zip(good_files());
  put_le(zip.bytes, zip.bytes.size() - 6, 0xFFFFFFFF, 4);
  EXPECT_EQ(refusal(zip.bytes), "archive_unreadable");
}

TEST(PackageArchive22Zip, ADescriptorThatDoesNotAgreeIsRefused) {
  auto files = good_files();
  for (auto& file : files) file.flags = 1 << 3;
  EXPECT_EQ(refusal(zip_of(files)), "archive_bad_entry");  // there is none
}

TEST(PackageArchive22Zip, AFileThatNoDirectoryTellsOfIsRefused) {
  const ZipBuild hidden = build_zip({{.name = "hidden", .content = "x"}});
  ZipBuild zip = build_zip(good_files());
  std::string bytes = hidden.bytes.substr(0, hidden.directory) + zip.bytes;
  put_le(bytes, bytes.size() - 6, hidden.directory + zip.directory, 4);
  EXPECT_EQ(refusal(bytes), "archive_bad_entry");
}

TEST(PackageArchive22Zip, ContentThatDoesNotHaveItsChecksumIsRefused) {
  auto zip = zip_of(good_files());
  zip[zip.find(kTensorBytes) + 100] ^= 1;
  EXPECT_EQ(refusal(zip), "archive_unreadable");
}

TEST(PackageArchive22, EveryPrefixIsRefused) {
  const std::string tar = tar_of(good_members());
  const std::string zip = zip_of(good_files());
  const std::string gz = compressed(tar, Compression::kGzip);
  const std::string zst = compressed(tar, Compression::kZstd);
  for (const std::string& whole : {zip, gz, zst}) {
    for (std::size_t size = 0; size < whole.size(); size += 7) {
      EXPECT_NE(refusal(whole.substr(0, size)), "accepted") << size;
    }
  }
  // A tar may lack the zeros at its end, as some writers leave it, but nothing before them.
  const std::size_t content_ends = tar.size() - 1024 - (512 - kTensorBytes.size() % 512);
  for (std::size_t size = 0; size < content_ends; size += 7) {
    EXPECT_NE(refusal(tar.substr(0, size)), "accepted") << size;
  }
}

TEST(PackageArchive22, RandomDamageNeverChangesWhatIsAccepted) {
  const unsigned seed = 20261121;
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string zip = zip_of(good_files(/*deflated=*/true));
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = zip;
    damaged[random() % damaged.size()] ^= static_cast<char>(1U << random() % 8);
    const Extracted extracted = extract(damaged);
    if (!extracted.package) continue;  // accepted only where the flaw is in what nobody reads
    EXPECT_EQ(extracted.config, kConfigText);
    EXPECT_TRUE(extracted.tensors == kTensorBytes);
  }
}

// ---- 29: code and templates of a tenant's own

TEST(PackageArchive29, CodeIsRefused) {
  for (const char* name : {"tokenization_mine.py", "lib.so", "run.sh"}) {
    EXPECT_EQ(refusal(tar_with({.name = name, .content = "x"})), "file_not_accepted") << name;
  }
}

TEST(PackageArchive29, AChatTemplateIsHandedOverToBeCompared) {
  const Extracted extracted =
      extract(tar_with({.name = "chat_template.jinja", .content = "{{ x }}"}));
  ASSERT_TRUE(extracted.package);
  EXPECT_EQ(extracted.package->chat_template, "{{ x }}");
}

TEST(PackageArchive29, AVocabularyThatCannotBeComparedIsRefused) {
  EXPECT_EQ(refusal(tar_with({.name = "vocab.json", .content = "{}"})), "file_not_accepted");
}

// ---- 30: names of an archive are looked up, not used

TEST(PackageArchive30, NothingIsWrittenButTheTwoFiles) {
  const Extracted extracted =
      extract(tar_with({.name = "adapter_model.safetensors.json", .content = "x"}));
  ASSERT_TRUE(extracted.package);
  EXPECT_TRUE(extracted.tensors == kTensorBytes);
  EXPECT_EQ(extracted.package->warnings.at(0).code, kIgnoredFile);
}

TEST(PackageArchive, ASinkThatRefusesEndsIt) {
  const std::string tar = tar_of(good_members());
  const ArchiveSink refuse = [](std::string_view) { return false; };
  const auto package = extract_package(std::as_bytes(std::span(tar)), refuse, refuse);
  ASSERT_FALSE(package);
  EXPECT_EQ(package.error().code, kValidationFailed);
}

}  // namespace
}  // namespace tessera
