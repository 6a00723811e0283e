// steady_state_test.cpp — a step that only continues answers allocates nothing.
//
// This program's operator new is replaced by one that counts (allocation_counter.cpp). OpenSSL,
// which names a block when it is full, has an allocator of its own and is not counted.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine_core.hpp"
#include "tests/engine/adapter_shelf.hpp"
#include "tests/engine/test_backends.hpp"
#include "tests/engine/tiny_model.hpp"
#include "tests/kernels/allocation_counter.hpp"

namespace tessera {
namespace {

class SteadyState : public testing::TestWithParam<const char*> {};

// Fills the pool with the cached prefixes of requests that have ended, so that what follows takes
// blocks over from others.
void run_until_idle(EngineCore& core, const std::vector<std::shared_ptr<TokenStream>>& streams) {
  while (core.num_requests() > 0) {
    core.step();
    for (const auto& stream : streams) stream->take();
  }
}

TEST_P(SteadyState, StepsThatContinueAnswersDoNotAllocate) {
  const TinyModel model(1);
  EngineConfig config;
  config.backend.num_blocks = 80;
  config.backend.max_seqs = 8;
  config.backend.max_logit_rows = 8;
  auto backend = make_test_backend(GetParam(), model.weights(), config.backend);
  if (backend == nullptr) GTEST_SKIP() << "this machine has no " << GetParam();
  AdapterShelf shelf(model.weights().spec, backend->page_type());
  EngineCore core(std::move(backend), model.weights().spec, shelf.cache(), config);

  std::vector<std::shared_ptr<TokenStream>> streams;
  const auto add_requests = [&](TokenId first_token) {
    streams.clear();
    for (int i = 0; i < 8; ++i) {
      GenerationRequest request{
          .prompt = {first_token, i, 3},
          .sampling = {.top_p = 0.9F, .max_tokens = 120, .num_logprobs = 0},
          .tenant = "a tenant whose name is too long for a small string " + std::to_string(i % 3)};
      if (i % 2 == 0) request.adapter = AdapterShelf::digest(1 + i / 2);
      streams.push_back(std::make_shared<TokenStream>([] {}));
      core.add(std::move(request), streams.back());
    }
  };
  for (int i = 0; i < 4; ++i) shelf.wait_for(1 + i);
  for (TokenId round = 0; round < 2; ++round) {
    add_requests(round);
    run_until_idle(core, streams);
  }

  add_requests(2);
  core.step();  // they start
  std::int64_t allocations = 0;
  for (int step = 0; step < 100; ++step) {
    const std::int64_t before = num_allocations();
    core.step();
    allocations += num_allocations() - before;
    for (const auto& stream : streams) ASSERT_EQ(stream->take().tokens.size(), step == 0 ? 2U : 1U);
  }
  EXPECT_EQ(allocations, 0) << "in 100 steps";
}

INSTANTIATE_TEST_SUITE_P(Backends, SteadyState, testing::ValuesIn(kTestBackends),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace tessera
