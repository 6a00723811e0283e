// golden_test.cpp — our logits and greedy answers against those of transformers and PEFT.
//
// Each case of data/<model>.json (make_goldens.py) goes the whole way of a served adapter: the
// model is quantised by quantize_model(), the adapter's files are validated and packed, and every
// backend of this machine computes the prompt in one step and the answer token by token.
//
// Two logit rows a and b, b being the golden one, differ by max |a - b| / max |b|. The reference
// backend must stay within 1e-4 of fp32 torch, the CPU paths, which keep adapters in bf16 and keys
// in fp16, within 1e-2. A greedy choice is compared where the golden lead of the best token exceeds
// what two logits may move together: 2 * tolerance * max |b|.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "adapters/packed_adapter.hpp"
#include "adapters/validator.hpp"
#include "engine/model/forward.hpp"
#include "kernels/backend.hpp"
#include "tests/goldens/goldens.hpp"

namespace tessera {
namespace {

using goldens::fs::path;
using Tokens = std::vector<TokenId>;
using Row = std::vector<float>;

struct Machine {
  std::string name;  // "reference", or the CPU path to force
  double tolerance;
};
void PrintTo(const Machine& machine, std::ostream* out) {
  *out << machine.name;
}
const std::vector<Machine> kMachines = {{"reference", 1e-4},
                                        {"portable", 1e-2},
                                        {"avx2", 1e-2},
                                        {"avx512", 1e-2},
                                        {"avx512vnni", 1e-2}};

constexpr BackendLimits kLimits{.max_rows = 128,
                                .max_seqs = 1,
                                .max_logit_rows = 8,
                                .num_blocks = 32,
                                .block_size = 16,
                                .num_threads = 2};

std::unique_ptr<Backend> make_backend(const Machine& machine, const ModelWeights& weights) {
  if (machine.name == "reference") return make_reference_backend(weights, kLimits);
  try {
    return make_cpu_backend(weights, kLimits, machine.name);
  } catch (const std::invalid_argument&) {
    return nullptr;  // this processor does not have it
  }
}

// Where a model of data/ and its adapters lie.
path model_directory(const std::string& model, const std::string& relative) {
  return (model == "demo" ? goldens::kDemo : goldens::kData) / relative;
}

Adapter read_adapter(const path& directory, const BaseModel& base) {
  const std::string config = goldens::read_file(directory / "adapter_config.json");
  const std::string tensors = goldens::read_file(directory / "adapter_model.safetensors");
  auto validation = validate_adapter(config, std::as_bytes(std::span(tensors)), base);
  if (!validation.adapter) {
    const auto& finding = validation.report.findings.at(0);
    throw std::runtime_error(directory.string() + ": " + finding.subject + ": " + finding.message);
  }
  return std::move(*validation.adapter);
}

// One sequence on one backend.
class Sequence {
 public:
  Sequence(Backend& backend, const ModelSpec& spec, AdapterSlot slot)
      : backend_(backend), spec_(spec), slots_{slot}, blocks_(kLimits.num_blocks) {
    std::iota(blocks_.rbegin(), blocks_.rend(), 0);  // the pool's order must not matter
  }

  // Appends `tokens` in one step; the logits of the last `kept` of them.
  std::vector<Row> extend(const Tokens& tokens, int kept) {
    const int count = static_cast<int>(tokens.size());
    std::vector<std::int32_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), length_);
    std::vector<std::int32_t> head_rows(static_cast<std::size_t>(kept));
    std::iota(head_rows.begin(), head_rows.end(), count - kept);
    length_ += count;
    const std::vector<std::int32_t> seq_indptr = {0, count};
    const std::vector<std::int32_t> block_indptr = {0, static_cast<std::int32_t>(blocks_.size())};
    run_forward(backend_, spec_.num_layers(),
                {.tokens = tokens,
                 .positions = positions,
                 .seq_indptr = seq_indptr,
                 .blocks = blocks_,
                 .block_indptr = block_indptr,
                 .slots = slots_,
                 .head_rows = head_rows});
    std::vector<Row> rows;
    for (int i = 0; i < kept; ++i) {
      const auto logits = backend_.logits(i);
      rows.emplace_back(logits.begin(), logits.end());
    }
    return rows;
  }

 private:
  Backend& backend_;
  const ModelSpec& spec_;
  std::vector<AdapterSlot> slots_;
  std::vector<BlockId> blocks_;
  std::int32_t length_ = 0;
};

