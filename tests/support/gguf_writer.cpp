#include "tests/support/gguf_writer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "adapters/f16.hpp"
#include "kernels/bf16.hpp"

namespace tessera::testing_gguf {
namespace {

constexpr std::size_t kAlignment = 32;

template <class T>
std::string bytes_of(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string string_bytes(const std::string& text) {
  return bytes_of(std::uint64_t{text.size()}) + text;
}

template <class T>
std::string array_bytes(std::uint32_t type, const std::vector<T>& values) {
  std::string bytes = bytes_of(type) + bytes_of(std::uint64_t{values.size()});
  for (const T& value : values) bytes += bytes_of(value);
  return bytes;
}

char byte_of(int value) {
  return static_cast<char>(static_cast<std::uint8_t>(value));
}

int rounded(float value, int low, int high) {
  return static_cast<int>(
      std::clamp(std::nearbyint(value), static_cast<float>(low), static_cast<float>(high)));
}

float half_and_back(float value) {
  return f16_to_float(float_to_f16(value));
}

float inverse(float value) {
  return value == 0.0F ? 0.0F : 1.0F / value;
}

float largest(std::span<const float> values) {
  float most = 0.0F;
  for (const float value : values) most = std::max(most, std::abs(value));
  return most;
}

// Sixteen low and sixteen high nibbles, and the fifth bits if there are any.
void add_nibbles(const std::array<int, 32>& codes, bool five, std::string& out) {
  std::uint32_t fifth = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    fifth |= static_cast<std::uint32_t>(codes[i] >> 4 & 1) << i;
  }
  if (five) out += bytes_of(fifth);
  for (std::size_t i = 0; i < 16; ++i) {
    out += byte_of((codes[i] & 15) | (codes[i + 16] & 15) << 4);
  }
}

// Q4_0, Q5_0: around the middle. Q4_1, Q5_1: from a minimum.
void encode_simple(int bits, bool minimum, std::span<const float> values, std::string& out) {
  const int top = (1 << bits) - 1;
  const int middle = minimum ? 0 : 1 << (bits - 1);
  const float low = minimum ? *std::ranges::min_element(values) : 0.0F;
  const float span = minimum ? (*std::ranges::max_element(values) - low) / static_cast<float>(top)
                             : largest(values) / static_cast<float>(middle - 1);
  const float scale = half_and_back(span);
  const float base = half_and_back(low);
  std::array<int, 32> codes;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    codes[i] = rounded((values[i] - base) * inverse(scale) + static_cast<float>(middle), 0, top);
  }
  out += bytes_of(float_to_f16(scale));
  if (minimum) out += bytes_of(float_to_f16(base));
  add_nibbles(codes, bits == 5, out);
}

void encode_q8(std::span<const float> values, std::string& out) {
  const float scale = half_and_back(largest(values) / 127.0F);
  out += bytes_of(float_to_f16(scale));
  for (const float value : values) out += byte_of(rounded(value * inverse(scale), -127, 127));
}

// The 12 bytes of eight scales and eight minimums.
std::string pack_k_scales(const std::array<int, 8>& scales, const std::array<int, 8>& minimums) {
  std::string bytes(12, '\0');
  for (std::size_t j = 0; j < 4; ++j) {
    bytes[j] = byte_of(scales[j] | scales[j + 4] >> 4 << 6);
    bytes[j + 4] = byte_of(minimums[j] | minimums[j + 4] >> 4 << 6);
    bytes[j + 8] = byte_of((scales[j + 4] & 15) | (minimums[j + 4] & 15) << 4);
  }
  return bytes;
}

// Q4_K and Q5_K.
void encode_k(int bits, std::span<const float> values, std::string& out) {
  const int top = (1 << bits) - 1;
  std::array<float, 8> spans;
  std::array<float, 8> lows;
  for (std::size_t g = 0; g < 8; ++g) {
    const auto group = values.subspan(g * 32, 32);
    lows[g] = std::max(0.0F, -*std::ranges::min_element(group));
    spans[g] = (*std::ranges::max_element(group) + lows[g]) / static_cast<float>(top);
    spans[g] = std::max(spans[g], 0.0F);
  }
  const float d = half_and_back(largest(spans) / 63.0F);
  const float d_min = half_and_back(largest(lows) / 63.0F);
  std::array<int, 8> scales;
  std::array<int, 8> minimums;
  std::array<int, 256> codes;
  for (std::size_t g = 0; g < 8; ++g) {
    scales[g] = rounded(spans[g] * inverse(d), 0, 63);
    minimums[g] = rounded(lows[g] * inverse(d_min), 0, 63);
    const float scale = d * static_cast<float>(scales[g]);
    const float low = d_min * static_cast<float>(minimums[g]);
    for (std::size_t i = 0; i < 32; ++i) {
      codes[g * 32 + i] = rounded((values[g * 32 + i] + low) * inverse(scale), 0, top);
    }
  }
  out +=
      bytes_of(float_to_f16(d)) + bytes_of(float_to_f16(d_min)) + pack_k_scales(scales, minimums);
  if (bits == 5) {
    for (std::size_t i = 0; i < 32; ++i) {
      int fifth = 0;
      for (std::size_t g = 0; g < 8; ++g) fifth |= (codes[g * 32 + i] >> 4) << g;
      out += byte_of(fifth);
    }
  }
  for (std::size_t pair = 0; pair < 4; ++pair) {
    for (std::size_t i = 0; i < 32; ++i) {
      out += byte_of((codes[pair * 64 + i] & 15) | (codes[pair * 64 + 32 + i] & 15) << 4);
    }
  }
}

void encode_6k(std::span<const float> values, std::string& out) {
  std::array<float, 16> spans;
  for (std::size_t g = 0; g < 16; ++g) spans[g] = largest(values.subspan(g * 16, 16)) / 31.0F;
  const float d = half_and_back(largest(spans) / 127.0F);
  std::array<int, 16> scales;
  std::array<int, 256> codes;
  for (std::size_t g = 0; g < 16; ++g) {
    scales[g] = rounded(spans[g] * inverse(d), 0, 127);
    const float scale = d * static_cast<float>(scales[g]);
    for (std::size_t i = 0; i < 16; ++i) {
      codes[g * 16 + i] = rounded(values[g * 16 + i] * inverse(scale), -32, 31) + 32;
    }
  }
  std::string low;
  std::string high;
  for (std::size_t half = 0; half < 2; ++half) {
    const int* const from = &codes[half * 128];
    for (std::size_t i = 0; i < 64; ++i) low += byte_of((from[i] & 15) | (from[i + 64] & 15) << 4);
    for (std::size_t i = 0; i < 32; ++i) {
      high += byte_of(from[i] >> 4 | from[i + 32] >> 4 << 2 | from[i + 64] >> 4 << 4 |
                      from[i + 96] >> 4 << 6);
    }
  }
  out += low + high;
  for (const int scale : scales) out += byte_of(scale);
  out += bytes_of(float_to_f16(d));
}

void encode_block(GgmlType type, std::span<const float> values, std::string& out) {
  switch (type) {
    case GgmlType::kF32:
      out += bytes_of(values[0]);
      return;
    case GgmlType::kF16:
      out += bytes_of(float_to_f16(values[0]));
      return;
    case GgmlType::kBf16:
      out += bytes_of(float_to_bf16(values[0]));
      return;
    case GgmlType::kQ4_0:
      return encode_simple(4, false, values, out);
    case GgmlType::kQ4_1:
      return encode_simple(4, true, values, out);
    case GgmlType::kQ5_0:
      return encode_simple(5, false, values, out);
    case GgmlType::kQ5_1:
      return encode_simple(5, true, values, out);
    case GgmlType::kQ8_0:
      return encode_q8(values, out);
    case GgmlType::kQ4K:
      return encode_k(4, values, out);
    case GgmlType::kQ5K:
      return encode_k(5, values, out);
    case GgmlType::kQ6K:
      return encode_6k(values, out);
  }
}

}  // namespace

