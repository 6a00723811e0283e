#include "adapters/module_regex.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <re2/re2.h>

namespace tessera {
namespace {

constexpr std::size_t kMaxRegexBytes = 1024;
constexpr std::int64_t kMaxRegexMemory = 256 << 10;

// Accepted by RE2, but an error or something else in Python.
constexpr std::array<std::string_view, 12> kReadDifferently = {
    "[[:", "{,", "\\Q", "\\E", "\\C", "\\p", "\\P", "\\x{", "\\z", "(?U", "(?<", "(?P>"};

bool reads_the_same(std::string_view regex) {
  return std::ranges::none_of(kReadDifferently, [&](std::string_view construct) {
    return regex.find(construct) != regex.npos;
  });
}

re2::StringPiece piece(std::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

ModuleRegex::ModuleRegex(std::unique_ptr<re2::RE2> regex) : regex_(std::move(regex)) {}
ModuleRegex::ModuleRegex(ModuleRegex&&) noexcept = default;
ModuleRegex::~ModuleRegex() = default;

std::optional<ModuleRegex> ModuleRegex::compile(std::string_view part, std::string_view before,
                                                std::string_view after) {
  if (part.size() > kMaxRegexBytes || !reads_the_same(part)) return std::nullopt;
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kMaxRegexMemory);
  // `part` must stand on its own: "a)(b" would be well-formed only by what is put around it.
  if (!re2::RE2(piece(part), options).ok()) return std::nullopt;
  std::string whole(before);
  whole.append(part).append(after);
  auto regex = std::make_unique<re2::RE2>(whole, options);
  if (!regex->ok()) return std::nullopt;
  return ModuleRegex(std::move(regex));
}

std::optional<ModuleRegex> ModuleRegex::whole(std::string_view regex) {
  return compile(regex, "", "");
}

std::optional<ModuleRegex> ModuleRegex::suffix(std::string_view regex) {
  return compile(regex, "(?:.*\\.)?(?:", ")");
}

std::optional<ModuleRegex> ModuleRegex::layer(std::string_view regex) {
  return compile(regex, "(?:^|.*?\\.)", "\\.(?P<idx>\\d+)\\.");
}

bool ModuleRegex::matches(std::string_view path) const {
  return re2::RE2::FullMatch(piece(path), *regex_);
}

std::optional<int> ModuleRegex::layer_index(std::string_view path) const {
  const auto& groups = regex_->NamedCapturingGroups();
  const auto index_group = groups.find("idx");
  if (index_group == groups.end()) return std::nullopt;
  std::vector<re2::StringPiece> found(static_cast<std::size_t>(index_group->second) + 1);
  if (!regex_->Match(piece(path), 0, path.size(), re2::RE2::ANCHOR_START, found.data(),
                     static_cast<int>(found.size()))) {
    return std::nullopt;
  }
  int index = 0;
  if (!re2::RE2::FullMatch(found.back(), "(\\d+)", &index)) return std::nullopt;
  return index;
}

}  // namespace tessera
