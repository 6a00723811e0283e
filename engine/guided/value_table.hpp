// value_table.hpp — JSON values, interned by JSON Schema's equality: equal values have one id.
//
// 1, 1.0 and 10e-1 are one number; the order of an object's members does not count. The order in
// which they stood at first is kept, for what is generated.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "engine/guided/decimal.hpp"

namespace tessera::guided {

enum class JsonKind : std::uint8_t { kNull, kBoolean, kNumber, kString, kArray, kObject };

using ValueId = std::uint32_t;

// Not thread-safe while it grows; read by any thread afterwards.
class ValueTable {
 public:
  using Member = std::pair<std::string, ValueId>;

  ValueTable();
  ~ValueTable();
  ValueTable(ValueTable&&) noexcept;
  ValueTable& operator=(ValueTable&&) noexcept;

  ValueId null();
  ValueId boolean(bool value);
  ValueId number(Decimal value);
  ValueId string(std::string_view utf8);
  ValueId array(std::span<const ValueId> items);
  ValueId object(std::span<const Member> members);  // names are distinct

  JsonKind kind(ValueId id) const;
  bool as_boolean(ValueId id) const;
  const Decimal& as_number(ValueId id) const;
  const std::string& as_string(ValueId id) const;
  std::span<const ValueId> items(ValueId id) const;
  std::span<const Member> members(ValueId id) const;  // in the order of the first such object

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::guided
