#include "adapters/safetensors_header.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

namespace tessera {
namespace {

using Entry = SafetensorsHeader::Entry;
using enum FindingCode;

std::optional<Dtype> dtype_of(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(Dtype::kU64); ++i) {
    if (dtype_name(static_cast<Dtype>(i)) == name) return static_cast<Dtype>(i);
  }
  return std::nullopt;
}

// nlohmann's event interface. Each event checks that it may come where it came; the first that may
// not is the finding, and parsing ends there.
class HeaderReader {
 public:
  explicit HeaderReader(const SafetensorsLimits& limits) : limits_(limits) {}

  SafetensorsHeader take_header() { return std::move(header_); }
  std::optional<Finding>& finding() { return finding_; }

  // Where numbers may be: inside one of the two arrays of an entry.
  bool number_unsigned(std::uint64_t value) {
    if (place_ == Place::kShape) return add_dimension(value);
    if (place_ == Place::kOffsets) return add_offset(value);
    return misplaced();
  }

  bool string(std::string& value) {
    if (place_ == Place::kMetadata) {
      header_.metadata.emplace_back(std::move(key_), std::move(value));
      return true;
    }
    if (place_ == Place::kEntry && field_ == Field::kDtype) return set_dtype(value);
    return misplaced();
  }

  bool start_object(std::size_t) {
    if (place_ == Place::kStart) return enter(Place::kTop);
    if (place_ != Place::kTop) return misplaced();
    if (key_ == "__metadata__") return start_metadata();
    if (header_.entries.size() == limits_.max_tensors) {
      return fail(kSafetensorsTooManyTensors,
                  "The file has more than " + std::to_string(limits_.max_tensors) + " tensors.");
    }
    header_.entries.emplace_back().name = std::move(key_);
    seen_ = {};
    return enter(Place::kEntry);
  }

  bool end_object() {
    if (place_ == Place::kTop) return enter(Place::kEnd);
    if (place_ == Place::kEntry && !entry_is_whole()) return false;
    return enter(Place::kTop);
  }

  bool start_array(std::size_t) {
    if (place_ != Place::kEntry) return misplaced();
    if (field_ == Field::kShape) return enter(Place::kShape);
    if (field_ == Field::kOffsets) return enter(Place::kOffsets);
    return misplaced();
  }

  bool end_array() {
    if (place_ == Place::kOffsets && num_offsets_ != 2) return bad_offsets();
    return enter(Place::kEntry);
  }

  bool key(std::string& key) {
    if (place_ == Place::kEntry) return start_field(key);
    key_ = std::move(key);
    return true;
  }

  // Never right, whether floats, negative numbers or null.
  bool null() { return misplaced(); }
  bool boolean(bool) { return misplaced(); }
  bool number_integer(std::int64_t) { return misplaced(); }
  bool number_float(double, const std::string&) { return misplaced(); }
  bool binary(nlohmann::json::binary_t&) { return misplaced(); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) {
    return fail(kSafetensorsHeaderInvalid,
                "The header is not valid JSON at byte " + std::to_string(position) + ".");
  }

 private:
  enum class Place : std::uint8_t { kStart, kTop, kMetadata, kEntry, kShape, kOffsets, kEnd };
  enum class Field : std::uint8_t { kDtype, kShape, kOffsets };

  Entry& entry() { return header_.entries.back(); }

  bool enter(Place place) {
    place_ = place;
    return true;
  }

  bool fail(FindingCode code, std::string message) {
    const bool in_entry = place_ >= Place::kEntry && place_ < Place::kEnd;
    finding_ = Finding{.code = code,
                       .about = in_entry ? Finding::About::kTensor : Finding::About::kFile,
                       .subject = in_entry ? entry().name : std::string(),
                       .message = std::move(message)};
    return false;
  }

  // A value of a kind that does not belong where it stands.
  bool misplaced() {
    if (place_ == Place::kMetadata) {
      return fail(kSafetensorsBadMetadata, "A value of __metadata__ is not a string.");
    }
    if (place_ < Place::kEntry) {
      return fail(kSafetensorsHeaderInvalid, "An entry of the header is not an object.");
    }
    switch (field_) {
      case Field::kDtype:
        return fail(kSafetensorsBadDtype, "The dtype is not a string.");
      case Field::kShape:
        return fail(kSafetensorsBadShape, "The shape is not a list of unsigned integers.");
      case Field::kOffsets:
        break;
    }
    return bad_offsets();
  }

