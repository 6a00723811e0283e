// model_gguf_test.cpp — GGUF files: the container, and the models in them.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/model/gguf_config.hpp"
#include "engine/model/gguf_model.hpp"
#include "engine/model/model_config.hpp"
#include "engine/model/model_source.hpp"
#include "engine/model/quantize.hpp"
#include "engine/text/tokenizer.hpp"
#include "storage/json.hpp"
#include "tests/engine/tiny_checkpoint.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using testing_gguf::Writer;

Result<GgufFile> parse(const std::string& text) {
  return parse_gguf(std::as_bytes(std::span(text)));
}

GgmlType all_f32(const std::string&) {
  return GgmlType::kF32;
}

std::string small_file() {
  Writer writer;
  writer.add("a.text", std::string("hello"));
  writer.add("a.list", std::vector<std::string>{"x", "yz"});
  writer.add("a.numbers", std::vector<std::int32_t>{-1, 2});
  writer.add("a.reals", std::vector<float>{0.5F});
  writer.add("a.count", std::uint32_t{3});
  writer.add_flag("a.flag", true);
  writer.add_tensor("one", {4, 2}, GgmlType::kF32, std::string(32, '\1'));
  writer.add_tensor("two", {32}, GgmlType::kQ8_0, std::string(34, '\2'));
  return writer.finish();
}

TEST(GgufFile, TellsItsMetadataAndTensors) {
  const std::string text = small_file();
  const auto file = parse(text);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(*file->text("a.text"), "hello");
  EXPECT_EQ(*file->strings("a.list"), (GgufStrings{"x", "yz"}));
  EXPECT_EQ(*file->numbers("a.numbers"), (GgufNumbers{-1, 2}));
  EXPECT_EQ(file->integer("a.count"), 3);
  EXPECT_EQ(file->number("a.count"), 3.0);
  EXPECT_EQ(file->flag("a.flag"), true);
  EXPECT_FALSE(file->integer("a.text"));
  EXPECT_EQ(file->text("absent"), nullptr);
  ASSERT_NE(file->find("one"), nullptr);
  EXPECT_EQ(file->find("one")->dims, (std::vector<std::int64_t>{4, 2}));
  EXPECT_EQ(file->find("one")->bytes.size(), 32U);
  EXPECT_EQ(file->find("two")->bytes.size(), 34U);
}

TEST(GgufFile, EveryTruncationIsRefusedInOneLine) {
  const std::string whole = small_file();
  const std::size_t last = whole.size() - 64 + 34;  // what comes after the last tensor is padding
  for (std::size_t size = 0; size < last; ++size) {
    const std::string part = whole.substr(0, size);
    const auto file = parse(part);
    ASSERT_FALSE(file) << size;
    EXPECT_EQ(file.error().message.find('\n'), std::string::npos);
  }
}

TEST(GgufFile, DamageAnywhereNeverCrashes) {
  constexpr unsigned kSeed = 31;
  std::mt19937 random(kSeed);
  const std::string whole = small_file();
  for (int round = 0; round < 20'000; ++round) {
    SCOPED_TRACE("seed " + std::to_string(kSeed) + ", round " + std::to_string(round));
    std::string damaged = whole;
    for (int edit = 0; edit < 3; ++edit) {
      damaged[random() % damaged.size()] = static_cast<char>(random() % 3 == 0 ? 0xFF : random());
    }
    const auto file = parse(damaged);
    if (file) continue;
    EXPECT_FALSE(file.error().message.empty());
    EXPECT_EQ(file.error().message.find('\n'), std::string::npos);
  }
}

// A file of one tensor with what `change` makes of its fields.
Result<GgufFile> parse_forged(const std::string& from, const std::string& to) {
  std::string text = small_file();
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos);
  text.replace(at, from.size(), to);
  return parse(text);
}

template <class T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

