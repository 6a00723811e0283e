#include "adapters/packed_file.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

#include "kernels/cpu/aligned_buffer.hpp"

namespace tessera {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

// The last byte is the version: it rises when the table, the data or their meaning changes.
constexpr std::array<char, 8> kMagic = {'T', 'E', 'S', 'S', 'P', 'A', 'K', '\x02'};
constexpr std::size_t kDataAlignment = 4096;
// Read and checked at a time, so that the bytes are still in the cache when they are checked.
constexpr std::size_t kReadBytes = std::size_t{128} << 10;

struct Prologue {
  std::array<char, 8> magic = kMagic;
  std::uint32_t page_type = 0;
  std::uint32_t table_bytes = 0;
  std::uint64_t data_bytes = 0;
  std::uint64_t head_checksum = 0;  // of the prologue with 0 here, and the table
  std::uint64_t data_checksum = 0;
  std::uint64_t reserved = 0;
  std::array<std::uint8_t, 32> adapter = {};
  std::array<std::uint8_t, 32> base = {};
};
static_assert(sizeof(Prologue) == 112);

constexpr std::int32_t kHasOutScale = 1;
constexpr std::int32_t kHasBias = 2;

struct TableHead {
  std::int32_t num_modules = 0;
  std::int32_t num_embed_rows = 0;
  std::int32_t num_head_rows = 0;
  std::int32_t num_invocation = 0;
};

struct TableModule {
  std::int32_t kind = 0;
  std::int32_t layer = 0;
  std::int32_t linear = 0;
  std::int32_t expert = 0;
  std::int32_t rank = 0;
  std::int32_t flags = 0;
};

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

void append_bytes(std::vector<std::byte>& out, std::span<const std::byte> bytes) {
  const std::size_t end = out.size();
  out.resize(end + bytes.size());
  std::memcpy(out.data() + end, bytes.data(), bytes.size());
}

template <class T>
void append(std::vector<std::byte>& out, const T& value) {
  append_bytes(out, bytes_of(value));
}

std::size_t data_offset(std::size_t table_bytes) {
  return (sizeof(Prologue) + table_bytes + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
}

std::size_t max_table_bytes(const PackedFormat& format) {
  return sizeof(TableHead) + format.modules.size() * sizeof(TableModule) +
         kMaxInvocationTokens * sizeof(TokenId);
}

std::vector<std::byte> table_of(const PackedLayout& layout) {
  std::vector<std::byte> table;
  append(table, TableHead{.num_modules = static_cast<std::int32_t>(layout.modules.size()),
                          .num_embed_rows = static_cast<std::int32_t>(layout.embed_rows.count),
                          .num_head_rows = static_cast<std::int32_t>(layout.head_rows.count),
                          .num_invocation = static_cast<std::int32_t>(layout.invocation.size())});
  for (const PackedModule& module : layout.modules) {
    append(table, TableModule{.kind = static_cast<std::int32_t>(module.kind),
                              .layer = module.layer,
                              .linear = static_cast<std::int32_t>(module.linear),
                              .expert = module.expert,
                              .rank = module.rank,
                              .flags = (module.has_out_scale ? kHasOutScale : 0) |
                                       (module.has_bias ? kHasBias : 0)});
  }
  for (const TokenId token : layout.invocation) append(table, token);
  return table;
}

std::uint64_t head_checksum(Prologue prologue, std::span<const std::byte> table) {
  prologue.head_checksum = 0;
  std::vector<std::byte> head;
  append(head, prologue);
  append_bytes(head, table);
  PackedChecksum checksum;
  checksum.update(head);
  return checksum.finish();
}

Error io_error(const char* what) {
  const bool full = errno == ENOSPC || errno == EDQUOT;
  return {full ? Code::kStorageFull : Code::kIo,
          std::string(what) + " packed pages: " + std::generic_category().message(errno)};
}

Error corrupt(const char* what) {
  return {Code::kCorrupt, std::string("packed pages: ") + what};
}

Result<void> write_all(int descriptor, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("cannot write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> write_all_at(int descriptor, std::span<const std::byte> bytes, off_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("cannot write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += written;
  }
  return {};
}

Result<void> read_all(int descriptor, std::span<std::byte> bytes, std::size_t offset) {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("cannot read");
    if (got == 0) return corrupt("the file is cut off");
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::size_t>(got);
  }
  return {};
}

// Reads a table's numbers one behind the other; bytes() is checked before.
class TableReader {
 public:
  explicit TableReader(std::span<const std::byte> table) : rest_(table) {}

