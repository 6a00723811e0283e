#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <sys/resource.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "adapters/safetensors.hpp"
#include "engine/model/packed_model.hpp"
#include "engine/model/quantize.hpp"
#include "engine/model/random_model.hpp"
#include "kernels/bf16.hpp"
#include "storage/durable_file.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr std::size_t kReadMax = std::size_t{64} << 20;

// A directory of its own for each test, removed at its end.
class PackedModelTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "tessera-model-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    fs::create_directory(source());
  }
  void TearDown() override { fs::remove_all(directory_); }

  fs::path source() const { return directory_ / "tiny-llama"; }
  fs::path packed() const { return directory_ / "packed"; }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(source() / name, std::ios::binary) << text;
  }

  fs::path directory_;
};

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // exact in F16 and BF16
};

// The tensors of a tiny Llama, in no particular order.
std::vector<Tensor> tiny_tensors(const ModelSpec& spec) {
  constexpr unsigned kSeed = 17;
  std::mt19937 random(kSeed);
  std::vector<Tensor> out;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    Tensor tensor{name, std::move(shape), std::vector<float>(static_cast<std::size_t>(count))};
    for (float& value : tensor.values) value = static_cast<float>(random() % 255) / 128.0F - 1.0F;
    out.push_back(std::move(tensor));
  };
  add("model.norm.weight", {spec.hidden});
  for (int i = 0; i < spec.num_layers(); ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + '.';
    for (const Linear linear : kAllLinears) {
      const LinearShape shape = spec.shape(linear);
      const std::string block = linear >= Linear::kGate ? "mlp." : "self_attn.";
      add(layer + block + std::string(linear_name(linear)) + ".weight",
          {shape.out_features, shape.in_features});
    }
    add(layer + "input_layernorm.weight", {spec.hidden});
    add(layer + "post_attention_layernorm.weight", {spec.hidden});
  }
  add("model.embed_tokens.weight", {spec.vocab_size, spec.hidden});
  if (!spec.tied_embeddings) add("lm_head.weight", {spec.vocab_size, spec.hidden});
  return out;
}

ModelSpec tiny_spec(bool tied) {
  ModelSpec spec;
  spec.vocab_size = 96;
  spec.hidden = 64;
  spec.intermediate = 128;
  spec.num_heads = 2;
  spec.num_kv_heads = 1;
  spec.head_dim = 64;
  spec.max_positions = 128;
  spec.tied_embeddings = tied;
  spec.ropes = {{.inv_freq = plain_inv_freq(10000.0F, spec.head_dim)}};
  spec.layers.assign(2, LayerSpec{.attention_scale = 0.125F});
  return spec;
}

Json tiny_config(const ModelSpec& spec) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", spec.hidden},
          {"intermediate_size", spec.intermediate},
          {"num_attention_heads", spec.num_heads},
          {"num_key_value_heads", spec.num_kv_heads},
          {"head_dim", spec.head_dim},
          {"num_hidden_layers", spec.num_layers()},
          {"vocab_size", spec.vocab_size},
          {"max_position_embeddings", spec.max_positions},
          {"rms_norm_eps", 1e-5},
          {"eos_token_id", 2},
          {"tie_word_embeddings", spec.tied_embeddings}};
}

// Of a value that a normal fp16 holds exactly, or zero. (clang 14 has no _Float16 on x86.)
std::uint16_t half_bits(float value) {
  if (value == 0.0F) return 0;
  int exponent = 0;
  const float fraction = std::frexp(std::abs(value), &exponent);  // in [0.5, 1)
  const int bits = (exponent + 14) << 10 | static_cast<int>((2.0F * fraction - 1.0F) * 1024.0F);
  return static_cast<std::uint16_t>(value < 0.0F ? bits | 0x8000 : bits);
}

