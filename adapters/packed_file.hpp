// packed_file.hpp — the packed pages of one adapter as a file that one sequential read loads.
//
//   prologue   112 bytes: magic and version, page type, sizes, checksums, the two digests
//   table      per module: kind, layer, linear, expert, rank, flags; rows; invocation tokens
//   (zeros up to a multiple of 4096)
//   data       PackedAdapter::data(), byte for byte
//
// The table names parts and no places: places follow from it and the base's shapes
// (packed_layout.hpp), and the sizes in the prologue must be the ones that follow. So a file is
// refused whole or every view into it is within its bytes, whoever wrote it.
//
// Both checksums are verified each time a file is read, on the bytes as they arrive and before
// anyone computes with them. They notice damage and not malice, which is why they can be
// multiplications instead of SHA-256: as fast as memory, where SHA-256 would be slower than the
// disk. What the bytes mean is vouched for by whoever wrote them.
//
// The file is read, not mapped: pages of a mapping may be dropped by the kernel and come back in
// the middle of a step, and they are small. Descriptors stay the caller's; reads are from offset 0
// and leave the file position alone.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "adapters/base_model.hpp"
#include "adapters/packed_adapter.hpp"
#include "storage/digest.hpp"
#include "storage/result.hpp"

namespace tessera {

// Whose pages a file holds.
struct PackedIdentity {
  AdapterDigest digest;
  BaseDigest base;
};

// What a file may hold on this server: a base, its modules (computed once) and a page type.
struct PackedFormat {
  PackedFormat(const BaseModel& model, PageType page_type);

  BaseDigest base;
  PageType type;
  int num_layers;
  int num_experts;
  int vocab_size;
  int hidden;
  std::vector<BaseModule> modules;
};

inline constexpr int kMaxPackedRank = 1024;
inline constexpr std::size_t kMaxInvocationTokens = 1024;

// What the file of `adapter` will take.
std::uint64_t packed_file_bytes(const PackedAdapter& adapter);

// Writes the file at the descriptor's position, front to back. Errors: kStorageFull, kIo.
Result<void> write_packed_file(int descriptor, const PackedAdapter& adapter,
                               const PackedIdentity& identity);

// Into memory of `pool`, if there is one. Errors: kCorrupt if it is not a whole, undamaged file of
// this format, base and page type, and of `digest`; kIo.
Result<std::shared_ptr<const PackedAdapter>> read_packed_file(int descriptor,
                                                              const AdapterDigest& digest,
                                                              const PackedFormat& format,
                                                              std::shared_ptr<PagePool> pool = {});

// The same of an adapter that is packed meanwhile: a part is in memory at a time.
Result<void> write_packed_file(int descriptor, PagePacker& packer, const PackedIdentity& identity);

// The checksum of the file's parts: eight lanes of 64 bits. Any change within 8 bytes is noticed
// for certain, others but for one in 2^64.
class PackedChecksum {
 public:
  // All updates but the last have a multiple of 64 bytes.
  void update(std::span<const std::byte> bytes);
  std::uint64_t finish() const;

 private:
  static constexpr std::size_t kLanes = 8;
  void add(const std::byte* block);

  std::uint64_t lanes_[kLanes] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::uint64_t num_bytes_ = 0;
};

}  // namespace tessera