std::uint16_t float_to_f16(float value) {
  const int sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::abs(value);
  if (magnitude == 0.0F) return static_cast<std::uint16_t>(sign);
  int exponent = 0;
  std::frexp(magnitude, &exponent);    // magnitude in [2^(e-1), 2^e)
  exponent = std::max(exponent, -13);  // subnormals share the least exponent
  const float unit = std::ldexp(1.0F, exponent - 11);
  const int mantissa = static_cast<int>(std::nearbyint(magnitude / unit));  // carries by itself
  return static_cast<std::uint16_t>(sign | (((exponent + 13) << 10) + mantissa));
}

std::string encode(GgmlType type, std::span<const float> weights) {
  const auto width = static_cast<std::size_t>(block_of(type).weights);
  std::string out;
  for (std::size_t at = 0; at < weights.size(); at += width) {
    encode_block(type, weights.subspan(at, width), out);
  }
  return out;
}

void Writer::add_raw(const std::string& key, std::uint32_t type, const std::string& value) {
  metadata_ += string_bytes(key) + bytes_of(type) + value;
  ++num_metadata_;
}

void Writer::add(const std::string& key, std::uint32_t value) {
  add_raw(key, 4, bytes_of(value));
}
void Writer::add(const std::string& key, float value) {
  add_raw(key, 6, bytes_of(value));
}
void Writer::add_flag(const std::string& key, bool value) {
  add_raw(key, 7, std::string(1, value ? '\1' : '\0'));
}
void Writer::add(const std::string& key, const std::string& value) {
  add_raw(key, 8, string_bytes(value));
}
void Writer::add(const std::string& key, const std::vector<std::string>& values) {
  std::string bytes = bytes_of(std::uint32_t{8}) + bytes_of(std::uint64_t{values.size()});
  for (const std::string& value : values) bytes += string_bytes(value);
  add_raw(key, 9, bytes);
}
void Writer::add(const std::string& key, const std::vector<std::int32_t>& values) {
  add_raw(key, 9, array_bytes(5, values));
}
void Writer::add(const std::string& key, const std::vector<float>& values) {
  add_raw(key, 9, array_bytes(6, values));
}

void Writer::add_tensor(const std::string& name, const std::vector<std::int64_t>& dims,
                        GgmlType type, std::string bytes) {
  tensors_.push_back({name, dims, type, std::move(bytes)});
}

std::string Writer::finish() const {
  std::string out = "GGUF" + bytes_of(static_cast<std::uint32_t>(version_)) +
                    bytes_of(std::uint64_t{tensors_.size()}) + bytes_of(num_metadata_) + metadata_;
  std::string data;
  for (const Tensor& tensor : tensors_) {
    out += string_bytes(tensor.name) + bytes_of(static_cast<std::uint32_t>(tensor.dims.size()));
    for (const std::int64_t size : tensor.dims) out += bytes_of(size);
    out += bytes_of(static_cast<std::uint32_t>(tensor.type)) + bytes_of(std::uint64_t{data.size()});
    data += tensor.bytes;
    data.resize((data.size() + kAlignment - 1) / kAlignment * kAlignment);
  }
  out.resize((out.size() + kAlignment - 1) / kAlignment * kAlignment);
  return out + data;
}

}  // namespace tessera::testing_gguf