std::string safetensors_text(const std::vector<Tensor>& tensors, Dtype dtype) {
  std::vector<std::vector<std::byte>> storage;
  std::vector<StoredTensor> stored;
  for (const Tensor& tensor : tensors) {
    std::vector<std::byte> bytes;
    for (const float value : tensor.values) {
      // The values are multiples of 1/128 in [-1, 1): exact in each of the three types.
      const std::uint16_t half = half_bits(value);
      const Bf16 bf16 = float_to_bf16(value);
      const void* from = dtype == Dtype::kF32   ? static_cast<const void*>(&value)
                         : dtype == Dtype::kF16 ? static_cast<const void*>(&half)
                                                : static_cast<const void*>(&bf16);
      const std::size_t size = dtype == Dtype::kF32 ? 4 : 2;
      bytes.resize(bytes.size() + size);
      std::memcpy(bytes.data() + bytes.size() - size, from, size);
    }
    storage.push_back(std::move(bytes));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    stored.push_back({tensors[i].name, dtype, tensors[i].shape, storage[i]});
  }
  const std::vector<std::byte> file = write_safetensors(stored);
  std::string text(file.size(), '\0');
  std::memcpy(text.data(), file.data(), file.size());
  return text;
}

const Tensor& find(const std::vector<Tensor>& tensors, const std::string& name) {
  for (const Tensor& tensor : tensors) {
    if (tensor.name == name) return tensor;
  }
  throw std::out_of_range(name);
}

void expect_weights(const PackedModel& model, const std::vector<Tensor>& tensors) {
  const ModelSpec& spec = model.spec();
  const auto expect_bf16 = [&](const WeightMatrix& got, const std::string& name) {
    const Tensor& tensor = find(tensors, name);
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      ASSERT_EQ(bf16_to_float(got.bf16[i]), tensor.values[i]) << name;
    }
  };
  const auto expect_fp32 = [&](const float* got, const std::string& name) {
    const Tensor& tensor = find(tensors, name);
    EXPECT_EQ(std::vector<float>(got, got + tensor.values.size()), tensor.values) << name;
  };
  expect_bf16(model.weights().embedding, "model.embed_tokens.weight");
  expect_bf16(model.weights().head,
              spec.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
  expect_fp32(model.weights().final_norm, "model.norm.weight");
  for (int i = 0; i < spec.num_layers(); ++i) {
    const LayerWeights& layer = model.weights().layers[static_cast<std::size_t>(i)];
    const std::string prefix = "model.layers." + std::to_string(i) + '.';
    expect_fp32(layer.attention_norm, prefix + "input_layernorm.weight");
    expect_fp32(layer.mlp_norm, prefix + "post_attention_layernorm.weight");
    for (const Linear linear : kAllLinears) {
      const std::string block = linear >= Linear::kGate ? "mlp." : "self_attn.";
      const Tensor& tensor =
          find(tensors, prefix + block + std::string(linear_name(linear)) + ".weight");
      const LinearShape shape = spec.shape(linear);
      const Nf4Buffers expected =
          quantize_nf4(tensor.values, shape.out_features, shape.in_features);
      const WeightMatrix& got = layer.linears[static_cast<std::size_t>(linear)];
      std::vector<float> a(tensor.values.size());
      std::vector<float> b(tensor.values.size());
      dequantize(got, a);
      dequantize_nf4(expected.view(), b);
      EXPECT_EQ(a, b) << tensor.name;
    }
  }
}

class QuantizeDtypes : public PackedModelTest, public testing::WithParamInterface<Dtype> {};

TEST_P(QuantizeDtypes, OpenedWeightsAreTheQuantisedSource) {
  for (const bool tied : {false, true}) {
    const ModelSpec spec = tiny_spec(tied);
    const std::vector<Tensor> tensors = tiny_tensors(spec);
    write("config.json", tiny_config(spec).dump());
    write("model.safetensors", safetensors_text(tensors, GetParam()));
    auto summary = quantize_model(source(), packed());
    ASSERT_TRUE(summary) << summary.error().message;
    auto model = PackedModel::open(packed(), {.verify = Verify::kContents, .prefault = true});
    ASSERT_TRUE(model) << model.error().message;
    expect_weights(**model, tensors);
    EXPECT_EQ((*model)->digest(), summary->digest);
    EXPECT_EQ((*model)->file_bytes(), summary->packed_bytes);
    EXPECT_EQ((*model)->info().name, "tiny-llama");
    EXPECT_EQ((*model)->info().eos_ids, std::vector<TokenId>{2});
  }
}