TEST(GgufFile, WhatCannotBeIsRefusedForWhatItIs) {
  const auto expect = [](const Result<GgufFile>& file, const std::string& what) {
    ASSERT_FALSE(file) << what;
    EXPECT_NE(file.error().message.find(what), std::string::npos) << file.error().message;
  };
  expect(parse("GGML" + std::string(60, '\0')), "not a GGUF file");
  expect(parse(Writer(1).finish()), "version 1");
  expect(parse("GGUF" + raw(std::uint32_t{3}) + raw(~std::uint64_t{0}) + raw(std::uint64_t{0})),
         "too many");
  expect(parse("GGUF" + raw(std::uint32_t{3}) + raw(std::uint64_t{0}) + raw(std::uint64_t{1}) +
               raw(~std::uint64_t{0} / 2)),
         "longer than");
  const std::string one = "one" + raw(std::uint32_t{2});
  expect(parse_forged(one, "one" + raw(std::uint32_t{9})), "tensor one has an impossible number");
  expect(parse_forged(one + raw(std::uint64_t{4}), one + raw(std::uint64_t{0})), "tensor one");
  expect(parse_forged(one + raw(std::uint64_t{4}), one + raw(std::uint64_t{1} << 62U)),
         "tensor one has an impossible size");
  const std::string dims = one + raw(std::uint64_t{4}) + raw(std::uint64_t{2});
  expect(parse_forged(dims + raw(std::uint32_t{0}), dims + raw(std::uint32_t{17})),
         "tensor one is IQ2_XS");
  expect(parse_forged(dims + raw(std::uint32_t{0}), dims + raw(std::uint32_t{999})), "type 999");
  expect(parse_forged(dims + raw(std::uint32_t{0}), dims + raw(std::uint32_t{8})),
         "no whole number of blocks");
  const std::string two =
      "two" + raw(std::uint32_t{1}) + raw(std::uint64_t{32}) + raw(std::uint32_t{8});
  expect(parse_forged(two + raw(std::uint64_t{32}), two + raw(std::uint64_t{0})), "overlaps");
  expect(parse_forged(two + raw(std::uint64_t{32}), two + raw(std::uint64_t{33})), "not aligned");
  expect(parse_forged(two + raw(std::uint64_t{32}), two + raw(std::uint64_t{1} << 40U)),
         "ends before tensor two");
  expect(parse_forged("two" + raw(std::uint32_t{1}), "one" + raw(std::uint32_t{1})), "twice");
  expect(parse_forged("a.count", "a.\nount"), "control characters");
  expect(parse_forged("a.flag", "a.text"), "metadata a.text is there twice");
}

