// state_golden_test.cpp — the states that embeddings are made of, against transformers and PEFT.
//
// Of each prompt of data/states.json (make_state_goldens.py): the last token's state after the
// final norm, and the mean of all tokens' states, with the adapter applied.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "adapters/packed_adapter.hpp"
#include "adapters/validator.hpp"
#include "tests/goldens/golden_machine.hpp"
#include "tests/goldens/goldens.hpp"

namespace tessera {
namespace {

using goldens::Machine;
using goldens::Row;

constexpr BackendLimits kLimits{.max_rows = 64,
                                .max_seqs = 1,
                                .max_logit_rows = 1,
                                .num_blocks = 8,
                                .block_size = 16,
                                .num_threads = 2};

Row mean_of(const std::vector<Row>& rows) {
  Row mean(rows.front().size());
  for (std::size_t j = 0; j < mean.size(); ++j) {
    double sum = 0.0;
    for (const Row& row : rows) sum += static_cast<double>(row[j]);
    mean[j] = static_cast<float>(sum / static_cast<double>(rows.size()));
  }
  return mean;
}

std::shared_ptr<const PackedAdapter> pack(const std::string& directory, const PackedModel& model,
                                          const std::string& name, PageType pages) {
  const BaseModel base{.name = name,
                       .aliases = {},
                       .digest = model.digest(),
                       .spec = model.spec(),
                       .weights = &model.weights()};
  const std::string config = goldens::read_file(goldens::kData / directory / "adapter_config.json");
  const std::string tensors =
      goldens::read_file(goldens::kData / directory / "adapter_model.safetensors");
  auto validation = validate_adapter(config, std::as_bytes(std::span(tensors)), base);
  if (!validation.adapter) throw std::runtime_error(directory + " is refused");
  return pack_adapter(*validation.adapter, pages);
}

class StateGolden : public testing::TestWithParam<Machine> {};

TEST_P(StateGolden, StatesAreThoseOfTransformersAndPeft) {
  const goldens::Tensors golden(goldens::kData / "states.safetensors");
  const auto described = goldens::read_json(goldens::kData / "states.json");
  for (const auto& item : described) {
    const std::string name = item.at("name");
    SCOPED_TRACE(name);
    const auto model =
        goldens::pack_model(goldens::kData / item.at("directory").get<std::string>());
    const auto backend = goldens::make_backend(GetParam(), model->weights(), kLimits);
    if (!backend) GTEST_SKIP() << "this processor has no " << GetParam().name;
    const std::string directory = item.at("adapter");
    std::shared_ptr<const PackedAdapter> adapter;
    AdapterSlot slot = kNoAdapter;
    if (!directory.empty()) {
      adapter = pack(directory, *model, item.at("model"), backend->page_type());
      slot = backend->add_adapter(adapter->view());
    }
    goldens::Sequence sequence(*backend, model->spec(), kLimits, slot);
    const auto states = sequence.extend_for_states(item.at("ids"));
    const double tolerance = GetParam().tolerance;
    EXPECT_LE(goldens::relative_error(states.back(), golden.values<float>(name + ".last")),
              tolerance);
    EXPECT_LE(goldens::relative_error(mean_of(states), golden.values<float>(name + ".mean")),
              tolerance);
  }
  EXPECT_GE(described.size(), 15U);
}

INSTANTIATE_TEST_SUITE_P(Machines, StateGolden, testing::ValuesIn(goldens::kMachines),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace tessera
