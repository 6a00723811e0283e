// architecture_golden_test.cpp — every architecture that we serve, against transformers and PEFT.
//
// The cases are those of make_architecture_goldens.py. Two ways lead from a case to logits: the
// weights as they are, in bf16, on the reference backend, which must stay within 1e-4 of fp32
// torch; and the whole way of a user, a checkpoint directory through quantize_model(), on every
// backend, where the golden weights are NF4 too: 1e-4 on the reference, 1e-2 on the CPU paths. Both
// with each adapter, which goes through the validator; with prompts past every sliding window; and
// at position 4100. Of the last, all is computed with TESSERA_LONG=1; without, adapters on the
// processor's best path, and on the reference backend in the cases where positions matter most.
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "adapters/packed_adapter.hpp"
#include "adapters/validator.hpp"
#include "tests/goldens/golden_machine.hpp"
#include "tests/goldens/goldens.hpp"
#include "tests/goldens/seeded_checkpoint.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using goldens::Machine;
using goldens::Sequence;
using goldens::Tokens;

constexpr BackendLimits kLimits{.max_rows = 512,
                                .max_seqs = 1,
                                .max_logit_rows = 8,
                                .num_blocks = 260,
                                .block_size = 16,
                                .num_threads = 1};
constexpr std::size_t kPromptLengths[] = {5, 40, 80, 4100};
constexpr std::size_t kLongPrompt = 3;

const std::vector<std::string> kCases = {
    "llama2",    "llama-linear", "llama-dynamic", "llama3", "llama-yarn",    "mistral",
    "qwen2",     "qwen3",        "gemma2",        "gemma3", "gemma3-vision", "phi3",
    "phi4-mini", "smollm3",      "granite",       "olmo2",  "mixtral",       "qwen3-moe"};

// Whose position 4100 is always computed on the reference backend: rotary scalings, windows, NoPE.
const std::vector<std::string> kLongCases = {"llama3", "gemma3", "phi4-mini"};

std::string test_name(const std::string& text) {
  std::string name = text;
  std::ranges::replace(name, '-', '_');
  return name;
}

Tokens prompt_of(const std::string& name, std::size_t index, int vocab) {
  const goldens::SeededBits bits(name + "/prompt." + std::to_string(index));
  Tokens tokens;
  for (std::size_t i = 0; i < kPromptLengths[index]; ++i) {
    tokens.push_back(static_cast<TokenId>(bits[i] % static_cast<std::uint64_t>(vocab)));
  }
  return tokens;
}

// A case's logits on one backend, against the golden ones.
class Comparison {
 public:
  Comparison(const std::string& name, const std::string& form, const ModelWeights& weights,
             const Machine& machine)
      : name_(name),
        form_(form),
        weights_(weights),
        machine_(machine),
        directory_(goldens::kData / "architectures" / name),
        logits_(directory_ / "logits.safetensors"),
        backend_(goldens::make_backend(machine, weights, kLimits)) {}

  bool has_backend() const { return backend_ != nullptr; }

  void compare_all() {
    compare("base", kNoAdapter);
    for (const auto& entry : goldens::fs::directory_iterator(directory_ / "adapters")) {
      const std::string name = entry.path().filename().string();
      const auto packed = pack_adapter(read_adapter(entry.path()), backend_->page_type());
      const AdapterSlot slot = backend_->add_adapter(packed->view());
      compare(name, slot);
      backend_->remove_adapter(slot);
    }
    std::cout << name_ << ' ' << form_ << ' ' << machine_.name << ": worst relative error "
              << worst_ << " of " << machine_.tolerance << " allowed\n";
  }

