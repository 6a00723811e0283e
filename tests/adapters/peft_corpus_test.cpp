// peft_corpus_test.cpp — adapters that PEFT itself saved: what we make of them is what it makes.
//
// data/peft is written by make_peft_corpus.py. The demo's adapters are checked here, too.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "tests/adapters/test_package.hpp"

namespace tessera {
namespace {

namespace fs = std::filesystem;

const fs::path kCorpus = fs::path(TESSERA_TEST_DIR) / "data" / "peft";

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::vector<std::byte> read_bytes(const fs::path& path) {
  const std::string text = read_text(path);
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

Validation validate_folder(const fs::path& folder, const BaseModel& base) {
  return validate_adapter(read_text(folder / "adapter_config.json"),
                          read_bytes(folder / "adapter_model.safetensors"), base);
}

// The corpus's base, with the tables that PEFT copies beside some adapters.
class CorpusBase {
 public:
  CorpusBase() {
    const auto bytes = read_bytes(kCorpus / "base.safetensors");
    const auto file = parse_safetensors(bytes);
    embedding_ = table(*file->find("embed_tokens"));
    head_ = table(*file->find("lm_head"));
    weights_.embedding = bf16_matrix(embedding_.data(), 96, 64);
    weights_.head = bf16_matrix(head_.data(), 96, 64);
    model_.weights = &weights_;
  }
  const BaseModel& model() const { return model_; }

 private:
  static std::vector<Bf16> table(const StoredTensor& tensor) {
    std::vector<Bf16> values(tensor.bytes.size() / sizeof(Bf16));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }

  BaseModel model_ = test_base();
  ModelWeights weights_;
  std::vector<Bf16> embedding_;
  std::vector<Bf16> head_;
};

std::vector<std::string> folders_in(const fs::path& path) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path)) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

class PeftAccepted : public testing::TestWithParam<std::string> {};

TEST_P(PeftAccepted, HasTheModulesRanksAndScalesThatPeftGaveIt) {
  const CorpusBase base;
  const fs::path folder = kCorpus / "accepted" / GetParam();
  const auto validation = validate_folder(folder, base.model());
  ASSERT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
  const auto expected = nlohmann::json::parse(read_text(folder / "expected.json"));
  EXPECT_EQ(validation.adapter->modules.size(), expected.size());
  for (const AdapterModule& module : validation.adapter->modules) {
    const std::string& path = module.base.path;
    ASSERT_TRUE(expected.contains(path)) << path;
    EXPECT_EQ(module.rank, expected[path][0].get<int>()) << path;
    EXPECT_EQ(module.scale, static_cast<float>(expected[path][1].get<double>())) << path;
  }
}

INSTANTIATE_TEST_SUITE_P(Corpus, PeftAccepted, testing::ValuesIn(folders_in(kCorpus / "accepted")),
                         [](const auto& test) { return test.param; });

const std::map<std::string, std::string> kRefusals = {
    {"loha", "unsupported_peft_type"},
    {"modules_to_save", "unsupported_modules_to_save"},
    {"olora", "unsupported_init_lora_weights"},
    {"pissa", "unsupported_init_lora_weights"},
};

class PeftRefused : public testing::TestWithParam<std::string> {};

TEST_P(PeftRefused, IsRefusedByTheCodeOfItsKind) {
  ASSERT_TRUE(kRefusals.contains(GetParam()));
  const CorpusBase base;
  const auto validation = validate_folder(kCorpus / "refused" / GetParam(), base.model());
  EXPECT_FALSE(validation.adapter);
  EXPECT_TRUE(error_codes(validation.report.findings).contains(kRefusals.at(GetParam())))
      << to_json(validation.report).dump(1);
}

INSTANTIATE_TEST_SUITE_P(Corpus, PeftRefused, testing::ValuesIn(folders_in(kCorpus / "refused")),
                         [](const auto& test) { return test.param; });

// The shape of a Hugging Face Llama, from its config.json.
ModelSpec spec_of(const nlohmann::json& config) {
  ModelSpec spec;
  spec.vocab_size = config.at("vocab_size");
  spec.hidden = config.at("hidden_size");
  spec.intermediate = config.at("intermediate_size");
  spec.num_heads = config.at("num_attention_heads");
  spec.num_kv_heads = config.at("num_key_value_heads");
  spec.head_dim = config.value("head_dim", spec.hidden / spec.num_heads);
  spec.layers.resize(config.at("num_hidden_layers").get<std::size_t>());
  return spec;
}

TEST(DemoAdapters, AreAllAccepted) {
  const fs::path demo = fs::path(TESSERA_SOURCE_DIR) / "examples" / "demo";
  ASSERT_TRUE(fs::exists(demo / "base" / "config.json"));
  ASSERT_FALSE(folders_in(demo / "adapters").empty());
  BaseModel base{.name = "tessera-demo"};
  base.spec = spec_of(nlohmann::json::parse(read_text(demo / "base" / "config.json")));
  for (const std::string& name : folders_in(demo / "adapters")) {
    if (!fs::exists(demo / "adapters" / name / "adapter_model.safetensors")) continue;
    const auto validation = validate_folder(demo / "adapters" / name, base);
    EXPECT_TRUE(validation.adapter) << name << ": " << to_json(validation.report).dump(1);
    EXPECT_TRUE(validation.report.findings.empty()) << name;
  }
}

}  // namespace
}  // namespace tessera
