// roofline.hpp — what the machine itself can do: the floor that a step's time is held against.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace tessera {

// How fast a matrix unit of the processor multiplies, from registers alone.
struct ComputeRate {
  std::string_view unit;  // "AMX bf16", "AMX int8", "AVX-512 bf16" or what stands in for them
  double flops;           // a second, all threads together; a multiply-add is two
};

// Not thread-safe. Each measurement starts its own threads and joins them.
class Roofline {
 public:
  explicit Roofline(int num_threads);

  // Bytes a second at which all threads together read a gibibyte once: the best of several passes.
  double read_bandwidth() const;
  // The best unit for numbers as models have them; then, if it is of AMX, that for bytes.
  std::vector<ComputeRate> compute_rates() const;

 private:
  struct Unmap {
    void operator()(std::uint64_t* memory) const;
  };

  int num_threads_;
  std::unique_ptr<std::uint64_t[], Unmap> memory_;
};

}  // namespace tessera