class GgufModels : public testing::Test {
 protected:
  fs::path write_gguf(const std::string& text) {
    const fs::path path = directory_.path() / "tiny.gguf";
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  // The packed model of a source.
  std::unique_ptr<PackedModel> pack(const fs::path& source, const QuantizeOptions& options = {}) {
    const fs::path packed = directory_.path() / "packed";
    const auto summary = quantize_model(source, packed, options);
    EXPECT_TRUE(summary) << summary.error().message;
    if (!summary) return nullptr;
    groups_ = summary->groups;
    auto model = PackedModel::open(packed, {.verify = Verify::kContents});
    EXPECT_TRUE(model) << model.error().message;
    return *std::move(model);
  }

  TempDir directory_;
  std::vector<QuantizeGroup> groups_;
};

std::vector<float> values_of(const WeightMatrix& matrix) {
  std::vector<float> values(static_cast<std::size_t>(matrix.rows) *
                            static_cast<std::size_t>(matrix.cols));
  dequantize(matrix, values);
  return values;
}

void expect_equal_models(const PackedModel& a, const PackedModel& b) {
  ASSERT_EQ(a.spec().num_layers(), b.spec().num_layers());
  EXPECT_EQ(a.spec().ropes, b.spec().ropes);
  EXPECT_EQ(values_of(a.weights().embedding), values_of(b.weights().embedding));
  EXPECT_EQ(values_of(a.weights().head), values_of(b.weights().head));
  for (std::size_t i = 0; i < a.weights().layers.size(); ++i) {
    const LayerWeights& left = a.weights().layers[i];
    const LayerWeights& right = b.weights().layers[i];
    for (std::size_t linear = 0; linear < left.linears.size(); ++linear) {
      EXPECT_EQ(values_of(left.linears[linear]), values_of(right.linears[linear])) << linear;
    }
    EXPECT_TRUE(std::equal(left.mlp_norm, left.mlp_norm + a.spec().hidden, right.mlp_norm));
  }
}

TEST_F(GgufModels, AnUnquantisedFileIsTheSameModelAsItsDirectory) {
  const PlainTensors tensors = tiny_llama(1);
  write_directory(directory_.path() / "hf", tensors, tiny_llama_config());
  const auto expected = pack(directory_.path() / "hf");
  for (const GgmlType type : {GgmlType::kF32, GgmlType::kBf16}) {
    const auto model = pack(write_gguf(tiny_gguf(tensors, [=](const auto&) { return type; })));
    ASSERT_TRUE(expected && model);
    expect_equal_models(*expected, *model);
    EXPECT_EQ(model->digest(), expected->digest());  // the very same base
    EXPECT_EQ(model->info().source_format, "gguf");
    EXPECT_EQ(model->info().architecture, "LlamaForCausalLM");
    EXPECT_EQ(model->info().name, "tiny");
    EXPECT_EQ(model->info().eos_ids, std::vector<TokenId>{2});
  }
}

TEST_F(GgufModels, EveryQuantisedTypeIsTakenAsItIs) {
  const PlainTensors tensors = tiny_llama(2);
  for (const GgmlType type : {GgmlType::kQ4_0, GgmlType::kQ4_1, GgmlType::kQ5_0, GgmlType::kQ5_1,
                              GgmlType::kQ8_0, GgmlType::kQ4K, GgmlType::kQ5K, GgmlType::kQ6K}) {
    SCOPED_TRACE(block_of(type).name);
    const auto model = pack(write_gguf(tiny_gguf(tensors, [=](const auto&) { return type; })));
    ASSERT_TRUE(model);
    ASSERT_EQ(groups_.size(), 1U);
    EXPECT_TRUE(groups_[0].unchanged);
    EXPECT_EQ(groups_[0].matrices, 16);
    // Close to the source, in our order of rows.
    const auto expected = tensors.at("model.layers.1.self_attn.q_proj.weight").values;
    const auto values = values_of(model->weights().layers[1].linears[0]);
    double error = 0.0;
    double power = 0.0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      error += std::pow(static_cast<double>(values[i] - expected[i]), 2);
      power += std::pow(static_cast<double>(expected[i]), 2);
    }
    EXPECT_LT(error / power, 0.02);  // Q4_0 rounds to nearest in groups of 32: about 1 %
  }
}

TEST_F(GgufModels, WhatAQuantisedFileLeavesPlainStaysBf16) {
  const PlainTensors tensors = tiny_llama(3);
  const auto model = pack(write_gguf(tiny_gguf(tensors, [](const std::string& name) {
    return name.starts_with("blk.0.attn_v") || name == "token_embd.weight" ? GgmlType::kF16
                                                                           : GgmlType::kQ8_0;
  })));
  ASSERT_TRUE(model);
  EXPECT_EQ(model->weights().layers[0].linears[2].form, WeightForm::kBf16);
  EXPECT_EQ(model->weights().layers[1].linears[2].form, WeightForm::kInt8);
  EXPECT_EQ(model->weights().embedding.form, WeightForm::kBf16);
  EXPECT_EQ(model->weights().head.form, WeightForm::kInt8);
  EXPECT_EQ(groups_.size(), 2U);
}

