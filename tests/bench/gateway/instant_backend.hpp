// instant_backend.hpp — a Backend that answers at once: every token is the same, none is computed.
//
// What a server with it takes is what everything but the model takes. With a pause, each step lasts
// at least that long, so that streams stay open and say something now and then.
#pragma once

#include <chrono>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "kernels/backend.hpp"

namespace tessera {

class InstantBackend final : public Backend {
 public:
  InstantBackend(int vocab_size, std::chrono::milliseconds pause)
      : pause_(pause), logits_(static_cast<std::size_t>(vocab_size)) {
    logits_[logits_.size() / 2] = 100.0F;  // a word in the middle of the vocabulary
  }

  std::string_view name() const override { return "instant"; }
  PageType page_type() const override { return PageType::kBf16; }

  AdapterSlot add_adapter(const LoraView&) override { return next_slot_++; }
  void remove_adapter(AdapterSlot) override {}

  void begin(const StepInput&) override {
    if (pause_.count() > 0) std::this_thread::sleep_for(pause_);
  }
  void embed() override {}
  void qkv(int) override {}
  void attention(int) override {}
  void o_proj(int) override {}
  void gate_up(int) override {}
  void down(int) override {}
  void head() override {}

  std::span<const float> logits(int) override { return logits_; }
  std::span<const float> state(int) override { return {}; }  // embeddings are not asked of it
  std::span<const float> residual() override { return {}; }

 private:
  const std::chrono::milliseconds pause_;
  std::vector<float> logits_;
  AdapterSlot next_slot_ = 0;
};

}  // namespace tessera
