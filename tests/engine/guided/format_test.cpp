#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/guided/format_automata.hpp"
#include "engine/guided/formats.hpp"
#include "engine/guided/json_reader.hpp"
#include "tests/engine/guided/automaton_check.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera::guided {
namespace {

namespace fs = std::filesystem;

bool matches(std::string_view format, std::string_view text) {
  static TestPool test;
  static std::map<std::string, RegexId, std::less<>> languages;
  auto known = languages.find(format);
  if (known == languages.end()) {
    const auto language = format_language(format, test.pool, test.limits);
    EXPECT_TRUE(language) << format;
    known = languages.emplace(format, language.value_or(RegexPool::kNothing)).first;
  }
  return test.pool.matches(known->second, text);
}

TEST(Formats, NamesAreSortedAndKnown) {
  TestPool test;
  EXPECT_TRUE(std::ranges::is_sorted(known_formats()));
  EXPECT_GE(known_formats().size(), 20U);
  for (const auto name : known_formats()) {
    const auto language = format_language(name, test.pool, test.limits);
    ASSERT_TRUE(language) << name;
    EXPECT_TRUE(test.pool.alive(*language)) << name;
  }
  EXPECT_FALSE(format_language("int32", test.pool, test.limits));
  EXPECT_FALSE(format_language("", test.pool, test.limits));
}

bool leap(int year) {
  return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

TEST(Formats, DatesAreTheGregorianCalendars) {
  constexpr std::array kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  std::array<char, 32> text{};
  for (const int year : {0, 1, 4, 99, 100, 400, 1582, 1600, 1700, 1899, 1900, 1999, 2000, 2023,
                         2024, 2100, 2400, 9999}) {
    for (int month = 0; month <= 13; ++month) {
      for (int day = 0; day <= 32; ++day) {
        std::snprintf(text.data(), text.size(), "%04d-%02d-%02d", year, month, day);
        const bool real = year > 0 && month >= 1 && month <= 12 && day >= 1 &&
                          day <= kDays[static_cast<std::size_t>(month) - (month > 0 ? 1 : 0)] +
                                     (month == 2 && leap(year) ? 1 : 0);
        EXPECT_EQ(matches("date", text.data()), real) << text.data();
        EXPECT_EQ(matches("date-time", std::string(text.data()) + "T00:00:00Z"), real)
            << text.data();
      }
    }
  }
  for (int year = 0; year <= 9999; ++year) {
    std::snprintf(text.data(), text.size(), "%04d-02-29", year);
    EXPECT_EQ(matches("date", text.data()), year > 0 && leap(year)) << text.data();
  }
}

TEST(Formats, TimesHaveAnOffset) {
  for (const auto* text :
       {"00:00:00Z", "23:59:59z", "12:34:56.789+23:59", "08:00:00-00:00", "01:02:03.0Z"}) {
    EXPECT_TRUE(matches("time", text)) << text;
  }
  for (const auto* text :
       {"24:00:00Z", "00:60:00Z", "00:00:60Z", "00:00:00", "00:00:00.Z", "00:00:00+24:00",
        "00:00:00+00:60", "00:00:00+0000", "0:00:00Z", "00:00:00Z+00:00", "T00:00:00Z"}) {
    EXPECT_FALSE(matches("time", text)) << text;
  }
}

TEST(Formats, HostnamesHaveTheirLengths) {
  const std::string label(63, 'a');
  EXPECT_TRUE(matches("hostname", label));
  EXPECT_FALSE(matches("hostname", label + "a"));
  const std::string long_one = label + "." + label + "." + label + ".";
  EXPECT_TRUE(matches("hostname", long_one + std::string(61, 'a')));
  EXPECT_FALSE(matches("hostname", long_one + std::string(62, 'a')));
  EXPECT_FALSE(matches("hostname", "xn--abc"));
  EXPECT_FALSE(matches("hostname", "a.ab--c"));
  EXPECT_TRUE(matches("hostname", "a--b.c-d"));
}

TEST(Formats, Ipv6GroupsAreCounted) {
  // Every number of groups before and behind ::, with and without an IPv4 address at the end.
  const auto groups = [](int n) {
    std::string text;
    for (int i = 0; i < n; ++i) text += (i == 0 ? "" : ":") + std::string("12ab");
    return text;
  };
  for (int before = 0; before <= 9; ++before) {
    EXPECT_EQ(matches("ipv6", groups(before)), before == 8) << before;
    EXPECT_EQ(matches("ipv6", (before == 0 ? "" : groups(before) + ":") + "1.2.3.4"), before == 6);
    for (int behind = 0; behind <= 9; ++behind) {
      const auto text = groups(before) + "::" + groups(behind);
      EXPECT_EQ(matches("ipv6", text), before + behind <= 7) << text;
      const auto with_ipv4 = text + (behind == 0 ? "" : ":") + "255.0.10.1";
      EXPECT_EQ(matches("ipv6", with_ipv4), before + behind <= 5) << with_ipv4;
    }
  }
  for (const auto* text :
       {"::1.2.3", "::1.2.3.256", "::01.2.3.4", "::1.2.3.4.5", "::1.2.3.4:5", "::12345",
        ":::", "1::2::3", ":1", "1:", "::g", "fe80::1%eth0", "::ab.1.2.3"}) {
    EXPECT_FALSE(matches("ipv6", text)) << text;
  }
}

TEST(Formats, RegexesAreThoseThatAllRead) {
  for (const auto* text : {"", "^[a-z]{1,3}$", "a|b", "(?:a(b)*)+?", "[^-a\\]\\d-]", "\\u00e9\\x41",
                           "(?=a)b", "x{2,}", "x{02,2}", "[!-\\]]", "\\/", "()*"}) {
    EXPECT_TRUE(matches("regex", text)) << text;
  }
  for (const auto* text : {"(", ")", "[", "[]", "[z-a]", "*", "a**", "a{2,1}", "a{,2}", "\\", "\\q",
                           "(?", "(?<n>a)", "(?=a)*", "^*", "[a-\\d]", "a{1", "\\u12", "[~-\\]"}) {
    EXPECT_FALSE(matches("regex", text)) << text;
  }
}

TEST(Formats, NoLivePrefixIsADeadEnd) {
  constexpr std::string_view kAscii =
      " !\"#$%&'()*+,-./"
      "0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";
  EXPECT_GT(expect_no_dead_ends(*date_text(), kAscii, 10'000), 10U);
  EXPECT_GT(expect_no_dead_ends(*time_text(), kAscii, 10'000), 10U);
  EXPECT_GT(expect_no_dead_ends(*date_time_text(), kAscii, 10'000), 10U);
  EXPECT_GT(expect_no_dead_ends(*ipv6_text(), "0123456789abf:.", 100'000), 100U);
  EXPECT_GT(expect_no_dead_ends(*hostname_text(), "a-.", 100'000), 1'000U);
  expect_no_dead_ends(*regex_text(), "a~-]^[\\(){},?*19x:", 60'000);
}

// Not part of this repository: set TESSERA_SHARED_DATA.
fs::path suite_archive() {
  const char* set = std::getenv("TESSERA_SHARED_DATA");
  const fs::path data =
      set != nullptr ? fs::path(set) : fs::path(TESSERA_SOURCE_DIR) / "../shared/data";
  return data / "json_schema" / "json-schema-test-suite.tar.xz";
}

struct Tally {
  int right = 0;
  std::set<std::string> false_accepts;
  std::set<std::string> refused;
};

void run_file(const fs::path& path, Tally& tally) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  JsonTree tree;
  GuidedFindings findings;
  const auto root = tree.append(text, 1000, 1, findings);
  ASSERT_TRUE(root) << path;
  for (auto group = *root + 1; group != tree[*root].next; group = tree[group].next) {
    const auto schema = tree.find(group, "schema");
    if (tree[schema].kind != JsonKind::kObject) continue;
    const auto format = tree.find(schema, "format");
    if (format == kNoJson || !std::ranges::binary_search(known_formats(), tree[format].text))
      continue;
    const auto tests = tree.find(group, "tests");
    for (auto test = tests + 1; test != tree[tests].next; test = tree[test].next) {
      const auto data = tree.find(test, "data");
      if (tree[data].kind != JsonKind::kString) continue;
      const bool valid = tree[tree.find(test, "valid")].boolean;
      const bool mine = matches(tree[format].text, tree[data].text);
      const auto label = std::string(tree[format].text) + " " + std::string(tree[data].text);
      if (mine == valid) {
        ++tally.right;
      } else {
        (mine ? tally.false_accepts : tally.refused).insert(label);
      }
    }
  }
}

TEST(Formats, AcceptNothingTheOfficialSuiteRefuses) {
  if (!fs::exists(suite_archive())) GTEST_SKIP() << "no " << suite_archive();
  TempDir folder;
  const auto command =
      "tar -xJf '" + suite_archive().string() + "' -C '" + folder.path().string() + "'";
  ASSERT_EQ(std::system(command.c_str()), 0);
  Tally tally;
  for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
    if (entry.path().parent_path().filename() != "format" || !entry.is_regular_file()) continue;
    run_file(entry.path(), tally);
  }
  EXPECT_THAT(tally.false_accepts, testing::IsEmpty());
  EXPECT_GT(tally.right, 2'000);
  // What formats.hpp says is left out: leap seconds, Punycode, contextual rules of IDNA and the
  // like.
  EXPECT_LE(tally.refused.size(), 70U);
  const auto refuses = [&](const char* format) {
    return std::ranges::count_if(tally.refused, [&](const auto& label) {
      return label.starts_with(std::string(format) + " ");
    });
  };
  for (const auto* format : {"date", "duration", "email", "ipv4", "ipv6", "uuid", "uri",
                             "uri-reference", "iri-reference", "json-pointer"}) {
    EXPECT_EQ(refuses(format), 0) << format;
  }
  EXPECT_EQ(refuses("iri"), 2);                    // supplementary planes
  EXPECT_EQ(refuses("relative-json-pointer"), 1);  // 100
  EXPECT_EQ(refuses("uri-template"), 2);           // {%41}, {v:1000}
}

}  // namespace
}  // namespace tessera::guided