TEST_F(GgufModels, TablesBecomeWhatIsAskedFor) {
  const auto text = tiny_gguf(tiny_llama(4), [](const auto&) { return GgmlType::kQ4K; });
  const auto model =
      pack(write_gguf(text), {.embedding = QuantForm::kInt8, .head = QuantForm::kBf16});
  ASSERT_TRUE(model);
  EXPECT_EQ(model->weights().embedding.form, WeightForm::kInt8);
  EXPECT_EQ(model->weights().embedding.group, 256);
  EXPECT_EQ(model->weights().head.form, WeightForm::kBf16);
  EXPECT_EQ(model->info().quantization,
            "int4 in groups of 32 with zero points, embeddings int8 per row, head bf16");
}

TEST_F(GgufModels, RopeFactorsStretchTheFrequencies) {
  Writer writer;
  add_tiny_metadata(writer);
  std::vector<float> factors(64, 1.0F);
  factors[63] = 8.0F;
  writer.add_tensor("rope_freqs.weight", {64}, GgmlType::kF32,
                    testing_gguf::encode(GgmlType::kF32, factors));
  writer.add_tensor("token_embd.weight", {256, 96}, GgmlType::kF32,
                    std::string(std::size_t{4} * 256 * 96, '\0'));
  const auto source = ModelSource::open(write_gguf(writer.finish()));
  ASSERT_TRUE(source) << source.error().message;
  const std::vector<float> plain = plain_inv_freq(10000.0F, 128);
  EXPECT_EQ(source->spec().ropes[0].inv_freq[0], plain[0]);
  EXPECT_EQ(source->spec().ropes[0].inv_freq[63], plain[63] / 8.0F);
  EXPECT_TRUE(source->spec().tied_embeddings);
}

TEST_F(GgufModels, TheTokenizerAndTheChatTemplateComeAlong) {
  Writer writer;
  add_tiny_metadata(writer);
  const auto key = [](const char* name) { return std::string("tokenizer.ggml.") + name; };
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<std::int32_t> types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", byte);
    tokens.emplace_back(text);
    types.push_back(6);
  }
  for (const char* token : {"▁", "a", "b", "ab", "▁ab"}) {
    tokens.emplace_back(token);
    types.push_back(1);
  }
  std::vector<float> scores(tokens.size());
  for (std::size_t i = 259; i < scores.size(); ++i) scores[i] = 259.0F - static_cast<float>(i);
  writer.add(key("model"), std::string("llama"));
  writer.add(key("tokens"), tokens);
  writer.add(key("scores"), scores);
  writer.add(key("token_type"), types);
  writer.add(key("bos_token_id"), std::uint32_t{1});
  writer.add("tokenizer.chat_template", std::string("{{ messages[0].content }}"));
  writer.add_tensor("token_embd.weight", {256, 264}, GgmlType::kF32,
                    std::string(std::size_t{4} * 256 * 264, '\0'));
  const auto source = ModelSource::open(write_gguf(writer.finish()));
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_EQ(source->info().bos_token, "<s>");
  EXPECT_EQ(source->info().eos_token, "</s>");
  EXPECT_EQ(source->info().chat_template, "{{ messages[0].content }}");
  const auto tokenizer = Tokenizer::from_json(source->info().tokenizer);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto ids = (*tokenizer)->encode("ab");
  EXPECT_EQ(ids.back(), 263);  // "▁ab"
}

TEST_F(GgufModels, WhatCannotBeServedIsNamed) {
  const auto expect = [&](const std::string& text, const std::string& what) {
    const auto summary = quantize_model(write_gguf(text), directory_.path() / "packed");
    ASSERT_FALSE(summary) << what;
    EXPECT_NE(summary.error().message.find(what), std::string::npos) << summary.error().message;
    EXPECT_NE(summary.error().message.find("tiny.gguf"), std::string::npos)
        << summary.error().message;
    EXPECT_EQ(summary.error().message.find('\n'), std::string::npos);
  };
  Writer unknown;
  unknown.add("general.architecture", std::string("mamba"));
  expect(unknown.finish(), "\"mamba\" is not one of llama");
  expect(Writer().finish(), "general.architecture is missing");
  Writer no_sizes;
  no_sizes.add("general.architecture", std::string("llama"));
  expect(no_sizes.finish(), "llama.");
}

