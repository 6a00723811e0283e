// model_quantize_test.cpp — quantising: forms, quantised checkpoints, interruption, memory,
// inspect.
#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <sys/resource.h>

#include <gtest/gtest.h>

#include "engine/model/inspect.hpp"
#include "engine/model/packed_model.hpp"
#include "engine/model/quantize.hpp"
#include "kernels/bf16.hpp"
#include "tests/engine/tiny_checkpoint.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::vector<float> values_of(const WeightMatrix& matrix) {
  std::vector<float> values(static_cast<std::size_t>(matrix.rows) *
                            static_cast<std::size_t>(matrix.cols));
  dequantize(matrix, values);
  return values;
}

class Quantizing : public testing::Test {
 protected:
  fs::path source() const { return directory_ / "tiny"; }
  fs::path packed() const { return directory_ / "packed"; }

  QuantizeSummary quantize(const QuantizeOptions& options = {}) {
    auto summary = quantize_model(source(), packed(), options);
    EXPECT_TRUE(summary) << summary.error().message;
    return summary ? *summary : QuantizeSummary();
  }

  std::unique_ptr<PackedModel> open() {
    auto model = PackedModel::open(packed(), {.verify = Verify::kContents});
    EXPECT_TRUE(model) << model.error().message;
    return model ? *std::move(model) : nullptr;
  }

  int files_beside() const {
    return static_cast<int>(
        std::distance(fs::directory_iterator(directory_.path()), fs::directory_iterator()));
  }

  TempDir directory_;
};

TEST_F(Quantizing, EveryFormIsThatOfItsQuantiser) {
  const PlainTensors tensors = tiny_llama(1);
  write_directory(source(), tensors, tiny_llama_config());
  const PlainTensor& down = tensors.at("model.layers.1.mlp.down_proj.weight");
  const std::pair<QuantForm, std::string> forms[] = {
      {QuantForm::kNf4, "nf4 (double-quantised), embeddings bf16"},
      {QuantForm::kNf4Plain, "nf4, embeddings bf16"},
      {QuantForm::kFp4, "fp4, embeddings bf16"},
      {QuantForm::kInt8, "int8 per row, embeddings bf16"},
      {QuantForm::kBf16, "bf16, embeddings bf16"}};
  for (const auto& [form, text] : forms) {
    SCOPED_TRACE(text);
    const QuantizeSummary summary = quantize({.linears = form});
    const auto model = open();
    ASSERT_TRUE(model);
    EXPECT_EQ(model->info().quantization, text);
    EXPECT_EQ(model->info().source_format, "safetensors");
    EXPECT_EQ(values_of(model->weights().layers[1].linears[6]),
              values_of(quantize_matrix(form, down.values, 256, 256).view()));
    ASSERT_FALSE(summary.groups.empty());
    EXPECT_EQ(summary.groups[0].from, "BF16");
    EXPECT_FALSE(summary.groups[0].unchanged);
  }
}

TEST_F(Quantizing, TablesAreInTheFormsAskedFor) {
  write_directory(source(), tiny_llama(2), tiny_llama_config());
  quantize({.embedding = QuantForm::kNf4, .head = QuantForm::kInt8});
  const auto model = open();
  ASSERT_TRUE(model);
  EXPECT_EQ(model->weights().embedding.form, WeightForm::kBook16);
  EXPECT_EQ(model->weights().head.form, WeightForm::kInt8);
  EXPECT_EQ(model->info().quantization,
            "nf4 (double-quantised), embeddings nf4 (double-quantised), head int8 per row");
}

TEST_F(Quantizing, ABiasOfZerosIsPassedOverAndAnotherIsNot) {
  PlainTensors tensors = tiny_llama(3);
  tensors["model.layers.0.self_attn.q_proj.bias"] = {{256}, std::vector<float>(256)};
  write_directory(source(), tensors, tiny_llama_config());
  quantize();
  tensors["model.layers.0.self_attn.q_proj.bias"].values[7] = 0.5F;
  write_directory(source(), tensors, tiny_llama_config());
  const auto summary = quantize_model(source(), packed());
  ASSERT_FALSE(summary);
  EXPECT_NE(summary.error().message.find("q_proj.bias"), std::string::npos);
}

