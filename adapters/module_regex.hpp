// module_regex.hpp — a regex from an adapter's config, matched as PEFT (Python's `re`) would.
//
// The regex is a tenant's, so it is run by RE2: time linear in the path, memory bounded. What RE2
// does not know (look-around, back references), or reads otherwise than Python does, is refused
// rather than approximated.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

namespace re2 {
class RE2;
}

namespace tessera {

// Immutable, thread-safe. The factories return nullopt if the regex is not supported.
class ModuleRegex {
 public:
  // re.fullmatch(regex, path): `target_modules` and `exclude_modules` given as a string.
  static std::optional<ModuleRegex> whole(std::string_view regex);
  // re.match(r"(.*\.)?(regex)$", path): a key of `rank_pattern` or `alpha_pattern`.
  static std::optional<ModuleRegex> suffix(std::string_view regex);
  // re.match(r"(?:^|.*?\.)regex\.(\d+)\.", path): an entry of `layers_pattern`.
  static std::optional<ModuleRegex> layer(std::string_view regex);

  ModuleRegex(ModuleRegex&&) noexcept;
  ~ModuleRegex();

  bool matches(std::string_view path) const;
  // The number that layer() found in `path`, if it matches.
  std::optional<int> layer_index(std::string_view path) const;

 private:
  explicit ModuleRegex(std::unique_ptr<re2::RE2> regex);
  static std::optional<ModuleRegex> compile(std::string_view part, std::string_view before,
                                            std::string_view after);

  std::unique_ptr<re2::RE2> regex_;
};

}  // namespace tessera
