// flat_json.hpp — a record of the store, read without building a tree of it.
//
// Most records are one JSON object of a dozen members whose texts have no escapes: such a text is
// cut into its members where they stand, ten times as fast as it is parsed, which is what a start
// with a million keys takes. Whatever is not of that kind is nullopt, here or in a value, and its
// reader then goes to parse_json(), which also knows what is wrong with it.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tessera {

// Points into the text that it was cut from. Used by one thread.
class FlatJson {
 public:
  static constexpr std::size_t kMaxMembers = 32;

  FlatJson() {}  // an object without members; user-provided, so that nothing is zeroed

  // nullopt unless `text` is an object as to_text() writes it (no white space), without a
  // backslash. Values are not looked at but for where they end.
  static std::optional<FlatJson> cut(std::string_view text);

  // The member's value as it stands, "\"text\"" or "17"; nullopt if there is none.
  std::optional<std::string_view> find(std::string_view name) const;
  bool has(std::string_view name) const;

  // How values are read; nullopt if `value` is of another kind.
  static std::optional<std::string_view> as_text(std::string_view value);
  template <class Integer>
  static std::optional<Integer> as_integer(std::string_view value) {
    Integer number{};
    const char* const end = value.data() + value.size();
    const auto read = std::from_chars(value.data(), end, number);
    if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
    return number;
  }
  // Calls take(item) for each item of an array of texts or numbers, until it returns false. False
  // if it did, or if `value` is no such array.
  template <class Take>
  static bool each_item(std::string_view value, Take take) {
    if (value.size() < 2 || value.front() != '[') return false;
    std::string_view rest = value.substr(1, value.size() - 2);
    while (!rest.empty()) {
      const std::size_t size = scalar_size(rest);
      if (size == 0 || !take(rest.substr(0, size))) return false;
      rest.remove_prefix(size);
      if (rest.empty()) return true;
      if (rest.front() != ',' || rest.size() == 1) return false;
      rest.remove_prefix(1);
    }
    return true;
  }

 private:
  struct Member {
    const char* name;
    const char* value;
    std::uint32_t name_mark;
    std::uint32_t value_bytes;
  };

  // Its length, first and last byte: hardly ever the same for two names of a record.
  static std::uint32_t mark_of(std::string_view name) {
    if (name.empty()) return 0;
    const std::uint32_t first = static_cast<unsigned char>(name.front());
    const std::uint32_t last = static_cast<unsigned char>(name.back());
    return static_cast<std::uint32_t>(name.size()) << 16 | first << 8 | last;
  }
  // One of 64, by which most names that are not there are known without a look at those that are.
  static std::uint64_t bit_of(std::uint32_t mark) {
    return std::uint64_t{1} << (mark * 0x165667B1U >> 26);
  }
  bool cut_members(std::string_view text);
  // The member's index; size_ if there is none.
  std::size_t index_of(std::string_view name) const;

  // Bytes of the value, or the scalar, that `text` begins with; 0 if it is none.
  static std::size_t value_size(std::string_view text);
  static std::size_t scalar_size(std::string_view text);

  std::array<Member, kMaxMembers> members_;  // the first `size_` of them
  std::size_t size_ = 0;
  std::uint64_t bits_ = 0;        // of their names
  mutable std::size_t next_ = 0;  // where the last search ended: fields are asked for in order
};

}  // namespace tessera