  template <class T>
  T take() {
    T value;
    assert(rest_.size() >= sizeof value);
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_ = rest_.subspan(sizeof value);
    return value;
  }

 private:
  std::span<const std::byte> rest_;
};

bool is_module(const BaseModule& base, const TableModule& entry) {
  return static_cast<std::int32_t>(base.kind) == entry.kind && base.layer == entry.layer &&
         static_cast<std::int32_t>(base.linear) == entry.linear && base.expert == entry.expert;
}

// The counts of a table, if they are possible and exactly fill it.
Result<TableHead> check_head(std::span<const std::byte> table, const PackedFormat& format) {
  if (table.size() < sizeof(TableHead)) return corrupt("the table is cut off");
  const auto head = TableReader(table).take<TableHead>();
  const auto is_count = [](std::int32_t count, std::size_t most) {
    return count >= 0 && static_cast<std::size_t>(count) <= most;
  };
  const auto vocab = static_cast<std::size_t>(format.vocab_size);
  if (!is_count(head.num_modules, format.modules.size()) || !is_count(head.num_embed_rows, vocab) ||
      !is_count(head.num_head_rows, vocab) ||
      !is_count(head.num_invocation, kMaxInvocationTokens)) {
    return corrupt("a count is out of range");
  }
  const std::size_t expected = sizeof(TableHead) +
                               static_cast<std::size_t>(head.num_modules) * sizeof(TableModule) +
                               static_cast<std::size_t>(head.num_invocation) * sizeof(TokenId);
  if (table.size() != expected) return corrupt("the table has another length");
  return head;
}

PackedModule packed_module(const BaseModule& base, const TableModule& entry) {
  return {.kind = base.kind,
          .layer = base.layer,
          .linear = base.linear,
          .expert = base.expert,
          .shape = base.shape,
          .rank = entry.rank,
          .has_out_scale = (entry.flags & kHasOutScale) != 0,
          .has_bias = (entry.flags & kHasBias) != 0};
}

// Modules stand in the base's order, so one pass over both finds them.
Result<PackedLayout> parse_table(std::span<const std::byte> table, const PackedFormat& format) {
  const auto head = check_head(table, format);
  if (!head) return head.error();
  PackedLayout layout{
      .type = format.type, .num_layers = format.num_layers, .num_experts = format.num_experts};
  TableReader reader(table);
  reader.take<TableHead>();
  auto base = format.modules.begin();
  for (std::int32_t i = 0; i < head->num_modules; ++i) {
    const auto entry = reader.take<TableModule>();
    base = std::find_if(base, format.modules.end(),
                        [&](const BaseModule& module) { return is_module(module, entry); });
    if (base == format.modules.end()) return corrupt("a module is not the base's");
    if (entry.rank < 0 || entry.rank > kMaxPackedRank) return corrupt("a rank is out of range");
    layout.modules.push_back(packed_module(*base++, entry));
  }
  for (std::int32_t i = 0; i < head->num_invocation; ++i) {
    layout.invocation.push_back(reader.take<TokenId>());
  }
  layout.embed_rows.count = static_cast<std::size_t>(head->num_embed_rows);
  layout.head_rows.count = static_cast<std::size_t>(head->num_head_rows);
  if (layout.embed_rows.count + layout.head_rows.count > 0) layout.hidden = format.hidden;
  place_parts(layout);
  return layout;
}

// A row is found by its id: those must ascend within the vocabulary.
bool are_row_ids(std::span<const TokenId> ids, int vocab_size) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab_size || (i > 0 && ids[i] <= ids[i - 1])) return false;
  }
  return true;
}