INSTANTIATE_TEST_SUITE_P(Stored, QuantizeDtypes,
                         testing::Values(Dtype::kF32, Dtype::kF16, Dtype::kBf16),
                         [](const auto& param) { return std::string(dtype_name(param.param)); });

TEST_F(PackedModelTest, ShardsGiveTheSameModelAsOneFile) {
  const ModelSpec spec = tiny_spec(false);
  std::vector<Tensor> tensors = tiny_tensors(spec);
  write("config.json", tiny_config(spec).dump());
  write("model.safetensors", safetensors_text(tensors, Dtype::kBf16));
  auto whole = quantize_model(source(), packed());
  ASSERT_TRUE(whole);

  const std::vector<Tensor> first(tensors.begin(), tensors.begin() + 5);
  const std::vector<Tensor> second(tensors.begin() + 5, tensors.end());
  write("a.safetensors", safetensors_text(first, Dtype::kBf16));
  write("b.safetensors", safetensors_text(second, Dtype::kBf16));
  Json map = Json::object();
  for (const Tensor& tensor : first) map[tensor.name] = "a.safetensors";
  for (const Tensor& tensor : second) map[tensor.name] = "b.safetensors";
  write("model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  fs::remove(source() / "model.safetensors");
  auto sharded = quantize_model(source(), packed(), {.name = "renamed"});
  ASSERT_TRUE(sharded) << sharded.error().message;
  EXPECT_EQ(sharded->digest, whole->digest);  // the name is no part of the identity
}

TEST_F(PackedModelTest, ProgressNamesEveryTensorOnce) {
  const ModelSpec spec = tiny_spec(true);
  write("config.json", tiny_config(spec).dump());
  write("model.safetensors", safetensors_text(tiny_tensors(spec), Dtype::kF32));
  int last = 0;
  auto summary = quantize_model(source(), packed(), {}, [&](const QuantizeProgress& progress) {
    EXPECT_EQ(progress.done, ++last);
    EXPECT_EQ(progress.total, 20);
  });
  ASSERT_TRUE(summary);
  EXPECT_EQ(last, 20);
}

TEST_F(PackedModelTest, TextsOfTheDirectoryAreKept) {
  const ModelSpec spec = tiny_spec(true);
  write("config.json", tiny_config(spec).dump());
  write("model.safetensors", safetensors_text(tiny_tensors(spec), Dtype::kF32));
  write("generation_config.json", R"({"eos_token_id": [5, 4]})");
  write("tokenizer_config.json",
        R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": "{{ 1 }}"})");
  ASSERT_TRUE(quantize_model(source(), packed()));
  auto model = PackedModel::open(packed());
  ASSERT_TRUE(model);
  EXPECT_EQ((*model)->info().bos_token, "<s>");
  EXPECT_EQ((*model)->info().eos_token, "</s>");
  EXPECT_EQ((*model)->info().chat_template, "{{ 1 }}");
  EXPECT_EQ((*model)->info().eos_ids, (std::vector<TokenId>{4, 5}));
}

TEST_F(PackedModelTest, AWrongSourceIsRefusedNamingTheTensorAndLeavesNothing) {
  const ModelSpec spec = tiny_spec(false);
  const std::vector<Tensor> good = tiny_tensors(spec);
  write("config.json", tiny_config(spec).dump());
  const auto expect_refusal = [&](std::vector<Tensor> tensors, Code code, const std::string& name) {
    write("model.safetensors", safetensors_text(tensors, Dtype::kF32));
    auto summary = quantize_model(source(), packed());
    ASSERT_FALSE(summary) << name;
    EXPECT_EQ(summary.error().code, code) << summary.error().message;
    EXPECT_NE(summary.error().message.find(name), std::string::npos) << summary.error().message;
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 1);
  };
  std::vector<Tensor> tensors = good;
  tensors.erase(tensors.begin() + 3);
  expect_refusal(tensors, Code::kCorrupt, good[3].name);

  tensors = good;
  std::swap(tensors[1].shape[0], tensors[1].shape[1]);
  if (tensors[1].shape == good[1].shape) tensors[1].shape = {32, tensors[1].shape[1] * 2};
  expect_refusal(tensors, Code::kCorrupt, good[1].name);

  tensors = good;
  tensors[2].values[7] = std::numeric_limits<float>::quiet_NaN();
  expect_refusal(tensors, Code::kCorrupt, good[2].name);

  tensors = good;
  tensors.push_back({"model.layers.0.self_attn.q_proj.bias", {64}, std::vector<float>(64, 0.5F)});
  expect_refusal(tensors, Code::kUnsupportedModel, "q_proj.bias");
}

