// cuda_emulation_schedule_test.cpp — whole steps under other orders of blocks, warps and lanes, and
// with other values in memory that nobody wrote: bit for bit the same, or a kernel has a race or
// reads what it did not write.
#include <gtest/gtest.h>

#include "kernels/cuda/cuda_backend.hpp"
#include "kernels/cuda/emulation/machine.hpp"
#include "tests/kernels/crowd.hpp"

namespace tessera {
namespace {

TEST(CudaSchedules, EveryOrderAndPoisonGivesTheSameBits) {
  for (std::uint32_t seed : {3U, 5U}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Crowd crowd(seed, {.model = CrowdModel::kLlamaNf4,
                             .parts = AdapterParts::kAll,
                             .max_sequences = 2,
                             .max_tokens = 10});
    BackendLimits limits = crowd.limits(0);
    limits.max_rows = limits.max_logit_rows = 32;
    limits.max_adapters = 4;
    limits.memory.adapter_bytes = std::size_t{16} << 20;
    limits.kv_form = seed == 3 ? KvForm::kF16 : KvForm::kInt8;
    const auto run = [&](const emulation::Schedule& schedule) {
      emulation::set_schedule(schedule);
      const auto backend = make_cuda_backend(crowd.weights(), limits, {.max_graph_rows = 4});
      crowd.add_adapters(*backend);
      auto logits = crowd.run_together(*backend, seed);
      emulation::set_schedule({});
      return logits;
    };
    using emulation::Order;
    const auto expected = run({});
    EXPECT_EQ(run({Order::kDescending, 0, 0x7F}), expected) << "descending";
    EXPECT_EQ(run({Order::kRandom, seed, 0x00}), expected) << "random, zeros";
    EXPECT_EQ(run({Order::kRandom, seed + 1, 0x2A}), expected) << "random, small numbers";
  }
}

}  // namespace
}  // namespace tessera
