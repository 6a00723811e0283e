// corpus_test.cpp — every adapter that PEFT writes is served as PEFT serves it, or refused by name.
//
// The adapters, and PEFT's own logits of them, are those of make_corpus.py: a sample that is
// committed, or all that the variable TESSERA_CORPUS names. Each accepted one goes the way of an
// upload: validated, packed, run; and is held against PEFT's logits and, so that none is served as
// the bare base, against the base's.
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "adapters/packed_adapter.hpp"
#include "adapters/validator.hpp"
#include "tests/goldens/golden_machine.hpp"
#include "tests/goldens/goldens.hpp"
#include "tests/goldens/seeded_checkpoint.hpp"

namespace tessera {
namespace {

using goldens::Machine;
using goldens::Row;
using goldens::Sequence;
using goldens::Tokens;

constexpr BackendLimits kLimits{.max_rows = 64,
                                .max_seqs = 1,
                                .max_logit_rows = 2,
                                .num_blocks = 4,
                                .block_size = 16,
                                .num_threads = 1};
constexpr std::size_t kPromptLengths[] = {5, 40};
constexpr int kRows = 2;
// What an adapter must change at least, as a part of the largest logit.
constexpr double kLeastChange = 1e-3;

// "" is the best CPU path of the machine at hand.
const std::vector<Machine> kMachines = {{"reference", 1e-4}, {"", 1e-2}};

goldens::fs::path corpus() {
  const char* chosen = std::getenv("TESSERA_CORPUS");
  return chosen != nullptr ? goldens::fs::path(chosen)
                           : goldens::fs::path(TESSERA_TEST_DIR) / "sample";
}

struct Entry {
  std::string base;
  std::string name;
  std::string accepted = {};                 // "more", "nothing", or "" if it is refused
  std::vector<std::string> refused_by = {};  // one of these
};

std::vector<Entry> read_index() {
  std::vector<Entry> entries;
  const nlohmann::json index = goldens::read_json(corpus() / "index.json");
  for (const auto& json : index) {
    Entry& entry = entries.emplace_back(Entry{.base = json.at("base"), .name = json.at("name")});
    if (json.contains("accepted")) entry.accepted = json.at("accepted");
    if (json.contains("refused")) entry.refused_by = json.at("refused");
  }
  return entries;
}

std::vector<std::string> bases() {
  std::vector<std::string> names;
  for (const Entry& entry : read_index()) {
    if (std::ranges::count(names, entry.base) == 0) names.push_back(entry.base);
  }
  return names;
}

Tokens prompt_of(const std::string& base, std::size_t index, int vocab) {
  const goldens::SeededBits bits(base + "/prompt." + std::to_string(index));
  Tokens tokens;
  for (std::size_t i = 0; i < kPromptLengths[index]; ++i) {
    tokens.push_back(static_cast<TokenId>(bits[i] % static_cast<std::uint64_t>(vocab)));
  }
  return tokens;
}

// Where an adapter that waits for `invocation` begins; as adapters/adapter.hpp has it.
std::int32_t start_in(const Tokens& prompt, std::span<const TokenId> invocation) {
  if (invocation.empty()) return 0;
  const auto last = std::ranges::find_end(prompt, invocation);
  if (last.empty()) return std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(last.begin() - prompt.begin());
}

Validation validate_folder(const goldens::fs::path& folder, const BaseModel& base) {
  const std::string config = goldens::read_file(folder / "adapter_config.json");
  const std::string tensors = goldens::read_file(folder / "adapter_model.safetensors");
  return validate_adapter(config, std::as_bytes(std::span(tensors)), base);
}

bool has_code(const Report& report, const std::vector<std::string>& codes) {
  return std::ranges::any_of(report.findings, [&](const Finding& finding) {
    return finding.severity == Severity::kError &&
           std::ranges::count(codes, to_string(finding.code)) != 0;
  });
}

// One base on one machine.
class Server {
 public:
  Server(const std::string& base, const ModelWeights& weights, const Machine& machine)
      : base_(base),
        weights_(weights),
        machine_(machine),
        backend_(goldens::make_backend(machine, weights, kLimits)) {
    for (std::size_t i = 0; i < std::size(kPromptLengths); ++i) {
      base_logits_.push_back(run(kNoAdapter, i, 0));
    }
  }