 private:
  Adapter read_adapter(const goldens::fs::path& directory) {
    const BaseModel base{.name = name_, .spec = weights_.spec};
    const std::string config = goldens::read_file(directory / "adapter_config.json");
    const std::string tensors = goldens::read_file(directory / "adapter_model.safetensors");
    auto validation = validate_adapter(config, std::as_bytes(std::span(tensors)), base);
    if (!validation.adapter) {
      const auto& finding = validation.report.findings.at(0);
      throw std::runtime_error(directory.string() + ": " + finding.subject + ": " +
                               finding.message);
    }
    EXPECT_EQ(validation.report.coverage.tensors_bound, validation.report.coverage.tensors_total);
    return std::move(*validation.adapter);
  }

  bool is_left_out(const std::string& adapter, std::size_t prompt) const {
    if (prompt != kLongPrompt || std::getenv("TESSERA_LONG") != nullptr) return false;
    if (machine_.name == "reference") {
      return form_ != "fp32" || std::ranges::count(kLongCases, name_) == 0;
    }
    return adapter == "base" || backend_->name() != make_cpu_backend(weights_, kLimits)->name();
  }

  void compare(const std::string& adapter, AdapterSlot slot) {
    const ModelSpec& spec = weights_.spec;
    for (std::size_t i = 0; i < std::size(kPromptLengths); ++i) {
      if (is_left_out(adapter, i)) continue;
      SCOPED_TRACE(adapter + ", prompt " + std::to_string(i));
      const std::string key = form_ + "." + adapter + "." + std::to_string(i);
      const auto golden = logits_.values<float>(key);
      const int kept = logits_.dimension(key, 0);
      const bool is_long = static_cast<int>(kPromptLengths[i]) > spec.ropes.at(0).short_positions;
      Sequence sequence(*backend_, spec, kLimits, slot, is_long);
      const auto rows = sequence.extend(prompt_of(name_, i, spec.vocab_size), kept);
      const auto vocab = static_cast<std::size_t>(spec.vocab_size);
      ASSERT_EQ(golden.size(), rows.size() * vocab);
      for (std::size_t row = 0; row < rows.size(); ++row) {
        const double error =
            goldens::relative_error(rows[row], std::span(golden).subspan(row * vocab, vocab));
        EXPECT_LE(error, machine_.tolerance) << "row " << row;
        worst_ = std::max(worst_, error);
      }
    }
  }

  std::string name_;
  std::string form_;
  const ModelWeights& weights_;
  Machine machine_;
  goldens::fs::path directory_;
  goldens::Tensors logits_;
  std::unique_ptr<Backend> backend_;
  double worst_ = 0.0;
};

class Architecture : public testing::TestWithParam<std::string> {};

TEST_P(Architecture, ItsLogitsAreThoseOfTransformersAndPeft) {
  goldens::SeededCheckpoint checkpoint(GetParam());
  const ModelWeights weights = checkpoint.weights();
  Comparison(GetParam(), "fp32", weights, goldens::kMachines.front()).compare_all();
}

INSTANTIATE_TEST_SUITE_P(Cases, Architecture, testing::ValuesIn(kCases),
                         [](const auto& param) { return test_name(param.param); });

class QuantisedArchitecture : public testing::TestWithParam<std::tuple<std::string, Machine>> {};

TEST_P(QuantisedArchitecture, ItsLogitsAreThoseOfTransformersOverBitsandbytes) {
  const auto& [name, machine] = GetParam();
  const TempDir directory;
  goldens::SeededCheckpoint(name).write(directory.path());
  const auto model = goldens::pack_model(directory.path());
  Comparison comparison(name, "nf4", model->weights(), machine);
  if (!comparison.has_backend()) GTEST_SKIP() << "this processor has no " << machine.name;
  comparison.compare_all();
}

INSTANTIATE_TEST_SUITE_P(Cases, QuantisedArchitecture,
                         testing::Combine(testing::ValuesIn(kCases),
                                          testing::ValuesIn(goldens::kMachines)),
                         [](const auto& param) {
                           return test_name(std::get<0>(param.param)) + "_" +
                                  std::get<1>(param.param).name;
                         });

}  // namespace
}  // namespace tessera