double relative_error(std::span<const float> ours, std::span<const float> golden) {
  EXPECT_EQ(ours.size(), golden.size());
  double difference = 0.0;
  double scale = 0.0;
  for (std::size_t i = 0; i < std::min(ours.size(), golden.size()); ++i) {
    const double off = std::abs(static_cast<double>(ours[i]) - static_cast<double>(golden[i]));
    if (!(off <= difference)) difference = off;  // keeps a NaN
    scale = std::max(scale, std::abs(static_cast<double>(golden[i])));
  }
  return difference / scale;
}

TokenId best(const Row& row) {
  return static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin());
}

// A model of data/ on one machine, and its golden cases.
class Golden : public testing::TestWithParam<std::tuple<std::string, Machine>> {
 protected:
  void SetUp() override {
    const auto& [name, machine] = GetParam();
    tolerance_ = machine.tolerance;
    described_ = goldens::read_json(goldens::kData / (name + ".json"));
    model_ = goldens::pack_model(model_directory(name, described_.at("model")));
    base_ = {.name = name == "demo" ? "tessera-demo" : name,
             .aliases = {},
             .digest = model_->digest(),
             .spec = model_->spec(),
             .embedding = model_->weights().embedding,
             .head = model_->weights().head};
    backend_ = make_backend(machine, model_->weights());
    if (!backend_) GTEST_SKIP() << "this processor has no " << machine.name;
  }

  // Calls check(case, slot) for the base and for every adapter.
  template <class Check>
  void for_each_case(Check check) {
    for (const auto& golden : described_.at("cases")) {
      SCOPED_TRACE(golden.at("name").get<std::string>());
      if (!golden.contains("adapter")) {
        check(golden, kNoAdapter);
        continue;
      }
      const auto directory = model_directory(name(), golden.at("adapter"));
      const auto packed = pack_adapter(read_adapter(directory, base_), backend_->page_type());
      const AdapterSlot slot = backend_->add_adapter(packed->view());
      check(golden, slot);
      backend_->remove_adapter(slot);
    }
  }

  Sequence sequence(AdapterSlot slot) { return {*backend_, model_->spec(), slot}; }

  static const std::string& name() { return std::get<0>(GetParam()); }

  double tolerance_ = 0.0;
  nlohmann::json described_;
  std::unique_ptr<PackedModel> model_;
  BaseModel base_;
  std::unique_ptr<Backend> backend_;
};

TEST_P(Golden, LogitsAreThoseOfTransformersAndPeft) {
  const goldens::Tensors golden_logits(goldens::kData / (name() + ".safetensors"));
  double worst = 0.0;
  for_each_case([&](const nlohmann::json& golden, AdapterSlot slot) {
    for (std::size_t i = 0; i < golden.at("prompts").size(); ++i) {
      const std::string name = golden.at("name").get<std::string>() + "." + std::to_string(i);
      const auto expected = golden_logits.values<float>(name);
      const int kept = golden_logits.dimension(name, 0);
      const auto rows = sequence(slot).extend(golden.at("prompts")[i].at("ids"), kept);
      for (std::size_t row = 0; row < rows.size(); ++row) {
        const auto vocab = rows[row].size();
        ASSERT_LE((row + 1) * vocab, expected.size());
        const double error =
            relative_error(rows[row], std::span(expected).subspan(row * vocab, vocab));
        EXPECT_LE(error, tolerance_) << "prompt " << i << ", row " << row;
        worst = std::max(worst, error);
      }
    }
  });
  RecordProperty("worst_relative_error", std::to_string(worst));
  std::cout << "worst relative error " << worst << " of " << tolerance_ << " allowed\n";
}

TEST_P(Golden, GreedyAnswersAreEqualWhereTheLeadExceedsTheNoise) {
  int compared = 0;
  int total = 0;
  for_each_case([&](const nlohmann::json& golden, AdapterSlot slot) {
    const auto& greedy = golden.at("greedy");
    const Tokens tokens = greedy.at("tokens");
    auto answer = sequence(slot);
    auto row = answer.extend(greedy.at("prompt"), 1).at(0);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const double noise = 2 * tolerance_ * greedy.at("scales")[i].get<double>();
      if (greedy.at("margins")[i].get<double>() > noise) {
        EXPECT_EQ(best(row), tokens[i]) << "token " << i;
        ++compared;
      }
      row = answer.extend({tokens[i]}, 1).at(0);  // go on along the golden answer
    }
    total += static_cast<int>(tokens.size());
  });
  EXPECT_GT(compared, total / 2) << "too few leads to speak of";
  std::cout << compared << " of " << total << " greedy tokens compared\n";
}

INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         testing::Combine(testing::Values("tiny-tied", "tiny-untied", "tiny-wide",
                                                          "demo"),
                                          testing::ValuesIn(kMachines)),
                         [](const auto& param) {
                           std::string name =
                               std::get<0>(param.param) + "_" + std::get<1>(param.param).name;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace tessera
