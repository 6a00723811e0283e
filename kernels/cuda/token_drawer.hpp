// token_drawer.hpp — a step's rows to draw, sent in one copy, and what came of them.
//
// Owned and called by the engine thread alone. Rows that do not fit are refused as a whole: the
// caller draws the same tokens from the logits (drawing.hpp).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/sampler_kernels.hpp"
#include "kernels/drawing.hpp"

namespace tessera {

class TokenDrawer {
 public:
  // For at most `max_rows` rows at a time, of logits `vocab_size` wide.
  TokenDrawer(int max_rows, int vocab_size);
  // Of device memory that one takes.
  static std::size_t device_bytes(int max_rows, int vocab_size);

  // Draws from `logits` (device memory) once `stream` has come so far, and waits for the results,
  // which stay until the next call. Empty if the rows are too many or say too much.
  std::span<const DrawnToken> draw(std::span<const DrawRow> rows, const float* logits,
                                   CudaStream& stream);

 private:
  bool fits(std::span<const DrawRow> rows) const;
  SamplerCall write(std::span<const DrawRow> rows);

  int max_rows_;
  int vocab_size_;
  std::size_t mask_words_;
  std::size_t capacity_;  // bytes of what is sent
  std::size_t used_ = 0;
  PinnedBuffer<std::byte> staged_;
  DeviceBuffer<std::byte> sent_;
  DeviceBuffer<float> adjusted_;
  DeviceBuffer<DrawnToken> sampled_;
  PinnedBuffer<DrawnToken> drawn_;
  std::vector<SampleRow> sample_rows_;
};

}  // namespace tessera
