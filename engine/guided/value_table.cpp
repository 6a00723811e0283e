#include "engine/guided/value_table.hpp"

#include <algorithm>
#include <cassert>
#include <deque>
#include <functional>
#include <unordered_map>
#include <vector>

namespace tessera::guided {
namespace {

std::uint64_t mix(std::uint64_t hash, std::uint64_t more) {
  hash ^= more + 0x9E3779B97F4A7C15 + (hash << 6) + (hash >> 2);
  return hash * 0xFF51AFD7ED558CCD;
}

std::uint64_t hash_of(std::string_view text) {
  return std::hash<std::string_view>{}(text);
}

}  // namespace

struct ValueTable::Impl {
  struct Value {
    JsonKind kind = JsonKind::kNull;
    std::uint32_t body = 0;  // index into the vector of its kind
  };

  std::vector<Value> values;
  std::deque<std::string> strings;  // as_string hands out references
  std::deque<Decimal> numbers;
  std::deque<std::vector<ValueId>> arrays;
  std::deque<std::vector<Member>> objects;
  // Sorted by name, as equality wants them; beside objects.
  std::deque<std::vector<Member>> sorted_objects;
  std::unordered_multimap<std::uint64_t, ValueId> by_hash;

  // The id of the value with that hash for which `equal(value)` holds, or a new one of `make()`.
  template <class Equal, class Make>
  ValueId intern(std::uint64_t hash, JsonKind kind, const Equal& equal, const Make& make) {
    hash = mix(hash, static_cast<std::uint64_t>(kind));
    const auto [begin, end] = by_hash.equal_range(hash);
    for (auto at = begin; at != end; ++at) {
      if (values[at->second].kind == kind && equal(values[at->second])) return at->second;
    }
    const auto id = static_cast<ValueId>(values.size());
    values.push_back(make());
    by_hash.emplace(hash, id);
    return id;
  }
};

ValueTable::ValueTable() : impl_(std::make_unique<Impl>()) {
  impl_->values = {{JsonKind::kNull, 0}, {JsonKind::kBoolean, 0}, {JsonKind::kBoolean, 0}};
}
ValueTable::~ValueTable() = default;
ValueTable::ValueTable(ValueTable&&) noexcept = default;
ValueTable& ValueTable::operator=(ValueTable&&) noexcept = default;

ValueId ValueTable::null() {
  return 0;
}
ValueId ValueTable::boolean(bool value) {
  return value ? 2 : 1;
}

ValueId ValueTable::number(Decimal value) {
  Impl& impl = *impl_;
  std::uint64_t hash = mix(hash_of(value.digits()), static_cast<std::uint64_t>(value.exponent()));
  hash = mix(hash, value.negative() ? 1 : 0);
  return impl.intern(
      hash, JsonKind::kNumber,
      [&](const Impl::Value& old) { return impl.numbers[old.body] == value; },
      [&] {
        impl.numbers.push_back(std::move(value));
        return Impl::Value{JsonKind::kNumber, static_cast<std::uint32_t>(impl.numbers.size() - 1)};
      });
}

ValueId ValueTable::string(std::string_view utf8) {
  Impl& impl = *impl_;
  return impl.intern(
      hash_of(utf8), JsonKind::kString,
      [&](const Impl::Value& old) { return impl.strings[old.body] == utf8; },
      [&] {
        impl.strings.emplace_back(utf8);
        return Impl::Value{JsonKind::kString, static_cast<std::uint32_t>(impl.strings.size() - 1)};
      });
}

ValueId ValueTable::array(std::span<const ValueId> items) {
  Impl& impl = *impl_;
  std::uint64_t hash = items.size();
  for (const ValueId item : items) hash = mix(hash, item);
  return impl.intern(
      hash, JsonKind::kArray,
      [&](const Impl::Value& old) { return std::ranges::equal(impl.arrays[old.body], items); },
      [&] {
        impl.arrays.emplace_back(items.begin(), items.end());
        return Impl::Value{JsonKind::kArray, static_cast<std::uint32_t>(impl.arrays.size() - 1)};
      });
}

ValueId ValueTable::object(std::span<const Member> members) {
  Impl& impl = *impl_;
  std::vector<Member> sorted(members.begin(), members.end());
  std::ranges::sort(sorted);
  std::uint64_t hash = sorted.size();
  for (const Member& member : sorted) hash = mix(mix(hash, hash_of(member.first)), member.second);
  return impl.intern(
      hash, JsonKind::kObject,
      [&](const Impl::Value& old) { return impl.sorted_objects[old.body] == sorted; },
      [&] {
        impl.objects.emplace_back(members.begin(), members.end());
        impl.sorted_objects.push_back(std::move(sorted));
        return Impl::Value{JsonKind::kObject, static_cast<std::uint32_t>(impl.objects.size() - 1)};
      });
}

JsonKind ValueTable::kind(ValueId id) const {
  return impl_->values[id].kind;
}

bool ValueTable::as_boolean(ValueId id) const {
  assert(kind(id) == JsonKind::kBoolean);
  return id == 2;
}

const Decimal& ValueTable::as_number(ValueId id) const {
  assert(kind(id) == JsonKind::kNumber);
  return impl_->numbers[impl_->values[id].body];
}

const std::string& ValueTable::as_string(ValueId id) const {
  assert(kind(id) == JsonKind::kString);
  return impl_->strings[impl_->values[id].body];
}

std::span<const ValueId> ValueTable::items(ValueId id) const {
  assert(kind(id) == JsonKind::kArray);
  return impl_->arrays[impl_->values[id].body];
}

std::span<const ValueTable::Member> ValueTable::members(ValueId id) const {
  assert(kind(id) == JsonKind::kObject);
  return impl_->objects[impl_->values[id].body];
}

}  // namespace tessera::guided