Result<std::uint64_t> read_data(int descriptor, std::span<std::byte> data, std::size_t offset) {
  PackedChecksum checksum;
  for (std::size_t at = 0; at < data.size(); at += kReadBytes) {
    const auto part = data.subspan(at, std::min(kReadBytes, data.size() - at));
    if (auto read = read_all(descriptor, part, offset + at); !read) return read.error();
    checksum.update(part);
  }
  return checksum.finish();
}

Result<std::size_t> file_bytes(int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return io_error("cannot read");
  return static_cast<std::size_t>(status.st_size);
}

Result<Prologue> read_prologue(int descriptor, const AdapterDigest& digest,
                               const PackedFormat& format) {
  Prologue prologue;
  const auto bytes = std::as_writable_bytes(std::span(&prologue, 1));
  if (auto read = read_all(descriptor, bytes, 0); !read) return read.error();
  if (prologue.magic != kMagic) return corrupt("the file is of another format");
  if (prologue.page_type != static_cast<std::uint32_t>(format.type)) {
    return corrupt("the pages are of another type");
  }
  if (prologue.adapter != digest.bytes || prologue.base != format.base.bytes) {
    return corrupt("the file is another adapter's");
  }
  return prologue;
}

// The layout that a file says it has, if the file is as long as it then must be.
Result<PackedLayout> read_layout(int descriptor, const Prologue& prologue,
                                 const PackedFormat& format) {
  if (prologue.table_bytes > max_table_bytes(format)) return corrupt("the table is too long");
  const auto length = file_bytes(descriptor);
  if (!length) return length.error();
  const std::size_t offset = data_offset(prologue.table_bytes);
  if (*length < offset || *length - offset != prologue.data_bytes) {
    return corrupt("the file has another length");
  }
  std::vector<std::byte> table(prologue.table_bytes);
  if (auto read = read_all(descriptor, table, sizeof prologue); !read) return read.error();
  if (head_checksum(prologue, table) != prologue.head_checksum) return corrupt("it is damaged");
  auto layout = parse_table(table, format);
  if (layout && layout->bytes != prologue.data_bytes) return corrupt("the data has another length");
  return layout;
}

// Everything before the data.
std::vector<std::byte> head_of(const PackedLayout& layout, std::uint64_t data_checksum,
                               const PackedIdentity& identity) {
  const std::vector<std::byte> table = table_of(layout);
  Prologue prologue{.page_type = static_cast<std::uint32_t>(layout.type),
                    .table_bytes = static_cast<std::uint32_t>(table.size()),
                    .data_bytes = layout.bytes,
                    .data_checksum = data_checksum,
                    .adapter = identity.digest.bytes,
                    .base = identity.base.bytes};
  prologue.head_checksum = head_checksum(prologue, table);
  std::vector<std::byte> head;
  append(head, prologue);
  append_bytes(head, table);
  head.resize(data_offset(table.size()));
  return head;
}

std::size_t largest_part(const PagePacker& packer) {
  std::size_t largest = 0;
  for (std::size_t part = 0; part < packer.num_parts(); ++part) {
    largest = std::max(largest, packer.bytes_of(part));
  }
  return largest;
}

}  // namespace

PackedFormat::PackedFormat(const BaseModel& model, PageType page_type)
    : base(model.digest),
      type(page_type),
      num_layers(model.spec.num_layers()),
      num_experts(model.spec.num_experts),
      vocab_size(model.spec.vocab_size),
      hidden(model.spec.hidden),
      modules(base_modules(model.spec)) {}

std::uint64_t packed_file_bytes(const PackedAdapter& adapter) {
  return data_offset(table_of(adapter.layout()).size()) + adapter.bytes();
}

