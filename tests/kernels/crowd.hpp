// crowd.hpp — a model, some adapters and sequences that use them, all made from one seed, and the
// ways to run them: alone, or together in random steps.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "tests/kernels/random_adapter.hpp"
#include "tests/kernels/random_model.hpp"
#include "tests/kernels/step_runner.hpp"

namespace tessera {

// What the model is like: Llama and Qwen 2 with NF4 alone, or of any family that ModelSpec can
// describe, its matrices in any form.
enum class CrowdModel { kLlamaNf4, kAnyFamily };

struct CrowdShape {
  CrowdModel model = CrowdModel::kAnyFamily;
  int window = -1;                    // of every layer; -1: as drawn
  bool is_wide = false;               // an MLP and a vocabulary that are dealt in many pieces
  bool has_quantised_tables = false;  // embedding and head have codes too
  bool is_attention_silent = false;   // o_proj has zero weights and no adapters
  // kAll: every other adapter has more than pairs, sequences mix those that have not, and adapters
  // begin in the middle of a prompt.
  AdapterParts parts = AdapterParts::kPairs;
  bool int8_pages = false;  // of the adapters 0 and 1, 4 and 5, and so on
  int num_adapters = 3;
  int max_sequences = 8;
  int min_tokens = 1;
  int max_tokens = 40;
};

class Crowd {
 public:
  explicit Crowd(std::uint32_t seed, CrowdShape shape = {});

  const RandomModel& model() const { return model_; }
  const ModelWeights& weights() const { return weights_; }
  RandomAdapter& adapter(std::size_t i) { return adapters_[i]; }
  std::size_t size() const { return sequences_.size(); }
  AdapterSlot slot(std::size_t sequence) const { return sequences_[sequence].slot; }
  const TestSequence& sequence(std::size_t i) const { return sequences_[i]; }
  TestSequence& sequence(std::size_t i) { return sequences_[i]; }
  BackendLimits limits(int num_threads) const;

  // Adds the adapters to the backend. Sequences name adapters by the slots 0, 1, 2 ... that a new
  // backend gives out.
  void add_adapters(Backend& backend) const;
  // Where attention is silent, takes what an adapter does to o_proj away.
  void silence(LoraView& view) const;

  // The logits of every position of every sequence, all sequences run together in steps of random
  // chunks drawn from `schedule_seed`.
  std::vector<std::vector<Logits>> run_together(Backend& backend,
                                                std::uint32_t schedule_seed) const;
  // The same of one sequence alone, its whole prompt in one step, in other blocks.
  std::vector<Logits> run_alone(Backend& backend, std::size_t sequence) const;

 private:
  void draw_adapter(TestSequence& sequence, int num_adapters);
  void silence_attention();
  void quantise_tables();

  Random random_;
  RandomModel model_;
  ModelWeights weights_;  // the model's, but for what the shape says
  bool is_attention_silent_;
  AdapterParts parts_;
  bool int8_pages_;
  std::vector<Bf16> zeros_;
  std::vector<std::uint8_t> codes_;  // of the tables
  std::vector<float> scales_;
  std::vector<std::int32_t> order_;
  std::deque<RandomAdapter> adapters_;
  std::vector<TestSequence> sequences_;
  int block_size_;
};

}  // namespace tessera
