#include "adapters/package_chunks.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "storage/keys.hpp"

namespace tessera {
namespace {

constexpr std::array kFiles{PackageFile::kConfig, PackageFile::kTensors};

std::uint32_t num_chunks(std::uint64_t bytes) {
  return static_cast<std::uint32_t>((bytes + kChunkBytes - 1) / kChunkBytes);
}

std::string key_of(const PackageRef& package, PackageFile file, std::uint32_t index) {
  return keys::chunk(package.content, static_cast<std::uint8_t>(file), index);
}

Error corrupt(const PackageRef& package) {
  return {Code::kCorrupt, "the stored adapter package " + to_hex(package.content) + " is damaged"};
}

// Writes what has been gathered, if it is worth a batch of its own.
Result<void> flush(Store& store, Batch& batch, std::size_t at_least) {
  if (batch.puts.size() + batch.erases.size() < at_least) return {};
  return store.write(std::exchange(batch, {}), Durability::kBuffered);
}

Result<std::string> read_chunk(const Store& store, const PackageRef& package, PackageFile file,
                               std::uint32_t index) {
  auto chunk = store.get(Family::kChunks, key_of(package, file, index));
  if (!chunk) return chunk.error();
  const std::uint64_t expected =
      std::min<std::uint64_t>(package.size(file) - index * std::uint64_t{kChunkBytes}, kChunkBytes);
  if (!*chunk || (*chunk)->size() != expected) return corrupt(package);
  return **std::move(chunk);
}

Result<void> read_file(const Store& store, const PackageRef& package, PackageFile file,
                       std::span<std::byte> out) {
  for (std::uint32_t i = 0; i < num_chunks(out.size()); ++i) {
    const auto chunk = read_chunk(store, package, file, i);
    if (!chunk) return chunk.error();
    std::memcpy(out.data() + i * kChunkBytes, chunk->data(), chunk->size());
  }
  return {};
}

ContentDigest content_of(const ContentDigest& config, const ContentDigest& tensors) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(config.bytes)));
  hash.update(std::as_bytes(std::span(tensors.bytes)));
  return {hash.finish()};
}

// As packages were keyed once, which a store may still hold: by the bytes themselves.
ContentDigest content_of_bytes(std::span<const std::byte> config,
                               std::span<const std::byte> tensors) {
  Sha256 hash;
  const std::uint64_t config_bytes = config.size();  // says where one file ends
  hash.update(std::as_bytes(std::span(&config_bytes, 1)));
  hash.update(config);
  hash.update(tensors);
  return {hash.finish()};
}

bool are_of(const AdapterFiles& files, const ContentDigest& content) {
  const auto config = std::as_bytes(std::span(files.config));
  return content_of({sha256(config)}, {sha256(files.tensors)}) == content ||
         content_of_bytes(config, files.tensors) == content;
}

}  // namespace

PackageRef refer_to_package(const StagedFile& config, const StagedFile& tensors) {
  return {.content = content_of(config.sha256(), tensors.sha256()),
          .config_bytes = config.size(),
          .tensors_bytes = tensors.size()};
}

Result<void> put_package(Store& store, const PackageRef& package, std::span<const std::byte> config,
                         std::span<const std::byte> tensors) {
  std::vector<Store::Entry> chunks;
  for (const PackageFile file : kFiles) {
    auto rest = file == PackageFile::kConfig ? config : tensors;
    for (std::uint32_t i = 0; !rest.empty(); ++i) {
      const auto chunk = rest.first(std::min(rest.size(), kChunkBytes));
      chunks.push_back({.key = key_of(package, file, i),
                        .value = {reinterpret_cast<const char*>(chunk.data()), chunk.size()}});
      rest = rest.subspan(chunk.size());
    }
  }
  return store.ingest(Family::kChunks, chunks);
}

Result<void> erase_package(Store& store, const PackageRef& package) {
  constexpr std::size_t kErasesInBatch = 256;
  Batch batch;
  for (const PackageFile file : kFiles) {
    for (std::uint32_t i = 0; i < num_chunks(package.size(file)); ++i) {
      batch.erase(Family::kChunks, key_of(package, file, i));
      if (auto written = flush(store, batch, kErasesInBatch); !written) return written;
    }
  }
  auto erased = flush(store, batch, 1);
  if (erased) store.reclaim(Family::kChunks, keys::chunks(package.content));
  return erased;
}

Result<std::string> read_package(const Store& store, const PackageRef& package, PackageFile file,
                                 std::uint64_t offset, std::size_t bytes) {
  std::string out;
  const std::uint64_t end = std::min<std::uint64_t>(package.size(file), offset + bytes);
  while (offset < end) {
    const auto chunk =
        read_chunk(store, package, file, static_cast<std::uint32_t>(offset / kChunkBytes));
    if (!chunk) return chunk.error();
    const auto part = std::string_view(*chunk).substr(offset % kChunkBytes, end - offset);
    out += part;
    offset += part.size();
  }
  return out;
}

Result<AdapterFiles> read_package(const Store& store, const PackageRef& package) {
  AdapterFiles files;
  files.config.resize(package.config_bytes);
  files.tensors.resize(package.tensors_bytes);
  const auto config = std::as_writable_bytes(std::span(files.config));
  if (auto read = read_file(store, package, PackageFile::kConfig, config); !read) {
    return read.error();
  }
  if (auto read = read_file(store, package, PackageFile::kTensors, files.tensors); !read) {
    return read.error();
  }
  if (!are_of(files, package.content)) return corrupt(package);
  return files;
}

}  // namespace tessera