// int8 weights with a scale for each row, as compressed-tensors has them, for all linears but one.
void write_int8_checkpoint(const fs::path& directory, const PlainTensors& tensors,
                           const std::string& left_alone) {
  struct Stored {
    std::vector<std::int64_t> shape;
    Dtype dtype = Dtype::kBf16;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Stored> stored;
  const auto bytes_of = [](const auto& values) {
    const auto bytes = std::as_bytes(std::span(values));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  for (const auto& [name, tensor] : tensors) {
    if (name.find("_proj.") != std::string::npos && name != left_alone) {
      const int rows = static_cast<int>(tensor.shape[0]);
      const int cols = static_cast<int>(tensor.shape[1]);
      const WeightBuffers int8 = quantize_matrix(QuantForm::kInt8, tensor.values, rows, cols);
      stored[name] = {tensor.shape, Dtype::kI8, bytes_of(int8.codes)};
      stored[name + "_scale"] = {{rows, 1}, Dtype::kF32, bytes_of(int8.scales)};
      continue;
    }
    std::vector<Bf16> rounded(tensor.values.size());
    std::ranges::transform(tensor.values, rounded.begin(), float_to_bf16);
    stored[name] = {tensor.shape, Dtype::kBf16, bytes_of(rounded)};
  }
  std::vector<StoredTensor> list;
  for (const auto& [name, tensor] : stored) {
    list.push_back({name, tensor.dtype, tensor.shape, tensor.bytes});
  }
  Json config = tiny_llama_config();
  config["quantization_config"] = {{"quant_method", "compressed-tensors"},
                                   {"format", "int-quantized"}};
  fs::create_directories(directory);
  std::ofstream(directory / "config.json") << config.dump();
  const std::vector<std::byte> file = write_safetensors(list);
  std::ofstream out(directory / "model.safetensors", std::ios::binary);
  out.write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
}

TEST_F(Quantizing, AQuantisedCheckpointIsTakenAsItIsAndWhatItLeavesPlainStaysBf16) {
  const PlainTensors tensors = tiny_llama(4);
  const std::string left_alone = "model.layers.0.mlp.up_proj.weight";
  write_int8_checkpoint(source(), tensors, left_alone);
  const QuantizeSummary summary = quantize();
  const auto model = open();
  ASSERT_TRUE(model);
  EXPECT_EQ(model->info().source_format, "compressed-tensors");
  const LayerWeights& layer = model->weights().layers[0];
  EXPECT_EQ(layer.linears[5].form, WeightForm::kBf16);
  EXPECT_EQ(values_of(layer.linears[5]), tensors.at(left_alone).values);
  EXPECT_EQ(layer.linears[0].form, WeightForm::kInt8);
  const auto& q = tensors.at("model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(values_of(layer.linears[0]),
            values_of(quantize_matrix(QuantForm::kInt8, q.values, 256, 256).view()));
  EXPECT_TRUE(std::ranges::any_of(summary.groups, [](const QuantizeGroup& group) {
    return group.unchanged && group.matrices == 13 && group.to == "int8 per row";
  }));
}

// --- interruption ---------------------------------------------------------------------------

class Interrupted : public Quantizing {
 protected:
  void SetUp() override {
    write_directory(source(), tiny_llama(5), tiny_llama_config());
    whole_ = quantize().digest;
    fs::remove(packed());
  }

  // A disk that is full after `bytes`: a limit on the size of files.
  void interrupt(rlim_t bytes) {
    struct rlimit old {};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit small = old;
    small.rlim_cur = bytes;
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto summary = quantize_model(source(), packed());
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
    std::signal(SIGXFSZ, old_handler);
    ASSERT_FALSE(summary);
    EXPECT_FALSE(fs::exists(packed()));
    EXPECT_TRUE(fs::exists(partial()));
  }

  fs::path partial() const { return packed().string() + ".partial"; }

  BaseDigest whole_;
};

TEST_F(Interrupted, ARunIsContinuedWhereItWas) {
  interrupt(150'000);
  const QuantizeSummary summary = quantize();
  EXPECT_GT(summary.resumed, 3);
  EXPECT_EQ(summary.digest, whole_);
  EXPECT_TRUE(open());
  EXPECT_EQ(files_beside(), 2);  // source and result
}

TEST_F(Interrupted, WhatIsNotAsItWasWrittenIsWrittenAgain) {
  interrupt(150'000);
  std::fstream file(partial(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(60'000);
  file.put('\x5A');
  file.put('\xA5');
  file.close();
  const QuantizeSummary summary = quantize();
  EXPECT_LT(summary.resumed, 5);
  EXPECT_EQ(summary.digest, whole_);
  EXPECT_TRUE(open());
}

TEST_F(Interrupted, OtherOptionsOrARestartBeginAnew) {
  interrupt(150'000);
  EXPECT_EQ(quantize({.linears = QuantForm::kInt8}).resumed, 0);
  fs::remove(packed());
  interrupt(150'000);
  const QuantizeSummary again = quantize({.restart = true});
  EXPECT_EQ(again.resumed, 0);
  EXPECT_EQ(again.digest, whole_);
}

TEST_F(Interrupted, AJournalThatIsNoneIsPassedOver) {
  interrupt(150'000);
  std::ofstream(partial().string() + ".journal", std::ios::trunc) << "{\"key\": 7}\nnonsense";
  const QuantizeSummary summary = quantize();
  EXPECT_EQ(summary.resumed, 0);
  EXPECT_EQ(summary.digest, whole_);
}

TEST_F(Interrupted, TwoRunsDoNotWriteTheSameFile) {
  std::string message;
  const auto summary =
      quantize_model(source(), packed(), {}, [&](const QuantizeProgress& progress) {
        if (progress.done != 3) return;
        const auto other = quantize_model(source(), packed());
        ASSERT_FALSE(other);
        EXPECT_EQ(other.error().code, Code::kConflict);
        message = other.error().message;
      });
  EXPECT_TRUE(summary);
  EXPECT_NE(message.find("another process"), std::string::npos);
  EXPECT_TRUE(open());
}

// --- memory ---------------------------------------------------------------------------------

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryIsOurs = false;
#else
constexpr bool kMemoryIsOurs = true;
#endif

// "VmHWM" or "VmRSS" of this process, in bytes.
std::size_t status_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ':')) return std::stoull(line.substr(field.size() + 1)) * 1024;
  }
  return 0;
}

TEST_F(Quantizing, MemoryStaysBelowOneAndAHalfTensorsAndWhatBecomesOfThem) {
  if (!kMemoryIsOurs) GTEST_SKIP() << "a sanitizer's memory is not ours";
  constexpr std::int64_t kVocab = 32'768;
  PlainTensors tensors = tiny_llama(6);
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    tensors[name].shape = {kVocab, 256};
    tensors[name].values.assign(static_cast<std::size_t>(kVocab) * 256, 0.25F);
  }
  Json config = tiny_llama_config();
  config["vocab_size"] = kVocab;
  write_directory(source(), tensors, config);
  tensors.clear();
  const std::size_t largest = std::size_t{kVocab} * 256 * sizeof(Bf16);
  for (const QuantForm form : {QuantForm::kBf16, QuantForm::kInt8, QuantForm::kNf4}) {
    std::ofstream("/proc/self/clear_refs") << "5";  // the peak becomes what it is now
    const std::size_t before = status_bytes("VmRSS");
    if (status_bytes("VmHWM") > before + largest / 8) GTEST_SKIP() << "the peak cannot be reset";
    quantize({.embedding = form, .head = form});
    const std::size_t output = form == QuantForm::kBf16   ? largest
                               : form == QuantForm::kInt8 ? largest / 2
                                                          : largest / 4;
    const std::size_t peak = status_bytes("VmHWM") - before;
    EXPECT_LT(peak, largest / 2 * 3 + output) << to_string(form);
    std::cout << to_string(form) << ": peak " << peak / 1024 << " KiB, largest tensor "
              << largest / 1024 << " KiB, output " << output / 1024 << " KiB\n";
  }
}

// --- inspect --------------------------------------------------------------------------------

TEST_F(Quantizing, InspectTellsWhatEachKindOfModelHolds) {
  const PlainTensors tensors = tiny_llama(7);
  write_directory(source(), tensors, tiny_llama_config());
  const auto directory = inspect_model(source());
  ASSERT_TRUE(directory) << directory.error().message;
  EXPECT_EQ(directory->kind, "model directory");
  EXPECT_EQ(directory->info.architecture, "LlamaForCausalLM");
  ASSERT_EQ(directory->forms.size(), 1U);
  EXPECT_EQ(directory->forms[0].form, "BF16");
  EXPECT_EQ(directory->forms[0].tensors, 21);
  EXPECT_EQ(directory->forms[0].bytes, 2 * directory->forms[0].weights);

  const fs::path gguf = directory_ / "tiny.gguf";
  std::ofstream(gguf, std::ios::binary)
      << tiny_gguf(tensors, [](const auto&) { return GgmlType::kQ6K; });
  const auto file = inspect_model(gguf);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->kind, "GGUF file");
  EXPECT_EQ(file->forms[0].form, "Q6_K");
  EXPECT_EQ(file->forms[0].tensors, 16);

  const QuantizeSummary summary = quantize();
  const auto packed_file = inspect_model(packed());
  ASSERT_TRUE(packed_file) << packed_file.error().message;
  EXPECT_EQ(packed_file->kind, "packed model");
  EXPECT_EQ(packed_file->digest, to_hex(summary.digest));
  EXPECT_EQ(packed_file->spec.max_positions, 128);
  EXPECT_TRUE(std::ranges::any_of(packed_file->forms, [](const FormCount& form) {
    return form.form == "nf4 (double-quantised)" && form.tensors == 14;
  }));
}

TEST_F(Quantizing, InspectRefusesWhatIsNoModelInOneLine) {
  std::ofstream(packed()) << "hello";
  for (const fs::path& path : {packed(), directory_ / "absent", directory_.path()}) {
    const auto inspection = inspect_model(path);
    ASSERT_FALSE(inspection) << path;
    EXPECT_EQ(inspection.error().message.find('\n'), std::string::npos);
  }
}

TEST_F(Quantizing, PrefaultingTellsHowFarItIs) {
  write_directory(source(), tiny_llama(8), tiny_llama_config());
  quantize();
  std::size_t last = 0;
  const auto model = PackedModel::open(
      packed(), {.prefault = true, .progress = [&](std::size_t done, std::size_t all) {
                   EXPECT_GT(done, last);
                   EXPECT_EQ(all, fs::file_size(packed()));
                   last = done;
                 }});
  ASSERT_TRUE(model);
  EXPECT_EQ(last, (*model)->file_bytes());
}

}  // namespace
}  // namespace tessera
