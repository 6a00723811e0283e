#include "engine/model/gguf_file.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

namespace tessera {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "GGUF";
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint64_t kAlignmentMax = 1 << 20;

constexpr std::pair<GgmlType, GgmlBlock> kBlocks[] = {
    {GgmlType::kF32, {"F32", 1, 4}},      {GgmlType::kF16, {"F16", 1, 2}},
    {GgmlType::kQ4_0, {"Q4_0", 32, 18}},  {GgmlType::kQ4_1, {"Q4_1", 32, 20}},
    {GgmlType::kQ5_0, {"Q5_0", 32, 22}},  {GgmlType::kQ5_1, {"Q5_1", 32, 24}},
    {GgmlType::kQ8_0, {"Q8_0", 32, 34}},  {GgmlType::kQ4K, {"Q4_K", 256, 144}},
    {GgmlType::kQ5K, {"Q5_K", 256, 176}}, {GgmlType::kQ6K, {"Q6_K", 256, 210}},
    {GgmlType::kBf16, {"BF16", 1, 2}}};

// Others that files are known to have, to be refused by their names.
constexpr std::pair<std::uint32_t, std::string_view> kOtherTypes[] = {
    {9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},
    {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"},
    {24, "I8"},      {25, "I16"},   {26, "I32"},    {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},
    {34, "TQ1_0"},   {35, "TQ2_0"}, {39, "MXFP4"}};

// The types of metadata values; the numbers are the format's.
enum class ValueType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

const std::pair<GgmlType, GgmlBlock>* find_block(std::uint32_t type) {
  const auto* const found = std::ranges::find(kBlocks, static_cast<GgmlType>(type),
                                              &std::pair<GgmlType, GgmlBlock>::first);
  return found == std::end(kBlocks) ? nullptr : found;
}

std::string type_text(std::uint32_t type) {
  for (const auto& [number, name] : kOtherTypes) {
    if (number == type) return std::string(name);
  }
  return "type " + std::to_string(type);
}

Error corrupt(std::string what) {
  return {Code::kCorrupt, std::move(what)};
}

Error ends_early() {
  return corrupt("the file ends before its list of tensors does");
}

// Reads from the front of the file; the first failure is remembered and every later read fails, so
// that what is read can be a plain list.
class Cursor {
 public:
  Cursor(std::span<const std::byte> file, const GgufLimits& limits)
      : file_(file), limits_(limits) {}

  bool failed() const { return error_.has_value(); }
  const Error& error() const { return *error_; }
  std::size_t position() const { return at_; }
  std::size_t left() const { return file_.size() - at_; }
  void fail(Error error) {
    if (!error_) error_ = std::move(error);
  }

  template <class T>
  T number() {
    T value{};
    if (error_ || left() < sizeof value) {
      fail(ends_early());
      return value;
    }
    std::memcpy(&value, file_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }

  std::string string(std::uint64_t max_bytes) {
    const auto size = number<std::uint64_t>();
    if (!error_ && size > max_bytes) fail(corrupt("a string is longer than the format allows"));
    if (!error_ && size > left()) fail(ends_early());
    if (error_) return {};
    std::string text(static_cast<std::size_t>(size), '\0');
    if (size > 0) std::memcpy(text.data(), file_.data() + at_, text.size());
    at_ += text.size();
    return text;
  }

  // A key or a tensor's name: these stand in messages, which are lines.
  std::string name() {
    std::string text = string(limits_.max_name_bytes);
    const auto is_control = [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
    };
    if (std::ranges::any_of(text, is_control)) fail(corrupt("a name has control characters"));
    return text;
  }

  GgufValue value() { return value(static_cast<ValueType>(number<std::uint32_t>())); }

 private:
  // The fewest bytes that one such value takes; 0: it cannot be in an array.
  static std::size_t least_bytes(ValueType type) {
    switch (type) {
      case ValueType::kU8:
      case ValueType::kI8:
      case ValueType::kBool:
        return 1;
      case ValueType::kU16:
      case ValueType::kI16:
        return 2;
      case ValueType::kU32:
      case ValueType::kI32:
      case ValueType::kF32:
        return 4;
      case ValueType::kString:
      case ValueType::kU64:
      case ValueType::kI64:
      case ValueType::kF64:
        return 8;
      case ValueType::kArray:
        break;
    }
    return 0;
  }

  GgufValue value(ValueType type) {
    switch (type) {
      case ValueType::kF32:
        return static_cast<double>(number<float>());
      case ValueType::kF64:
        return number<double>();
      case ValueType::kBool:
        return number<std::uint8_t>() != 0;
      case ValueType::kString:
        return string(limits_.max_string_bytes);
      case ValueType::kArray:
        return array();
      default:
        return integer(type);
    }
  }

  std::int64_t integer(ValueType type) {
    switch (type) {
      case ValueType::kU8:
        return number<std::uint8_t>();
      case ValueType::kI8:
        return number<std::int8_t>();
      case ValueType::kU16:
        return number<std::uint16_t>();
      case ValueType::kI16:
        return number<std::int16_t>();
      case ValueType::kU32:
        return number<std::uint32_t>();
      case ValueType::kI32:
        return number<std::int32_t>();
      case ValueType::kI64:
        return number<std::int64_t>();
      case ValueType::kU64: {
        const auto value = number<std::uint64_t>();
        constexpr auto kMax = std::uint64_t{std::numeric_limits<std::int64_t>::max()};
        if (value > kMax) fail(corrupt("a metadata value is beyond 63 bits"));
        return static_cast<std::int64_t>(std::min(value, kMax));
      }
      default:
        fail(corrupt("a metadata value is of an unknown type"));
        return 0;
    }
  }

  GgufValue array() {
    const auto type = static_cast<ValueType>(number<std::uint32_t>());
    const auto count = number<std::uint64_t>();
    const std::size_t least = least_bytes(type);
    if (!error_ && least == 0) fail(corrupt("an array holds values of an unknown type"));
    if (!error_ && count > limits_.max_array_values) fail(corrupt("an array is too long"));
    if (!error_ && count > left() / least) fail(ends_early());
    if (error_) return GgufNumbers();
    const auto size = static_cast<std::size_t>(count);
    return type == ValueType::kString ? GgufValue(string_array(size))
                                      : GgufValue(number_array(type, size));
  }

  GgufStrings string_array(std::size_t count) {
    GgufStrings strings;
    strings.reserve(count);
    for (std::size_t i = 0; i < count && !error_; ++i) {
      strings.push_back(string(limits_.max_string_bytes));
    }
    return strings;
  }

  GgufNumbers number_array(ValueType type, std::size_t count) {
    GgufNumbers numbers;
    numbers.reserve(count);
    for (std::size_t i = 0; i < count && !error_; ++i) {
      switch (type) {
        case ValueType::kF32:
          numbers.push_back(static_cast<double>(number<float>()));
          break;
        case ValueType::kF64:
          numbers.push_back(number<double>());
          break;
        case ValueType::kBool:
          numbers.push_back(number<std::uint8_t>() != 0 ? 1.0 : 0.0);
          break;
        default:
          numbers.push_back(static_cast<double>(integer(type)));
      }
    }
    return numbers;
  }

  std::span<const std::byte> file_;
  const GgufLimits& limits_;
  std::size_t at_ = 0;
  std::optional<Error> error_;
};

void read_metadata(Cursor& cursor, std::uint64_t count, GgufFile& file) {
  for (std::uint64_t i = 0; i < count && !cursor.failed(); ++i) {
    std::string key = cursor.name();
    GgufValue value = cursor.value();
    if (!file.metadata.emplace(key, std::move(value)).second) {
      cursor.fail(corrupt("metadata " + key + " is there twice"));
    }
  }
}

// Bytes of the tensor's blocks, or nothing if they are no whole number of blocks or beyond 63 bits.
std::optional<std::uint64_t> size_of(const GgufTensor& tensor) {
  const GgmlBlock& block = block_of(tensor.type);
  std::uint64_t blocks = 1;
  for (std::size_t i = 0; i < tensor.dims.size(); ++i) {
    auto size = static_cast<std::uint64_t>(tensor.dims[i]);
    if (i == 0) {
      if (size % static_cast<std::uint64_t>(block.weights) != 0) return std::nullopt;
      size /= static_cast<std::uint64_t>(block.weights);
    }
    if (__builtin_mul_overflow(blocks, size, &blocks)) return std::nullopt;
  }
  if (__builtin_mul_overflow(blocks, static_cast<std::uint64_t>(block.bytes), &blocks) ||
      blocks > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    return std::nullopt;
  }
  return blocks;
}

struct Entry {
  GgufTensor tensor;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

Entry read_entry(Cursor& cursor, const GgufLimits& limits) {
  Entry entry;
  GgufTensor& tensor = entry.tensor;
  tensor.name = cursor.name();
  const auto num_dims = cursor.number<std::uint32_t>();
  if (num_dims < 1 || num_dims > limits.max_dims) {
    cursor.fail(corrupt("tensor " + tensor.name + " has an impossible number of dimensions"));
  }
  for (std::uint32_t i = 0; i < num_dims && !cursor.failed(); ++i) {
    const auto size = cursor.number<std::uint64_t>();
    if (size < 1 || size > std::uint64_t{1} << 40U) {
      cursor.fail(corrupt("tensor " + tensor.name + " has an impossible size"));
    }
    tensor.dims.push_back(static_cast<std::int64_t>(size));
  }
  const auto type = cursor.number<std::uint32_t>();
  entry.offset = cursor.number<std::uint64_t>();
  if (cursor.failed()) return entry;
  const auto* const block = find_block(type);
  if (block == nullptr) {
    cursor.fail({Code::kUnsupportedModel,
                 "tensor " + tensor.name + " is " + type_text(type) + ", which is not supported"});
    return entry;
  }
  tensor.type = block->first;
  const auto bytes = size_of(tensor);
  if (!bytes) cursor.fail(corrupt("tensor " + tensor.name + " is of no whole number of blocks"));
  entry.bytes = bytes.value_or(0);
  return entry;
}

Result<std::uint64_t> alignment_of(const GgufFile& file) {
  const auto found = file.metadata.find("general.alignment");
  if (found == file.metadata.end()) return kDefaultAlignment;
  const auto value = file.integer("general.alignment").value_or(0);
  if (value < 8 || std::cmp_greater(value, kAlignmentMax) || value % 8 != 0) {
    return corrupt("general.alignment is no alignment");
  }
  return static_cast<std::uint64_t>(value);
}

// Gives each tensor its bytes, within `data` and apart from the others.
Result<void> place(std::vector<Entry>& entries, std::span<const std::byte> data,
                   std::uint64_t alignment) {
  std::vector<Entry*> by_offset;
  for (Entry& entry : entries) {
    const std::string& name = entry.tensor.name;
    if (entry.offset % alignment != 0) return corrupt("tensor " + name + " is not aligned");
    if (entry.offset > data.size() || entry.bytes > data.size() - entry.offset) {
      return corrupt("the file ends before tensor " + name + " does");
    }
    entry.tensor.bytes =
        data.subspan(static_cast<std::size_t>(entry.offset), static_cast<std::size_t>(entry.bytes));
    by_offset.push_back(&entry);
  }
  std::ranges::sort(by_offset, {}, [](const Entry* entry) { return entry->offset; });
  std::uint64_t end = 0;
  for (const Entry* entry : by_offset) {
    if (entry->offset < end) return corrupt("tensor " + entry->tensor.name + " overlaps another");
    end = entry->offset + entry->bytes;
  }
  return {};
}

Result<void> check_names(const GgufFile& file) {
  std::vector<std::string_view> names;
  for (const GgufTensor& tensor : file.tensors) names.emplace_back(tensor.name);
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice == names.end()) return {};
  return corrupt("tensor " + std::string(*twice) + " is there twice");
}

template <class T>
const T* value_at(const GgufFile& file, std::string_view key) {
  const auto found = file.metadata.find(key);
  return found == file.metadata.end() ? nullptr : std::get_if<T>(&found->second);
}

}  // namespace

const GgmlBlock& block_of(GgmlType type) {
  return find_block(static_cast<std::uint32_t>(type))->second;
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &GgufTensor::name);
  return found == tensors.end() ? nullptr : &*found;
}

std::optional<std::int64_t> GgufFile::integer(std::string_view key) const {
  const auto* value = value_at<std::int64_t>(*this, key);
  if (value == nullptr) return std::nullopt;
  return *value;
}

std::optional<double> GgufFile::number(std::string_view key) const {
  if (const auto whole = integer(key)) return static_cast<double>(*whole);
  const auto* value = value_at<double>(*this, key);
  if (value == nullptr) return std::nullopt;
  return *value;
}

std::optional<bool> GgufFile::flag(std::string_view key) const {
  const auto* value = value_at<bool>(*this, key);
  if (value == nullptr) return std::nullopt;
  return *value;
}

const std::string* GgufFile::text(std::string_view key) const {
  return value_at<std::string>(*this, key);
}
const GgufNumbers* GgufFile::numbers(std::string_view key) const {
  return value_at<GgufNumbers>(*this, key);
}
const GgufStrings* GgufFile::strings(std::string_view key) const {
  return value_at<GgufStrings>(*this, key);
}

bool looks_like_gguf(std::span<const std::byte> file) {
  return file.size() >= kMagic.size() &&
         std::memcmp(file.data(), kMagic.data(), kMagic.size()) == 0;
}

Result<GgufFile> parse_gguf(std::span<const std::byte> file, const GgufLimits& limits) {
  if (!looks_like_gguf(file)) return corrupt("it is not a GGUF file");
  Cursor cursor(file, limits);
  cursor.number<std::uint32_t>();  // the magic
  GgufFile parsed;
  const auto version = cursor.number<std::uint32_t>();
  if (version != 2 && version != 3) {
    return Error{Code::kUnsupportedModel, "GGUF version " + std::to_string(version) +
                                              " is not supported; 2 and 3 (little-endian) are"};
  }
  parsed.version = static_cast<int>(version);
  const auto num_tensors = cursor.number<std::uint64_t>();
  const auto num_metadata = cursor.number<std::uint64_t>();
  if (num_tensors > limits.max_tensors || num_metadata > limits.max_metadata) {
    return corrupt("it tells of too many tensors or metadata");
  }
  read_metadata(cursor, num_metadata, parsed);
  std::vector<Entry> entries;
  for (std::uint64_t i = 0; i < num_tensors && !cursor.failed(); ++i) {
    entries.push_back(read_entry(cursor, limits));
  }
  if (cursor.failed()) return cursor.error();
  const auto alignment = alignment_of(parsed);
  if (!alignment) return alignment.error();
  const std::size_t data = (cursor.position() + *alignment - 1) / *alignment * *alignment;
  if (data > file.size() && !entries.empty()) return ends_early();
  auto placed = place(entries, file.subspan(std::min(data, file.size())), *alignment);
  if (!placed) return placed.error();
  for (Entry& entry : entries) parsed.tensors.push_back(std::move(entry.tensor));
  if (auto checked = check_names(parsed); !checked) return checked.error();
  return parsed;
}

}  // namespace tessera
