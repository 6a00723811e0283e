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
#include <iostream>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "adapters/packed_adapter.hpp"
#include "adapters/validator.hpp"
#include "kernels/backend.hpp"
#include "tests/goldens/golden_machine.hpp"
#include "tests/goldens/goldens.hpp"

namespace tessera {
namespace {

using goldens::Machine;
using goldens::relative_error;
using goldens::Row;
using goldens::Sequence;
using goldens::Tokens;
using goldens::fs::path;

constexpr BackendLimits kLimits{.max_rows = 128,
                                .max_seqs = 1,
                                .max_logit_rows = 8,
                                .num_blocks = 32,
                                .block_size = 16,
                                .num_threads = 2};

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
             .weights = &model_->weights()};
    backend_ = goldens::make_backend(machine, model_->weights(), kLimits);
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

  Sequence sequence(AdapterSlot slot) { return {*backend_, model_->spec(), kLimits, slot}; }

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
                                          testing::ValuesIn(goldens::kMachines)),
                         [](const auto& param) {
                           std::string name =
                               std::get<0>(param.param) + "_" + std::get<1>(param.param).name;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace tessera
