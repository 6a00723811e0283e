#include "adapters/adapter.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "adapters/tensor_values.hpp"

namespace tessera {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the digest is over little-endian values");

// Raises when what is hashed, or its order, changes: old digests then name nothing.
constexpr std::string_view kDigestVersion = "tessera-adapter-1";

template <class Number>
requires std::is_arithmetic_v<Number>
void hash_number(Sha256& hash, Number number) {
  hash.update(std::as_bytes(std::span(&number, 1)));
}

void hash_module(Sha256& hash, const AdapterModule& module) {
  hash_number(hash, static_cast<std::uint64_t>(module.base.path.size()));
  hash.update(module.base.path);
  hash_number(hash, module.rank);
  hash_number(hash, module.scale);
  hash_number(hash, module.base.shape.in_features);
  hash_number(hash, module.base.shape.out_features);
  hash.update(std::as_bytes(std::span(module.a)));
  hash.update(std::as_bytes(std::span(module.b)));
}

// Its length tells an absent vector from the next one's values.
template <class Number>
void hash_vector(Sha256& hash, const std::vector<Number>& values) {
  hash_number(hash, static_cast<std::uint64_t>(values.size()));
  hash.update(std::as_bytes(std::span(values)));
}

void hash_rows(Sha256& hash, const AdapterRows& rows) {
  hash_vector(hash, rows.ids);
  hash_vector(hash, rows.rows);
}

}  // namespace

void load_pair(AdapterModule& module) {
  if (!module.stored) return;
  const auto read = [](Dtype dtype, std::span<const std::byte> bytes, std::vector<float>& values) {
    values.resize(bytes.size() * 8 / static_cast<std::size_t>(dtype_bits(dtype)));
    read_values_into(dtype, bytes, values);
  };
  read(module.stored->a_dtype, module.stored->a, module.a);
  read(module.stored->b_dtype, module.stored->b, module.b);
  module.stored.reset();
}

const AdapterModule& with_pair(const AdapterModule& module, AdapterModule& buffer) {
  if (!module.stored) return module;
  auto a = std::move(buffer.a);
  auto b = std::move(buffer.b);
  buffer = module;
  buffer.a = std::move(a);
  buffer.b = std::move(b);
  load_pair(buffer);
  return buffer;
}

bool Adapter::is_plain() const {
  const auto is_pair = [](const AdapterModule& module) {
    return module.out_scale.empty() && module.bias.empty();
  };
  return std::ranges::all_of(modules, is_pair) && embed_rows.ids.empty() && head_rows.ids.empty() &&
         invocation.empty();
}

AdapterDigest adapter_digest(const Adapter& adapter, const BaseDigest& base) {
  Sha256 hash;
  hash.update(kDigestVersion);
  hash.update(std::as_bytes(std::span(base.bytes)));
  hash_number(hash, static_cast<std::uint64_t>(adapter.modules.size()));
  AdapterModule buffer;
  for (const AdapterModule& module : adapter.modules) {
    hash_module(hash, with_pair(module, buffer));
  }
  if (!adapter.is_plain()) {
    for (const AdapterModule& module : adapter.modules) {
      hash_vector(hash, module.magnitude);
      hash_vector(hash, module.bias);
    }
    hash_rows(hash, adapter.embed_rows);
    hash_rows(hash, adapter.head_rows);
    hash_vector(hash, adapter.invocation);
  }
  return {hash.finish()};
}

}  // namespace tessera