TEST_F(GgufModels, ATensorWithoutAPlaceIsRefused) {
  PlainTensors tensors = tiny_llama(5);
  tensors["blk.0.attn_sinks.weight"] = {{256}, std::vector<float>(256)};
  const auto summary =
      quantize_model(write_gguf(tiny_gguf(tensors, all_f32)), directory_.path() / "packed");
  ASSERT_FALSE(summary);
  EXPECT_NE(summary.error().message.find("attn_sinks"), std::string::npos);
}

// Metadata of each architecture, as llama.cpp's converter writes it, and what the spec must be.
struct Family {
  std::string name;
  std::string architecture;
  std::function<void(Writer&)> add;
  std::function<void(const ModelSpec&)> check;
};

ModelSpec spec_of(const Family& family) {
  Writer writer;
  const auto number = [&](const std::string& key, std::uint32_t value) {
    writer.add(family.name + '.' + key, value);
  };
  writer.add("general.architecture", family.name);
  number("block_count", 8);
  number("context_length", 4096);
  number("embedding_length", 256);
  number("feed_forward_length", 512);
  number("attention.head_count", 4);
  number("attention.head_count_kv", 2);
  number("attention.key_length", 64);
  writer.add(family.name + ".attention.layer_norm_rms_epsilon", 1e-6F);
  writer.add(family.name + ".rope.freq_base", 500000.0F);
  family.add(writer);
  writer.add_tensor("token_embd.weight", {256, 2}, GgmlType::kF32, std::string(2048, '\0'));
  const std::string text = writer.finish();
  const auto file = parse(text);
  EXPECT_TRUE(file) << file.error().message;
  const auto found = gguf_family(*file);
  EXPECT_TRUE(found);
  EXPECT_EQ((*found)->architecture, family.architecture);
  const auto config = gguf_config(*file, **found);
  EXPECT_TRUE(config) << config.error().message;
  const auto spec = parse_model_config(to_text(*config));
  EXPECT_TRUE(spec) << spec.error().message;
  return spec ? *spec : ModelSpec();
}

