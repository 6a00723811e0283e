#include "adapters/package_chunks.hpp"

#include <algorithm>
#include <cstring>

#include "storage/keys.hpp"

namespace tessera {
namespace {

// The files as they are numbered in the keys.
constexpr std::uint8_t kConfigFile = 0;
constexpr std::uint8_t kTensorsFile = 1;

std::uint32_t num_chunks(std::uint64_t bytes) {
  return static_cast<std::uint32_t>((bytes + kChunkBytes - 1) / kChunkBytes);
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void put_file(Batch& batch, const ContentDigest& content, std::uint8_t file,
              std::string_view bytes) {
  for (std::uint32_t i = 0; i < num_chunks(bytes.size()); ++i) {
    batch.put(Family::kChunks, keys::chunk(content, file, i),
              std::string(bytes.substr(i * kChunkBytes, kChunkBytes)));
  }
}

void erase_file(Batch& batch, const ContentDigest& content, std::uint8_t file,
                std::uint64_t bytes) {
  for (std::uint32_t i = 0; i < num_chunks(bytes); ++i) {
    batch.erase(Family::kChunks, keys::chunk(content, file, i));
  }
}

Error corrupt(const ContentDigest& content) {
  return {Code::kCorrupt, "the stored adapter package " + to_hex(content) + " is damaged"};
}

Result<void> read_file(const Store& store, const ContentDigest& content, std::uint8_t file,
                       std::span<std::byte> out) {
  for (std::uint32_t i = 0; i < num_chunks(out.size()); ++i) {
    const auto chunk = store.get(Family::kChunks, keys::chunk(content, file, i));
    if (!chunk) return chunk.error();
    const auto place = out.subspan(i * kChunkBytes);
    const bool fits = *chunk && (*chunk)->size() == std::min(place.size(), kChunkBytes);
    if (!fits) return corrupt(content);
    std::memcpy(place.data(), (*chunk)->data(), (*chunk)->size());
  }
  return {};
}

}  // namespace

PackageRef refer_to_package(std::string_view config, std::span<const std::byte> tensors) {
  Sha256 hash;
  const std::uint64_t config_bytes = config.size();  // says where one file ends
  hash.update(std::as_bytes(std::span(&config_bytes, 1)));
  hash.update(config);
  hash.update(tensors);
  return {
      .content = {hash.finish()}, .config_bytes = config.size(), .tensors_bytes = tensors.size()};
}

void put_package(Batch& batch, const PackageRef& package, std::string_view config,
                 std::span<const std::byte> tensors) {
  put_file(batch, package.content, kConfigFile, config);
  put_file(batch, package.content, kTensorsFile, as_text(tensors));
}

void erase_package(Batch& batch, const PackageRef& package) {
  erase_file(batch, package.content, kConfigFile, package.config_bytes);
  erase_file(batch, package.content, kTensorsFile, package.tensors_bytes);
}

Result<AdapterFiles> read_package(const Store& store, const PackageRef& package) {
  AdapterFiles files;
  files.config.resize(package.config_bytes);
  files.tensors.resize(package.tensors_bytes);
  const auto config = std::as_writable_bytes(std::span(files.config));
  if (auto read = read_file(store, package.content, kConfigFile, config); !read) {
    return read.error();
  }
  if (auto read = read_file(store, package.content, kTensorsFile, files.tensors); !read) {
    return read.error();
  }
  const PackageRef found = refer_to_package(files.config, files.tensors);
  if (found.content != package.content) return corrupt(package.content);
  return files;
}

}  // namespace tessera