  bool bad_offsets() {
    return fail(kSafetensorsBadOffsets,
                "data_offsets is not two unsigned integers, the first at most the second.");
  }

  bool start_metadata() {
    if (std::exchange(has_metadata_, true)) {
      return fail(kSafetensorsDuplicateKey, "The header has __metadata__ twice.");
    }
    return enter(Place::kMetadata);
  }

  bool start_field(const std::string& name) {
    constexpr std::array<std::string_view, 3> kFields = {"dtype", "shape", "data_offsets"};
    const auto found = std::ranges::find(kFields, name);
    if (found == kFields.end()) {
      return fail(kSafetensorsUnknownKey,
                  "An entry has a key other than dtype, shape and "
                  "data_offsets.");
    }
    field_ = static_cast<Field>(found - kFields.begin());
    if (std::exchange(seen_[static_cast<std::size_t>(field_)], true)) {
      return fail(kSafetensorsDuplicateKey, "The entry has \"" + name + "\" twice.");
    }
    num_offsets_ = 0;
    return true;
  }

  bool set_dtype(const std::string& name) {
    const auto dtype = dtype_of(name);
    if (!dtype) return fail(kSafetensorsBadDtype, "The dtype is none that safetensors knows.");
    entry().dtype = *dtype;
    return true;
  }

  bool add_dimension(std::uint64_t size) {
    if (size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return fail(kSafetensorsOverflow, "A dimension does not fit in 63 bits.");
    }
    if (entry().shape.size() == limits_.max_rank) {
      return fail(kSafetensorsBadShape,
                  "The shape has more than " + std::to_string(limits_.max_rank) + " dimensions.");
    }
    entry().shape.push_back(static_cast<std::int64_t>(size));
    return true;
  }

  bool add_offset(std::uint64_t offset) {
    if (num_offsets_ == 2) return bad_offsets();
    (num_offsets_++ == 0 ? entry().begin : entry().end) = offset;
    return true;
  }

  bool entry_is_whole() {
    if (!seen_[0]) return fail(kSafetensorsBadDtype, "The entry has no dtype.");
    if (!seen_[1]) return fail(kSafetensorsBadShape, "The entry has no shape.");
    if (!seen_[2] || entry().begin > entry().end) return bad_offsets();
    return true;
  }

  const SafetensorsLimits& limits_;
  SafetensorsHeader header_;
  std::optional<Finding> finding_;
  Place place_ = Place::kStart;
  Field field_ = Field::kDtype;
  std::array<bool, 3> seen_ = {};  // which fields the entry has, by Field
  int num_offsets_ = 0;
  bool has_metadata_ = false;
  std::string key_;  // last key outside an entry
};

template <class Items, class Projection>
std::optional<Finding> find_duplicate(Items& items, Projection name) {
  std::ranges::sort(items, {}, name);
  const auto twin = std::ranges::adjacent_find(items, {}, name);
  if (twin == items.end()) return std::nullopt;
  return Finding{.code = kSafetensorsDuplicateKey,
                 .about = Finding::About::kTensor,
                 .subject = std::invoke(name, *twin),
                 .message = "The header has a key twice."};
}

}  // namespace

Checked<SafetensorsHeader> parse_safetensors_header(std::string_view json,
                                                    const SafetensorsLimits& limits) {
  // nlohmann takes a NUL byte for the end of its input, and skips a byte order mark.
  if (!json.starts_with('{') || json.find('\0') != json.npos) {
    return Finding{.code = kSafetensorsHeaderInvalid,
                   .message = "The header is not a JSON object."};
  }
  HeaderReader reader(limits);
  if (!nlohmann::json::sax_parse(json, &reader)) return std::move(*reader.finding());
  SafetensorsHeader header = reader.take_header();
  if (auto twin = find_duplicate(header.entries, &Entry::name)) return std::move(*twin);
  using Pair = std::pair<std::string, std::string>;
  if (auto twin = find_duplicate(header.metadata, &Pair::first)) return std::move(*twin);
  return header;
}

}  // namespace tessera