Result<void> write_packed_file(int descriptor, const PackedAdapter& adapter,
                               const PackedIdentity& identity) {
  PackedChecksum checksum;
  checksum.update(adapter.data());
  const auto head = head_of(adapter.layout(), checksum.finish(), identity);
  if (auto written = write_all(descriptor, head); !written) return written;
  return write_all(descriptor, adapter.data());
}

// The head has the data's checksum, so its place is left free until the data is written.
Result<void> write_packed_file(int descriptor, PagePacker& packer, const PackedIdentity& identity) {
  const off_t begin = ::lseek(descriptor, 0, SEEK_CUR);
  if (begin < 0) return io_error("cannot write");
  const auto free = std::vector<std::byte>(head_of(packer.layout(), 0, identity).size());
  if (auto written = write_all(descriptor, free); !written) return written;
  PackedChecksum checksum;
  AlignedBuffer<std::byte> buffer(largest_part(packer));
  for (std::size_t part = 0; part < packer.num_parts(); ++part) {
    const std::span<std::byte> bytes{buffer.data(), packer.bytes_of(part)};
    std::ranges::fill(bytes, std::byte{0});
    packer.pack(part, bytes);
    checksum.update(bytes);
    if (auto written = write_all(descriptor, bytes); !written) return written;
  }
  const auto head = head_of(packer.layout(), checksum.finish(), identity);
  return write_all_at(descriptor, head, begin);
}

Result<std::shared_ptr<const PackedAdapter>> read_packed_file(int descriptor,
                                                              const AdapterDigest& digest,
                                                              const PackedFormat& format,
                                                              std::shared_ptr<PagePool> pool) {
  const auto prologue = read_prologue(descriptor, digest, format);
  if (!prologue) return prologue.error();
  auto layout = read_layout(descriptor, *prologue, format);
  if (!layout) return layout.error();
  PageMemory data =
      pool != nullptr ? pool->take(layout->bytes) : AlignedBuffer<std::byte>(layout->bytes);
  const auto checksum =
      read_data(descriptor, {data.data(), layout->bytes}, data_offset(prologue->table_bytes));
  if (!checksum) return checksum.error();
  if (*checksum != prologue->data_checksum) return corrupt("it is damaged");
  auto adapter =
      std::make_shared<const PackedAdapter>(*std::move(layout), std::move(data), std::move(pool));
  const LoraView& view = adapter->view();
  if (!are_row_ids(view.embed_rows.ids, format.vocab_size) ||
      !are_row_ids(view.head_rows.ids, format.vocab_size)) {
    return corrupt("a row is not the base's");
  }
  return adapter;
}

void PackedChecksum::update(std::span<const std::byte> bytes) {
  assert(num_bytes_ % 64 == 0);
  num_bytes_ += bytes.size();
  const std::size_t whole = bytes.size() / 64 * 64;
  for (std::size_t at = 0; at < whole; at += 64) add(bytes.data() + at);
  if (whole == bytes.size()) return;
  std::array<std::byte, 64> last = {};
  std::copy(bytes.begin() + static_cast<std::ptrdiff_t>(whole), bytes.end(), last.begin());
  add(last.data());
}

// Each step is a bijection of the lane, for any word, so that a difference never dies out.
void PackedChecksum::add(const std::byte* block) {
  std::array<std::uint64_t, kLanes> words;
  std::memcpy(words.data(), block, sizeof words);
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    lanes_[lane] = (lanes_[lane] ^ words[lane]) * 0x9E3779B97F4A7C15U;
    lanes_[lane] ^= lanes_[lane] >> 32;
  }
}

std::uint64_t PackedChecksum::finish() const {
  std::uint64_t hash = num_bytes_;
  for (const std::uint64_t lane : lanes_) {
    hash = std::rotl(hash ^ lane, 31) * 0xD1B54A32D192ED03U;
    hash ^= hash >> 32;
  }
  return hash;
}

}  // namespace tessera