TEST_F(PackedModelTest, MissingFilesAreNamed) {
  auto summary = quantize_model(source(), packed());
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().code, Code::kNotFound);
  EXPECT_NE(summary.error().message.find("config.json"), std::string::npos);
  write("config.json", tiny_config(tiny_spec(true)).dump());
  summary = quantize_model(source(), packed());
  ASSERT_FALSE(summary);
  EXPECT_NE(summary.error().message.find("model.safetensors"), std::string::npos);
}

TEST_F(PackedModelTest, RandomModelsAreAFunctionOfTheirSeed) {
  ModelSpec spec = tiny_spec(false);
  for (LayerSpec& layer : spec.layers) layer.set_bias(Linear::kV);
  auto first = write_random_model(spec, 1, packed(), {.name = "random"});
  auto again = write_random_model(spec, 1, packed());
  auto other = write_random_model(spec, 2, packed());
  ASSERT_TRUE(first && again && other);
  EXPECT_EQ(*first, *again);
  EXPECT_NE(*first, *other);
  auto model = PackedModel::open(packed(), {.verify = Verify::kContents});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_NE((*model)->weights().layers[1].biases[2], nullptr);
  EXPECT_NEAR((*model)->weights().final_norm[0], 1.0F, 0.1F);
}

TEST_F(PackedModelTest, ASpecThatCannotRunIsRefused) {
  ModelSpec spec = tiny_spec(false);
  spec.hidden = 100;
  auto written = write_random_model(spec, 1, packed());
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().param, "hidden_size");
}

class PackedFile : public PackedModelTest {
 protected:
  void SetUp() override {
    PackedModelTest::SetUp();
    ASSERT_TRUE(write_random_model(tiny_spec(false), 3, packed(), {.name = "tiny"}));
    auto bytes = read_file(packed(), kReadMax);
    ASSERT_TRUE(bytes);
    whole_ = *bytes;
  }

  Result<std::unique_ptr<PackedModel>> open_bytes(const std::string& bytes,
                                                  Verify verify = Verify::kHeader) {
    std::ofstream(packed(), std::ios::binary | std::ios::trunc) << bytes;
    return PackedModel::open(packed(), {.verify = verify});
  }

  std::string whole_;
};

TEST_F(PackedFile, EveryTruncationIsRefusedInOneLine) {
  for (std::size_t size = 0; size < whole_.size(); size += 1 + size / 7) {
    auto model = open_bytes(whole_.substr(0, size));
    ASSERT_FALSE(model) << size;
    EXPECT_EQ(model.error().code, Code::kCorrupt);
    EXPECT_NE(model.error().message.find("packed"), std::string::npos);
    EXPECT_EQ(model.error().message.find('\n'), std::string::npos);
  }
}

TEST_F(PackedFile, OtherFilesAndOtherVersionsAreToldApart) {
  auto model = open_bytes(std::string(100, 'x'));
  ASSERT_FALSE(model);
  EXPECT_NE(model.error().message.find("not a packed model"), std::string::npos);
  for (const char version : {'\x01', '\x03'}) {
    std::string other = whole_;
    other[7] = version;
    model = open_bytes(other);
    ASSERT_FALSE(model);
    EXPECT_NE(model.error().message.find("quantise the model again"), std::string::npos);
  }
  EXPECT_EQ(PackedModel::open(directory_ / "nothing").error().code, Code::kNotFound);
}