TEST(GgufConfig, EveryArchitectureBecomesTheSpecOfItsFamily) {
  const auto nothing = [](Writer&) {};
  const auto plain = [](const ModelSpec& spec) {
    EXPECT_FLOAT_EQ(spec.layers[0].attention_scale, 0.125F);
    EXPECT_EQ(spec.ropes[0].inv_freq, plain_inv_freq(500000.0F, 64));
  };
  const std::vector<Family> families = {
      {"llama", "LlamaForCausalLM", nothing, plain},
      {"qwen2", "Qwen2ForCausalLM", nothing,
       [](const ModelSpec& spec) { EXPECT_TRUE(spec.layers[0].has_bias(Linear::kQ)); }},
      {"qwen3", "Qwen3ForCausalLM", nothing,
       [](const ModelSpec& spec) { EXPECT_EQ(spec.layers[0].qk_norm, QkNorm::kPerHead); }},
      {"olmo2", "Olmo2ForCausalLM", nothing,
       [](const ModelSpec& spec) {
         EXPECT_EQ(spec.layers[0].qk_norm, QkNorm::kWhole);
         EXPECT_FALSE(spec.layers[0].pre_norms);
       }},
      {"smollm3", "SmolLM3ForCausalLM", nothing,
       [](const ModelSpec& spec) {
         EXPECT_EQ(spec.layers[3].rope, kNoRope);
         EXPECT_EQ(spec.layers[4].rope, 0);
       }},
      {"phi3", "Phi3ForCausalLM",
       [](Writer& writer) {
         writer.add("phi3.attention.sliding_window", std::uint32_t{2047});
         writer.add("phi3.rope.dimension_count", std::uint32_t{64});
       },
       [](const ModelSpec& spec) { EXPECT_EQ(spec.layers[0].window, 2047); }},
      {"granite", "GraniteForCausalLM",
       [](Writer& writer) {
         writer.add("granite.attention.scale", 0.015625F);
         writer.add("granite.embedding_scale", 12.0F);
         writer.add("granite.residual_scale", 0.22F);
         writer.add("granite.logit_scale", 8.0F);
       },
       [](const ModelSpec& spec) {
         EXPECT_EQ(spec.layers[0].attention_scale, 0.015625F);
         EXPECT_EQ(spec.embedding_scale, 12.0F);
         EXPECT_EQ(spec.layers[0].residual_scale, 0.22F);
         EXPECT_EQ(spec.logit_scale, 0.125F);
       }},
      {"gemma2", "Gemma2ForCausalLM",
       [](Writer& writer) {
         writer.add("gemma2.attention.sliding_window", std::uint32_t{4096});
         writer.add("gemma2.attn_logit_softcapping", 50.0F);
         writer.add("gemma2.final_logit_softcapping", 30.0F);
       },
       [](const ModelSpec& spec) {
         EXPECT_EQ(spec.layers[0].window, 4096);
         EXPECT_EQ(spec.layers[1].window, 0);
         EXPECT_EQ(spec.layers[0].attention_softcap, 50.0F);
         EXPECT_EQ(spec.logit_softcap, 30.0F);
         EXPECT_FLOAT_EQ(spec.layers[0].attention_scale, 0.125F);
       }},
      {"gemma3", "Gemma3ForCausalLM",
       [](Writer& writer) {
         writer.add("gemma3.attention.sliding_window", std::uint32_t{512});
         writer.add("gemma3.rope.scaling.type", std::string("linear"));
         writer.add("gemma3.rope.scaling.factor", 8.0F);
       },
       [](const ModelSpec& spec) {
         EXPECT_EQ(spec.layers[4].window, 512);
         EXPECT_EQ(spec.layers[5].window, 0);
         const auto global = spec.ropes[static_cast<std::size_t>(spec.layers[5].rope)];
         const auto local = spec.ropes[static_cast<std::size_t>(spec.layers[0].rope)];
         EXPECT_FLOAT_EQ(global.inv_freq[0], 0.125F);
         EXPECT_EQ(local.inv_freq, plain_inv_freq(10000.0F, 64));
       }},
      {"qwen3moe", "Qwen3MoeForCausalLM",
       [](Writer& writer) {
         writer.add("qwen3moe.expert_count", std::uint32_t{8});
         writer.add("qwen3moe.expert_used_count", std::uint32_t{2});
         writer.add("qwen3moe.expert_feed_forward_length", std::uint32_t{128});
       },
       [](const ModelSpec& spec) {
         EXPECT_EQ(spec.num_experts, 8);
         EXPECT_EQ(spec.expert_intermediate, 128);
       }},
      {"llama", "MixtralForCausalLM",
       [](Writer& writer) {
         writer.add("llama.expert_count", std::uint32_t{4});
         writer.add("llama.expert_used_count", std::uint32_t{2});
       },
       [](const ModelSpec& spec) { EXPECT_EQ(spec.num_experts, 4); }},
  };
  for (const Family& family : families) {
    SCOPED_TRACE(family.name);
    const ModelSpec spec = spec_of(family);
    EXPECT_EQ(spec.num_layers(), 8);
    EXPECT_EQ(spec.max_positions, 4096);
    if (spec.num_layers() == 8) family.check(spec);
  }
}

}  // namespace
}  // namespace tessera
