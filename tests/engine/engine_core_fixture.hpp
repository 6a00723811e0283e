// engine_core_fixture.hpp — an EngineCore over the fake backend, and what its streams have
// received.
#pragma once

#include <algorithm>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine_core.hpp"
#include "tests/engine/adapter_shelf.hpp"
#include "tests/engine/fake_backend.hpp"
#include "tests/engine/tiny_model.hpp"

namespace tessera {

class EngineCoreTest : public testing::Test {
 protected:
  struct Answer {
    std::shared_ptr<TokenStream> stream;
    std::vector<GeneratedToken> tokens = {};
    std::vector<GeneratedToken> prompt = {};
    std::optional<Finish> finish = {};

    std::vector<TokenId> ids() const {
      std::vector<TokenId> ids;
      for (const GeneratedToken& token : tokens) ids.push_back(token.id);
      return ids;
    }
  };

  EngineCoreTest() { restart({}); }

  void restart(EngineConfig config) {
    core_.reset();
    auto backend =
        std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), config.backend);
    backend_ = backend.get();
    config.on_failure = [this](std::string_view what) { failure_ = what; };
    core_ = std::make_unique<EngineCore>(std::move(backend), spec_, shelf_.cache(), config);
  }

  static GenerationRequest request(std::vector<TokenId> prompt, int max_tokens) {
    return {.prompt = std::move(prompt),
            .sampling = {.temperature = 0.0F, .max_tokens = max_tokens},
            .tenant = "t"};
  }

  Answer add(GenerationRequest request) {
    Answer answer{.stream = std::make_shared<TokenStream>([] {})};
    core_->add(std::move(request), answer.stream);
    return answer;
  }

  static void collect(Answer& answer) {
    TokenEvents events = answer.stream->take();
    std::ranges::move(events.tokens, std::back_inserter(answer.tokens));
    std::ranges::move(events.prompt, std::back_inserter(answer.prompt));
    if (events.finished) {
      EXPECT_FALSE(answer.finish) << "finished twice";
      answer.finish = std::move(events.finished);
    }
  }

  bool step() {
    const bool computed = core_->step();
    core_->check_invariants();
    return computed;
  }

  // The answer to what the first step refuses.
  Answer refused(GenerationRequest request) {
    Answer answer = add(std::move(request));
    EXPECT_FALSE(step());
    collect(answer);
    return answer;
  }

  // Steps until nobody is left.
  Answer run(GenerationRequest request) {
    Answer answer = add(std::move(request));
    while (core_->num_requests() > 0) EXPECT_TRUE(step());
    collect(answer);
    return answer;
  }

  ModelSpec spec_ = tiny_spec();
  AdapterShelf shelf_{spec_, PageType::kF32};
  FakeBackend* backend_ = nullptr;
  std::unique_ptr<EngineCore> core_;
  std::string failure_;
};

}  // namespace tessera