TEST_F(PackedFile, AFlippedBitOfAWeightIsFoundByVerifyingTheContents) {
  std::string damaged = whole_;
  damaged[5000] = static_cast<char>(damaged[5000] ^ 1);
  EXPECT_TRUE(open_bytes(damaged));
  auto model = open_bytes(damaged, Verify::kContents);
  ASSERT_FALSE(model);
  EXPECT_NE(model.error().message.find("section"), std::string::npos);
}

TEST_F(PackedFile, DamageAnywhereIsRefusedAndNeverCrashes) {
  constexpr unsigned kSeed = 23;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE("seed " + std::to_string(kSeed) + ", round " + std::to_string(round));
    std::string damaged = whole_;
    // Mostly the prologue and the header, which say where everything is.
    const bool front = round % 2 == 0;
    for (int edit = 0; edit < 4; ++edit) {
      const std::size_t at = front ? random() % 64 : damaged.size() - 1 - random() % 3000;
      damaged[at] = static_cast<char>(random());
    }
    auto model = open_bytes(damaged, Verify::kContents);
    if (damaged == whole_) continue;
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, Code::kCorrupt);
  }
}

// A file made to deceive: its digests are right, what it says is not.
TEST_F(PackedFile, AForgedHeaderIsCheckedFieldByField) {
  std::uint64_t header_offset = 0;
  std::memcpy(&header_offset, whole_.data() + 8, sizeof header_offset);
  const Json header = Json::parse(whole_.substr(header_offset));
  const auto forge = [&](const Json& forged) {
    const std::string text = forged.dump();
    std::string bytes = whole_.substr(0, header_offset) + text;
    const std::uint64_t header_bytes = text.size();
    const std::uint64_t file_bytes = bytes.size();
    const auto digest = sha256(std::as_bytes(std::span(text)));
    std::memcpy(bytes.data() + 16, &header_bytes, sizeof header_bytes);
    std::memcpy(bytes.data() + 24, &file_bytes, sizeof file_bytes);
    std::memcpy(bytes.data() + 32, digest.data(), digest.size());
    return open_bytes(bytes);
  };
  ASSERT_TRUE(forge(header));
  const std::pair<const char*, Json> forgeries[] = {
      {"/sections/0/offset", 1ULL << 60},
      {"/sections/0/offset", 0},
      {"/sections/0/offset", 65},
      {"/sections/0/offset", -64},
      {"/sections/3/bytes", 1ULL << 63},
      {"/sections/3/name", "layers.0.o_proj.codes"},
      {"/sections/3/sha256", "00"},
      {"/sections", Json::array()},
      {"/spec/hidden", 1 << 30},
      {"/spec/hidden", -64},
      {"/spec/hidden", 128},
      {"/spec/vocab_size", 1LL << 40},
      {"/spec/num_kv_heads", 0},
      {"/spec/layers", Json::array()},
      {"/spec/final_rms_eps", "x"},
      {"/info/eos_ids", {"a"}},
      {"/digest", std::string(64, '0')},
      {"/spec", nullptr},
      {"/formats/0/form", "float3"},
      {"/formats/1/book", Json::array({1.0})},
      {"/formats/1/group", 48},
      {"/formats/1/group", 0},
      {"/formats/1/group", 128},
      {"/formats/1/nested", false},
      {"/formats/1/offsets", true},
      {"/formats/1/order", true},
      {"/formats", Json::array()},
      {"/matrix_formats/0", 7},
      {"/matrix_formats", Json::array({0})},
      {"/matrix_formats/1", 0},
  };
  for (const auto& [pointer, value] : forgeries) {
    Json forged = header;
    forged[Json::json_pointer(pointer)] = value;
    auto model = forge(forged);
    ASSERT_FALSE(model) << pointer << ' ' << value;
    EXPECT_EQ(model.error().code, Code::kCorrupt) << model.error().message;
  }
}

// Writing that fails (a full disk; here, a limit on the size of files) leaves what was there.
TEST_F(PackedFile, AFailedWriteLeavesTheOldFileAsItWas) {
  struct rlimit old {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  struct rlimit small = old;
  small.rlim_cur = 20'000;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  auto written = write_random_model(tiny_spec(false), 4, packed());
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::kIo);
  EXPECT_EQ(*read_file(packed(), kReadMax), whole_);
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 2);
}

}  // namespace
}  // namespace tessera
