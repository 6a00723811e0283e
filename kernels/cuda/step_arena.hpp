// step_arena.hpp — a step's numbers in one pinned buffer, and on the device in one copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cuda/device.hpp"
#include "kernels/cuda/step.hpp"

namespace tessera {

class StepArena {
 public:
  // `max_blocks` entries of all sequences' block tables together.
  StepArena(const BackendLimits& limits, std::size_t max_blocks);
  // Of device memory that one takes.
  static std::size_t device_bytes(const BackendLimits& limits, std::size_t max_blocks) {
    return lay_out(limits, max_blocks).end;
  }

  // Writes the numbers and enqueues the copy. Waits only if the copy before last is still under
  // way. Throws std::length_error if the step is beyond the limits.
  void send(const StepInput& input, CudaStream& stream);

  const DeviceStep& device() const { return device_; }
  // The same step with its state_rows in the place of its head_rows.
  const DeviceStep& device_of_states() const { return device_of_states_; }

  // Of the last step sent.
  int num_rows() const { return num_rows_; }
  int num_head_rows() const { return num_head_rows_; }
  int num_state_rows() const { return num_state_rows_; }
  const std::vector<AdapterSlot>& used_slots() const { return used_slots_; }  // each once

 private:
  struct Offsets {
    std::size_t counts, state_counts, tokens, positions, seq_of_row, seq_indptr, block_indptr,
        head_rows, state_rows, long_rope, terms, blocks, end;
  };
  struct Side {
    PinnedBuffer<std::byte> memory;
    CudaEvent sent;
  };

  static Offsets lay_out(const BackendLimits& limits, std::size_t max_blocks);
  void check(const StepInput& input) const;
  void write_rows(const StepInput& input, std::byte* to);
  void write_terms(const StepInput& input, std::size_t seq, std::size_t row, MixTerm* terms);
  void use(AdapterSlot slot);

  BackendLimits limits_;
  std::size_t max_blocks_;
  Offsets at_;
  DeviceBuffer<std::byte> on_device_;
  Side sides_[2];
  int side_ = 0;
  DeviceStep device_;
  DeviceStep device_of_states_;
  int num_rows_ = 0;
  int num_head_rows_ = 0;
  int num_state_rows_ = 0;
  std::vector<AdapterSlot> used_slots_;
};

}  // namespace tessera