  void compare(const Entry& entry, const Adapter& adapter) {
    SCOPED_TRACE(std::string(backend_->name()));
    const PageType type = backend_->page_type();
    EXPECT_EQ(pack_adapter(adapter, type)->bytes(), layout_of(adapter, type).bytes);
    const auto ours = logits_of(adapter, type);
    const auto golden = golden_of(entry);
    const double error = worst_of(ours, golden);
    worst_ = std::max(worst_, error);
    EXPECT_LE(error, machine_.tolerance);
    const double change = worst_of(ours, base_logits_);
    EXPECT_EQ(change > kLeastChange, entry.accepted == "more") << "differs by " << change;
  }

  std::string summary() const {
    std::ostringstream text;
    text << backend_->name() << ' ' << worst_ << " of " << machine_.tolerance;
    return text.str();
  }

 private:
  Tokens prompt(std::size_t i) const { return prompt_of(base_, i, weights_.spec.vocab_size); }

  std::vector<Row> run(AdapterSlot slot, std::size_t i, std::int32_t start) {
    Sequence sequence(*backend_, weights_.spec, kLimits, slot, /*long_rope=*/false, start);
    return sequence.extend(prompt(i), kRows);
  }

  // Of all prompts, the adapter in pages of `type`.
  std::vector<std::vector<Row>> logits_of(const Adapter& adapter, PageType type) {
    const auto packed = pack_adapter(adapter, type);
    const AdapterSlot slot = backend_->add_adapter(packed->view());
    std::vector<std::vector<Row>> logits;
    for (std::size_t i = 0; i < std::size(kPromptLengths); ++i) {
      logits.push_back(run(slot, i, start_in(prompt(i), packed->invocation())));
    }
    backend_->remove_adapter(slot);
    return logits;
  }

  std::vector<std::vector<Row>> golden_of(const Entry& entry) const {
    const goldens::Tensors file(corpus() / entry.base / entry.name / "logits.safetensors");
    const auto vocab = static_cast<std::ptrdiff_t>(weights_.spec.vocab_size);
    std::vector<std::vector<Row>> logits;
    for (std::size_t i = 0; i < std::size(kPromptLengths); ++i) {
      const auto values = file.values<float>(std::to_string(i));
      EXPECT_EQ(values.size(), static_cast<std::size_t>(kRows * vocab));
      std::vector<Row>& rows = logits.emplace_back();
      for (auto row = values.begin(); row != values.end(); row += vocab) {
        rows.emplace_back(row, row + vocab);
      }
    }
    return logits;
  }

  static double worst_of(const std::vector<std::vector<Row>>& ours,
                         const std::vector<std::vector<Row>>& golden) {
    double worst = 0.0;
    for (std::size_t i = 0; i < golden.size(); ++i) {
      for (std::size_t row = 0; row < golden[i].size(); ++row) {
        const double error = goldens::relative_error(ours[i][row], golden[i][row]);
        if (!(error <= worst)) worst = error;  // keeps a NaN
      }
    }
    return worst;
  }

  const std::string base_;
  const ModelWeights& weights_;
  const Machine machine_;
  std::unique_ptr<Backend> backend_;
  std::vector<std::vector<Row>> base_logits_;
  double worst_ = 0.0;
};

class AdapterCorpus : public testing::TestWithParam<std::string> {};

TEST_P(AdapterCorpus, IsServedAsPeftServesItOrRefusedByName) {
  goldens::SeededCheckpoint checkpoint(GetParam());
  const ModelWeights weights = checkpoint.weights();
  const BaseModel base{.name = GetParam(), .spec = weights.spec, .weights = &weights};
  std::vector<std::unique_ptr<Server>> servers;
  for (const Machine& machine : kMachines) {
    servers.push_back(std::make_unique<Server>(GetParam(), weights, machine));
  }
  int accepted = 0;
  int refused = 0;
  for (const Entry& entry : read_index()) {
    if (entry.base != GetParam()) continue;
    SCOPED_TRACE(entry.base + "/" + entry.name);
    const Validation validation = validate_folder(corpus() / entry.base / entry.name, base);
    if (entry.accepted.empty()) {
      ++refused;
      EXPECT_FALSE(validation.adapter);
      EXPECT_TRUE(has_code(validation.report, entry.refused_by))
          << to_json(validation.report).dump(1);
      continue;
    }
    ++accepted;
    EXPECT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
    if (!validation.adapter) continue;
    for (const auto& server : servers) {
      server->compare(entry, *validation.adapter);
    }
  }
  EXPECT_GT(accepted + refused, 0);
  std::cout << GetParam() << ": " << accepted << " accepted, " << refused << " refused; worst";
  for (const auto& server : servers) std::cout << " error " << server->summary();
  std::cout << '\n';
}

INSTANTIATE_TEST_SUITE_P(Bases, AdapterCorpus, testing::ValuesIn(bases()), [](const auto& param) {
  std::string name = param.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace tessera
