#include <cassert>
#include <cstring>
#include <numeric>

#include <nlohmann/json.hpp>

#include "adapters/safetensors.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

std::string header_of(std::span<const StoredTensor> tensors,
                      std::span<const std::pair<std::string, std::string>> metadata) {
  // Entries are joined as text: an ordered object looks through all of its keys for each new one.
  std::string header = "{";
  const auto add = [&](const std::string& key, const nlohmann::ordered_json& value) {
    if (header.size() > 1) header += ',';
    header += to_text(key) + ':' + to_text(value);
  };
  if (!metadata.empty()) {
    auto pairs = nlohmann::ordered_json::object();
    for (const auto& [key, value] : metadata) pairs[key] = value;
    add("__metadata__", pairs);
  }
  std::size_t begin = 0;
  for (const StoredTensor& tensor : tensors) {
    const std::size_t end = begin + tensor.bytes.size();
    add(tensor.name, {{"dtype", dtype_name(tensor.dtype)},
                      {"shape", tensor.shape},
                      {"data_offsets", {begin, end}}});
    begin = end;
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');  // so that the data starts aligned
  return header;
}

}  // namespace

std::vector<std::byte> write_safetensors(
    std::span<const StoredTensor> tensors,
    std::span<const std::pair<std::string, std::string>> metadata) {
  const std::string header = header_of(tensors, metadata);
  const auto data_bytes =
      std::accumulate(tensors.begin(), tensors.end(), std::size_t{0},
                      [](std::size_t sum, const StoredTensor& t) { return sum + t.bytes.size(); });
  const std::uint64_t length = header.size();
  std::vector<std::byte> file(sizeof length + header.size() + data_bytes);
  auto* out = file.data();
  const auto append = [&out](const void* bytes, std::size_t count) {
    if (count != 0) std::memcpy(out, bytes, count);
    out += count;
  };
  append(&length, sizeof length);
  append(header.data(), header.size());
  for (const StoredTensor& tensor : tensors) append(tensor.bytes.data(), tensor.bytes.size());
  assert(out == file.data() + file.size());
  return file;
}

}  // namespace tessera
