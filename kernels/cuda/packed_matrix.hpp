// packed_matrix.hpp — a matrix of weights in the order in which tensor cores take it.
//
// Rows are in tiles of 16, columns in blocks of 64. One (tile, block) is what a warp loads at once,
// and byte, half or nibble b of step s of lane 4g + t is register a_b of the s-th mma.m16n8k16:
//
//   row = 16 tile + g + 8 (b & 1)      k = 64 block + 16 s + 8 (b >> 1) + 2 t + j      j = 0, 1
//
//   kBook16   [tile][block][lane][16 B]       4-bit codes; j = 0 in the low nibble of byte 4 s + b
//   kInt8     [tile][block][2][lane][16 B]    codes of steps 2 h and 2 h + 1
//   kHalf     [tile][block][4][lane][16 B]    fp16, one step each
//
// A step is 16 consecutive columns, so that every group of the formats we take (16, 32, 64 or more
// columns that share a scale) is a whole number of steps and its scale is applied in fp32 to the
// sum of its products. Activations are stored in the order of fragment_position(), which gives lane
// t the sixteen values of its four steps in a row.
//
// bf16 weights become fp16 with an exact power of two for each row: the eleven bits of fp16 hold
// the eight of bf16, and all within 2^-29 of the row's largest weight keep every bit.
// Scales and offsets: [tile][group][g][2], rows g and g + 8. Rows beyond the matrix have codes 0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cuda/device.hpp"
#include "kernels/weight_matrix.hpp"

#if !defined(TESSERA_HOST_DEVICE)
#if defined(__CUDACC__)
#define TESSERA_HOST_DEVICE __host__ __device__
#else
#define TESSERA_HOST_DEVICE
#endif
#endif

namespace tessera {

inline constexpr int kTileRows = 16;
inline constexpr int kTileCols = 64;

enum class PackedForm : std::uint8_t { kBook16, kInt8, kHalf };

// Bytes of codes of one (tile, block).
TESSERA_HOST_DEVICE constexpr int tile_bytes(PackedForm form) {
  return form == PackedForm::kBook16 ? 512 : form == PackedForm::kInt8 ? 1024 : 2048;
}

// Where column k lies in a row of activations.
TESSERA_HOST_DEVICE constexpr int fragment_position(int k) {
  const int in_step = k % 16;
  return k / kTileCols * kTileCols + in_step % 8 / 2 * 16 + k % kTileCols / 16 * 4 +
         in_step / 8 * 2 + k % 2;
}

// The matrix on a device; a view, passed to kernels by value.
struct PackedMatrix {
  PackedForm form = PackedForm::kHalf;
  int rows = 0;
  int cols = 0;                // a multiple of 64
  int group = 0;               // columns that share a scale
  unsigned group_inverse = 0;  // inverse_of(group)
  const std::byte* codes = nullptr;
  const float* scales = nullptr;   // null: nested
  const float* offsets = nullptr;  // null: none
  const std::uint8_t* absmax_codes = nullptr;
  const float* absmax_scales = nullptr;
  const float* dynamic_map = nullptr;  // (256,)
  float absmax_offset = 0.0F;
  const std::int32_t* order = nullptr;  // (cols,) input feature of column k; null: k
  std::uint16_t book[16] = {};          // fp16, of kBook16

  TESSERA_HOST_DEVICE int tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  TESSERA_HOST_DEVICE int blocks() const { return cols / kTileCols; }
  TESSERA_HOST_DEVICE int groups() const { return cols / group; }
  // 2^32 / group, rounded up: column k is of group __umulhi(k, inverse), exactly while cols * group
  // is below 2^32.
  static constexpr unsigned inverse_of(int group) {
    return static_cast<unsigned>((std::uint64_t{1} << 32U) / static_cast<unsigned>(group) +
                                 ((std::uint64_t{1} << 32U) % static_cast<unsigned>(group) != 0));
  }
  // Index of the code of weight (n, k), in units of the form: nibbles, bytes or halves.
  TESSERA_HOST_DEVICE std::size_t code_index(int n, int k) const {
    const int in_tile = n % kTileRows;
    const int step = k % kTileCols / 16;
    const int lane = in_tile % 8 * 4 + k % 8 / 2;
    const int b = in_tile / 8 + k % 16 / 8 * 2;
    const int j = k % 2;
    const std::size_t at =
        static_cast<std::size_t>(n / kTileRows) * static_cast<std::size_t>(blocks()) +
        static_cast<std::size_t>(k / kTileCols);
    const auto l = static_cast<std::size_t>(lane);
    if (form == PackedForm::kBook16) {
      return ((at * 32 + l) * 16 + static_cast<std::size_t>(4 * step + b)) * 2 +
             static_cast<std::size_t>(j);
    }
    if (form == PackedForm::kInt8) {
      return ((at * 2 + static_cast<std::size_t>(step / 2)) * 32 + l) * 16 +
             static_cast<std::size_t>(step % 2 * 8 + 2 * b + j);
    }
    return ((at * 4 + static_cast<std::size_t>(step)) * 32 + l) * 8 +
           static_cast<std::size_t>(2 * b + j);
  }
  // Index of the scale of row n's g-th group.
  TESSERA_HOST_DEVICE std::size_t scale_index(int n, int g) const {
    const int in_tile = n % kTileRows;
    return (static_cast<std::size_t>(n / kTileRows) * static_cast<std::size_t>(groups()) +
            static_cast<std::size_t>(g)) *
               16 +
           static_cast<std::size_t>(in_tile % 8 * 2 + in_tile / 8);
  }
};

// The same in host memory, owned.
struct PackedBuffers {
  PackedMatrix shape;  // pointers are null
  std::vector<std::byte> codes;
  std::vector<float> scales;
  std::vector<float> offsets;
  std::vector<std::uint8_t> absmax_codes;
  std::vector<float> absmax_scales;
  std::vector<std::int32_t> order;
};

// Throws std::invalid_argument if no tensor core takes such a matrix (columns that are no multiple
// of 64, a group that is none of 16, 32 or a multiple of 64).
PackedBuffers pack_matrix(const WeightMatrix& matrix);

// Bytes that pack_matrix() makes of it.
std::size_t packed_bytes(const WeightMatrix& matrix);

// Device memory of one matrix.
class PackedOnDevice {
 public:
  PackedOnDevice() = default;
  // Enqueues the copies; `host` stays until the stream has made them. `dynamic_map` is device
  // memory that outlives this.
  PackedOnDevice(const PackedBuffers& host, const float* dynamic_map, CudaStream& stream);

  const PackedMatrix& view() const { return view_; }
  std::size_t bytes() const;

 private:
  PackedMatrix view_;
  DeviceBuffer<std::byte> codes_;
  DeviceBuffer<float> scales_;
  DeviceBuffer<float> offsets_;
  DeviceBuffer<std::uint8_t> absmax_codes_;
  DeviceBuffer<float> absmax_scales_;
  DeviceBuffer<std::int32_t> order_;
};

}  // namespace tessera
